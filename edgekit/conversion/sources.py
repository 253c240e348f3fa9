"""Where a trained model comes from: zoo name, checkpoint, .pt2, module:factory, .onnx, a library.

`describe` looks without loading; `load_module` loads in the export step's process. User code and
files are read there and nowhere else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekit import zoo
from edgekit.conversion.convertible import ready
from edgekit.conversion.libraries import Wanted, library_names, load_library
from edgekit.conversion.pt2_source import check_arguments, open_pt2, output_paths
from edgekit.conversion.spec_files import (
    check_count,
    check_one,
    check_tensors,
    complete_spec,
    fix_sizes,
    read_spec,
)
from edgekit.errors import BadModel
from edgekit.files import sha256
from edgekit.spec import ModelSpec, with_temperatures

if TYPE_CHECKING:
    from torch import nn

SourceKind = Literal["zoo", "checkpoint", "pt2", "factory", "onnx", "library"]
CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
MADE = {
    ".tflite": "TFLite", ".xml": "OpenVINO", ".param": "ncnn", ".engine": "TensorRT",
    ".mlmodel": "Core ML", ".rknn": "RKNN", ".mnn": "MNN", ".ort": "ONNX Runtime",
}  # fmt: skip
"""What a runtime executes, by the end of its file's name."""
OTHERS = {
    ".h5": "Keras", ".keras": "Keras", ".pb": "TensorFlow", ".pdmodel": "PaddlePaddle",
    ".caffemodel": "Caffe", ".joblib": "scikit-learn",
}  # fmt: skip
"""Whose trained models are saved as such files."""


@dataclass(frozen=True, kw_only=True)
class SourceRequest:
    """What the user named: a source, and what the source itself may not say.

    `arch` is the network of a checkpoint (a zoo name or a factory); `weights` a checkpoint for
    the network of a zoo name or factory, or for a zoo name a folder that `edgekit weights` filled;
    `spec` a TOML file with an InputSpec and OutputSpecs; `seed` draws the weights of a zoo network
    that has none. `trust`: open a file that can run code of its own. `part`: which of several
    state dicts in the checkpoint to take. `download`: a library may fetch weights, as it would by
    itself.
    """

    locator: str
    arch: str | None = None
    weights: str | None = None
    spec: str | None = None
    seed: int = 0
    trust: bool = False
    part: str | None = None
    download: bool = False


def source_kind(request: SourceRequest) -> SourceKind:
    """Return what `request` names, by looking at the name and the file alone.

    Raises BadModel where nothing of that name exists.
    """
    locator = request.locator
    if locator.partition(":")[0] in zoo.systems():
        zoo.spec(*zoo.resolve(locator))
        if request.spec:
            raise BadModel(f"{locator} is a zoo network with its own contract: leave out --spec")
        return "zoo"
    if locator.partition(":")[1] and locator.partition(":")[0] in library_names():
        return "library"
    if request.download:
        raise BadModel(f"--download is for {', '.join(library_names())}: leave it out")
    path = Path(locator)
    if path.is_dir():
        raise BadModel(f"{path} is a folder: give the checkpoint, .pt2 or .onnx file in it")
    if path.suffix in {".pt2", ".onnx", *CHECKPOINTS}:
        if not path.is_file():
            raise BadModel(f"no model file at {path}: check the path")
        if path.stat().st_size == 0:
            raise BadModel(f"{path} is empty: export or save the model again")
        return {".pt2": "pt2", ".onnx": "onnx"}.get(path.suffix, "checkpoint")  # type: ignore[return-value]
    if told := _python_file(locator):
        raise BadModel(told)
    if ":" in locator and all(part.isidentifier() for part in locator.split(":")[0].split(".")):
        return "factory"
    if path.is_file():
        check_kind(path)
        raise BadModel(
            f"{path} is not a model edgekit reads: give .pt2, .onnx or {', '.join(CHECKPOINTS)}"
        )
    raise BadModel(_unknown(locator))


def _python_file(locator: str) -> str:
    """Return what to say where a network is named by its Python file, else ''."""
    place, _, attribute = locator.partition(":")
    path = Path(place)
    if path.suffix != ".py" and attribute and "/" not in place:
        return ""
    file = path if path.suffix == ".py" else Path(f"{place}.py")
    if not file.is_file():
        return f"there is no Python file {file}: check the path" if file == path else ""
    parts = file.with_suffix("").parts
    function = attribute or "FUNCTION"
    if all(part.isidentifier() for part in parts):
        remedy = f"name the module and the function, {'.'.join(parts)}:{function}"
    else:
        remedy = f"run edgekit in {file.parent.absolute()} and name {file.stem}:{function}"
    return f"{locator} is a Python file: {remedy}, which returns the network"


