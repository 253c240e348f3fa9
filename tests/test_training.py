"""Training: resumes exactly, learns, masks what is not labelled, and writes down what it did."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_training import INPUT, RECIPE, SPEC, Tiny
from torch import nn

from edgekit import zoo
from edgekit.data import Dataset, Decisions, Sample, SplitPlan, open_dataset
from edgekit.data.decoded import Decoded
from edgekit.data.stores import FolderStore
from edgekit.errors import BadData, BadModel, EdgekitError, UserError
from edgekit.results import load_accuracy
from edgekit.spec import ADIENCE_AGE_LABELS, InputSpec, ModelSpec, OutputSpec
from edgekit.training.augment import augment, normalise, plain
from edgekit.training.device import choose_device
from edgekit.training.folds import across_folds, fold_runs
from edgekit.training.inference import decisions, predict, validate
from edgekit.training.kernels import ByteDropout, accelerate, with_dropout
from edgekit.training.label_targets import age_distribution, class_targets, scale_targets
from edgekit.training.loop import Told, fit
from edgekit.training.losses import masked_cross_entropy, masked_squared_error
from edgekit.training.optimiser import schedule
from edgekit.training.recipe import Augmentation, Recipe, adjusted, default_recipe
from edgekit.training.regression_scale import best_scale, refit_scales
from edgekit.training.run import TrainOptions, TrainResult, begin_from, train
from edgekit.training.teachers import lessons_of, mixed, points
from edgekit.zoo.checkpoint import save_weights
from edgekit.zoo.heads import JointHeads


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def jpeg(level: int, seed: int, size: int = 20) -> bytes:
    noise = np.random.default_rng(seed).integers(-40, 40, (size, size, 3))
    pixels = np.clip(level + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Dark and light pictures, plainly separable; a few have no label."""
    folder = tmp_path / "shades"
    folder.mkdir()
    rows = ["file,shade,split"]
    for index in range(60):
        light = index % 2
        (folder / f"{index}.jpg").write_bytes(jpeg(90 + 80 * light, index))
        label = "" if index % 10 == 9 else ("dark", "light")[light]
        rows.append(f"{index}.jpg,{label},{'train' if index < 40 else 'val'}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def test_it_learns_and_logs_every_epoch(shades: Path, tmp_path: Path) -> None:
    trained = fit(Tiny(), SPEC, open_dataset(str(shades)), RECIPE, tmp_path / "run")
    assert trained.best_score == 100.0
    assert not trained.network.training
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert log[0] == "epoch,loss,rate,shade,speed"
    assert len(log) == 1 + RECIPE.epochs


INTERRUPTED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
from tiny_training import RECIPE, SPEC, Tiny
from edgekit.data import open_dataset
from edgekit.training.loop import fit
torch.set_num_threads(1)

def tell(told):
    if (told.epoch, told.done) == (3, 16):
        os.kill(os.getpid(), signal.SIGKILL)

fit(Tiny(), SPEC, open_dataset(sys.argv[2]), RECIPE, Path(sys.argv[3]), tell=tell)
"""


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(
    shades: Path, tmp_path: Path
) -> None:
    unbroken = fit(Tiny(), SPEC, open_dataset(str(shades)), RECIPE, tmp_path / "unbroken")
    broken = tmp_path / "broken"
    killed = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(Path(__file__).parent), str(shades), str(broken)]
    )
    assert killed.returncode == -signal.SIGKILL
    assert len((broken / "log.csv").read_text().splitlines()) == 1 + 2
    steps: list[tuple[int, int]] = []
    resumed = fit(
        Tiny(),
        SPEC,
        open_dataset(str(shades)),
        RECIPE,
        broken,
        tell=lambda told: steps.append((told.epoch, told.done)),
    )
    assert steps[0][0] == 3
    assert resumed.best_epoch == unbroken.best_epoch
    for name, tensor in unbroken.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name


def test_a_checkpoint_of_other_options_or_a_damaged_one_is_refused(
    shades: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(str(shades))
    fit(Tiny(), SPEC, dataset, Recipe(epochs=1, batch=8), tmp_path)
    with pytest.raises(BadModel, match="other options"):
        fit(Tiny(), SPEC, dataset, RECIPE, tmp_path)
    other = Tiny()
    torch.nn.init.zeros_(other.get_parameter("layers.5.bias"))
    with pytest.raises(BadModel, match="other options"):
        fit(other, SPEC, dataset, Recipe(epochs=1, batch=8), tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut short")
    with pytest.raises(BadModel, match="not a checkpoint that can be resumed"):
        fit(Tiny(), SPEC, dataset, RECIPE, tmp_path)


def test_a_hostile_checkpoint_runs_nothing(shades: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save({"schema": 1, "run": Hostile()}, tmp_path / "checkpoint.pt")
    with pytest.raises(BadModel):
        fit(Tiny(), SPEC, open_dataset(str(shades)), RECIPE, tmp_path)
    assert not (tmp_path / "owned").exists()


def test_a_diverging_run_stops_with_a_remedy(shades: Path, tmp_path: Path) -> None:
    recipe = Recipe(optimiser="sgd", learning_rate=1e38, epochs=2, batch=8, warmup=0)
    with pytest.raises(EdgekitError, match="smaller learning rate"):
        fit(Tiny(), SPEC, open_dataset(str(shades)), recipe, tmp_path)


def test_without_labels_there_is_nothing_to_train(shades: Path, tmp_path: Path) -> None:
    spec = ModelSpec(INPUT, (OutputSpec("colour", "classification", ("dark", "light")),))
    with pytest.raises(BadData, match="no training image of shades has a label 'colour'"):
        fit(Tiny(), spec, open_dataset(str(shades)), RECIPE, tmp_path)


def test_an_epoch_leaves_out_images_without_any_label(shades: Path, tmp_path: Path) -> None:
    told: list[Told] = []
    fit(Tiny(), SPEC, open_dataset(str(shades)), RECIPE, tmp_path, tell=told.append)
    assert {one.images for one in told} == {36}  # 4 of the 40 on the train side have no label
    assert [one.done for one in told if one.epoch == 2] == [8, 16, 24, 32, 36]


# Losses and targets


def test_unlabelled_images_give_no_gradient() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    targets = torch.eye(4)[[0, 1, 2]]
    loss = masked_cross_entropy(logits, targets, torch.tensor([1.0, 0.0, 1.0]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[1].any() and logits.grad[0].any()
    labelled = torch.nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([0, 2]))
    torch.testing.assert_close(loss, labelled)


def test_a_batch_without_labels_has_no_loss() -> None:
    values = torch.randn(2, 1, requires_grad=True)
    loss = masked_squared_error(values, torch.zeros(2, 1), torch.zeros(2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0 and values.grad is not None and not values.grad.any()


def sample(age: int, years: float | None = None) -> Sample:
    return Sample(name="", sha256="", labels={"age": age}, years=years)


AGE = OutputSpec("age", "classification", ADIENCE_AGE_LABELS)


def test_an_age_between_two_groups_is_shared_by_them() -> None:
    chances = age_distribution(3.0, 0.06)
    assert sum(chances) == pytest.approx(1)
    assert chances[0] == pytest.approx(chances[1], abs=1e-3)
    assert max(age_distribution(28.0, 0.06)) == age_distribution(28.0, 0.06)[4] > 0.9


def test_soft_targets_take_in_ages_between_the_groups() -> None:
    samples = [sample(4, 28.0), sample(-1, 22.0), sample(-1), sample(4)]
    hard, hard_weights = class_targets(samples, AGE, Recipe())
    soft, soft_weights = class_targets(samples, AGE, Recipe(age_softness=0.06, between_weight=0.5))
    assert hard_weights.tolist() == [1, 0, 0, 1]
    assert soft_weights.tolist() == [1, 0.5, 0, 1]
    assert hard[0, 4] == soft[3, 4] == 1 > soft[0, 4]
    values, _ = scale_targets(samples, AGE, Recipe(age_softness=0.06, between_weight=0.5))
    assert values[0, 0] == values[3, 0] == 4
    assert 3 < values[1, 0] < 4


def test_balance_weighs_rare_classes_more_and_keeps_the_mean() -> None:
    samples = [sample(4)] * 9 + [sample(0)]
    _, weights = class_targets(samples, AGE, Recipe(balance=1.0))
    assert weights[9] == pytest.approx(9 * weights[0])
    assert weights.mean() == pytest.approx(1)


def test_regression_decides_by_rounding_half_up_and_clipping() -> None:
    spec = ModelSpec(INPUT, (OutputSpec("age", "regression", ADIENCE_AGE_LABELS),))
    values = torch.tensor([[-3.0], [0.49], [0.5], [2.5], [6.6], [99.0]])
    assert decisions({"age": values}, spec)["age"].tolist() == [0, 0, 1, 3, 7, 7]


# Augmentation

STILL = Augmentation(mirror=False, shift=0.0)


def test_no_augmentation_leaves_the_evaluated_pixels() -> None:
    pixels = torch.randint(0, 256, (3, 20, 20, 3), dtype=torch.uint8)
    spec = InputSpec(16, 16, resize_to=20)
    torch.testing.assert_close(augment(pixels, spec, STILL), plain(pixels, spec), atol=1e-3, rtol=0)


def test_mirroring_mirrors_some_and_shifting_moves() -> None:
    pixels = torch.randint(0, 256, (32, 16, 16, 3), dtype=torch.uint8)
    straight = plain(pixels, INPUT)
    mirrored = augment(pixels, INPUT, Augmentation(shift=0.0))
    flipped = (mirrored - straight.flip(3)).abs().amax((1, 2, 3)) < 1e-3
    kept = (mirrored - straight).abs().amax((1, 2, 3)) < 1e-3
    assert flipped.any() and kept.any() and bool((flipped | kept).all())


def test_every_change_stays_in_range_and_differs_per_image() -> None:
    how = Augmentation(
        mirror=True,
        zoom=0.2,
        wider=0.5,
        stretch=0.1,
        shift=0.1,
        rotate=20,
        light=0.5,
        contrast=0.5,
        colour=0.5,
        grey=0.2,
        erase=1.0,
        blur=0.5,
        coarse=0.5,
        jpeg=0.5,
    )
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8).repeat(8, 1, 1, 1)
    changed = augment(pixels, INPUT, how)
    assert changed.min() >= 0 and changed.max() <= 255
    assert len({image.sum().item() for image in changed}) == 8


@pytest.mark.parametrize("change", ["blur", "coarse", "jpeg"])
def test_what_loses_detail_changes_its_share_of_the_images_and_keeps_the_mean(change: str) -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (64, 16, 16, 3), dtype=torch.uint8)
    lossy = augment(pixels, INPUT, msgspec.convert(asdict(STILL) | {change: 0.5}, Augmentation))
    straight = plain(pixels, INPUT)
    changed = (lossy - straight).abs().amax((1, 2, 3)) > 1
    assert 0.3 < changed.float().mean() < 0.7
    before, after = straight[changed], lossy[changed]
    assert (before.mean((1, 2, 3)) - after.mean((1, 2, 3))).abs().max() < 10
    assert after.std() < 0.95 * before.std()  # noise is detail, and that is what is lost


def test_a_grey_network_can_lose_detail_too() -> None:
    spec = InputSpec(16, 16, mean=(0.0,), std=(255.0,), colour="GREY")
    pixels = torch.randint(0, 256, (4, 16, 16, 1), dtype=torch.uint8)
    lossy = augment(pixels, spec, replace(STILL, blur=1.0, coarse=1.0, jpeg=1.0))
    assert lossy.shape == (4, 1, 16, 16) and bool(torch.isfinite(lossy).all())


def test_wider_frames_show_more_than_the_picture_and_never_less() -> None:
    pixels = torch.full((64, 16, 16, 3), 255, dtype=torch.uint8)
    pixels[:, 4:12, 4:12] = 0  # a dark square: the wider the frame, the smaller it is in it
    dark = (augment(pixels, INPUT, replace(STILL, wider=0.5)) < 128).float().mean((1, 2, 3))
    assert dark.min() < 0.15 and 0.2 < dark.max() <= 0.26


def test_blue_first_networks_get_blue_first() -> None:
    images = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1)
    spec = InputSpec(1, 1, mean=(1, 2, 3), std=(1, 1, 1), colour="BGR")
    assert normalise(images, spec).flatten().tolist() == [29, 18, 7]


# Recipes


PAGE_FAULTS = """
import resource, sys
import torch
from edgekit.training.kernels import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
faults = [0] * 32
for step in range(32):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(64, 2**20, dtype=torch.uint8).fill_(1)
    faults[step] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# glibc sets up to seven freed blocks of each small size aside, and each may lie in the way of a
# large one: how many steps take new memory is the heap's, 2 to 15 in 300 processes of unlike heaps.
print(*faults[24:])
"""


def test_memory_that_a_step_frees_is_there_for_the_next() -> None:
    def faults(way: str) -> list[int]:
        done = subprocess.run(
            [sys.executable, "-c", PAGE_FAULTS, way], capture_output=True, text=True, check=True
        )
        return [int(count) for count in done.stdout.split()]

    assert max(faults("keep")) < 100 < min(faults("as it is"))


class Joint(nn.Module):
    """A trunk that passes one pixel's brightness on to regression heads."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = JointHeads(1, "regression")
        with torch.no_grad():
            # Brightness 0 to 1 answers ages from 1 to 6, where the classes go from 0 to 7.
            self.heads.age.weight.fill_(5.0)
            self.heads.age.bias.fill_(1.0)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answers: tuple[torch.Tensor, torch.Tensor] = self.heads(image[:, :1, 0, 0])
        return answers


def test_a_regression_ends_on_the_scale_of_its_decisions() -> None:
    age = OutputSpec("age", "regression", ADIENCE_AGE_LABELS)
    gender = OutputSpec("gender", "regression", ("male", "female"))
    spec = ModelSpec(InputSpec(2, 2, mean=(0.0,) * 3, std=(255.0,) * 3), (age, gender))
    classes = np.repeat(np.arange(8), 5)
    samples = tuple(
        Sample(name=f"{i}", sha256="", labels={"age": int(c), "gender": i % 2})
        for i, c in enumerate(classes)
    )
    dataset = Dataset(
        name="d",
        protocol="",
        labels={"age": age.labels},
        samples=samples,
        store=FolderStore(Path()),
        decisions=Decisions(),
    )
    pixels = np.zeros((len(classes), 2, 2, 3), np.uint8) + (classes * 36)[:, None, None, None]
    images = Decoded(dataset, pixels.astype(np.uint8), ())
    network = Joint().eval()
    before = predict(network, spec, images.pixels)["age"]
    assert validate(network, spec, images)["age"] < 60
    refit_scales(network, spec, images)
    assert validate(network, spec, images)["age"] == 100
    after = predict(network, spec, images.pixels)["age"]
    slope = (after[-1] - after[0]) / (before[-1] - before[0])
    assert 1.2 < slope <= 1.5
    scale, _ = best_scale(after, dataset, age)
    assert scale == pytest.approx(1.0, abs=0.15), "what fits already hardly moves"


def test_recipes_change_by_field() -> None:
    recipe = adjusted("strong", ["epochs=3", "augmentation.zoom=0.2", "bfloat16=false"])
    assert (recipe.epochs, recipe.augmentation.zoom, recipe.bfloat16) == (3, 0.2, False)
    assert recipe.age_softness == adjusted("strong", []).age_softness
    paper = adjusted(default_recipe("multitask-cnn"), [])
    assert (paper.optimiser, paper.learning_rate, paper.batch) == ("adam", 1e-3, 32)
    assert default_recipe("adiencenet") == "levi-hassner"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("storng", "epochs=1"),
        ("paper", "epoch=1"),
        ("paper", "epochs"),
        ("paper", "epochs=0"),
        ("paper", "epochs=many"),
        ("paper", "augmentation.zoom=2"),
        ("paper", "augmentation.a.b=2"),
        ("paper", "schedule=linear"),
    ],
)
def test_wrong_recipes_are_refused(name: str, change: str) -> None:
    with pytest.raises(BadData):
        adjusted(name, [change])


