"""Datasets: every row and file is used, counted or refused; nothing is dropped in silence."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import UNLABELLED, SplitPlan, open_dataset
from edgekit.data.adience import age_class
from edgekit.data.age_bins import strict_age_class
from edgekit.data.decoded import Frame, decode_all
from edgekit.data.near_duplicates import RADIUS, difference_hash, group_near_duplicates
from edgekit.data.reframe import SIDE, reframe
from edgekit.data.utkface import published_path, published_split
from edgekit.errors import BadData
from edgekit.evaluation.assessment import assess
from edgekit.onboard.runner import MAX_PIXELS, decode

ADIENCE_HEADER = (
    "user_id	original_image	face_id	age	gender	x	y	dx	dy	tilt_ang	"
    "fiducial_yaw_angle	fiducial_score"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def picture(seed: int, size: int = 40) -> Image.Image:
    """A smooth random picture: unlike any other seed's, and like itself at another quality."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def jpeg(seed: int, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def utk_name(index: int, age: int, gender: int) -> str:
    return f"{age}_{gender}_0_2017{index:013d}.jpg.chip.jpg"


@pytest.fixture
def utkface(tmp_path: Path) -> Path:
    """Sixty faces' worth of names on random pictures, as a folder."""
    for index in range(60):
        put(tmp_path / "utk" / utk_name(index, 1 + index, index % 2), jpeg(index))
    return tmp_path / "utk"


@pytest.mark.parametrize(
    ("years", "index"),
    [(0, 0), (2, 0), (3, -1), (4, 1), (12, 2), (13, -1), (20, 3), (24, -1), (25, 4), (59, -1)],
)
def test_ages_map_strictly_to_the_groups(years: int, index: int) -> None:
    assert strict_age_class(years) == index


def test_utkface_reads_the_same_from_a_folder_and_a_zip(utkface: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "utk.zip", "w") as archive:
        for file in utkface.iterdir():
            archive.write(file, f"UTKFace/{file.name}")
    folder, zipped = open_dataset(str(utkface)), open_dataset(str(tmp_path / "utk.zip"))
    assert {s.sha256: (s.split, s.labels) for s in folder.samples} == {
        s.sha256: (s.split, s.labels) for s in zipped.samples
    }
    assert zipped.read(zipped.samples[0]) in {file.read_bytes() for file in utkface.iterdir()}
    assert "random split grouped by look, seed 0" in folder.protocol


def test_utkface_counts_what_it_leaves_out(utkface: Path) -> None:
    put(utkface / "61_1_20170109142408075.jpg.chip.jpg", jpeg(99))  # a field is missing
    put(utkface / utk_name(98, 30, 0), b"not an image")
    dataset = open_dataset(str(utkface))
    counts = dataset.decisions.counts
    assert counts["file left out: not named [age]_[gender]_[race]_[date].jpg"] == 1
    assert counts["image left out: cannot be decoded"] == 1
    assert counts["age outside the eight groups: gender kept, age not scored"] == sum(
        strict_age_class(years) == UNLABELLED for years in range(1, 61)
    )
    assert len(dataset.samples) == 60
    between = next(s for s in dataset.samples if s.years == 22)
    assert between.labels == {"age": UNLABELLED, "gender": 1}
    assert "1  image left out: cannot be decoded (30_0_0_" in "\n".join(dataset.decisions.lines())


def test_near_duplicates_stay_on_one_side(utkface: Path) -> None:
    for index in range(60):  # the same pictures again, saved at another quality, other labels
        put(utkface / utk_name(100 + index, 30, 0), jpeg(index, quality=60))
    sides: dict[str, set[str]] = {}
    for sample in open_dataset(str(utkface)).samples:
        sides.setdefault(sample.group, set()).add(sample.split)
    assert len(sides) == 60
    assert all(len(side) == 1 for side in sides.values())
    assert set().union(*sides.values()) == {"train", "val", "test"}


def test_groups_chain_and_keep_the_rest_apart() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (4, 256)).astype(bool)
    bits[2] = bits[0]
    bits[2, :20] ^= True  # 20 bits from row 0
    bits[3] = bits[2]
    bits[3, 20:40] ^= True  # 20 from row 2, 40 from row 0
    assert group_near_duplicates(bits) == [0, 1, 0, 0]
    assert group_near_duplicates(bits, radius=19) == [0, 1, 2, 3]


def test_the_hash_survives_recompression() -> None:
    distance = (difference_hash(jpeg(3, 95)) != difference_hash(jpeg(3, 40))).sum()
    other = (difference_hash(jpeg(3)) != difference_hash(jpeg(4))).sum()
    assert distance <= RADIUS
    assert other > 60


