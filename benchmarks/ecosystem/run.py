"""Sends real networks of five libraries through the steps of `edgekit convert`: `make ecosystem`.

    python run.py [NETWORK ...] [--backends onnx,tflite] [--minutes 5] [--again]

First every network is exported, then each backend builds, proves and measures every artifact. A
network is a process of its own, forked where the libraries are loaded already. One JSON file an
artifact in results/; a finished one is not made again. `table.py` writes results.md from them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.resolve()
RESULTS = HERE / "results"
PRECISIONS = ("fp32", "int8")
LIBRARIES = {
    "onnx": ("onnxruntime.quantization", "onnxscript", "onnxslim", "torch.onnx"),
    "tflite": ("litert_torch", "ai_edge_quantizer.quantizer"),
    "openvino": ("openvino", "nncf"),
    "ncnn": ("ncnn", "pnnx", "onnx"),
}
"""What is loaded before a backend's processes are forked: each would load it again."""
SAMPLES = 32
"""Pictures to calibrate on, and as many others to judge by."""
MEMORY = 10 << 30
"""Bytes of data that one process may hold."""


def main() -> None:
    """Export every network named, then make its artifacts, backend by backend."""
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--backends", default=",".join(LIBRARIES))
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--minutes", type=float, default=5, help="the limit of one process")
    parser.add_argument("--again", action="store_true", help="make finished artifacts again")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="takes exported graphs")
    asked = parser.parse_args()
    # The packages start threads of their own where they are used; a fork must come before.
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    os.chdir(HERE)
    sys.path.insert(0, str(HERE))
    import networks
    import torch  # noqa: F401

    names = asked.networks or list(networks.table())
    for name in names:
        folder = asked.work / name
        if asked.again:
            shutil.rmtree(folder, ignore_errors=True)
        if not (folder / "export.json").is_file():
            _process(partial(export, name, folder), folder / "export", asked.minutes)
    for backend in asked.backends.split(","):
        if os.fork() == 0:  # one converter's libraries never meet another's
            for library in LIBRARIES[backend]:
                importlib.import_module(library)
            for name in names:
                artifacts(name, backend, asked)
            os._exit(0)
        os.wait()


def artifacts(name: str, backend: str, asked: argparse.Namespace) -> None:
    """Make the artifacts of a network, each in a process of its own, unless they are there."""
    folder: Path = asked.work / name
    exported = json.loads((folder / "export.json").read_text())
    for precision in asked.precisions.split(","):
        file = RESULTS / name / f"{backend}-{precision}.json"
        if file.is_file() and not asked.again:
            continue
        file.unlink(missing_ok=True)
        if "error" in exported:
            save(file, exported)
        else:
            log = folder / f"{backend}-{precision}"
            _process(partial(build, name, backend, precision, folder), log, asked.minutes)
            file.parent.mkdir(parents=True, exist_ok=True)
            log.with_suffix(".json").rename(file)
        row = json.loads(file.read_text())
        told = row.get("error") or f"proven {row.get('quality', '')}"
        print(f"{name:26} {backend:8} {precision} {row['seconds']:6.1f} s  {told}", flush=True)


def _process(work: Callable[[], dict[str, Any]], stem: Path, minutes: float) -> None:
    """Run `work` in a forked process; what it answers, or how it ended, goes to `stem`.json."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    start, child = time.monotonic(), os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        log = os.open(stem.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            row = work()
        except BaseException as error:
            traceback.print_exc()
            ours = type(error).__module__ == "edgekit.errors"
            line = (str(error).strip().splitlines() or [""])[0][:400]
            row = {"error": line if ours else f"{type(error).__name__}: {line}"}
            row["kind"] = type(error).__name__
        save(stem.with_suffix(".json"), {"seconds": time.monotonic() - start} | row)
        sys.stdout.flush()
        os._exit(0)
    status = None
    while status is None and time.monotonic() - start < 60 * minutes:
        done, found = os.waitpid(child, os.WNOHANG)
        status = found if done else None
        time.sleep(0.05)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if not stem.with_suffix(".json").is_file():
        what = f"not finished in {minutes:g} minutes" if status is None else f"ended by {status}"
        row = {"error": what, "kind": "Ended", "seconds": time.monotonic() - start}
        save(stem.with_suffix(".json"), row)


def save(file: Path, row: dict[str, Any]) -> None:
    """Write one result, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    row["seconds"] = round(row["seconds"], 1)
    part.write_text(json.dumps(row, indent=1, ensure_ascii=False) + "\n")
    part.rename(file)


