"""Every fault at every step of a deploy, over a real SSH server: what serves is whole, always."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
from bundles import give_python, null_bundle
from null_artifacts import APP
from relay import Relay
from sshd import Board, accept

from edgekit.deployment.bundle import Bundle
from edgekit.deployment.deploy import STEPS, DeployRequest, deploy
from edgekit.devices.ssh_link.address import parse_address
from edgekit.errors import DeviceError
from edgekit.onboard.receiver.archive import damage

TAKEN = tuple(step for step in STEPS if step != "service")
"""The steps of a deploy without a unit; tests/test_application.py has units that do not start."""
SWITCH = TAKEN.index("switch")


@dataclass
class Scene:
    """A board, how to reach it, how to strike it, how to mend it, and where its files are seen."""

    address: str
    strike: Callable[[], object]
    mend: Callable[[], object]
    files: Path

    def active(self) -> str:
        """Return the version that serves, which is whole."""
        app = self.files / "apps" / APP
        version = (app / "current").readlink().name
        assert damage(app / "versions" / version) is None
        return version

    def left_over(self) -> set[str]:
        app = self.files / "apps" / APP
        versions = {f"versions/{path.name}" for path in (app / "versions").iterdir()}
        return {path.name for path in app.iterdir()} - {"versions"} | versions


@pytest.fixture(scope="session")
def one_picture(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("one picture")
    shutil.copy(min(pictures.iterdir()), folder)
    return folder


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory, one_picture: Path) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("versions")
    return [null_bundle(folder / word, one_picture, word) for word in ("one", "two")]


@pytest.fixture(scope="session")
def timed(tmp_path_factory: pytest.TempPathFactory, one_picture: Path) -> list[Bundle]:
    """The same with a p90 limit that no machine misses, so that this step writes its files too."""
    folder = tmp_path_factory.mktemp("timed")
    return [
        null_bundle(folder / word, one_picture, word, max_p90_ms=60_000.0)
        for word in ("one", "two")
    ]


Scenes = contextlib.AbstractContextManager[Scene]


@contextlib.contextmanager
def connection_cut(board: Board) -> Iterator[Scene]:
    relay = Relay(board.port)
    through = Board(board.folder, board.home, relay.port)
    accept(Path(os.environ["HOME"]), [board, through])
    yield Scene(through.address, relay.cut, relay.mend, board.home / ".edgekit")
    relay.close()


@contextlib.contextmanager
def server_killed(board: Board) -> Iterator[Scene]:
    """The server dies, and with it every process it serves: the board's power, so to speak."""
    yield Scene(board.address, board.stop, board.start, board.home / ".edgekit")


@contextlib.contextmanager
def disk_full(board: Board) -> Iterator[Scene]:
    """~/.edgekit is a disk of 2 MB that only the board's sessions see."""
    files = board.home / ".edgekit"
    files.mkdir()
    rights, enter = ([], []) if os.geteuid() == 0 else (["--map-root-user"], ["--user"])
    mount = 'mount -t tmpfs -o size=2m tmpfs "$0" && echo mounted && exec sleep infinity'
    alone = ["unshare", *rights, "--mount", "sh", "-c", mount, str(files)]
    holder = subprocess.Popen(alone, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "mounted\n"
    nsenter = ["nsenter", f"--target={holder.pid}", "--mount", *enter, "--preserve-credentials"]
    session = board.folder / "session"
    command = f"""exec {shlex.join(nsenter)} sh -c 'cd "$HOME" && exec sh -c "$1"' sh"""
    session.write_text(session.read_text().replace("exec sh -c", command))
    seen = Path(f"/proc/{holder.pid}/root{files}")
    filler = seen / "somebody else's"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))

    yield Scene(board.address, fill, lambda: filler.unlink(missing_ok=True), seen)
    holder.kill()
    holder.wait()
    holder.stdout.close()


@contextlib.contextmanager
def clock_jump(board: Board) -> Iterator[Scene]:
    """The board's wall clock jumps twenty years, now back, now on."""
    library, now = board.folder / "jumping_clock.so", board.folder / "jump"
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    now.write_text("0")
    program = board.home / "bin" / "python3"
    preloaded = f"exec env LD_PRELOAD={library} JUMP_FILE={now} "
    program.write_text(program.read_text().replace("exec ", preloaded))
    jumps = cycle(["-631152000", "631152000"])

    def jump() -> None:
        now.write_text(next(jumps))

    yield Scene(board.address, jump, lambda: None, board.home / ".edgekit")
    years = set()
    for _ in range(2):
        jump()
        years.add(int(board.run("python3", "-c", "import time; print(time.gmtime().tm_year)")))
    assert max(years) - min(years) == 40, "the clock did jump"