def test_the_published_split_parts_nothing_and_fills_its_shares() -> None:
    split = published_split()
    sides = [set(split.train), set(split.val), set(split.test)]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 21_088
    assert len(sides[2]) / 21_088 == pytest.approx(0.12, abs=0.001)
    assert all(len(sha256) == 64 for sha256 in split.test)
    scored = Counter(age for age, _ in split.test.values())
    assert all(scored[index] >= 50 for index in range(8))


def test_only_listed_files_take_part_in_the_published_split(
    utkface: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(BadData, match="--protocol random"):
        open_dataset(str(utkface), SplitPlan(protocol="published"))
    monkeypatch.setattr("edgekit.data.utkface.published_path", lambda: tmp_path / "split.json")
    with pytest.raises(BadData, match="no protocol 'folds'"):
        open_dataset(str(utkface), SplitPlan(protocol="folds"))
    assert published_path().name == "utkface-split.json"


def test_a_split_depends_on_the_seed_alone(utkface: Path) -> None:
    def sides(seed: int) -> dict[str, str]:
        dataset = open_dataset(str(utkface), SplitPlan(protocol="random", seed=seed))
        return {sample.sha256: sample.split for sample in dataset.samples}

    assert sides(1) == sides(1)
    assert sides(1) != sides(2)


# Adience


@pytest.fixture
def adience(tmp_path: Path) -> Path:
    """Five folds of two users with four images each, in Adience's layout, and some damage."""
    root = tmp_path / "AdienceBenchmark"
    ages = ["(0, 2)", "(25, 32)", "35", "(60, 100)", "(38, 42)", "(38, 48)", "None", "2"]
    for fold in range(5):
        lines = [ADIENCE_HEADER]
        for user in range(2):
            for image in range(4):
                name, face = f"{fold}{user}{image}_o.jpg", 100 * fold + image
                age, gender = ages[4 * user + image], "mfu"[image % 3]
                row = [f"{fold}{user}@N01", name, str(face), age, gender, *["0"] * 7]
                lines.append("\t".join(row))
                for folder, prefix in (
                    ("aligned", "landmark_aligned_face"),
                    ("faces", "coarse_tilt_aligned_face"),
                ):
                    path = root / folder / row[0] / f"{prefix}.{face}.{name}"
                    put(path, jpeg(1000 * fold + 10 * user + image))
        if fold == 0:
            lines.append("broken row without tabs")
            lines.append(lines[1])  # listed twice
            lines.append("\t".join(["00@N01", "gone.jpg", "9", "(4, 6)", "f", *["0"] * 7]))
            lines.append("\t".join(["../../x", "evil.jpg", "9", "(4, 6)", "f", *["0"] * 7]))
        put(root / f"fold_{fold}_data.txt", "\n".join(lines).encode())
        put(root / f"fold_frontal_{fold}_data.txt", "\n".join(lines[:2]).encode())
    return root


def test_adience_folds_share_no_user(adience: Path) -> None:
    dataset = open_dataset(str(adience), SplitPlan(protocol="folds", fold=3))
    users = {side: {s.group for s in dataset.split(side).samples} for side in ("train", "test")}
    assert users["test"] == {"30@N01", "31@N01"}
    assert not users["test"] & users["train"]
    assert "official fold 3" in dataset.protocol


def test_adience_counts_every_decision(adience: Path) -> None:
    dataset = open_dataset(str(adience))
    counts = dataset.decisions.counts
    assert counts["row left out: damaged"] == 1
    assert counts["row left out: its image is listed already"] == 1
    assert counts["image left out: missing or unreadable"] == 2
    assert counts["age '(38, 42)' taken for 38-43"] == 5
    assert counts["age '(38, 48)' is in none of the groups: unlabelled"] == 5
    assert counts["age 'None' is no age: unlabelled"] == 5
    assert counts["age '35' is in none of the groups: unlabelled"] == 5
    assert counts["gender 'u' is neither m nor f: unlabelled"] == 10
    # Image 2 of each user has gender u; the first user's has age 35, the second's None.
    assert counts["row left out: neither age nor gender"] == 10
    assert len(dataset.samples) == 5 * 6
    masked = next(s for s in dataset.samples if s.labels["age"] == UNLABELLED)
    assert masked.labels["gender"] in (0, 1)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("(8, 12)", 2),
        ("(60, 100)", 7),
        ("(27, 32)", 4),
        ("2", 0),
        ("13", -1),
        ("(25 23)", -1),
        ("(8, 23)", -1),
        ("", -1),
    ],
)
def test_adience_ages(text: str, index: int) -> None:
    assert age_class(text)[0] == index