def export(name: str, folder: Path) -> dict[str, Any]:
    """Export a network with its samples: the first step of a conversion."""
    import msgspec
    import networks

    from edgekit.conversion.calibration import load_recipe
    from edgekit.conversion.export import ExportRequest
    from edgekit.conversion.export import export as step
    from edgekit.conversion.sources import SourceRequest

    places = [folder / "samples" / purpose for purpose in ("calibration", "parity")]
    for seed, place in enumerate(places):
        networks.write_samples(name, SAMPLES, place, seed)
    graph_folder = folder / "graph"
    shutil.rmtree(graph_folder, ignore_errors=True)
    graph_folder.mkdir()
    request = ExportRequest(
        source=SourceRequest(locator=f"networks:{name.replace('-', '_')}"),
        folder=str(graph_folder),
        raw_input=False,
        wide_int8=True,  # as for a target that adds in 32 bits, and as the runtime's own default
        calibration=str(places[0]),
        images=str(places[1]),
        recipe=load_recipe("default"),
    )
    graph = step(request, lambda text: None)
    return {"graph": msgspec.to_builtins(graph, enc_hook=str)}


def build(name: str, backend: str, precision: Any, folder: Path) -> dict[str, Any]:
    """Build and prove one artifact, the second step; measure int8 also where it is refused."""
    import msgspec

    from edgekit.conversion import build as build_step
    from edgekit.conversion import ways
    from edgekit.conversion.build import BuildRequest, build_one
    from edgekit.conversion.ways import Int8
    from edgekit.errors import EdgekitError
    from edgekit.graph import ExportedGraph

    graph = msgspec.convert(
        json.loads((folder / "export.json").read_text())["graph"],
        ExportedGraph,
        dec_hook=lambda kind, value: kind(value),
    )
    kept = folder / f"kept-{backend}"
    shutil.rmtree(kept, ignore_errors=True)
    made: list[Int8] = []

    def noted(graph: Any, made_by: Any, place: Path, holds: Any) -> Int8:
        """Build int8 and keep a copy, which stands where the proof refuses the artifact too."""
        made.append(ways.build_int8(graph, made_by, place, holds))
        shutil.copytree(place, kept)
        return made[-1]

    build_step.build_int8 = noted
    asked = BuildRequest(
        graph=graph,
        backend=backend,
        precisions=(precision,),
        output=str(folder / "out"),
        min_agreement=0.9,
    )
    start, row = time.monotonic(), {}
    try:
        parity = msgspec.to_builtins(build_one(asked, precision).parity)
        row["parity"] = {**parity, "images": len(parity["images"])}
    except EdgekitError as error:
        row |= {"error": str(error), "kind": type(error).__name__}
    except Exception as error:  # as conversion/steps.py words a library's own
        traceback.print_exc()
        row |= {"error": f"{type(error).__name__}: {error}".splitlines()[0], "kind": "Crash"}
    row["seconds"] = time.monotonic() - start
    if made:
        row["notes"] = [*made[0].built.notes, *filter(None, [made[0].note])]
        row["quality"] = qualities(backend, graph, kept, made[0].built)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.rmtree(folder / "out" / f"{backend}-{precision}", ignore_errors=True)
    return row


def qualities(backend: str, graph: Any, kept: Path, built: Any) -> dict[str, Any]:
    """Return int8's distance to the model by output, ours and by the runtime's own default.

    And the 95 % interval of ours as a multiple of the default's.
    """
    import plain_int8

    from edgekit.backends import load_backend
    from edgekit.conversion.ways import outputs_of

    samples, made_by = graph.parity_samples(), load_backend(backend)
    found: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for whose, run in (
        ("edgekit", lambda: outputs_of(graph, made_by, kept, built, samples)),
        ("default", lambda: plain_int8.outputs(backend, graph)),
    ):
        try:
            outputs[whose] = run()
            found[whose] = plain_int8.distances(outputs[whose], graph)
        except Exception as error:  # a converter's own, of any class
            line = (str(error).strip().splitlines() or [""])[0][:200]
            found[whose] = f"{type(error).__name__}: {line}"
    if len(outputs) == 2:
        found["times"] = plain_int8.intervals(outputs["edgekit"], outputs["default"], graph)
    return found


if __name__ == "__main__":
    main()
