"""Some images through one artifact: the piece of an evaluation that can run anywhere."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import Artifact, load_artifact
from edgekit.backends import runtime_for
from edgekit.data import Dataset, Decisions, Sample, open_store
from edgekit.data.decoded import centre, decode_readable, frame_of, subject_frame_of
from edgekit.devices import Device, open_device
from edgekit.errors import BadArtifact
from edgekit.executors import Executor
from edgekit.files import write_whole
from edgekit.outputs import confidences, decisions
from edgekit.paths import cache_folder
from edgekit.results import Provenance
from edgekit.session import entry, lay_out, put_pixels
from edgekit.targets import Target
from edgekit.version import __version__

if TYPE_CHECKING:
    pass

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
    temperature. `broken` names the other images. `decided` is empty where there are only those.
    `device` is where it ran: local, virtual:rpi4 or an ssh address.
    """

    decided: dict[str, list[int]]
    broken: tuple[str, ...]
    provenance: Provenance
    device: str
    told: dict[str, list[float]] = field(default_factory=dict)
    plain: dict[str, list[float]] = field(default_factory=dict)


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
    )
    frame = subject_frame_of if shard.find_subject else frame_of
    images = decode_readable(dataset, frame(manifest.image), workers=1)
    device = open_device(shard.device, shard.target)
    _OPEN.add(device)
    try:
        if not images.samples:
            return ShardAnswer(
                decided={}, broken=images.broken, provenance=device.provenance, device=device.name
            )
        session = lay_out(device, entry(artifact, shard.runtime))
        given = put_pixels(device, centre(images.pixels, manifest.image))
        outputs, _ = session.outputs(given, len(images.samples), timeout=TIMEOUT_S)
        decided = {spec.name: decisions(outputs[spec.name], spec) for spec in manifest.outputs}
        answers = {name: value.tolist() for name, value in decided.items() if value is not None}
        told, plain = (
            {
                spec.name: sure.tolist()
                for spec in manifest.outputs
                if (sure := confidences(outputs[spec.name], spec, plain=way)) is not None
            }
            for way in (False, True)
        )
        return ShardAnswer(
            decided=answers,
            broken=images.broken,
            provenance=device.provenance,
            device=device.name,
            told=told,
            plain=plain,
        )
    finally:
        _OPEN.discard(device)
        device.close()


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
