"""An artifact: one model of one backend and precision in a folder, and the manifest that proves it.

OUT/<backend>-<precision>/manifest.json
OUT/<backend>-<precision>/model.onnx | model.tflite | model.xml + model.bin
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from edgekit.errors import BadArtifact
from edgekit.files import sha256, write_whole
from edgekit.json_files import Damaged, read_json
from edgekit.spec import InputSpec, OutputSpec, TensorSpec

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 32 * 2**20
# 1: the first.
SCHEMA = 1

Precision = Literal["fp32", "fp16", "fp16-compute", "int8", "int8-dynamic"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "fp16-compute", "int8", "int8-dynamic")
"""`fp16` stores the weights in half precision and computes in float32. `fp16-compute` computes in
half precision too, where the CPU has it; a board has proven it. `int8` has int8 weights and
activations, whose ranges calibration found; `int8-dynamic` has int8 weights, and finds the range of
each layer's input anew at every inference, with no calibration."""
Grain = Literal["fp32", "fp16", "half", "int8"]


def grain(precision: Precision) -> Grain:
    """Return how coarse the numbers of a precision are: what its answers are held to."""
    coarse: dict[Precision, Grain] = {"fp16-compute": "half", "int8-dynamic": "int8"}
    return coarse.get(precision, precision)  # type: ignore[arg-type]


