"""Calibration: recipes, seeded samples, and a linter whose every warning names its remedy."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgekit.conversion.calibration import (
    Recipe,
    choose,
    lint,
    load_recipe,
    load_samples,
    recipe_names,
)
from edgekit.conversion.synthesis import synthesise
from edgekit.data import sample_images
from edgekit.data.images import content_hash, open_images
from edgekit.errors import BadData
from edgekit.graph.contract import reference_input
from edgekit.spec import InputSpec

SPEC = InputSpec(16, 16)


def natural(count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (count, 16, 16, 3), dtype=np.uint8)


def names(count: int) -> list[str]:
    return [str(index) for index in range(count)]


def test_good_samples_raise_no_warning() -> None:
    assert lint(natural(), names(40)) == ()


@pytest.mark.parametrize(
    ("pixels", "hashes", "evaluation", "words"),
    [
        (natural(5), names(5), (), ("only 5 samples", "give 32 or more")),
        (natural(), ["same"] * 40, (), ("39 of 40 samples are byte-for-byte duplicates", "remove")),
        (natural() * 0 + 90, names(40), (), ("40 of 40 samples are one flat colour", "remove")),
        (natural() // 128 * 255, names(40), (), ("over half black or white", "check")),
        (natural() // 128, names(40), (), ("all pixels are 0 or 1", "save 0 to 255")),
        (natural() // 8, names(40), (), ("wrong pixel range", "save 0 to 255")),
        (natural(), names(40), ["3", "7"], ("2 of 40 samples are also in the evaluation", "train")),
    ],
)
def test_each_fault_is_named_with_its_remedy(
    pixels: np.ndarray, hashes: list[str], evaluation: Sequence[str], words: tuple[str, ...]
) -> None:
    warnings = lint(pixels, hashes, evaluation)
    assert any(all(word in warning for word in words) for warning in warnings), warnings


def test_shipped_recipes_load() -> None:
    assert {"default", "data-free"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("samples = 'many'", "samples"),
        ("samples = 0\npick = 'first'\nseed = 0\nmethod = 'minmax'", "1 or more"),
        ("samples = 8\npick = 'best'\nseed = 0\nmethod = 'minmax'", "pick"),
        ("= [", "default.toml"),
    ],
)
def test_a_bad_recipe_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BadData, match=complaint) as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)


def test_unknown_recipe_gives_the_nearest_name() -> None:
    with pytest.raises(BadData, match="did you mean default"):
        load_recipe("defualt")


def test_choice_depends_on_the_seed_alone(pictures: Path) -> None:
    images = open_images(pictures)
    recipe = Recipe(samples=10, pick="random", seed=0, method="minmax")
    assert choose(images, recipe) == choose(images, recipe)
    assert set(choose(images, recipe)) != set(
        choose(images, Recipe(samples=10, pick="random", seed=1, method="minmax"))
    )
    assert (
        choose(images, Recipe(samples=10, pick="first", seed=0, method="minmax"))
        == images.names[:10]
    )


def test_two_runs_may_draw_the_sample_images_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_crops = vars(sample_images)["_write_crops"]

    def while_another_run_is_first(folder: Path) -> None:
        write_crops(folder)
        shutil.copytree(folder, tmp_path / "edgekit" / "sample-images-3")

    monkeypatch.setattr(sample_images, "_write_crops", while_another_run_is_first)
    crops = sample_images.sample_images()
    assert len(crops.names) == sample_images.COUNT
    assert [path.name for path in crops.path.parent.iterdir()] == [crops.path.name]


def test_a_zip_gives_the_same_samples_as_its_folder(pictures: Path, tmp_path: Path) -> None:
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in pictures.iterdir():
            out.write(path, path.name)
    recipe = load_recipe("default")
    from_folder, from_zip = (load_samples(p, recipe, SPEC) for p in (pictures, archive))
    assert from_folder.hashes == from_zip.hashes
    assert np.array_equal(from_folder.pixels, from_zip.pixels)
    assert from_folder.hashes[0] in {content_hash(p.read_bytes()) for p in pictures.iterdir()}


def test_broken_pictures_are_named_and_left_out(pictures: Path, tmp_path: Path) -> None:
    good = sorted(pictures.iterdir())[0]
    (tmp_path / "good.png").write_bytes(good.read_bytes())
    (tmp_path / "half.png").write_bytes(good.read_bytes()[:200])
    samples = load_samples(tmp_path, load_recipe("default"), SPEC)
    assert len(samples.pixels) == 1
    assert any("half.png" in warning for warning in samples.warnings)


@pytest.mark.parametrize("content", [None, b"not an image", b""])
def test_a_folder_without_readable_pictures_is_refused(tmp_path: Path, content: bytes) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadData):
        load_samples(tmp_path, load_recipe("default"), SPEC)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(BadData, match="pixels"):
        load_samples(tmp_path, load_recipe("default"), SPEC)


def test_synthesised_images_come_nearer_to_the_batch_norms() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3), torch.nn.BatchNorm2d(8),
    )  # fmt: skip
    images = torch.rand(64, 16, 16, 3) ** 3 * 255
    network(reference_input(images, SPEC))
    for _ in range(100):
        network(reference_input(images, SPEC))
    network.eval()

    def distance(pixels: np.ndarray) -> float:
        with torch.no_grad():
            value = network[0](reference_input(torch.from_numpy(pixels), SPEC))
        off = value.mean((0, 2, 3)) - network[1].running_mean
        return float((off.square() / network[1].running_var).mean())

    start, _ = synthesise(
        network, SPEC, Recipe(samples=16, pick="synthesise", seed=0, method="minmax", steps=0)
    )
    moved, warnings = synthesise(
        network, SPEC, Recipe(samples=16, pick="synthesise", seed=0, method="minmax", steps=20)
    )
    assert distance(moved) < distance(start) / 4
    assert moved.dtype == np.uint8 and moved.shape == (16, 16, 16, 3)
    assert "without data" in warnings[0]
