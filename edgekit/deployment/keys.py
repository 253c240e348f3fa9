"""Keys that sign bundles: OpenSSH's own, so that a board can check them with nothing installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgekit.errors import OutputExists, UserError
from edgekit.files import full_disk
from edgekit.onboard.receiver.signature import NAMESPACE

_PUBLIC = re.compile(r"(?P<kind>(?:ssh|ecdsa|sk)-[a-z0-9@.-]+) (?P<key>[A-Za-z0-9+/]+=*)(?: .*)?")


def new_key(path: Path) -> Path:
    """Write a new ed25519 key pair at `path` and `path`.pub, and return the public half's path.

    The private half can be read by its owner only. Raises OutputExists where one of the two is
    there: a key is never overwritten.
    """
    public = path.with_name(f"{path.name}.pub")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".key-", dir=path.parent) as scratch:
        aside = Path(scratch) / "key"
        _keygen(["-q", "-t", "ed25519", "-N", "", "-C", path.stem, "-f", str(aside)], path.parent)
        _place(aside, path)
        try:
            _place(aside.with_name("key.pub"), public)
        except OutputExists:
            path.unlink()
            raise
    return public


def sign(data: bytes, key: Path) -> bytes:
    """Return the OpenSSH signature of `data`. Raises UserError where `key` cannot sign."""
    if not key.is_file():
        raise UserError(f"no key at {key}: edgekit keys new {key}")
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        file = Path(scratch) / "index"
        file.write_bytes(data)
        if key.stat().st_mode & 0o077:
            raise UserError(
                f"others may read {key}, and ssh-keygen refuses such a key: chmod 600 {key}"
            )
        _keygen(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(file)], file.parent)
        return (Path(scratch) / "index.sig").read_bytes()


def trusted_line(public: Path) -> str:
    """Return the line of a board's `trusted` list that takes bundles signed by this key.

    The signer is called after the file. Raises UserError where it holds no public key.
    """
    try:
        found = _PUBLIC.fullmatch(public.read_text().strip())
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        raise UserError(f"{public} is no public key: give the .pub that `edgekit keys new` made")
    name = re.sub(r"[^A-Za-z0-9._-]", "-", public.stem)
    return f'{name} namespaces="{NAMESPACE}" {found["kind"]} {found["key"]}'


def _place(aside: Path, path: Path) -> None:
    try:
        os.link(aside, path)  # unlike a rename, this replaces nothing
    except FileExistsError:
        raise OutputExists(
            f"{path} exists, and keys are never overwritten: choose another name"
        ) from None


def _keygen(arguments: list[str], folder: Path) -> None:
    """Run ssh-keygen, which writes into `folder`."""
    if shutil.which("ssh-keygen") is None:
        raise UserError("ssh-keygen is not installed: install openssh-client")
    done = subprocess.run(["ssh-keygen", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        if full_disk(folder) is not None:
            raise UserError(f"no space left on the disk of {folder}: free some, run again")
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UserError(f"ssh-keygen: {''.join(said)}: give an OpenSSH private key you can read")
