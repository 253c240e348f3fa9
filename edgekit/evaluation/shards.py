"""Some images through one artifact: the piece of an evaluation that can run anywhere."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgekit.artifact import Artifact, Manifest, load_artifact
from edgekit.backends import runtime_for
from edgekit.data import Dataset, Decisions, Sample, open_store
from edgekit.data.dataset import Holds
from edgekit.devices import Device, open_device
from edgekit.errors import BadArtifact
from edgekit.evaluation.found import AT_ONCE, boxes_in, masks_in
from edgekit.evaluation.given import Given, read_inputs
from edgekit.executors import Executor
from edgekit.files import write_whole
from edgekit.outputs import confidences, decisions
from edgekit.paths import cache_folder
from edgekit.records import Provenance
from edgekit.scoring.boxes import FoundBoxes
from edgekit.session import Session, entry, lay_out, put_samples
from edgekit.spec import OutputSpec
from edgekit.targets import Target
from edgekit.version import __version__

TIMEOUT_S = 3600.0
EMULATED_S_PER_MAC = 8e-9
"""What a float multiply-accumulate takes an emulated board (docs/virtual-board.md); int8 less."""
EMULATED_SHARD_S = 240.0

_OPEN: set[Device] = set()
"""The devices that shards of this process run on now."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What to run, as plain data for another process or machine.

    With `find_subject` the images are photographs, of which the largest face is taken.
    The paths must lead to the same files there: `artifact_sha256` and the images' hashes tell.
    """

    artifact: Path
    artifact_sha256: str
    data: Path
    images: tuple[Sample, ...]
    target: Target
    device: str
    runtime: str
    find_subject: bool = False
    holds: Holds = "classes"

    @property
    def key(self) -> str:
        """What its answer depends on, the code's and runtime's version too, as one hash."""
        import msgspec

        from edgekit.onboard.runner import runtime_version

        content = msgspec.json.encode(self, enc_hook=str)
        versions = f"{__version__} {runtime_version(self.runtime)}"
        return hashlib.sha256(content + versions.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ShardAnswer:
    """The class index of every readable image by output that decides something, in order.

    `told` and `plain` are the confidences of outputs that have some, with and without their
    temperature. `broken` names the other images, with the reason where it is known. `boxes` is what
    was found in each picture, `masks` the overlaps with its mask, (3, CLASSES), where the dataset
    holds such. `device` is where it ran: local, virtual:rpi4 or an ssh address.
    """

    decided: dict[str, list[int]]
    broken: dict[str, str]
    provenance: Provenance
    device: str
    told: dict[str, list[float]] = field(default_factory=dict)
    plain: dict[str, list[float]] = field(default_factory=dict)
    boxes: list[FoundBoxes] = field(default_factory=list)
    masks: list[list[list[int]]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether no image could be read."""
        return not (self.decided or self.boxes or self.masks)


