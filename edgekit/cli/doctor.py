"""`edgekit doctor` and the lines of `edgekit --version`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.errors import DISTRIBUTION
from edgekit.version import __version__

if TYPE_CHECKING:
    from edgekit.plugins import Plugin

# Package → the extra that installs it, and what it is for.
_PACKAGES = {
    "torch": ("torch", "loading and exporting models"),
    "safetensors": ("torch", "reading weights"),
    "onnx": ("onnx", "the onnx backend"),
    "onnxscript": ("onnx", "the onnx backend"),
    "onnxslim": ("onnx", "the onnx backend"),
    "onnxruntime": ("onnx", "running ONNX artifacts"),
    "litert-torch": ("tflite", "the tflite backend"),
    "ai-edge-quantizer": ("tflite", "int8 for tflite"),
    "ai-edge-litert": ("tflite", "running TFLite artifacts"),
    "openvino": ("openvino", "the openvino backend and its runtime"),
    "nncf": ("openvino", "int8 for openvino"),
    "pnnx": ("ncnn", "the ncnn backend"),
    "ncnn": ("ncnn", "int8 for ncnn and its runtime"),
    "scipy": ("predict", "predict-latency --check and --refit"),
    "asyncssh": ("ssh", "reaching real boards"),
    "jinja2": ("report", "the HTML report"),
    "matplotlib": ("report", "plots"),
    "starlette": ("serve", "edgekit serve"),
    "uvicorn": ("serve", "edgekit serve"),
    "distributed": ("dask", "spreading work over machines"),
    "dlib-bin": ("faces", "finding the faces in photographs"),
    "scikit-image": ("demo", "the sample picture"),
}
_TOOLS = {
    "cc": ("gcc", "exact instruction counts on a virtual board"),
    "dpkg": ("dpkg", "installing a virtual board"),
    "ssh": ("openssh-client", "reaching real boards"),
}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def version_lines() -> list[str]:
    """Return our version and that of every package we build on that is installed."""
    found = {name: _installed(name) for name in _PACKAGES}
    return [f"edgekit {__version__}"] + [f"{name} {v}" for name, v in found.items() if v]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is installed, what is missing, and the command that installs it.

    Example: edgekit doctor
    """
    import shutil

    from edgekit.cli.output import show
    from edgekit.plugins import KINDS, plugins

    rows = []
    for name, (extra, purpose) in _PACKAGES.items():
        version = _installed(name)
        fix = None if version else f"pip install '{DISTRIBUTION}[{extra}]'"
        rows.append(_row(name, version, purpose, fix))
    for name, (package, purpose) in _TOOLS.items():
        path = shutil.which(name)
        rows.append(_row(name, path, purpose, None if path else f"apt-get install {package}"))
    rows += [_plugin_row(plugin) for kind in KINDS for plugin in plugins(kind).values()]
    missing = sum(row["fix"] is not None for row in rows)
    note = f"{missing} missing: run the commands above" if missing else "everything is here"
    then = "edgekit models, or edgekit convert multitask-cnn -o out"
    show("edgekit doctor", rows, as_json=as_json, notes=(note,), then=then)


def _row(name: str, found: str | None, purpose: str, fix: str | None) -> dict[str, str | None]:
    status = "ok" if found else "missing"
    return {"name": name, "status": status, "found": found, "for": purpose, "fix": fix}


def _plugin_row(plugin: Plugin) -> dict[str, str | None]:
    """Return a plug-in's line; a broken one says so there, and costs nothing else."""
    from edgekit import backends, data, targets
    from edgekit.conversion import libraries
    from edgekit.errors import EdgekitError

    nothing: list[str] = []
    checks: dict[str, tuple[list[str], Callable[[], object]]] = {
        "backends": (backends.own_names(), lambda: plugin.load(backends.MEMBERS)),
        "targets": (targets.own_names(), lambda: targets.load_target(plugin.name)),
        "datasets": (nothing, lambda: plugin.load(data.READER_MEMBERS)),
        "sources": (libraries.own_names(), lambda: plugin.load(libraries.MEMBERS)),
    }
    own, check = checks[plugin.kind]
    fix = (
        f"edgekit's own {plugin.name} is used: rename the plug-in's" if plugin.name in own else None
    )
    try:
        if fix is None:
            check()
    except EdgekitError as error:
        fix = str(error)
    return _row(plugin.name, None if fix else plugin.package, f"plug-in: {plugin.title}", fix)