def test_schedules() -> None:
    cosine = Recipe(epochs=10, warmup=2)
    assert schedule(cosine, 0) < 0.01 < schedule(cosine, 1) < schedule(cosine, 2) == 1
    assert schedule(cosine, 10) == pytest.approx(0)
    step = Recipe(epochs=9, warmup=0, schedule="step")
    assert [schedule(step, epoch) for epoch in (0, 3, 6, 9)] == pytest.approx([1, 0.1, 0.01, 0.01])


# Whole runs


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(40):
        level = 60 if index % 2 else 190
        name = f"{28 if index % 2 else 65}_{index % 2}_0_2017{index:013d}.jpg"
        (folder / name).write_bytes(jpeg(level, index, 70))
    return folder


def test_a_run_writes_weights_card_and_result(faces: Path, tmp_path: Path) -> None:
    options = TrainOptions(
        model="multitask-cnn:regression",
        data=str(faces),
        output=tmp_path / "run",
        plan=SplitPlan(protocol="random"),
        changes=("epochs=1", "batch=16"),
        threads=1,
    )
    result = train(options)
    saved = msgspec.json.decode((options.output / "result.json").read_bytes(), type=TrainResult)
    assert saved == result
    assert result.command == (
        "edgekit train multitask-cnn:regression --data faces --protocol random --recipe paper "
        "--set epochs=1 --set batch=16 --seed 0 --threads 1"
    )
    assert result.parameters == 867_074
    assert {score.output for score in result.test.scores} == {"age", "gender"}
    card = (options.output / "multitask-cnn.regression.md").read_text()
    assert "non-commercial research only" in card and "must not be used" in card
    weights = load_file(options.output / "multitask-cnn.regression.safetensors")
    assert weights["heads.age.weight"].shape == (1, 512)
    (record,), problems = load_accuracy(options.output)
    assert (record.backend, record.age_accuracy) == ("torch", result.test.scores[0].exact.percent)
    assert problems  # result.json is no accuracy record
    assert train(options) == result  # nothing left to train: the same result again


