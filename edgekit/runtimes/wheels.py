"""A board's wheels: resolved into a lock, fetched by pip, checked against it, unpacked safely."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from edgekit.errors import DeviceError
from edgekit.files import sha256
from edgekit.runtimes.locks import Lock, Wheel
from edgekit.runtimes.platforms import ARCHITECTURE, platforms
from edgekit.runtimes.table import Environment

PIP = Wheel(
    name="pip",
    version="25.3",
    file="pip-25.3-py3-none-any.whl",
    sha256="9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd",
    bytes=1_778_622,
)
"""What installs on boards; the last that runs on all their Pythons, 3.9 on."""


def fetch(lock: Lock, into: Path) -> None:
    """Put every wheel of `lock` into `into`; those already there, and whole, stay.

    pip fetches the exact file from the user's own package index and compares its hash; a file of
    another hash is thrown away and fetched again. Raises DeviceError in one line.
    """
    into.mkdir(parents=True, exist_ok=True)
    missing = []
    for wheel in lock.wheels:
        path = into / wheel.file
        if path.is_file() and sha256(path) != wheel.sha256:
            path.unlink()
        if not path.is_file():
            missing.append(wheel)
    # One call per place: pip takes one version of a distribution at a time.
    for place in sorted({wheel.place for wheel in missing}):
        requirements = into / f"{place}.txt"
        requirements.write_text("".join(w.requirement for w in missing if w.place == place))
        try:
            _download(
                ["--require-hashes", "--requirement", str(requirements)],
                lock.python,
                lock.glibc,
                into,
            )
        except DeviceError as error:
            if "No matching distribution" not in str(error):
                raise
            raise DeviceError(
                f"{error}: your package index no longer has this wheel. Lock the board to those "
                "that it has: edgekit device relock BOARD"
            ) from None
    for wheel in missing:
        if not (into / wheel.file).is_file() or sha256(into / wheel.file) != wheel.sha256:
            raise DeviceError(f"{wheel.file} did not arrive as locked: run the install again")


def resolve(
    requirements: Sequence[str],
    place: Environment,
    python: str,
    glibc: str,
    into: Path,
    architecture: str = ARCHITECTURE,
) -> tuple[Wheel, ...]:
    """Return the newest wheels that meet `requirements` on a board, fetched into `into`.

    No dependencies are followed: the requirements name all that the runner needs.
    """
    into.mkdir(parents=True, exist_ok=True)
    _download(list(requirements), python, glibc, into, architecture)
    return tuple(_wheel(path, place) for path in sorted(into.glob("*.whl")))


def fetch_newest(
    requirements: Sequence[str],
    place: Environment,
    python: str,
    glibc: str,
    into: Path,
    architecture: str = ARCHITECTURE,
) -> tuple[Wheel, ...]:
    """Fetch what `resolve` would into `into`, which may hold older wheels."""
    with tempfile.TemporaryDirectory(dir=into) as folder:
        fresh = Path(folder)
        got = resolve(requirements, place, python, glibc, fresh, architecture)
        for wheel in got:
            (fresh / wheel.file).replace(into / wheel.file)
    return got


def pip_wheel(python: str, glibc: str, into: Path) -> Path:
    """Return pip's own wheel, to the byte that edgekit was tested with, fetched where missing."""
    fetch(Lock(debian="", python=python, glibc=glibc, packages=(), wheels=(PIP,)), into)
    return into / PIP.file


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel into a site-packages folder.

    Raises DeviceError where it is no whole zip file, or where an entry would land outside.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                path = PurePosixPath(entry.filename)
                link = (entry.external_attr >> 16) & 0o170000 == 0o120000
                if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or link:
                    raise DeviceError(f"{wheel.name} holds {entry.filename!r}: refused")
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise DeviceError(f"{wheel.name} is damaged ({error}): run the install again") from None


def find(requirement: str, python: str, glibc: str) -> str:
    """Return the file name of the wheel pip would install on a board; nothing is fetched.

    Raises DeviceError where the user's index has none that fits.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        command = ["install", "--dry-run", "--ignore-installed", "--target", nowhere]
        report = Path(nowhere) / "report.json"
        try:
            _pip([*command, "--report", str(report), requirement], python, glibc)
        except DeviceError as error:
            if "No matching distribution" not in str(error):
                raise
            raise DeviceError(
                f"no wheel for Python {python} and glibc {glibc} on aarch64 in the package index"
            ) from None
        found = json.loads(report.read_text())["install"][0]["download_info"]["url"]
        return unquote(str(found).rpartition("/")[2].partition("#")[0])


def _download(
    arguments: list[str], python: str, glibc: str, into: Path, architecture: str = ARCHITECTURE
) -> None:
    _pip(["download", "--dest", str(into), *arguments], python, glibc, architecture)


def _pip(arguments: list[str], python: str, glibc: str, architecture: str = ARCHITECTURE) -> None:
    """Run pip for a board; the index, mirrors and proxies are the user's own."""
    interpreter = "cp" + python.replace(".", "")
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp"]
    command += [f"--abi={abi}" for abi in (interpreter, "abi3", "none")]
    command += [f"--platform={name}" for name in platforms(glibc, architecture)]
    answer = subprocess.run([*command, *arguments[1:]], capture_output=True, text=True, check=False)
    if answer.returncode:
        if "No module named pip" in answer.stderr:
            raise DeviceError(
                f"{sys.executable} has no pip to fetch wheels with: run it with -m ensurepip"
            )
        errors = re.findall(r"^ERROR: (.*)", answer.stderr, re.MULTILINE)
        lines = answer.stderr.strip().splitlines()
        reason = (errors[-1:] or lines[-1:] or [f"exit code {answer.returncode}"])[0]
        raise DeviceError(f"pip {arguments[0]}: {reason}")


def _wheel(path: Path, place: Environment) -> Wheel:
    from packaging.utils import parse_wheel_filename

    name, version, _, _ = parse_wheel_filename(path.name)
    return Wheel(
        name=str(name),
        version=str(version),
        file=path.name,
        sha256=sha256(path),
        bytes=path.stat().st_size,
        place=place,
    )
