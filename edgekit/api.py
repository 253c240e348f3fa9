"""The Python API: one function a command, with the command's names and defaults.

The command line calls these same functions; `edgekit/__init__.py` gives each by its name when it
is first asked for. Paths are strings or `Path`; progress goes to `say`, if one is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edgekit.artifact import Artifact, Precision, find_artifacts
from edgekit.conversion.calibration import DATA_FREE
from edgekit.conversion.parity import INT8_AGREEMENT
from edgekit.conversion.pipeline import Conversion
from edgekit.data.dataset import Side
from edgekit.data.inputs import inputs_of
from edgekit.data.splits import Protocol, SplitPlan
from edgekit.emulation.emulate import IMAGES
from edgekit.errors import BadTarget, UserError, did_you_mean
from edgekit.evaluation.answer import Answer
from edgekit.evaluation.evaluate import Evaluation
from edgekit.measurement.stats import Percentile
from edgekit.paths import RESULTS
from edgekit.progress import Say, silent
from edgekit.records import EmulationRecord, Measurement
from edgekit.results import save
from edgekit.runtimes.table import deployed, role_of
from edgekit.scratch import scratch_folder
from edgekit.targets import HOST, Target, load_target

if TYPE_CHECKING:
    from edgekit.measurement.bench import BenchRequest

Place = str | Path
Artifacts = Place | Artifact | Iterable[Place | Artifact]
"""Folders of artifacts, or artifacts that are loaded already."""

BACKENDS = tuple(dict.fromkeys(item.backend for item in deployed() if item.by_default))
"""What is built where no backend is named."""
IN_PYTHON = "edgekit, in Python"
"""What a record says of its command where no command line was typed."""


def convert(
    source: Place,
    output: Place,
    *,
    backends: Sequence[str] | None = None,
    precisions: Sequence[Precision] | None = None,
    target: str | Target | None = None,
    device: str | None = None,
    best: bool = False,
    calibration: Place = DATA_FREE,
    recipe: str | None = None,
    images: Place | None = None,
    arch: str | None = None,
    weights: Place | None = None,
    part: str | None = None,
    spec: Place | None = None,
    trust: bool = False,
    download: bool = False,
    raw_input: bool = False,
    min_agreement: float = INT8_AGREEMENT,
    max_drop: float | None = None,
    guard: Place | None = None,
    guard_minutes: float = 5.0,
    evaluation: Place | None = None,
    find_subject: bool = False,
    results: Place = RESULTS,
    command: str = IN_PYTHON,
    force: bool = False,
    say: Say = silent,
) -> Conversion:
    """Convert one trained model into artifacts under `output`, each compared with it on images.

    `source` is a zoo name, a checkpoint, a `.pt2`, an `.onnx`, `package.module:factory` or a
    library's network (`timm:NAME`), whose weights are fetched with `download` alone; `spec` a TOML
    file that says what its input and outputs mean; `part` names one of several networks in a
    checkpoint. A `.pt2` that could run code when it is opened is refused unless you `trust` its
    maker. `calibration` is a folder or zip of images for int8, `images` are those that prove
    parity. `min_agreement` is a share, 0 to 1; `max_drop`, in percentage points, guards int8 on the
    data `guard`. With `find_subject` images are photographs, of which the largest face is taken.
    Each artifact that failed is a row with its error.

    With a `target` what that board can run is built, and run there too: on its emulated CPU, or on
    the `device` (ssh://user@host); `best` chooses the fastest that loses at most `max_drop` points
    of accuracy on the labels of `guard` (0.5 where none are said), or of decisions equal to the
    model's where there are no labels (2), and saves under `results` how it chose. Without a target
    BACKENDS are built in fp32 and int8.

    Raises UserError for bad input, before anything is written, and EdgekitError where nothing could
    be made.
    """
    from edgekit.best.convert import BoardRequest, convert_for
    from edgekit.best.plan import adds_in_32_bits, backends_for, has_half, precisions_for
    from edgekit.conversion.guard_images import evaluation_hashes
    from edgekit.conversion.pipeline import ConvertRequest
    from edgekit.conversion.pipeline import convert as run
    from edgekit.conversion.sources import SourceRequest

    if target is None and (best or device is not None):
        raise UserError("--best and --device choose for a board: name it with --target")
    board = None if target is None else _target(target)
    request = ConvertRequest(
        source=SourceRequest(
            locator=str(source),
            arch=arch,
            weights=_text(weights),
            part=part,
            spec=_text(spec),
            trust=trust,
            download=download,
        ),
        backends=backends_for(board, backends) if board else tuple(backends or BACKENDS),
        precisions=tuple(precisions or (precisions_for(board) if board else ("fp32", "int8"))),
        output=Path(output),
        calibration=str(calibration),
        recipe=recipe,
        images=_text(images),
        raw_input=raw_input,
        force=force,
        min_agreement=min_agreement,
        evaluation=evaluation_hashes(str(evaluation)) if evaluation else (),
        max_drop=max_drop if guard or not best else None,
        guard=_text(guard),
        guard_minutes=guard_minutes,
        find_subject=find_subject,
        half=board is not None and has_half(board),
        wide_int8=board is not None and adds_in_32_bits(board),
    )
    if board is None:
        return run(request, say)
    asked = BoardRequest(target=board, device=device, best=best, max_drop=max_drop)
    conversion = convert_for(request, asked, say)
    if best and conversion.board is not None and conversion.board.trials:
        save(conversion.board.choice(command), Path(results))
    return conversion


def bench(
    artifacts: Artifacts,
    *,
    target: str | Target = HOST,
    device: str | None = None,
    images: Place | None = None,
    threads: int = 1,
    cores: Sequence[int] = (),
    rounds: int = 3,
    min_seconds: float = 1.0,
    sustained: float = 0.0,
    percentile: Percentile = "p90",
    runtime: str | None = None,
    results: Place = RESULTS,
    command: str = IN_PYTHON,
    say: Say = silent,
) -> list[Measurement]:
    """Time artifacts on a device and return one measurement each, with every raw sample.

    `artifacts` are folders of them; `device` is `local` or `ssh://user@host`. Each is measured in
    `rounds` fresh processes, at least `min_seconds` long, until `percentile` has its samples;
    with `sustained` rounds go on for so many minutes, and show what heat does (heat_curve.py).
    Every round is saved under `results` at once, and the same call goes on with what is missing.
    A row that failed carries its `error`. Raises BadTarget where the device is not the target, or
    is emulated and has no time (see `emulate`).
    """
    request = bench_request(
        artifacts,
        target=target,
        images=images,
        threads=threads,
        cores=cores,
        rounds=rounds,
        min_seconds=min_seconds,
        sustained=sustained,
        percentile=percentile,
        runtime=runtime,
        results=results,
        command=command,
    )
    return measure_on(request, device, say)


def bench_request(
    artifacts: Artifacts,
    *,
    target: str | Target,
    images: Place | None,
    threads: int,
    cores: Sequence[int],
    rounds: int,
    min_seconds: float,
    sustained: float,
    percentile: Percentile,
    runtime: str | None,
    results: Place,
    command: str,
) -> BenchRequest:
    """Return what `bench` is asked for, its artifacts and images found. Raises UserError."""
    from edgekit.measurement.bench import BenchRequest
    from edgekit.session import entry

    profile, chosen = _target(target), _artifacts(artifacts)
    return BenchRequest(
        entries=tuple(entry(artifact, runtime) for artifact in chosen),
        target=profile,
        images=inputs_of(images, chosen),
        results=Path(results),
        threads=threads,
        cores=tuple(cores),
        rounds=rounds,
        min_seconds=min_seconds,
        percentile=percentile,
        command=command,
        sustained=sustained,
    )


def measure_on(request: BenchRequest, device: str | None, say: Say) -> list[Measurement]:
    """Measure on a device, the target's own where None is given. Raises BadTarget as `bench`."""
    from edgekit.devices import open_device
    from edgekit.measurement.bench import bench as run

    target = request.target
    reached = device or target.default_device
    if reached == "virtual":
        raise BadTarget(
            f"{target.name} is emulated here and an emulator has no time: give --device "
            "ssh://USER@HOST to measure a real one, or call edgekit.emulate for outputs and "
            "instruction counts"
        )
    opened = open_device(reached, target)
    try:
        return run(request, opened, say)
    finally:
        opened.close()


def emulate(
    artifacts: Artifacts,
    *,
    target: str | Target,
    images: Place | None = None,
    runtime: str | None = None,
    results: Place | None = RESULTS,
    command: str = IN_PYTHON,
    say: Say = silent,
) -> tuple[EmulationRecord, ...]:
    """Run artifacts on the emulated CPU of a board that is not here; return what that proves.

    Outputs and instruction counts are exact, and there is no time in a record; one whose artifact
    died there says so in `failure`. The board must be installed (`edgekit device install rpi4`):
    DeviceError otherwise. Records are saved under `results`, None: nowhere.
    """
    from edgekit.emulation.emulate import emulate as run

    chosen = [a for a in _artifacts(artifacts) if role_of(a.manifest.backend) != "reference"]
    pictures = inputs_of(images, chosen)
    with scratch_folder() as scratch:
        files = []
        for index, name in enumerate(pictures.names[:IMAGES]):
            files.append(Path(scratch) / f"{index}{Path(name).suffix}")
            files[-1].write_bytes(pictures.read(name))
        profile = _target(target)
        artifacts_said = f"{len(chosen)} artifact{'s' * (len(chosen) != 1)}"
        images_said = f"{len(files)} image{'s' * (len(files) != 1)}"
        say("emulate", f"{artifacts_said} on {images_said}, on {profile.title}'s CPU")
        records = run(profile, chosen, files, runtime=runtime, command=command)
    say("emulate", "done")
    if results is not None:
        for record in records:
            save(record, Path(results))
    return records


def evaluate(
    artifacts: Artifacts,
    data: Place,
    *,
    split: Side = "test",
    protocol: Protocol | None = None,
    fold: int = 0,
    limit: int | None = None,
    target: str | Target = HOST,
    device: str | None = None,
    runtime: str | None = None,
    workers: int = 2,
    executor: str = "local",
    reframe: bool = False,
    find_subject: bool = False,
    abstain: float | None = None,
    results: Place | None = None,
    command: str = IN_PYTHON,
    say: Say = silent,
) -> tuple[Evaluation, ...]:
    """Score artifacts on labelled images, in the very runtime that will serve them.

    `data` is a folder with `labels.csv` or with one folder a class, COCO's JSON, YOLO's `images`
    and `labels`, `images` and `masks`, an .npz file with labels, an Adience root or a UTKFace zip.
    Boxes are scored by mAP, masks by the mean IoU. `limit` takes so many
    images of the split, drawn by a fixed seed. `executor` says where the work is done: `local`, or
    `dask://HOST:PORT`. `reframe` judges the images a second time, framed otherwise. With
    `find_subject` images are photographs, of which the largest face is judged. `abstain` is a
    confidence, 0 to 1: what withholding less sure answers gains, and costs in coverage. Records are
    saved under `results` (not the reframed ones), None: nowhere. Raises BadData where the labels
    are not the model's.
    """
    from edgekit.evaluation.evaluate import EvaluateRequest, record
    from edgekit.evaluation.evaluate import evaluate as run

    profile = _target(target)
    chosen = [a for a in _artifacts(artifacts) if role_of(a.manifest.backend) == "deployed"]
    _check(Side, "split", split)
    if protocol is not None:
        _check(Protocol, "protocol", protocol)
    request = EvaluateRequest(
        artifacts=tuple(chosen),
        data=str(data),
        target=profile,
        split=split,
        plan=SplitPlan(protocol=protocol, fold=fold),
        limit=limit,
        device=device or profile.default_device,
        runtime=runtime,
        workers=workers,
        executor=executor,
        reframe=reframe,
        find_subject=find_subject,
        abstain=abstain,
    )
    evaluations = run(request, say)
    if results is not None:
        for item in (e for e in evaluations if not e.reframed):
            save(record(item, str(data), command), Path(results))
    return evaluations


def answer(
    images: Place | Iterable[Place],
    artifact: Place | Artifact,
    *,
    runtime: str | None = None,
    whole: bool = False,
    abstain: float | None = None,
    say: Say = silent,
) -> list[Answer]:
    """Return an artifact's answer to each image file: a decision for every output.

    `images` are files, folders of them, or patterns such as `photos/*.jpg`. A model of faces
    answers each face that is found in an image. An image that is missing, cannot be decoded or has
    no face has an answer without outputs, and `fault` says why. With `whole` every image is one
    face, cut out before, and nothing is looked for. Decisions less sure than `abstain`, 0 to 1, are
    withheld. A segmentation's answer says, as `map`, which class is where. Raises BadData where
    none of the images can be answered, MissingPackage without what finds faces.
    """
    from edgekit.artifact import load_artifact
    from edgekit.data.given import files_of
    from edgekit.evaluation.answer import predict_images

    loaded = artifact if isinstance(artifact, Artifact) else load_artifact(Path(artifact))
    files = files_of(_paths(images), samples=bool(loaded.manifest.tensors))
    return predict_images(loaded, files, runtime, whole=whole, abstain=abstain, say=say)


def _artifacts(given: Artifacts) -> list[Artifact]:
    several = [given] if isinstance(given, str | Path | Artifact) else given
    return find_artifacts(i if isinstance(i, Artifact) else Path(i) for i in several)


def _target(given: str | Target) -> Target:
    return given if isinstance(given, Target) else load_target(given)


def _paths(places: Place | Iterable[Place]) -> list[Path]:
    return [Path(places)] if isinstance(places, str | Path) else [Path(place) for place in places]


def _text(place: Place | None) -> str | None:
    return None if place is None else str(place)


def _check(literal: object, kind: str, given: str) -> None:
    """Raise UserError, with the nearest values, where `given` is none of the Literal type's."""
    known = list(get_args(literal))
    if given not in known:
        raise UserError(did_you_mean(kind, given, known))
