"""Counts what the evidence's networks execute on an emulated board, for the executed predictor.

    PYTHONPATH=. python benchmarks/scripts/count_executed.py BOARD --ncnn-params P --ncnn N

Writes benchmarks/evidence/executed/BOARD.json, one run after another; a run that is there already
is kept, so that an interrupted count goes on. The folder P holds the `.param` files of
Tencent/ncnn `benchmark/models` at a4d2ea1d, N the unpacked aarch64 wheel of ncnn
(`pip download --no-deps --platform manylinux_2_28_aarch64 --python-version 3.11 --only-binary=:all:
ncnn`, then unzip). TFLite's networks are written by tflite_models.py and run in the board's own
wheels: for ruy's rows ai-edge-litert without its delegate, for XNNPACK's of 2022 the oldest that
can be had, tflite-runtime 2.14: today's XNNPACK fetches a third as many lines from memory for the
same network. Takes half a minute a network; the numbers are the same again but for
a hundred instructions of Python's own. How threads share a run's work is written anew each time:
`uneven` by the number of threads, and `alone`, see edgekit/latency_model/executed/sharing.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tflite_detectors
import tflite_models
from ncnn_param import operators_of

from edgekit.devices.emulator import counting, guest
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.emulator.sysroot import Sysroot, home, installed
from edgekit.files import sha256, write_whole
from edgekit.latency_model.evidence import load_rows
from edgekit.latency_model.executed.fit import counts_of
from edgekit.latency_model.executed.issue_table import core
from edgekit.latency_model.executed.run import Work, caches_of, work_of
from edgekit.latency_model.executed.sharing import of_ncnn
from edgekit.paths import PACKAGE
from edgekit.targets import Target, load_target

BOARD_RUN = Path(__file__).parent / "board_run.py"
INFERENCES = 2
"""The first sets things up and warms the caches; the second is counted."""

BOARDS = {
    "rpi3": {"core": "Cortex-A53"},
    "rpi4": {"board": "Raspberry Pi 4B"},
    "rpi5": {"board": "Raspberry Pi 5"},
}
"""Whose rows a virtual board's counts explain: a Zero 2 W's core executes what a Pi 3's does."""
NCNN_VERSION = "README@a4d2ea1d44"
"""The rows of July 2026: older ones measured kernels that today's wheel no longer has."""
UNCOUNTED = {"vision_transformer", "vgg16", "vgg16_int8"}
"""15 G multiply-accumulates and more: an hour under emulation."""
XNNPACK_MODELS = {
    "fp32": "mobilenet-v1-1.0-224-non-quantized",
    "int8": "mobilenet-v1-1.0-224-int8",
}
RELEASES = {
    ("TFLite (XNNPACK)", "v2.18.0"): "litert",
    ("TFLite (XNNPACK)", "v2.5.0"): "xnnpack",
    ("TFLite (ruy)", "v2.5.0"): "ruy",
}
"""The detectors' releases, and what stands for their kernels: LiteRT of today for those of 2024."""
LARGE = {"EfficientDet-lite3", "EfficientDet-lite3x", "EfficientDet-lite4"}
"""7 G multiply-accumulates and more: their small relatives are counted."""


@dataclass(frozen=True)
class Run:
    """One network to run: by which kernels, its input C×H×W, and the rows that measured it."""

    kernels: str
    model: str
    input: str
    rows: dict[str, str]


def runs(board: str) -> Iterator[Run]:
    """Return what the evidence measured on a board and what can be run here."""
    place = BOARDS[board]
    for row in load_rows(runtime="ncnn", runtime_version=NCNN_VERSION, **place):
        if row.model not in UNCOUNTED:
            wanted = {"runtime": "ncnn", "runtime_version": NCNN_VERSION, "model": row.model}
            yield Run("ncnn", row.model, row.input, {**place, **wanted})
    for row in load_rows(runtime="TFLite (ruy)", **place):
        if row.model.startswith(("mobilenet-", "efficientnet-")):
            wanted = {"runtime": row.runtime, "model": row.model}
            yield Run("ruy", row.model, row.input, {**place, **wanted})
    for row in load_rows(runtime="XNNPACK", os_bits=64, **place):
        wanted = {"runtime": "XNNPACK", "os_bits": "64", "model": row.model, "dtype": row.dtype}
        yield Run("xnnpack", XNNPACK_MODELS[row.dtype], row.input, {**place, **wanted})
    yield from detectors(place)


def detectors(place: Mapping[str, str]) -> Iterator[Run]:
    """Return the detectors that were measured in TFLite, by the kernels of that release."""
    for row in load_rows(os_bits=64, **place):
        kernels = RELEASES.get((row.runtime, row.runtime_version))
        if kernels is None or not row.model.startswith(("EfficientDet", "YOLOX")):
            continue
        if row.model in LARGE:
            continue
        wanted = {
            "runtime": row.runtime, "runtime_version": row.runtime_version, "os_bits": "64",
            "model": row.model, "dtype": row.dtype,
        }  # fmt: skip
        name = f"{row.model}-{'int8' if row.dtype == 'int8' else 'float'}"
        yield Run(kernels, name, row.input, {**place, **wanted})


def counted(target: Target, sysroot: Sysroot, run: Run, params: Path, ncnn: Path) -> Work:
    """Return what one inference of a network executes on the board."""
    if run.kernels == "ncnn":
        return _executed(target, sysroot, run, params / f"{run.model}.param", ncnn)
    if not run.model.startswith(("EfficientDet", "YOLOX")):
        return _of_content(target, sysroot, run, tflite_models.build(run.model)[0], ncnn)
    content = tflite_detectors.build(run.model, end=False)[0]
    return _of_content(target, sysroot, run, content, ncnn)