def test_a_run_begins_from_the_tensors_it_shares(faces: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_file({"nothing.alike": torch.zeros(1)}, start)
    options = TrainOptions(
        model="multitask-cnn", data=str(faces), output=tmp_path / "run", start=start, threads=1
    )
    with pytest.raises(BadModel, match="no tensor in common"):
        train(options)
    start.write_bytes(b"cut")
    with pytest.raises(BadModel, match="not a safetensors file"):
        train(options)


def test_an_extreme_learning_machine_is_fitted_to_given_features(
    faces: Path, tmp_path: Path
) -> None:
    options = TrainOptions(
        model="cnn-elm:gender", data=str(faces), output=tmp_path / "run", threads=1
    )
    with pytest.raises(BadModel, match="--from"):
        train(options)
    start = tmp_path / "adiencenet.gender.safetensors"
    network = zoo.build("adiencenet", "gender")
    with torch.no_grad():  # a light picture must move features that start as good as equal
        network.get_parameter("features.fc6.weight").mul_(50)
    save_weights(network, start, {})
    result = train(replace(options, start=start))
    assert "--from adiencenet.gender.safetensors" in result.command
    assert result.test.scores[0].exact.percent == 100.0
    weights = load_file(tmp_path / "run" / "cnn-elm.gender.safetensors")
    given = network.state_dict()["features.conv1.weight"]
    assert torch.equal(weights["features.conv1.weight"], given)
    card = (tmp_path / "run" / "cnn-elm.gender.md").read_text()
    assert "solved in closed form" in card and "epochs from" not in card


def test_all_folds_are_runs_of_their_own(tmp_path: Path) -> None:
    runs = fold_runs(TrainOptions(model="multitask-cnn", data="adience", output=tmp_path), range(5))
    assert [run.output.name for run in runs] == [f"fold-{fold}" for fold in range(5)]
    assert "--protocol folds --fold 4" in runs[4].command()


def test_folds_are_summed_up_by_mean_and_deviation(faces: Path, tmp_path: Path) -> None:
    options = TrainOptions(
        model="multitask-cnn",
        data=str(faces),
        output=tmp_path,
        changes=("epochs=1", "batch=16"),
        threads=1,
    )
    plans = [SplitPlan(protocol="random", seed=seed) for seed in (1, 2)]
    runs = [train(replace(options, plan=plan, output=tmp_path / str(plan.seed))) for plan in plans]
    age, _ = across_folds(runs)
    one, other = (run.test.scores[0].exact.percent for run in runs)
    assert (age.output, age.folds) == ("age", 2)
    assert age.mean == pytest.approx((one + other) / 2)
    assert age.deviation == pytest.approx(abs(one - other) / 2**0.5)


# Teachers, devices, patience


def teacher(tmp_path: Path, right: bool) -> Path:
    """Weights that answer every image alike: the sixth age group, and a gender by `right`."""
    network = zoo.build("multitask-cnn", "classification")
    with torch.no_grad():
        for head, index in (("age", 5), ("gender", int(right))):
            network.get_parameter(f"heads.{head}.weight").zero_()
            network.get_parameter(f"heads.{head}.bias").zero_()[index] = 20.0
    path = tmp_path / f"{right}.safetensors"
    save_weights(network, path, {"model": "multitask-cnn", "variant": "classification"})
    return path


def test_teachers_answers_are_their_mean_and_are_kept(faces: Path, tmp_path: Path) -> None:
    spec = zoo.spec("multitask-cnn", "classification")
    train_side = open_dataset(str(faces), SplitPlan(protocol="random")).split("train")
    teachers = [teacher(tmp_path, True), teacher(tmp_path, False)]
    first = lessons_of(teachers, spec, train_side, Recipe(), workers=1)
    assert first["age"].shape == (len(train_side.samples), 8)
    assert first["age"][:, 5] == pytest.approx(1.0, abs=1e-4)
    assert first["gender"] == pytest.approx(0.5, abs=1e-4)
    kept = list((tmp_path / "cache" / "edgekit" / "lessons").iterdir())
    assert len(kept) == 2
    again = lessons_of(teachers, spec, train_side, Recipe(), workers=1)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_targets_are_shared_by_labels_and_teachers() -> None:
    labels = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    lesson = np.array([[0.5, 0.5], [0.0, 1.0], [0.2, 0.8]], np.float32)
    targets, weights = mixed(labels, np.array([2, 1, 0], np.float32), lesson, 0.4)
    assert targets == pytest.approx(np.array([[0.8, 0.2], [0, 1], [0.2, 0.8]]))
    assert weights == pytest.approx(np.array([2, 1, 0.4]))  # the last has no label of its own


def test_a_network_learns_from_its_teacher_what_no_label_says(faces: Path, tmp_path: Path) -> None:
    options = TrainOptions(
        model="multitask-cnn",
        data=str(faces),
        output=tmp_path / "run",
        plan=SplitPlan(protocol="random"),
        changes=("epochs=3", "batch=8", "teacher_share=1", "dropout=0"),
        threads=1,
        teachers=(teacher(tmp_path, True),),
        device="cpu",
    )
    result = train(options)
    assert result.teachers == ("True.safetensors",)
    assert "--teacher True.safetensors --seed 0" in result.command
    assert set(result.reframed) == {"age", "gender"}
    network = zoo.build("multitask-cnn", "classification")
    network.load_state_dict(
        load_file(tmp_path / "run" / "multitask-cnn.classification.safetensors")
    )
    age, gender = network(torch.rand(8, 3, 64, 64))
    assert set(age.argmax(1).tolist()) == {5}  # no face here is of that group
    assert set(gender.argmax(1).tolist()) == {1}
    card = (tmp_path / "run" / "multitask-cnn.classification.md").read_text()
    assert "100 % of each target from True.safetensors" in card


def test_a_regressions_target_is_the_mean_of_its_teachers_answers() -> None:
    lesson = np.array([[0, 0.5, 0.5], [1, 0, 0]], np.float32)
    assert points(lesson) == pytest.approx(np.array([[1.5], [0.0]]))
    targets, _ = mixed(
        np.array([[2], [1]], np.float32), np.ones(2, np.float32), points(lesson), 0.5
    )
    assert targets == pytest.approx(np.array([[1.75], [0.5]]))


def test_teachers_that_cannot_teach_are_refused(faces: Path, tmp_path: Path) -> None:
    spec = zoo.spec("multitask-cnn", "classification")
    side = open_dataset(str(faces), SplitPlan(protocol="random")).split("train")
    unsaid = tmp_path / "unsaid.safetensors"
    save_file({"a": torch.zeros(1)}, unsaid)
    (tmp_path / "empty").mkdir()
    regression = tmp_path / "regression.safetensors"
    save_weights(
        zoo.build("multitask-cnn", "regression"),
        regression,
        {"model": "multitask-cnn", "variant": "regression"},
    )
    for path, message in (
        (unsaid, "does not say whose weights"),
        (tmp_path / "empty", "holds 0 weights files"),
        (tmp_path / "gone.safetensors", "no such weights file"),
        (regression, "classifies none of the outputs"),
    ):
        with pytest.raises(BadModel, match=message):
            lessons_of([path], spec, side, Recipe(), workers=1)


def test_a_device_that_is_not_here_is_one_line_and_auto_takes_what_is() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in ("cuda", "mps", "cpu")
    with pytest.raises(UserError, match="choose from auto, cpu, cuda, mps"):
        choose_device("gpu")
    missing = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name in (name for name, there in missing.items() if not there):
        with pytest.raises(UserError, match=f"has no {name}: use --device"):
            choose_device(name)


def test_a_run_ends_when_its_patience_does(shades: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=30, batch=8, patience=2)  # the best score is soon 100 and stays
    trained = fit(Tiny(), SPEC, open_dataset(str(shades)), recipe, tmp_path)
    assert len(trained.history) == trained.best_epoch + 2 < 30
    again = fit(Tiny(), SPEC, open_dataset(str(shades)), recipe, tmp_path)
    assert len(again.history) == len(trained.history)  # what has ended does not go on


def test_a_run_that_stops_has_the_weights_of_that_epoch(shades: Path, tmp_path: Path) -> None:
    dataset = open_dataset(str(shades))
    whole = fit(Tiny(), SPEC, dataset, RECIPE, tmp_path / "whole")
    part = fit(Tiny(), SPEC, dataset, replace(RECIPE, stop=2), tmp_path / "part")
    rates = [[row["rate"] for row in run.history] for run in (whole, part)]
    losses = [[row["loss"] for row in run.history] for run in (whole, part)]
    assert rates[1] == rates[0][:2] and losses[1] == losses[0][:2]


def test_a_recipes_dropout_replaces_the_networks_own() -> None:
    network = zoo.build("multitask-cnn", "classification")
    kept = with_dropout(deepcopy(network), None)
    assert {layer.p for layer in kept.modules() if isinstance(layer, nn.Dropout)} == {0.25}
    none = accelerate(with_dropout(deepcopy(network), 0.0)).train()
    assert not any(isinstance(layer, nn.Dropout) for layer in none.modules())
    assert list(none.state_dict()) == list(network.state_dict())


def test_a_start_may_be_the_file_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brings_weights" / "models").mkdir(parents=True)
    (tmp_path / "brings_weights" / "__init__.py").touch()
    own = zoo.build("multitask-cnn", "classification", 1).state_dict()
    torch.save(own, tmp_path / "brings_weights" / "models" / "w.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    network = zoo.build("multitask-cnn", "classification", 2)
    start = Path("brings_weights/models/w.pth")
    begin_from(network, start)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in own.items())
    options = TrainOptions(model="multitask-cnn", data="d", output=tmp_path, start=start)
    assert "--from brings_weights/models/w.pth" in options.command()
    with pytest.raises(BadModel, match="no such weights file"):
        begin_from(network, Path("brings_nothing/w.pth"))


def test_fast_layers_compute_the_same() -> None:
    network = zoo.build("multitask-cnn", "classification")
    fast = accelerate(deepcopy(network))
    images = torch.randn(2, 3, 64, 64)
    for one, other in zip(network(images), fast(images), strict=True):
        assert torch.equal(one, other)
    assert list(fast.state_dict()) == list(network.state_dict())
    assert sum(type(layer) is ByteDropout for layer in fast.modules()) == 5


@pytest.mark.parametrize("shape", [(40, 500), (8, 5, 21, 20)])
def test_byte_dropout_drops_its_share_and_keeps_the_mean(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    value = torch.ones(shape, requires_grad=True)
    dropped = ByteDropout(0.25).train()(value)
    dropped.sum().backward()
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert value.grad is not None and torch.equal(value.grad, dropped.detach())
    assert torch.equal(ByteDropout(0.25).eval()(value), value)