def check_kind(path: Path) -> None:
    """Raise BadModel for a model file of a kind that others read and edgekit does not."""
    suffix = path.suffix.lower()
    if suffix in MADE:
        raise BadModel(
            f"{path} is made for {MADE[suffix]} already and cannot be converted back: give the "
            "PyTorch network or the .onnx file that it was made from"
        )
    if suffix in OTHERS:
        raise BadModel(
            f"{path} is a model of {OTHERS[suffix]}: export it as .onnx there, and give that"
        )
    if suffix in {".jit", ".torchscript"}:
        from edgekit.zoo.weight_files import torchscript

        raise torchscript(path)


def _unknown(name: str) -> str:
    """Return what to say of a name that is no file and not in the zoo."""
    from difflib import get_close_matches

    if near := get_close_matches(name.partition(":")[0], zoo.systems(), n=1, cutoff=0.75):
        return f"unknown model '{name}': did you mean {near[0]}?"
    return (
        f"'{name}' is no file and not in the zoo ({', '.join(zoo.systems())}). To convert your own "
        "network, write a function that returns it and give its place: "
        "edgekit convert mymodel:make_model --spec spec.toml -o out"
    )


@dataclass(frozen=True, kw_only=True)
class LoadedModule:
    """A torch module ready to export, with its contract, name and where its weights came from.

    `notes`: what was taken of a checkpoint that holds more than the network's state dict.
    """

    module: nn.Module
    spec: ModelSpec
    name: str
    weights: Literal["trained", "random", "given"]
    sha256: str
    notes: tuple[str, ...] = ()


def load_module(request: SourceRequest, kind: SourceKind) -> LoadedModule:
    """Load a torch source (every kind but onnx). Raises BadModel in one line."""
    loaders = {
        "zoo": _zoo,
        "checkpoint": _checkpoint,
        "pt2": _pt2,
        "factory": _factory,
        "library": _library,
    }
    loaded = loaders[kind](request)
    loaded.module.eval()
    return loaded


def _zoo(request: SourceRequest) -> LoadedModule:
    from edgekit.zoo.checkpoint import load_weights, read_temperatures

    name, variant = zoo.resolve(request.locator)
    module = zoo.build(name, variant, seed=request.seed)
    given = Path(request.weights) if request.weights else None
    weights = given
    if given is None or given.is_dir():
        weights = zoo.weights_path(name, variant, given)
    if given is not None and weights is None:
        raise BadModel(
            f"{given} has no weights of {name}:{variant}: "
            f"name the file, or make them with `edgekit weights --weights {given}`"
        )
    kind: Literal["trained", "random", "given"] = "random"
    notes: tuple[str, ...] = ()
    spec = zoo.spec(name, variant)
    if weights is not None:
        notes = load_weights(module, weights, request.part)
        spec = with_temperatures(spec, read_temperatures(weights))
        kind = "trained" if given is None else "given"
    return LoadedModule(
        module=module,
        spec=spec,
        name=f"{name}:{variant}",
        weights=kind,
        sha256=_hash(module),
        notes=notes,
    )


def _checkpoint(request: SourceRequest) -> LoadedModule:
    from edgekit.zoo.checkpoint import load_weights, read_metadata, read_temperatures
    from edgekit.zoo.weight_files import read_parts

    path = Path(request.locator)
    ours = request.arch is None and path.suffix == ".safetensors"
    noted = read_metadata(path) if ours else {}
    arch = request.arch or ":".join(str(noted[key]) for key in ("model", "variant") if key in noted)
    if request.arch is None and arch and arch.partition(":")[0] not in zoo.systems():
        raise BadModel(
            f"{path} names code to run, {arch[:80]!r}: give --arch {arch[:80]} if you trust it"
        )
    if not arch:
        read_parts(path)  # a file that is no checkpoint says so first
        raise BadModel(
            f"{path} holds weights but no network. Name the network: edgekit convert {path} "
            "--arch mymodel:make_model --spec spec.toml -o out (or --arch with a zoo name)"
        )
    network = SourceRequest(locator=arch, spec=request.spec)
    kind = source_kind(network)
    if kind not in {"zoo", "factory"}:
        raise BadModel(f"--arch {arch}: give a zoo name or package.module:factory")
    base = _zoo(network) if kind == "zoo" else _factory(network)
    notes = load_weights(base.module, path, request.part)
    return LoadedModule(
        module=base.module,
        spec=with_temperatures(base.spec, read_temperatures(path) if ours else {}),
        name=base.name,
        weights="given",
        sha256=sha256(path),
        notes=notes,
    )