def test_adience_images_and_subsets(adience: Path) -> None:
    faces = open_dataset(str(adience), images="faces")
    assert all("/coarse_tilt_aligned_face." in f"/{s.name}" for s in faces.samples)
    frontal = open_dataset(str(adience), SplitPlan(protocol="folds", fold=0), frontal=True)
    assert len(frontal.samples) == 5
    mixed = open_dataset(str(adience), SplitPlan(protocol="random", seed=1))
    assert "subjects on both sides" in mixed.protocol
    with pytest.raises(BadData, match=r"no fold 7 \(folds here: 0, 1, 2, 3, 4\)"):
        open_dataset(str(adience), SplitPlan(protocol="folds", fold=7))


# Labelled folders


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    rows = ["file,colour,split,group"]
    for index in range(6):
        put(tmp_path / "flowers" / f"{index}.jpg", jpeg(index))
        side = ["train", "val", "test"][index % 3]
        rows.append(f"{index}.jpg,{['red', 'blue', ''][index % 3]},{side},g{index}")
    rows.append("nowhere.jpg,red,train,g")
    rows.append("../outside.jpg,red,train,g")
    put(tmp_path / "outside.jpg", jpeg(77))
    put(tmp_path / "flowers" / "labels.csv", "\n".join(rows).encode())
    return tmp_path / "flowers"


def test_a_labelled_folder_has_any_labels(flowers: Path) -> None:
    dataset = open_dataset(str(flowers))
    assert dataset.labels == {"colour": ("blue", "red")}
    assert [s.labels["colour"] for s in dataset.samples] == [1, 0, -1, 1, 0, -1]
    assert len(dataset.split("val").samples) == 2
    assert dataset.decisions.counts["no label for colour"] == 2
    assert dataset.decisions.counts["image left out: missing or unreadable"] == 2
    assert dataset.protocol == "flowers, its own split"


def test_a_label_outside_the_classes_is_an_error_with_the_nearest(flowers: Path) -> None:
    with pytest.raises(
        BadData, match=r"1\.jpg: 'blue' is no class of colour\. Did you mean 'blur'"
    ) as e:
        open_dataset(str(flowers), labels={"colour": ("red", "green", "blur")})
    assert "The classes are red, green, blur" in str(e.value)


def test_face_columns_take_groups_and_years(tmp_path: Path) -> None:
    for index in range(3):
        put(tmp_path / "d" / f"{index}.jpg", jpeg(index))
    put(
        tmp_path / "d" / "labels.csv",
        b"file,age,gender\n0.jpg,25-32,female\n1.jpg,22,male\n2.jpg,61,\n",
    )
    dataset = open_dataset(str(tmp_path / "d"), SplitPlan(protocol="random"))
    found = {s.name: (s.labels["age"], s.labels["gender"], s.years) for s in dataset.samples}
    assert found == {"0.jpg": (4, 1, None), "1.jpg": (-1, 0, 22.0), "2.jpg": (7, -1, 61.0)}


@pytest.mark.parametrize(
    "content",
    [
        b"file\n0.jpg\n",
        b"image,label\n",
        b"\xff\xfe",
        b'file,age\n"0.jpg,1',
        b"",
        b"file,age\n0.jpg,1,2\n",
    ],
)
def test_a_bad_labels_file_is_refused(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "d" / "labels.csv", content)
    with pytest.raises(BadData):
        open_dataset(str(tmp_path / "d"))


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "d" / "readme.txt", b"hello")
    put(tmp_path / "cut.zip", b"PK\x03\x04 cut short")
    with pytest.raises(BadData, match="not a dataset that edgekit knows"):
        open_dataset(str(tmp_path / "d"))
    with pytest.raises(BadData, match="no folder and no readable zip"):
        open_dataset(str(tmp_path / "cut.zip"))
    with pytest.raises(BadData, match="no such folder"):
        open_dataset(str(tmp_path / "nothing"))


# Decoded pixels