def with_end(
    target: Target, sysroot: Sysroot, run: Run, work: Work, ncnn: Path
) -> tuple[Work, float]:
    """Return a network's work with its last operator's, and the issue cycles of that one.

    One thread executes an EfficientDet's, one number at a time: in no tuned loop. No other network
    has such an end.
    """
    title = run.model.rpartition("-")[0]
    if run.kernels == "ncnn" or title not in tflite_detectors.EFFICIENTDET:
        return work, 0.0
    end = _of_content(target, sysroot, run, tflite_detectors.build_end(title), ncnn)
    alone = end.float_cycles + end.integer_cycles + end.other_cycles
    end = replace(end, float_cycles=0.0, integer_cycles=0.0, other_cycles=alone)
    sums = {each.name: getattr(work, each.name) + getattr(end, each.name) for each in fields(Work)}
    return Work(**sums), alone


def shared(target: Target, sysroot: Sysroot, run: Run, params: Path) -> dict[str, object]:
    """Return how ncnn's threads share a network, by the number of threads; of others nothing."""
    if run.kernels != "ncnn":
        return {"uneven": {}}
    half = target.hardware.core is not None and target.hardware.core.value == "Cortex-A76"
    dtype = "int8" if run.model.endswith("_int8") else "fp16" if half else "fp32"
    layers = operators_of(params / f"{run.model}.param")
    of_core = core(sysroot.board.qemu_cpu)
    found = {threads: of_ncnn(layers, dtype, threads, of_core) for threads in (2, 3, 4)}
    uneven = {str(threads): round(each.uneven, 4) for threads, each in found.items()}
    return {"uneven": uneven, "alone": found[4].alone}


def _of_content(target: Target, sysroot: Sysroot, run: Run, content: bytes, ncnn: Path) -> Work:
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.tflite"
        model.write_bytes(content)
        return _executed(target, sysroot, run, model, ncnn)


def _executed(target: Target, sysroot: Sysroot, run: Run, model: Path, ncnn: Path) -> Work:
    plugin = counting.plugin(sysroot.qemu, home() / "plugin")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        counts, blocks = folder / "counts", folder / "blocks"
        arguments = [str(BOARD_RUN), run.kernels, str(model), run.input, "1", str(INFERENCES)]
        ended = guest.run(
            sysroot,
            [*arguments, str(ncnn.resolve())],
            folder,
            timeout=3600,
            environment="numpy1" if run.kernels == "xnnpack" else "main",
            options=counting.options(plugin, counts, blocks, caches_of(target)),
        )
        if died := guest.why_it_died(ended):
            raise SystemExit(f"{run.kernels} {run.model}: {died}")
        found = counting.read_blocks(blocks, INFERENCES - 1)
    return work_of(found, core(sysroot.board.qemu_cpu))


def main() -> None:
    """Count what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("board", choices=sorted(BOARDS))
    parser.add_argument("--ncnn-params", type=Path, required=True)
    parser.add_argument("--ncnn", type=Path, required=True)
    parser.add_argument("--only", default="", help="count only runs whose network has this in it")
    options = parser.parse_args()
    target = load_target(options.board)
    sysroot = installed(board_of(target))
    path = counts_of(options.board)
    path.parent.mkdir(exist_ok=True)
    kept = json.loads(path.read_text())["runs"] if path.is_file() else []
    params = options.ncnn_params
    found = [{**each, **shared(target, sysroot, run_of(each), params)} for each in kept]
    write(path, target, wheels_of(sysroot, options.ncnn), found)
    done = {(run["kernels"], run["model"]) for run in found}
    for run in runs(options.board):
        if (run.kernels, run.model) in done or options.only not in f"{run.kernels} {run.model}":
            continue
        done.add((run.kernels, run.model))
        work = counted(target, sysroot, run, params, options.ncnn)
        work, alone = with_end(target, sysroot, run, work, options.ncnn)
        parts = {"alone": alone, **shared(target, sysroot, run, params)}
        found.append({**asdict(run), "work": asdict(work), **parts})
        write(path, target, wheels_of(sysroot, options.ncnn), found)
        print(run.kernels, run.model, f"{work.instructions / 1e6:.1f} M instructions", flush=True)


def run_of(each: Mapping[str, Any]) -> Run:
    """Return the run that was counted before."""
    return Run(each["kernels"], each["model"], each["input"], each["rows"])


def wheels_of(sysroot: Sysroot, ncnn: Path) -> list[str]:
    """Return the names of the wheels that were run."""
    ours = {"ai-edge-litert", "tflite-runtime"}
    own = [wheel.file for wheel in sysroot.lock.wheels if wheel.name in ours]
    return sorted([*own, *(path.stem for path in ncnn.glob("ncnn-*.dist-info"))])


def write(path: Path, target: Target, wheels: list[str], found: list[dict[str, object]]) -> None:
    """Write the counts with what they depend on."""
    content = {
        "command": f"benchmarks/scripts/count_executed.py {target.name}",
        "board": target.name,
        "wheels": wheels,
        "caches": [asdict(cache) for cache in caches_of(target)],
        "issue_table": sha256(PACKAGE / "latency_model" / "executed" / "cores.toml"),
        "runs": found,
    }
    write_whole(path, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