def _pt2(request: SourceRequest) -> LoadedModule:
    path = Path(request.locator)
    program = open_pt2(path, request.trust)
    check_arguments(program, path)
    inputs = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    ]
    spec = read_spec(request.spec) if request.spec else None
    if spec is not None and spec.tensors:
        sizes = [tuple(s if isinstance(s, int) else None for s in v.shape) for v in inputs]
        if len(sizes) != len(spec.names):
            raise BadModel(
                f"the spec names {len(spec.names)} inputs ({', '.join(spec.names)}), "
                f"{path} takes {len(sizes)}"
            )
        check_tensors(spec, list(zip(spec.names, sizes, strict=True)), str(path))
        check_count(spec, len(output_paths(program)), str(path))
    else:
        if len(inputs) != 1:
            raise BadModel(
                f"{path} takes {len(inputs)} inputs: describe each with [[inputs]] in --spec "
                f"(`edgekit spec {path}` drafts it)"
            )
        given = [size if isinstance(size, int) else str(size) for size in inputs[0].shape]
        shape = fix_sizes(given, spec.input if spec else None, str(path))
        check_one(shape, str(path))
        spec = complete_spec(spec, shape, output_paths(program), str(path))
    module: nn.Module = program.module()
    # An exported module forbids train() and eval(): it was exported in one mode and stays there.
    setattr(module, "train", lambda mode=True: module)  # noqa: B010
    setattr(module, "eval", lambda: module)  # noqa: B010
    return LoadedModule(
        module=module, spec=spec, name=path.stem, weights="given", sha256=sha256(path)
    )


def _factory(request: SourceRequest) -> LoadedModule:
    from torch import nn

    from edgekit.conversion.factories import call_factory
    from edgekit.zoo.checkpoint import load_weights

    made = call_factory(request.locator)
    network, spec = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(network, nn.Module):
        raise BadModel(_no_network(request.locator, network))
    network = ready(request.locator, network)
    if request.spec:
        spec = read_spec(request.spec)
    if not isinstance(spec, ModelSpec):
        raise BadModel(
            f"{request.locator} does not say what its input means: give --spec FILE.toml, "
            "or return (module, edgekit.spec.ModelSpec) from it"
        )
    weights: Literal["random", "given"] = "given"
    notes: tuple[str, ...] = ()
    if request.weights:
        notes = load_weights(network, Path(request.weights), request.part)
    return LoadedModule(
        module=network,
        spec=spec,
        name=request.locator.partition(":")[2],
        weights=weights,
        sha256=_hash(network),
        notes=notes,
    )


def _no_network(locator: str, made: object) -> str:
    """Return what to say of a factory that gives something else than a network."""
    told = f"{locator} gave a {type(made).__name__}, not a torch.nn.Module"
    if isinstance(made, dict):
        return (
            f"{told}: where that holds weights, build the network, call its load_state_dict and "
            "return the network"
        )
    return f"{told}: return the network"


def _library(request: SourceRequest) -> LoadedModule:
    library, _, name = request.locator.partition(":")
    wanted = Wanted(
        name=name,
        weights=Path(request.weights) if request.weights else None,
        download=request.download,
        trust=request.trust,
        seed=request.seed,
    )
    try:
        found = load_library(library).load(wanted)
    except BadModel as error:
        line = str(error)
        raise BadModel(line if name in line else f"{request.locator}: {line}") from None
    # Saved in half precision or bfloat16 or not: these networks are computed in float32.
    module = ready(request.locator, found.module).float()
    return LoadedModule(
        module=module,
        spec=read_spec(request.spec) if request.spec else found.spec,
        name=Path(name).stem if name.endswith((".pt", ".yaml", ".yml")) else Path(name).name,
        weights=found.weights,
        notes=found.notes,
        sha256=_hash(module),
    )


def _hash(module: nn.Module) -> str:
    """Return the SHA-256 over a module's tensors, by name, in order."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        # As bytes: NumPy has no bfloat16.
        flat = tensor.detach().contiguous().cpu().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