def strike_at(step: str, strike: Callable[[], object]) -> Callable[[str, str], None]:
    def say(board: str, begun: str) -> None:
        if begun == step:
            strike()

    return say


def ship(bundle: Bundle, address: str, say: Callable[[str, str], None] = lambda *_: None) -> None:
    deploy(DeployRequest(bundle=bundle, keep=1, wait=20), parse_address(address), say)


def strike_every_step(
    board: Board, versions: list[Bundle], scene: Callable[..., Scenes], expected: str
) -> None:
    """Deploy one version after the other, each struck at one step and then tried again."""
    give_python(board)
    with scene(board) as at:
        ship(versions[1], at.address)
        struck = 0
        for number, step in enumerate(TAKEN):
            new, old = versions[number % 2].sha256, versions[1 - number % 2].sha256
            failed = ""
            try:
                ship(versions[number % 2], at.address, strike_at(step, at.strike))
            except DeviceError as error:
                failed = str(error)
                assert "\n" not in failed
            may = {
                "old until the switch": {old if number <= SWITCH else new},
                "either": {old, new},
                "new": {new},
            }[expected]
            assert at.active() in may, (step, failed)
            assert failed or at.active() == new, step
            if expected != "either":
                assert bool(failed) == (expected == "old until the switch"), (step, failed)
            at.mend()
            ship(versions[number % 2], at.address)
            assert at.active() == new, step
            assert at.left_over() == {"lock", "history.json", "current", f"versions/{new}"}, step
            struck += 1
        assert struck == len(TAKEN)


def test_connection_cut_at_every_step(board: Board, versions: list[Bundle]) -> None:
    strike_every_step(board, versions, connection_cut, "old until the switch")


def test_server_killed_at_every_step(board: Board, versions: list[Bundle]) -> None:
    strike_every_step(board, versions, server_killed, "old until the switch")


def test_disk_full_at_every_step(board: Board, timed: list[Bundle]) -> None:
    strike_every_step(board, timed, disk_full, "either")


def test_clock_jump_at_every_step(board: Board, versions: list[Bundle]) -> None:
    strike_every_step(board, versions, clock_jump, "new")


def test_edgekit_killed_at_every_step(board: Board, versions: list[Bundle]) -> None:
    give_python(board)
    at = Scene(board.address, lambda: None, lambda: None, board.home / ".edgekit")
    ship(versions[1], at.address)
    killed = 0
    for number, step in enumerate(TAKEN):
        new, old = versions[number % 2], versions[1 - number % 2]
        command = [sys.executable, "-m", "edgekit", "deploy", str(new.path), "--to", at.address]
        process = subprocess.Popen([*command, "--keep", "1"], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip().endswith(f": {step}"):
                process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, step
        process.stderr.close()
        assert at.active() in {old.sha256, new.sha256}, step
        ship(new, at.address)
        assert at.active() == new.sha256, step
        killed += 1
    assert killed == len(TAKEN)


def test_two_deploys_at_once_at_every_step(board: Board, versions: list[Bundle]) -> None:
    give_python(board)
    at = Scene(board.address, lambda: None, lambda: None, board.home / ".edgekit")
    new, other = versions
    ship(other, at.address)
    tried = 0
    for step in TAKEN:
        refused: list[str] = []

        def second(refused: list[str] = refused) -> None:
            try:
                deploy(DeployRequest(bundle=other, keep=1, wait=0), parse_address(at.address))
            except DeviceError as error:
                refused.append(str(error))

        ship(new, at.address, strike_at(step, second))
        held = step not in {"connect", "open"}
        assert ["another deploy" in text for text in refused] == [True] * held, step
        assert at.active() == new.sha256, step
        ship(other, at.address)
        assert at.active() == other.sha256, step
        tried += 1
    assert tried == len(TAKEN)


def test_the_table_is_full() -> None:
    faults = [name for name in globals() if name.endswith("_at_every_step")]
    print(f"{len(faults)} faults x {len(TAKEN)} steps = {len(faults) * len(TAKEN)} combinations")
    assert len(faults) * len(TAKEN) == 66