Feed = Literal["uint8", "int8", "float32"]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of an artifact, by name, hash and size."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRecord:
    """Where the model came from.

    `weights`: `trained` (shipped with the zoo), `random` (drawn from a seed; fine for latency,
    meaningless for accuracy) or `given` (the user's own). `notes`: what was taken of a checkpoint
    that holds more than one state dict, or names it otherwise than the network.
    """

    kind: str
    locator: str
    sha256: str
    parameters: int
    macs: int | None
    weights: Literal["trained", "random", "given"]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationRecord:
    """What an int8 artifact was calibrated on: the recipe and the hash of every sample used."""

    recipe: str
    method: str
    seed: int
    data_free: bool
    samples: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputParity:
    """How far one output is from the torch model's over the parity images.

    Distances are absolute, in the output's own unit. `agreement` is the share of images with the
    same decision, 0 to 1, or None for an output that makes none; `ties` counts the changed ones
    whose classes the model itself nearly ties, which do not count against int8; None where that was
    not asked. `equal` is the share of equal values of an output of integers or booleans.
    `relative` is the root mean square of a plain tensor's difference as a share of its own spread,
    of the worst slice along any axis. `allowed` is the largest `max_abs_diff` that would have
    passed, where that was judged. `score` is the value of `metric`, for kinds that are judged by
    one (cosine, PSNR, ...).
    """

    name: str
    max_abs_diff: float
    mean_abs_diff: float
    agreement: float | None
    equal: float | None = None
    relative: float | None = None
    allowed: float | None = None
    metric: str | None = None
    score: float | None = None
    ties: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityRecord:
    """The proof that an artifact computes what the model computes, and the bar it had to pass.

    `faults` says what did not pass; `doubts`, what these images cannot prove.
    """

    images: tuple[str, ...]
    outputs: tuple[OutputParity, ...]
    bar: str
    passed: bool
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def max_abs_diff(self) -> float:
        """The largest distance of any output."""
        return max(output.max_abs_diff for output in self.outputs)

    @property
    def agreement(self) -> float | None:
        """The smallest agreement of any output that decides, or share of equal integers."""
        shares = (share for output in self.outputs for share in (output.agreement, output.equal))
        return min((share for share in shares if share is not None), default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything a stranger needs to run an artifact and to trust it."""

    model: str
    backend: str
    precision: Precision
    files: tuple[FileRecord, ...]
    source: SourceRecord
    input: InputSpec | None
    feed: Feed
    outputs: tuple[OutputSpec, ...]
    calibration: CalibrationRecord | None
    tools: dict[str, str]
    parity: ParityRecord
    notes: tuple[str, ...] = ()
    tensors: tuple[TensorSpec, ...] = ()
    order: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def image(self) -> InputSpec:
        """Its one input, an image. Raises BadArtifact where it takes anything else."""
        if self.input is None or self.tensors:
            names = ", ".join(f"'{tensor.name}'" for tensor in self.tensors)
            raise BadArtifact(
                f"{self.model} takes {names}: this works with artifacts that take one image alone"
            )
        return self.input


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest and the folder it describes."""

    folder: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """The file a runtime loads."""
        return self.folder / self.manifest.files[0].name

    @property
    def sha256(self) -> str:
        """The identity of this artifact: the hash of all its files' hashes.

        What computes in half precision may be the files of a float32 artifact, and is another.
        """
        import hashlib

        precision = self.manifest.precision
        parts = "".join(file.sha256 for file in self.manifest.files)
        parts += precision if grain(precision) == "half" else ""
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """The size of the model's files together."""
        return sum(file.bytes for file in self.manifest.files)

    @property
    def label(self) -> str:
        """`multitask-cnn:classification onnx int8`."""
        return f"{self.manifest.model} {self.manifest.backend} {self.manifest.precision}"


def record_files(folder: Path, names: Iterable[str]) -> tuple[FileRecord, ...]:
    """Return the records of `names` in `folder`, in that order."""
    return tuple(
        FileRecord(name, sha256(folder / name), (folder / name).stat().st_size) for name in names
    )


def write_manifest(folder: Path, manifest: Manifest) -> Artifact:
    """Write `manifest` beside its files and return the artifact."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    write_whole(folder / MANIFEST, text + b"\n")
    return Artifact(folder, manifest)


def load_artifact(place: str | Path) -> Artifact:
    """Return the artifact at `place`: its folder, its manifest, or its model file.

    Every file is hashed and compared with the manifest. Raises BadArtifact in one line.
    """
    path = Path(place)
    folder = path if path.is_dir() else path.parent
    manifest_path = folder / MANIFEST
    if not path.exists():
        raise BadArtifact(f"no artifact at {path}: give a folder that `edgekit convert` made")
    if not manifest_path.is_file() and (inside := sorted(folder.glob(f"*/{MANIFEST}"))):
        raise BadArtifact(f"{path} holds several artifacts: name one, like {inside[0].parent}")
    if not manifest_path.is_file():
        raise BadArtifact(f"{path} has no {MANIFEST} beside it: convert the model with edgekit")
    try:
        manifest = read_json(manifest_path, Manifest, MAX_MANIFEST_BYTES)
    except Damaged as error:
        raise BadArtifact(f"{manifest_path} is damaged ({error}): convert again") from None
    if manifest.schema > SCHEMA:
        raise BadArtifact(
            f"{manifest_path} has schema {manifest.schema}, newer than {SCHEMA}: update edgekit"
        )
    if not manifest.files:
        raise BadArtifact(f"{manifest_path} lists no files: convert again")
    for file in manifest.files:
        _check_file(folder, file)
    return Artifact(folder, manifest)


def _check_file(folder: Path, file: FileRecord) -> None:
    """Raise BadArtifact unless `file` is a plain name in `folder` with the recorded bytes."""
    if len(PurePosixPath(file.name).parts) != 1 or file.name in {"", ".", ".."}:
        raise BadArtifact(f"{folder / MANIFEST} names a file outside its folder: {file.name!r}")
    model = folder / file.name
    try:
        missing = model.is_symlink() or not model.is_file()
    except (OSError, ValueError):  # a name that no file can have
        missing = True
    if missing:
        raise BadArtifact(f"{model} is missing: convert again")
    if sha256(model) != file.sha256:
        raise BadArtifact(f"{model} is not the file its manifest describes: convert again")


def find_artifacts(places: Iterable[Path | Artifact]) -> list[Artifact]:
    """Return the artifacts at `places`, in order, each once; a folder of artifacts gives them all.

    One that is loaded already is taken as it is, not hashed again. Raises BadArtifact for a path
    that holds none.
    """
    found: dict[Path, Artifact] = {}
    for path in places:
        if isinstance(path, Artifact):
            found.setdefault(path.folder.resolve(), path)
            continue
        if path.is_dir() and not (path / MANIFEST).is_file():
            folders = sorted(manifest.parent for manifest in path.rglob(MANIFEST))
            folders = [f for f in folders if not any(part.startswith(".") for part in f.parts)]
            if not folders:
                raise BadArtifact(f"no artifact in {path}: give a folder `edgekit convert` made")
        else:
            folders = [path]
        for folder in folders:
            artifact = load_artifact(folder)
            found.setdefault(artifact.folder.resolve(), artifact)
    return list(found.values())
