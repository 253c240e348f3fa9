"""Debian packages of any architecture, fetched by the host's apt into a folder of ours.

The host's apt state is read nowhere and written nowhere: lists, status and archives lie in our
own folder. Where packages come from is the host's own configured Debian mirror, with the
release's name exchanged; apt checks every package against that release's signed lists.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DeviceError
from edgekit.files import bytes_in, sha256, write_whole

FULL_BYTES = 4 * 1024 * 1024
"""A disk with less than this left counts as full: no tool here needs less to go on."""
LISTS_BYTES = 80 * 1024 * 1024
"""What `apt-get update` must find free: Debian 12's lists are 50 MB, the packed file 9 more."""
STANDSTILL_S = 120.0
"""How long apt may write nothing: four times its own patience with a network."""

_ALIASES = frozenset({"stable", "oldstable", "testing", "unstable", "sid"})
_SUITE_END = re.compile(r"(-updates|-security|/updates)?$")
# The host's own wishes about connections; pins, hooks and index targets are left behind.
_CONNECTION = re.compile(r"^Acquire::(http|https|ftp|Retries|Check-|ForceIPv|Queue-Mode|Proxy)")


@dataclass(frozen=True)
class Package:
    """One package file as apt's signed lists describe it."""

    file: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The package's name: a file is called name_version_architecture.deb."""
        return self.file.partition("_")[0]