def shards_of(
    artifact: Artifact,
    dataset: Dataset,
    data: Path,
    target: Target,
    device: str,
    runtime: str | None,
    count: int,
    find_subject: bool = False,
) -> Iterator[Shard]:
    """Yield `count` shards of a dataset's images, fewer where there are fewer images."""
    name = runtime_for(artifact.manifest.backend, runtime)
    size = -(-len(dataset.samples) // count)
    for start in range(0, len(dataset.samples), size):
        yield Shard(
            artifact=artifact.folder.resolve(),
            artifact_sha256=artifact.sha256,
            data=data.expanduser().resolve(),
            images=dataset.samples[start : start + size],
            target=target,
            device=device,
            runtime=name,
            find_subject=find_subject,
            holds=dataset.holds,
        )


def shard_count(artifact: Artifact, images: int, device: str, workers: int) -> int:
    """Return how many shards to make of `images`: one a worker, on an emulated board maybe more.

    A picture can take minutes there. Shards of a few minutes end in time, show how far it is, and
    are all that an interrupted run does again.
    """
    if device != "virtual":
        return workers
    seconds = images * (artifact.manifest.source.macs or 0) * EMULATED_S_PER_MAC
    return max(workers, math.ceil(seconds / EMULATED_SHARD_S))


def run_shard(shard: Shard) -> ShardAnswer:
    """Decode a shard's images and run them through its artifact on a device.

    Raises BadArtifact or BadData where a path leads to other files than those of whoever asks,
    DeviceError where the artifact does not run.
    """
    artifact = load_artifact(shard.artifact)
    if artifact.sha256 != shard.artifact_sha256:
        raise BadArtifact(f"{shard.artifact} is not the artifact that was asked for: copy it again")
    manifest = artifact.manifest
    dataset = Dataset(
        name="",
        protocol="",
        labels={},
        samples=shard.images,
        store=open_store(shard.data),
        decisions=Decisions(),
        holds=shard.holds,
    )
    given = read_inputs(dataset, manifest, shard.find_subject)
    device = open_device(shard.device, shard.target)
    _OPEN.add(device)
    try:
        answer = ShardAnswer(
            decided={}, broken=given.broken, provenance=device.provenance, device=device.name
        )
        if not given.dataset.samples:
            return answer
        session = lay_out(device, entry(artifact, shard.runtime))
        if shard.holds != "classes":
            return _found(session, given, answer)
        sent = put_samples(device, given.values)
        outputs, _ = session.outputs(sent, len(given.values), timeout=TIMEOUT_S)
        decided = {spec.name: decisions(outputs[spec.name], spec) for spec in manifest.outputs}
        told, plain = (
            {
                spec.name: sure.tolist()
                for spec in manifest.outputs
                if (sure := confidences(outputs[spec.name], spec, plain=way)) is not None
            }
            for way in (False, True)
        )
        return replace(
            answer,
            decided={name: v.tolist() for name, v in decided.items() if v is not None},
            told=told,
            plain=plain,
        )
    finally:
        _OPEN.discard(device)
        device.close()


def _found(session: Session, given: Given, answer: ShardAnswer) -> ShardAnswer:
    """Return a shard's answer with the boxes or the masks that were found, few pictures at once."""
    manifest = session.entry.artifact.manifest
    boxes: list[FoundBoxes] = []
    masks: list[list[list[int]]] = []
    for start in range(0, len(given.values), AT_ONCE):
        samples = given.dataset.samples[start : start + AT_ONCE]
        sent = put_samples(session.device, given.values[start : start + AT_ONCE])
        outputs, _ = session.outputs(sent, len(samples), timeout=TIMEOUT_S)
        if given.dataset.holds == "boxes":
            boxes += boxes_in(outputs, labelled_output(manifest, "boxes"), manifest, samples)
        else:
            part = replace(given.dataset, samples=samples)
            masks += masks_in(outputs, labelled_output(manifest, "masks"), manifest, part).tolist()
    return replace(answer, boxes=boxes, masks=masks)


def labelled_output(manifest: Manifest, holds: Literal["boxes", "masks"]) -> OutputSpec:
    """Return the one output that a dataset of boxes or masks labels."""
    if holds == "boxes":
        return next(output for output in manifest.outputs if output.boxes is not None)
    return next(output for output in manifest.outputs if output.kind == "segmentation")


def run_shards(
    shards: Sequence[Shard], executor: Executor, tell: Callable[[int], None]
) -> list[ShardAnswer]:
    """Return every shard's answer, in order; `tell` is called with the number done.

    Each answer is kept in the user's cache folder until all are there: a run that was killed, or
    in which one shard failed, does only the rest when it is started again.
    """
    kept = [cache_folder() / "unfinished" / f"{shard.key}.json" for shard in shards]
    answers = {index: answer for index, path in enumerate(kept) if (answer := _read(path))}
    missing = [index for index in range(len(shards)) if index not in answers]
    tell(len(answers))
    try:
        for place, answer in executor.map(run_shard, [shards[index] for index in missing]):
            index = missing[place]
            answers[index] = answer
            _keep(kept[index], answer)
            tell(len(answers))
    except BaseException:  # Ctrl-C, or a shard that failed: the others would run on to their end
        for device in list(_OPEN):
            device.close()
        raise
    for path in kept:
        path.unlink(missing_ok=True)
    return [answers[index] for index in range(len(shards))]


def _keep(path: Path, answer: ShardAnswer) -> None:
    import msgspec

    write_whole(path, msgspec.json.encode(answer))


def _read(path: Path) -> ShardAnswer | None:
    """Return a kept answer, or None where there is none or it cannot be read."""
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=ShardAnswer)
    except (OSError, msgspec.DecodeError):
        return None
