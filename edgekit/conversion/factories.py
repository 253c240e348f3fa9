"""Calls a user's own Python: a function that returns a network, `package.module:factory`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit.errors import BadModel, first_line

PACKAGE_OF = {
    "cv2": "opencv-python", "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image",
    "yaml": "pyyaml",
}  # fmt: skip
"""What to install for a module that is named otherwise than its package."""


def call_factory(locator: str) -> object:
    """Return what the user's function gives, or the object itself where it is a network.

    The folder of work is searched first. Raises BadModel, with the line of the user's code, for
    whatever happens there.
    """
    import importlib
    import sys

    from torch import nn

    module_name, _, attribute = locator.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadModel(_cannot_import(module_name, error)) from None
    except (Exception, SystemExit) as error:
        raise BadModel(_raised(f"the Python module {module_name}", error)) from error
    factory = getattr(module, attribute, None)
    if factory is None:
        raise BadModel(f"{module_name} has no '{attribute}': name a function in it")
    if not callable(factory) or isinstance(factory, nn.Module):
        return factory
    if needed := _needed(factory):
        raise BadModel(
            f"{locator} needs arguments ({', '.join(needed)}): name a function without any, such "
            f"as def make_model(): return {attribute}(...)"
        )
    try:
        made: object = factory()
    except ImportError as error:
        raise BadModel(_cannot_import(module_name, error)) from None
    except (Exception, SystemExit) as error:
        raise BadModel(_raised(locator, error)) from error
    return made


def _needed(factory: Callable[..., object]) -> list[str]:
    """Return the arguments without which a function cannot be called; none where it is not told."""
    import inspect

    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [p.name for p in parameters if p.default is p.empty and p.kind not in several]


def _cannot_import(module: str, error: ImportError) -> str:
    """Return why a user's module cannot be imported, and the true remedy."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (module == missing or module.startswith(f"{missing}.")):
        file = f"{missing.replace('.', '/')}.py"
        return f"no Python module {module}: run edgekit in the folder that holds {file}"
    if missing:
        root = missing.partition(".")[0]
        package = PACKAGE_OF.get(root, root)
        return f"{module} imports {missing}, which is not installed: pip install {package}"
    return f"cannot import {module}: {error}"


def _raised(what: str, error: BaseException) -> str:
    """Return what to say where a user's own code ends in an exception, with its last line there."""
    import traceback

    said = first_line(error)
    name = type(error).__name__
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file, line = frame.filename, frame.lineno
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    at = f" ({Path(file).name}, line {line})"
    told = name if said == name else f"{name}: {said}"
    return f"{what} raised {told}{at}: run it in Python alone to see the whole error, and mend it"
