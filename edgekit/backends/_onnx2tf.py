"""TFLite from an .onnx file: onnx2tf, which runs in an environment of its own.

Its pinned versions (numpy, onnx, onnxruntime) are not ours, and it needs Python 3.12 or newer. So
it is never imported: the environment is built in the cache at first use, and its program is run.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import EdgekitError, OutputExists, UnsupportedModel, first_line
from edgekit.files import folder_whole, write_whole
from edgekit.paths import cache_folder
from edgekit.scratch import run_leashed

if TYPE_CHECKING:
    import subprocess

VERSION = "2.6.9"
"""The first with a converter to TFLite that needs no TensorFlow; it pins all that it needs."""
OLDEST = (3, 12)
_PYTHONS = ("python3.12", "python3.13", "python3.14", "python3")
_KEPT = (".pyenv/versions/3.1[2-9]*/bin/python", ".local/share/uv/python/*3.1[2-9]*/bin/python3")
"""Under the home folder, where pyenv and uv keep versions that are not on the path."""
_PROBE = "import sys, venv, ensurepip; print(*sys.version_info[:2])"


def convert(model: Any, out: Path, scratch: Path) -> None:
    """Write a ModelProto as .tflite in float32, its inputs and outputs in their order and shapes.

    Raises UnsupportedModel where onnx2tf cannot take it, EdgekitError without its environment.
    """
    import onnx

    from edgekit.backends.onnx import name_ends

    python = environment()
    scratch.mkdir(exist_ok=True)
    inputs = _name_starts(model)
    outputs = [f"output_{number}" for number in range(len(model.graph.output))]
    name_ends(model, outputs)
    onnx.save(model, str(scratch / "model.onnx"))
    made = scratch / "made" / "model_float32.tflite"
    command = ["-m", "onnx2tf", "-tb", "flatbuffer_direct", "-i", "model.onnx", "-o", "made", "-n"]
    done = _run(python, *command, "-kat", *inputs, cwd=scratch)
    print(done.stdout)  # into the step's log
    if done.returncode or not made.is_file():
        raise UnsupportedModel(
            f"tflite cannot convert the .onnx (onnx2tf {VERSION}: {_reason(done.stdout)}): give "
            "the PyTorch model, or leave out --backend tflite"
        )
    content = _in_order(made.read_bytes(), inputs, outputs)
    _try(content)
    write_whole(out, content)


def environment() -> Path:
    """Return the Python of onnx2tf's environment, which is built where it is not there yet.

    Raises EdgekitError where no Python is new enough, or an install fails.
    """
    home = cache_folder() / f"onnx2tf-{VERSION}"
    if not (home / "bin" / "python").exists():
        _build(home)
    return home / "bin" / "python"


def _build(home: Path) -> None:
    newest = _new_enough()
    # Python compiles what it imports; pip would compile all of five thousand files first.
    install = ("-m", "pip", "install", "--no-compile", "--disable-pip-version-check")
    try:
        with folder_whole(home) as part:  # pip's scripts keep its path; only its Python is used
            made = part / "bin" / "python"
            for program, *rest in (
                (newest, "-m", "venv", str(part)),
                (str(made), *install, f"onnx2tf=={VERSION}"),
            ):
                done = _run(Path(program), *rest, cwd=home.parent)
                print(done.stdout)
                if done.returncode:
                    raise EdgekitError(
                        "the environment of onnx2tf, which converts .onnx to tflite, cannot be "
                        f"built ({_reason(done.stdout)}): mend that, or leave out --backend tflite"
                    )
    except OutputExists:
        if not (home / "bin" / "python").exists():  # else another process was first
            raise


def _new_enough() -> str:
    kept = (str(path) for pattern in _KEPT for path in sorted(Path.home().glob(pattern)))
    for name in (sys.executable, *_PYTHONS, *kept):
        found = shutil.which(name)
        if found is None:
            continue
        done = _run(Path(found), "-c", _PROBE, cwd=Path.cwd())
        version = done.stdout.split()
        if done.returncode == 0 and tuple(map(int, version)) >= OLDEST:
            return found
    raise EdgekitError(
        "tflite from .onnx needs Python 3.12 or newer beside this one, with its venv module: "
        "install python3.12, give the PyTorch model, or leave out --backend tflite"
    )


def _run(python: Path, *rest: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python that sees none of our packages."""
    return run_leashed([str(python), "-I", *rest], cwd)


def _reason(said: str) -> str:
    """Return the line of a program's output that tells most: the last error, else the last."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1][:200]


def _name_starts(model: Any) -> list[str]:
    """Call the inputs args_0, args_1 and so on, as litert-torch does; return their new names."""
    from edgekit.backends.onnx import inputs_of

    net, inputs = model.graph, inputs_of(model)
    names = {value.name: f"args_{number}" for number, value in enumerate(inputs)}
    for value in inputs:
        value.name = names[value.name]
    for node in net.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
    return list(names.values())


def _try(content: bytes) -> None:
    """Run a .tflite once, on zeros. Raises UnsupportedModel where it cannot be run."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # The plain kernels say which operator it is, XNNPACK only its number.
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=plain
    )
    try:
        interpreter.allocate_tensors()
        for item in interpreter.get_input_details():
            interpreter.set_tensor(item["index"], np.zeros(item["shape"], item["dtype"]))
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModel(
            f"tflite cannot convert the .onnx (onnx2tf {VERSION} made a network that does not "
            f"run: {first_line(error)}): give the PyTorch model, or leave out --backend tflite"
        ) from None


def _in_order(content: bytes, inputs: list[str], outputs: list[str]) -> bytes:
    """Return a .tflite whose inputs and outputs stand as named: onnx2tf may sort them otherwise."""
    from ai_edge_litert import schema_py_generated as schema

    from edgekit.backends._tflite_files import packed

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (signature,) = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    graph.inputs = _places(signature.inputs, inputs)
    graph.outputs = _places(signature.outputs, outputs)
    return packed(model)


def _places(ends: Any, names: list[str]) -> list[int]:
    """Return the tensor of each name. Raises UnsupportedModel where the signature has others."""
    place = {end.name.decode(): end.tensorIndex for end in ends}
    if set(place) != set(names):
        raise UnsupportedModel(
            f"tflite cannot convert the .onnx: onnx2tf made {', '.join(place)} of its inputs "
            "or outputs; give the PyTorch model"
        )
    return [place[name] for name in names]