def test_decoded_pixels_are_the_runners_and_are_kept(utkface: Path) -> None:
    dataset = open_dataset(str(utkface)).split("test")
    first = decode_all(dataset, Frame(height=16, width=24))
    expected = [decode(dataset.read(sample), 16, 24) for sample in dataset.samples]
    np.testing.assert_array_equal(first.pixels, expected)
    for file in utkface.iterdir():
        file.unlink()
    np.testing.assert_array_equal(decode_all(dataset, Frame(height=16, width=24)).pixels, expected)


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it holds more pixels than the limit."""
    buffer = io.BytesIO()
    side = int((MAX_PIXELS + 1) ** 0.5) + 1
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def test_broken_images_and_bombs_are_listed_not_decoded(flowers: Path) -> None:
    put(flowers / "1.jpg", jpeg(1)[:200])
    put(flowers / "2.jpg", bomb())
    decoded = decode_all(open_dataset(str(flowers)), Frame(height=8, width=8))
    assert decoded.broken == ("1.jpg", "2.jpg")
    again = decode_all(decoded.dataset, Frame(height=8, width=8)).dataset.decisions
    assert again.files["image left out: cannot be decoded"] == ["1.jpg", "2.jpg"]
    assert [s.name for s in decoded.samples] == ["0.jpg", "3.jpg", "4.jpg", "5.jpg"]
    np.testing.assert_array_equal(decoded.pixels[1], decode(jpeg(3), 8, 8))


def test_reframed_pictures_show_more_or_less_and_keep_their_labels(utkface: Path) -> None:
    dataset = open_dataset(str(utkface)).split("train")
    moved = reframe(dataset)
    assert [s.labels for s in moved.samples] == [s.labels for s in dataset.samples]
    sides = []
    for sample in moved.samples:
        with Image.open(io.BytesIO(moved.read(sample))) as image:
            sides.append(image.width / SIDE)
            assert image.width == pytest.approx(image.height, abs=1)
    assert 0.79 <= min(sides) < 0.9 and 1.3 < max(sides) <= 1.51
    first = decode_all(moved, Frame(height=16, width=16)).pixels
    assert (first != decode_all(dataset, Frame(height=16, width=16)).pixels).any((1, 2, 3)).all()
    few = replace(dataset, samples=dataset.samples[5:8])
    again = decode_all(reframe(few), Frame(height=16, width=16)).pixels
    np.testing.assert_array_equal(again, first[5:8])  # the draw is the picture's own


def test_a_reframed_frame_is_cut_from_the_picture_and_its_edges(tmp_path: Path) -> None:
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    picture.paste("black", (64, 64, 192, 192))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    put(tmp_path / "squares" / "0.png", buffer.getvalue())
    put(tmp_path / "squares" / "labels.csv", b"file,shape\n0.png,square\n")
    moved = reframe(open_dataset(str(tmp_path / "squares")))
    with Image.open(io.BytesIO(moved.read(moved.samples[0]))) as image:
        pixels = np.asarray(image)
    assert set(np.unique(pixels)) == {0, 255}  # nothing is drawn that is not in the picture
    assert (pixels == 0).all(2).any(0).sum() == (pixels == 0).all(2).any(1).sum() == 128


def test_a_broken_picture_stays_broken_when_reframed(flowers: Path) -> None:
    put(flowers / "1.jpg", jpeg(1)[:200])
    assert (
        len(decode_all(reframe(open_dataset(str(flowers))), Frame(height=8, width=8)).broken) == 1
    )


# Scores


def test_an_assessment_counts_only_what_is_labelled(flowers: Path) -> None:
    dataset = open_dataset(str(flowers))
    result = assess(dataset, {"colour": [1, 1, 1, 1, 0, 0]})
    (colour,) = result.scores
    assert (colour.exact.count, colour.exact.percent) == (4, 75.0)
    assert [row.recall for row in colour.classes] == [50.0, 100.0]
    assert colour.confusion == ((1, 1), (0, 2))
    assert colour.lowest_recall == 50.0
    assert colour.exact.low < 75 < colour.exact.high
    assert result.joint is None


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[Path]:
    lines = ["file,age,gender"]
    for index, (age, gender) in enumerate(
        [("0-2", "male"), ("4-6", "female"), ("25-32", "male"), ("60-100", "")]
    ):
        put(tmp_path / "faces" / f"{index}.jpg", jpeg(index))
        lines.append(f"{index}.jpg,{age},{gender}")
    put(tmp_path / "faces" / "labels.csv", "\n".join(lines).encode())
    yield tmp_path / "faces"


def test_one_off_gaps_and_joint_accuracy(faces: Path) -> None:
    dataset = open_dataset(str(faces), SplitPlan(protocol="random"))
    answers = {"0.jpg": (1, 0), "1.jpg": (1, 0), "2.jpg": (4, 0), "3.jpg": (4, 1)}
    age, gender = zip(*(answers[s.name] for s in dataset.samples), strict=True)
    result = assess(dataset, {"age": age, "gender": gender})
    ages, genders = result.scores
    assert (ages.exact.percent, ages.error) == (50.0, 1.0)
    assert ages.one_off is not None and ages.one_off.percent == 75.0
    assert genders.one_off is None and genders.exact.count == 3
    assert result.joint == pytest.approx(100 / 3)
    by_gender = next(gap for gap in result.gaps if (gap.output, gap.by) == ("age", "gender"))
    assert {name: share.percent for name, share in by_gender.groups.items()} == {
        "male": 50.0,
        "female": 100.0,
    }
    assert by_gender.points == 50.0
