"""Runs beside runner.py on a board: which operators a runtime executes, and for how long each.

    python3 profiler.py JOB.json

Its one job is `profile`, in a process of its own; the settings are the runner's. ONNX Runtime and
OpenVINO are asked through their own profilers, ncnn for what each layer made, in turn. TFLite's
Python packages have no profiler: they are given the graph cut after each operator in turn, and an
operator takes what its cut adds. Each call is marked at both ends by the system call getppid, which
costs nothing: an emulator that counts instructions counts between the marks. Python 3.9, NumPy and
one runtime, like the runner.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Set, Tuple

import numpy as np
import runner  # type: ignore[import-not-found]  # the file beside this one

CUTS = "cuts"
"""The folder, beside the job, of a .tflite model cut after each of its operators, in order."""

Operators = List[Dict[str, Any]]
"""Each with name, kind, place, inputs, outputs ({type, shape}) and seconds, None where untimed."""


def _manifest(model: str) -> Dict[str, Any]:
    """Return the manifest beside a model's file."""
    found: Dict[str, Any] = json.loads((Path(model).parent / "manifest.json").read_text())
    return found


def _marked(call: Callable[..., Any], *arguments: Any) -> None:
    os.getppid()
    call(*arguments)
    os.getppid()


def profile_onnxruntime(model: str, threads: int, tensors: Sequence[Any], count: int) -> Operators:
    """Return the operators of ONNX Runtime's optimised graph; `seconds` are medians.

    Of several calls the first, which sets things up, is left out.
    """
    options = runner.onnxruntime_options(threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = runner.onnxruntime_session(model, options)
        found = [item.name for item in session.get_inputs()]
        named = runner.by_name(found, _manifest(model))
        for index in range(count):
            _marked(session.run, None, named(tensors[index % len(tensors)]))
        events = json.loads(Path(session.end_profiling()).read_text())
    calls: Dict[str, List[Dict[str, Any]]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            calls.setdefault(event["name"], []).append(event)
    operators = []
    for name, found in calls.items():
        facts = found[0]["args"]
        operators.append(
            {
                "name": name[: -len("_kernel_time")],
                "kind": facts["op_name"],
                "place": facts["provider"],
                "inputs": [_ort_tensor(item) for item in facts.get("input_type_shape", [])],
                "outputs": [_ort_tensor(item) for item in facts.get("output_type_shape", [])],
                "seconds": float(np.median([e["dur"] * 1e-6 for e in found[1:] or found])),
            }
        )
    return operators


def _ort_tensor(item: Dict[str, List[int]]) -> Dict[str, Any]:
    ((kind, shape),) = item.items()
    return {"type": kind, "shape": shape}


def profile_openvino(model: str, threads: int, tensors: Sequence[Any], count: int) -> Operators:
    """Return what the CPU plugin executed of its compiled graph; `seconds` are means.

    The plugin keeps means since it was loaded, and its first calls also prepare weights: their
    part is taken out.
    """
    import openvino

    manifest = _manifest(model)
    half = runner.computes_in_half(manifest)
    settings = {**runner.openvino_settings(threads, half), "PERF_COUNT": True}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    given = runner.openvino_feed(compiled, manifest)
    warm = max(1, count // 10)
    for index in range(warm):
        _marked(request.infer, given(tensors[index % len(tensors)]))
    before = _openvino_microseconds(compiled)
    for index in range(count):
        _marked(request.infer, given(tensors[index % len(tensors)]))
    after = _openvino_microseconds(compiled)
    operators = []
    prepared: Set[str] = set()
    for node in compiled.get_runtime_model().get_ordered_ops():
        name = node.get_friendly_name()
        given = [value.get_node().get_friendly_name() for value in node.input_values()]
        if _rt_info(node, "layerType") == "Const" or (given and set(given) <= prepared):
            prepared.add(name)  # computed from constants alone, once, when the graph was loaded
        if name in prepared or not (name in after or _openvino_ran(node)):
            continue
        spent = after.get(name, 0.0) * (warm + count) - before.get(name, 0.0) * warm
        sources = [value.get_node() for value in node.input_values()]
        operators.append(
            {
                "name": name,
                "kind": _rt_info(node, "layerType"),
                "place": _rt_info(node, "primitiveType"),
                "inputs": [_openvino_tensor(source) for source in sources],
                "outputs": [_openvino_tensor(node)],
                "seconds": max(0.0, spent / count) * 1e-6,
            }
        )
    return operators


def _openvino_microseconds(compiled: Any) -> Dict[str, float]:
    """Return each executed node's mean time since the graph was loaded."""
    times = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = _rt_info(node, "execTimeMcs")
        if told.isdigit():
            times[node.get_friendly_name()] = float(told)
    return times


def _openvino_ran(node: Any) -> bool:
    """Tell whether a node ran of which the plugin says that it did not.

    It says so of any node that took less than 1 µs a call: one that has a kernel and computes. What
    only moves values has a kernel too where it was found not to be needed.
    """
    moves = {"Concatenation", "Reorder", "Reshape", "Split", "Transpose"}
    kernel = _rt_info(node, "primitiveType")
    return not kernel.startswith("unknown") and _rt_info(node, "layerType") not in moves


def _rt_info(node: Any, key: str) -> str:
    value = node.get_rt_info()[key]
    return str(value.value if hasattr(value, "value") else value)


def _openvino_tensor(node: Any) -> Dict[str, Any]:
    types = _rt_info(node, "outputPrecisions").split(",")
    shape = [int(size) for size in node.output(0).get_shape()] if node.get_output_size() else []
    return {"type": types[0], "shape": shape}


def profile_litert(model: str, threads: int, tensors: Sequence[Any], count: int) -> Operators:
    """Return the model's operators and whether the XNNPACK delegate took them."""
    from ai_edge_litert.interpreter import Interpreter

    half = runner.computes_in_half(_manifest(model))
    return _profile_tflite(Interpreter, model, threads, tensors, count, half)


def profile_tflite_runtime(
    model: str, threads: int, tensors: Sequence[Any], count: int
) -> Operators:
    """Return the model's operators and whether the XNNPACK delegate took them."""
    from tflite_runtime.interpreter import Interpreter

    return _profile_tflite(Interpreter, model, threads, tensors, count)


def _profile_tflite(
    load: Callable[..., Any],
    model: str,
    threads: int,
    tensors: Sequence[Any],
    count: int,
    half: bool = False,
) -> Operators:
    """Return the operators, timed by the cuts `CUTS/0000.tflite`, ... where there are any.

    `half`: in LiteRT's compiled model, in half precision.
    """
    operators = tflite_operators(load(model_path=model, num_threads=threads))
    if half:
        _mark_halves(operators)
    cuts = sorted(Path(CUTS).glob("*.tflite"))
    before = 0.0
    for operator, cut in zip(operators, cuts):
        ready = _compiled(str(cut), threads) if half else _interpreted(load, str(cut), threads)
        seconds = _fastest(*ready, tensors, count)
        operator["seconds"] = max(0.0, seconds - before)
        before = max(before, seconds)
    return operators


def _mark_halves(operators: Operators) -> None:
    """Give the delegate's floats the type that it is forced to compute them in.

    The file and the interpreter say float32. XNNPACK rounds the whole of its part, or refuses it.
    """
    for operator in operators:
        if operator["place"] == "XNNPACK":
            for tensor in operator["inputs"] + operator["outputs"]:
                if tensor["type"] == "float32":
                    tensor["type"] = "float16"


def tflite_operators(interpreter: Any) -> Operators:
    """Return the operators of either TFLite interpreter, untimed."""
    interpreter.allocate_tensors()
    tensors = {item["index"]: item for item in interpreter.get_tensor_details()}
    nodes = interpreter._get_ops_details()
    taken: Set[int] = set()
    for node in nodes:
        if node["op_name"] == "DELEGATE":
            taken |= _delegated(nodes, node)
    return [
        {
            "name": f"{node['op_name']}#{node['index']}",
            "kind": node["op_name"],
            "place": "XNNPACK" if node["index"] in taken else "built-in kernels",
            "inputs": [_tflite_tensor(tensors[i]) for i in node["inputs"] if i in tensors],
            "outputs": [_tflite_tensor(tensors[i]) for i in node["outputs"] if i in tensors],
            "seconds": None,
        }
        for node in nodes
        if node["op_name"] != "DELEGATE"
    ]


def _delegated(nodes: Sequence[Dict[str, Any]], delegate: Dict[str, Any]) -> Set[int]:
    """Return the nodes a delegate replaced: all that lead from its inputs to its outputs."""
    makers = {o: node for node in nodes if node["op_name"] != "DELEGATE" for o in node["outputs"]}
    given, found = set(delegate["inputs"]), set()
    waiting = list(delegate["outputs"])
    while waiting:
        tensor = waiting.pop()
        node = makers.get(tensor)
        if node is not None and tensor not in given and node["index"] not in found:
            found.add(node["index"])
            waiting += list(node["inputs"])
    return found


def _tflite_tensor(detail: Dict[str, Any]) -> Dict[str, Any]:
    shape = [int(size) for size in detail["shape"]]
    return {"type": np.dtype(detail["dtype"]).name, "shape": shape}


Ready = Tuple[Callable[[Any], None], Callable[[], Any]]
"""What gives a loaded model its tensors, and what computes them."""


def _interpreted(load: Callable[..., Any], model: str, threads: int) -> Ready:
    interpreter = load(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    sources = runner.tflite_inputs(interpreter)

    def give(tensor: Any) -> None:
        given = tensor if isinstance(tensor, list) else [tensor]
        for place, (source, dtype) in sources.items():
            interpreter.set_tensor(source, runner.narrowed(given[place], dtype))

    return give, interpreter.invoke


def _compiled(model: str, threads: int) -> Ready:
    compiled = runner.half_litert(model, threads)
    ((_, ends),) = compiled.get_signature_list().items()
    given, taken = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    return (
        lambda tensor: runner.fill(given, ends, tensor),
        lambda: compiled.run_by_index(0, given, taken),
    )


def _fastest(
    give: Callable[[Any], None], run: Callable[[], Any], tensors: Sequence[Any], count: int
) -> float:
    """Return the time of the fastest call: differences of cuts are small beside a disturbed one."""
    samples = []
    for index in range(count):
        give(tensors[index % len(tensors)])
        start = time.perf_counter()
        _marked(run)
        samples.append(time.perf_counter() - start)
    return min(samples)


def profile_ncnn(model: str, threads: int, tensors: Sequence[Any], count: int) -> Operators:
    """Return an ncnn network's layers; `seconds` are medians.

    Nothing is thrown away between layers, so asking for a layer's output runs that layer alone.
    Of several calls the first, which sets things up, is left out.
    """
    manifest = _manifest(model)
    net = runner.ncnn_net(model, threads, keep_blobs=True)
    layers = [line.split() for line in Path(model).read_text().splitlines()[2:]]
    layers = [layer for layer in layers if layer[0] not in ("Input", "MemoryData", "Split")]
    samples: List[List[float]] = [[] for _ in layers]
    shapes: Dict[str, List[int]] = {}

    def call(tensor: Any) -> None:
        run = net.create_extractor()
        run.input("in0", runner.ncnn_input(tensor, manifest))
        for layer, seconds in zip(layers, samples):
            output = layer[4 + int(layer[2])]
            start = time.perf_counter()
            value = run.extract(output)[1]
            seconds.append(time.perf_counter() - start)
            shapes[output] = list(np.array(value).shape)

    for index in range(count):
        _marked(call, tensors[index % len(tensors)])
    operators = []
    for layer, seconds in zip(layers, samples):
        kind, name, first = layer[0], layer[1], 4 + int(layer[2])
        # A layer whose scales are stored (option 8) multiplies int8, whatever comes in.
        computes = "int8" if any(word.startswith("8=") for word in layer[first:]) else "float32"
        output = {"type": "float32", "shape": shapes[layer[first]]}
        operators.append(
            {
                "name": name,
                "kind": kind,
                "place": "ncnn",
                "inputs": [{"type": computes, "shape": shapes.get(layer[4], [])}],
                "outputs": [output],
                "seconds": sorted(seconds[1:] or seconds)[len(seconds[1:] or seconds) // 2],
            }
        )
    return operators


Profile = Callable[[str, int, Sequence[Any], int], Operators]

PROFILES: Dict[str, Profile] = {
    "onnxruntime": profile_onnxruntime,
    "openvino": profile_openvino,
    "ai_edge_litert": profile_litert,
    "tflite_runtime": profile_tflite_runtime,
    "ncnn": profile_ncnn,
}


def job_profile(job: Dict[str, Any], runtimes: Dict[str, Any]) -> None:
    """Print the operators that ran, over `count` calls that rotate over the job's samples."""
    folder, runtime = Path(job["artifact"]), job["runtime"]
    manifest = json.loads((folder / "manifest.json").read_text())
    if "samples" in job:
        samples: Any = runner.read_samples(Path(job["samples"]).read_bytes(), manifest)
    else:
        samples = np.load(job["pixels"], allow_pickle=False)
    operators = PROFILES[runtime](
        str(folder / manifest["files"][0]["name"]),
        int(job["threads"]),
        [runner.feed(sample, manifest) for sample in samples],
        int(job["count"]),
    )
    version = runner.runtime_version(runtime)
    event = {"event": "profile", "operators": operators, "runtime_version": version}
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    raise SystemExit(runner.main(sys.argv[1:], jobs={"profile": job_profile}))
