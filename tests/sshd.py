"""A board to reach: a real OpenSSH server on a loopback port, with a home folder of its own.

Nothing of the account that runs the tests is touched, and its .bashrc is not read: the server has
its own host key, takes one key, and every session starts with HOME in the test's folder and `bin`
there first in PATH, which is where a test puts what its board is to have or to lack. The folder of
the tests' own Python comes next: pyenv's `python3` is a shell script that starts many programs.
NumPy starts no threads there, as in all that tests start: they would spin on the cores of others.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
Subsystem sftp {sftp}
SetEnv HOME={home}
ForceCommand {folder}/session
"""
SESSION = """\
#!/bin/sh
export HOME={home} PATH={home}/bin:{python}:$PATH OPENBLAS_NUM_THREADS=1
cd "$HOME" && exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


@dataclass
class Board:
    """One server: `home` is the account's home folder on it, `port` its port on 127.0.0.1."""

    folder: Path
    home: Path
    port: int
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """`ssh://user@127.0.0.1:port`."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def known_hosts_line(self) -> str:
        """What a user's known_hosts holds once its key is accepted."""
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host_key.pub').read_text()}"

    def has(self, name: str, script: str) -> None:
        """Give the board a program of that name, a shell script."""
        program = self.home / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def has_our_python(self) -> None:
        """Let the board's python3 be the one that runs the tests: NumPy and all runtimes."""
        self.has("python3", f'exec {shlex.quote(sys.executable)} "$@"')

    def start(self) -> None:
        """Start the server and wait until it listens."""
        # A program that is run by its full path, as sshd insists on.
        command = [_sshd(), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "Server listening" in line:
                return
        raise AssertionError(f"sshd did not start: {''.join(said)}")

    def connections(self) -> list[int]:
        """Return the processes that serve a connection each."""
        assert self.process is not None
        return children(self.process.pid)

    def cut(self) -> None:
        """End every connection as a broken network does: at once, with no word to the peer."""
        for pid in self.connections():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # or it would tell the peer how its session ended
            for served in (*children(pid), pid):
                _kill(served)

    def stop(self) -> None:
        """End the server and its connections."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)  # no new connection comes in between
            self.cut()
            self.process.kill()
            self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()
            self.process = None

    def run(self, *command: str) -> str:
        """Run a command as a session does, but not over SSH; return what it printed."""
        environment = os.environ | {"SSH_ORIGINAL_COMMAND": shlex.join(command)}
        session = [str(self.folder / "session")]
        return subprocess.check_output(session, env=environment, text=True)


def new_board(folder: Path, public_key: str) -> Board:
    """Return a board in `folder` that lets `public_key` in; its server is not started."""
    folder.mkdir(parents=True)
    home = folder / "home"
    (home / "bin").mkdir(parents=True)
    port = _free_port()
    new_key(folder / "host_key")
    (folder / "authorized_keys").write_text(public_key)
    config = CONFIG.format(port=port, folder=folder, home=home, sftp=SFTP_SERVER)
    (folder / "sshd_config").write_text(config)
    session = folder / "session"
    python = Path(sys.base_prefix) / "bin"
    session.write_text(SESSION.format(home=shlex.quote(str(home)), python=shlex.quote(str(python))))
    session.chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return Board(folder, home, port)


def new_key(path: Path, *options: str) -> str:
    """Make a key pair at `path` and return its public half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-f", str(path), "-C", "test"]
    subprocess.run([*command, *(options or ("-N", ""))], check=True)
    return path.with_suffix(".pub").read_text()


def accept(user_home: Path, boards: Sequence[Board]) -> None:
    """Write known_hosts as a user has it who accepted these boards' keys, and no other."""
    lines = "".join(board.known_hosts_line for board in boards)
    (user_home / ".ssh" / "known_hosts").write_text(lines)


def children(pid: int) -> list[int]:
    """Return the processes a process started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in text.split()]


# Below the range that outgoing connections draw from (32768 on), and each given away once: a port
# that is free now is then still free when its server starts, or starts again.
_PORTS = iter(random.SystemRandom().sample(range(20_000, 32_000), 12_000))


def _free_port() -> int:
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _sshd() -> str:
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found, "openssh-server is missing: tests/system_packages.sh installs it"
    return found