@dataclass(frozen=True)
class Apt:
    """apt with a state of its own, for one Debian release and one architecture."""

    folder: Path
    release: str
    architecture: str

    def update(self) -> None:
        """Fetch the release's signed package lists.

        Where that fails but earlier lists are there (no network, no room), those serve.
        Raises DeviceError with apt's own reason otherwise, or where the host has no apt.
        """
        _require_apt()
        sources = debian_sources(Path("/etc/apt"), _os_release(), self.release)
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        write_whole(self.folder / "debian.sources", sources)
        write_whole(self.folder / "apt.conf", self._configuration())
        if shutil.disk_usage(self.folder).free < LISTS_BYTES:
            if self._has_lists():
                return
            raise DeviceError("apt-get update: No space left on device")
        # Lists are parsed when packages are asked for; apt would do it here, too, and forget it.
        unparsed = ("-o", "pkgCacheFile::Generate=false")
        answer = self._apt("update", "-q", "-o", "APT::Update::Error-Mode=any", *unparsed)
        if answer.returncode and not self._has_lists():
            raise DeviceError(f"apt-get update for {self.release}: {_reason(answer)}")

    def packages(self, names: Sequence[str]) -> tuple[Package, ...]:
        """Return the package files of exactly these names, as the signed lists have them."""
        answer = self._apt("download", "--print-uris", "-q", *names)
        if answer.returncode:
            raise DeviceError(f"Debian {self.release} {self.architecture}: {_reason(answer)}")
        return tuple(_package(line) for line in answer.stdout.splitlines() if line[:1] == "'")

    def closure(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return `names` and everything they depend on, down to the C library."""
        answer = self._apt("install", "--simulate", "-q", *names)
        if answer.returncode:
            raise DeviceError(f"Debian {self.release} {self.architecture}: {_reason(answer)}")
        return tuple(re.findall(r"^Inst (\S+)", answer.stdout, re.MULTILINE))

    def fetch(self, names: Sequence[str], into: Path) -> tuple[Path, ...]:
        """Return the package files of `names` in `into`; those already there, and whole, stay.

        A file of another hash than the signed lists' is thrown away and fetched again.
        """
        into.mkdir(parents=True, exist_ok=True)
        wanted = self.packages(names)
        missing = []
        for package in wanted:
            path = into / package.file
            if path.is_file() and sha256(path) != package.sha256:
                path.unlink()
            if not path.is_file():
                missing.append(package.name)
        if missing:
            answer = self._apt("download", "-q", *missing, folder=into)
            if answer.returncode:
                raise DeviceError(f"apt-get download: {_reason(answer)}")
        for package in wanted:
            path = into / package.file
            if not path.is_file() or sha256(path) != package.sha256:
                path.unlink(missing_ok=True)
                raise DeviceError(f"{package.file} did not arrive whole: run the install again")
        return tuple(into / package.file for package in wanted)

    def _has_lists(self) -> bool:
        return any((self.folder / "lists").glob("*_Packages*"))

    def _apt(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            ["apt-get", *arguments],
            cwd=folder or self.folder,
            env={
                "APT_CONFIG": str(self.folder / "apt.conf"),
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "LC_ALL": "C",
                **_proxies(),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        watched = {self.folder, folder or self.folder}
        written, since = -1, time.monotonic()
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    stdout, stderr = process.communicate(timeout=1)
                    break
                # apt-get update whose disk fills up waits for ever, and may have freed some again.
                if shutil.disk_usage(self.folder).free < FULL_BYTES:
                    raise DeviceError(f"apt-get {arguments[0]}: No space left on device")
                if (now := sum(map(bytes_in, watched))) != written:
                    written, since = now, time.monotonic()
                elif time.monotonic() - since > STANDSTILL_S:
                    raise DeviceError(
                        f"apt-get {arguments[0]} has written nothing for {STANDSTILL_S:g} s: see "
                        f"that the disk of {self.folder} has room and the network answers, then "
                        "run the install again"
                    )
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def _configuration(self) -> str:
        """Return an apt.conf that stands for the host's whole configuration."""
        dump = subprocess.run(
            ["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        kept = [line for line in dump.splitlines() if _CONNECTION.match(line)]
        own = {
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::sourcelist": str(self.folder / "debian.sources"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": str(self.folder),
            "Dir::State::Lists": str(self.folder / "lists"),
            "Dir::State::status": str(self.folder / "status"),
            "Dir::Cache": str(self.folder / "cache"),
            # apt would keep its parsed lists too, 100 MB of them; parsing takes half a second.
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "APT::Architecture": self.architecture,
            "APT::Install-Recommends": "false",
            # Our folders belong to this user; apt's own unprivileged user could not write there.
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
        }
        return "\n".join(
            [
                *kept,
                *(f'{key} "{value}";' for key, value in own.items()),
                f'APT::Architectures {{ "{self.architecture}"; }};\n',
            ]
        )


def unpack(package: Path, folder: Path) -> None:
    """Unpack a .deb file's tree into `folder`; raises DeviceError in one line."""
    answer = subprocess.run(
        ["dpkg-deb", "--extract", str(package), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise DeviceError(f"{package.name} cannot be unpacked: {_reason(answer)}")


def host_architecture() -> str:
    """Return Debian's name for this machine's architecture (`amd64`, `arm64`)."""
    _require_apt()
    return subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()


def debian_sources(etc: Path, host: Mapping[str, str], release: str) -> str:
    """Return the host's Debian sources as deb822 text, for another release.

    `etc` is the host's /etc/apt, `host` its os-release fields. Only Debian's own archive is
    taken (component `main`, a suite named after the host's release or an alias of one).
    Raises DeviceError where the host has none: only a Debian host knows where packages come from.
    """
    known = _ALIASES | {host.get("VERSION_CODENAME", "")}
    entries = [
        entry
        for path in sorted([etc / "sources.list", *etc.glob("sources.list.d/*")])
        for entry in _entries(path)
    ]
    stanzas = []
    for entry in entries if host.get("ID") == "debian" else []:
        ends = [_SUITE_END.split(suite)[:2] for suite in entry["Suites"].split()]
        suites = [release + (end or "") for base, end in ends if base in known]
        if suites and "main" in entry["Components"].split():
            stanza = {"Types": "deb", "URIs": entry["URIs"], "Suites": " ".join(suites)}
            stanza["Components"] = "main"
            if "Signed-By" in entry:
                stanza["Signed-By"] = entry["Signed-By"]
            stanzas.append("".join(f"{key}: {value}\n" for key, value in stanza.items()))
    if not stanzas:
        raise DeviceError(
            f"{host.get('PRETTY_NAME', 'this system')} has no Debian package source configured: "
            "install virtual boards on Debian (a container will do), or use a real board by ssh://"
        )
    return "\n".join(stanzas)


def _entries(path: Path) -> list[Mapping[str, str]]:
    """Return the enabled binary sources of one file, either format, by deb822 field name."""
    if not path.is_file():
        return []
    from debian.deb822 import Deb822

    text = path.read_text(errors="replace")
    found: list[Mapping[str, str]]
    if path.suffix == ".sources":
        found = list(Deb822.iter_paragraphs(text, use_apt_pkg=False))
    elif path.suffix == ".list" or path.name == "sources.list":
        found = [_one_line(line) for line in text.splitlines()]
    else:
        return []
    needed = {"URIs", "Suites", "Components"}
    return [
        entry
        for entry in found
        if needed <= entry.keys()
        and "deb" in entry.get("Types", "").split()
        and entry.get("Enabled", "yes").lower() not in {"no", "false", "0"}
    ]


def _one_line(line: str) -> dict[str, str]:
    """Return a `deb [options] URI suite component…` line's fields, or nothing."""
    match = re.match(r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.+?)\s*(?:#.*)?$", line)
    if not match:
        return {}
    options, uri, suite, components = match.groups()
    entry = {"Types": "deb", "URIs": uri, "Suites": suite, "Components": components}
    signed = re.search(r"signed-by=(\S+)", options or "")
    return {**entry, "Signed-By": signed[1]} if signed else entry


def _package(line: str) -> Package:
    """Return one line of `--print-uris`: 'URI' file size SHA256:hash."""
    _, file, size, digest = line.rsplit(" ", 3)
    kind, _, value = digest.partition(":")
    if kind != "SHA256":
        raise DeviceError(f"apt gives no SHA256 for {file}: update the host's apt")
    return Package(file, int(size), value)


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:  # the file is not there
        return {}


def _require_apt() -> None:
    missing = [tool for tool in ("apt-get", "apt-config", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        raise DeviceError(
            f"this host has no {missing[0]}: install virtual boards on Debian "
            "(a container will do), or use a real board by ssh://"
        )


def _proxies() -> dict[str, str]:
    """Return the environment's proxy settings, which apt honours."""
    return {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    """Return the first error a Debian tool printed, a full disk before any other, on one line."""
    lines = [line.strip() for line in (answer.stderr + answer.stdout).splitlines() if line.strip()]
    full = [line for line in lines if "No space left on device" in line]
    errors = full or [line for line in lines if line.startswith(("E:", "Err:", "dpkg-deb: error"))]
    return " ".join((errors or lines or [f"exit code {answer.returncode}"])[0].split())
