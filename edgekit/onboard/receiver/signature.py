"""Who signed a bundle: OpenSSH signatures of its index, checked by the board's own ssh-keygen.

`~/.edgekit/trusted` lists whose bundles this board takes, in ssh-keygen's ALLOWED SIGNERS format.
While it is there an unsigned bundle, or one signed by anybody else, is refused; nothing that a
bundle says can change that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.archive import Head

TRUSTED = "trusted"
NAMESPACE = "edgekit"
"""What our signatures are for: one made for git or for a file elsewhere does not count here."""


def signer(head: Head, trusted: Path, required: bool) -> str | None:
    """Return who of `trusted` signed the bundle, or None where none has to.

    Raises Refused where the list is there, or a signature `required`, and the bundle's is missing,
    someone else's or of other bytes; and where the list is there and cannot be read.
    """
    if not os.path.lexists(trusted):
        if required:
            raise Refused(
                f"a signature is required, but {trusted} names nobody: "
                "edgekit keys trust KEY.pub --to this board"
            )
        return None
    if not trusted.is_file():  # a link that leads nowhere is a list that was lost, not no list
        raise Refused(
            f"{trusted} cannot be read: restore it, or remove it and trust the keys again"
        )
    if head.signature is None:
        raise Refused("the bundle is not signed, and this board takes signed ones only: --sign KEY")
    if shutil.which("ssh-keygen") is None:
        raise Refused("this board has no ssh-keygen to check signatures: install openssh-client")
    with tempfile.TemporaryDirectory(prefix=".signature-", dir=trusted.parent) as scratch:
        file = Path(scratch) / "signature"
        file.write_bytes(head.signature)
        ask = ["-s", str(file), "-f", str(trusted)]
        found = _keygen(["find-principals", *ask], b"")
        name = found[0] if found else ""
        check = ["verify", *ask, "-n", NAMESPACE, "-I", name]
        if not name or _keygen(check, head.index_bytes) is None:
            raise Refused(f"the bundle's signature is of nobody in {trusted}, or of other bytes")
    return name


def _keygen(arguments: list[str], data: bytes) -> list[str] | None:
    """Return the lines ssh-keygen prints, or None where it says no."""
    done = subprocess.run(
        ["ssh-keygen", "-Y", *arguments], input=data, capture_output=True, timeout=60, check=False
    )
    return done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else None
