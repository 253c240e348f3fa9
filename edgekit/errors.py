"""Every error edgekit raises on purpose.

    EdgekitError               exit code 1: it did not work, and here is why
    ├── UserError              exit code 2: the input was wrong; the message ends with the remedy
    │   ├── BadModel           missing, truncated, of the wrong type, or its shapes differ
    │   ├── UnsupportedModel   the model holds an operator that a backend cannot take
    │   ├── BadData            images, calibration sets, label files
    │   ├── BadArtifact        a manifest or model file that is not what it says
    │   ├── BadBundle          a file that is no bundle, or was damaged on its way
    │   ├── BadInventory       a fleet's inventory that cannot be read
    │   ├── BadTarget          an unknown or malformed target profile
    │   ├── BadResults         saved measurements that cannot be read or compared
    │   ├── OutputExists       the output is there already, and --force was not given
    │   ├── BrokenPlugin       another package's backend, target or dataset cannot be loaded
    │   └── MissingPackage     an optional package is not installed; carries the pip line
    ├── ParityFailed           an artifact does not compute what the model computes
    ├── DeviceError            a device could not be reached or did not answer as agreed
    │   ├── DeviceTimeout      ... within the time it was given
    │   ├── DeviceLost         ... any more: the connection ended, and trying again may help
    │   └── JobFailed          the runner there says why its job failed
    └── BuildFailed            a backend's process ended without an artifact

A message is one line: what is wrong, where, and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

DISTRIBUTION = "edgekit-deploy"
"""Our name on PyPI; `edgekit` there belongs to an unrelated package."""

MOST_NAMES = 40
"""So many names a message lists where none is near what was given; timm alone has 1,500."""


class EdgekitError(Exception):
    """Something edgekit was asked to do did not work."""

    exit_code = 1


class UserError(EdgekitError):
    """The input was wrong; nothing was changed."""

    exit_code = 2


class BadModel(UserError):
    """A model source is missing, truncated, of the wrong type, or its shapes differ."""


class UnsupportedModel(UserError):
    """A backend cannot take one of the model's operators."""


class BadData(UserError):
    """Images, labels or calibration samples cannot be used."""


class BadArtifact(UserError):
    """A manifest or model file is not what it says it is."""


class BadBundle(UserError):
    """A file is no bundle, or not whole."""


class BadInventory(UserError):
    """A fleet's inventory cannot be read, or names no board."""


class BadTarget(UserError):
    """A target profile is unknown or malformed."""


class BadResults(UserError):
    """Saved measurements cannot be read, or may not be compared."""


class OutputExists(UserError):
    """The output is there already."""


class BrokenPlugin(UserError):
    """A plug-in of another package cannot be loaded."""


class MissingPackage(UserError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        wanted = (
            f"'{DISTRIBUTION}[{extra}]'" if extra else package
        )  # a plug-in has no extra of ours
        super().__init__(f"{package} is not installed: pip install {wanted}")
        self.package = package
        self.extra = extra


class ParityFailed(EdgekitError):
    """An artifact does not compute what the model computes.

    `far`: a float artifact whose answers are wrong, beyond any rounding.
    """

    far = False


class DeviceError(EdgekitError):
    """A device could not be reached, or did not answer as agreed."""


class DeviceTimeout(DeviceError):
    """A device did not answer within the time it was given."""


class DeviceLost(DeviceError):
    """The connection to a device ended or cannot be made now; trying again may help."""


class JobFailed(DeviceError):
    """The runner did not do its job, in its own words; `kind` names the exception there."""

    def __init__(self, message: str, kind: str = "error") -> None:
        super().__init__(message)
        self.kind = kind


class BuildFailed(EdgekitError):
    """A backend's process ended without an artifact."""


def did_you_mean(kind: str, given: str, known: list[str], within: str = "") -> str:
    """Return `unknown <kind> '<given>'` with the nearest of `known`, or all of them.

    Names are written with `within` before them, which counts for none of the nearness.
    """
    from difflib import get_close_matches

    near = [within + name for name in get_close_matches(given, known, n=3, cutoff=0.5)]
    every = ", ".join(within + name for name in known[:MOST_NAMES])
    if len(known) > MOST_NAMES:
        every += f" and {len(known) - MOST_NAMES:,} more"
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {every}"
    return f"unknown {kind} '{within}{given}': {hint}"


def nearest(given: str, known: Sequence[str], otherwise: str) -> str:
    """Return `did you mean NAME?` with the nearest of `known`; `otherwise` where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(given, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def error_of(kind: str, message: str) -> EdgekitError | None:
    """Return an error of this tree again from its class's name and its message, or None.

    Not by calling the class: some make their message of other arguments.
    """
    found = globals().get(kind)
    if not (isinstance(found, type) and issubclass(found, EdgekitError)):
        return None
    error = found.__new__(found)
    error.args = (message,)
    return error


def printable(text: str) -> str:
    """Return a text with its control characters written out, `\\x1b` for an escape.

    What a board, a manifest or a file name says is shown to a person, never executed by the
    terminal.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text that says something, bare of colours."""
    lines = (_COLOUR.sub("", line).strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:300]
