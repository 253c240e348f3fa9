"""Installing a virtual board, and every way it can go wrong. Real packages, a cache of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from own_disk import on_its_own_disk

from edgekit.devices.emulator.install import install, remove
from edgekit.devices.emulator.profile import Board, board_of
from edgekit.devices.emulator.sysroot import STEPS, home, installed, list_installed
from edgekit.errors import DeviceError
from edgekit.files import sha256, write_whole
from edgekit.runtimes.locks import Lock, lock_path, read_lock
from edgekit.targets import load_target

pytestmark = pytest.mark.slow

SMALL = ("tflite-runtime", "numpy", "pillow")
"""The wheels of one small runtime: where any will do, the rest would only take longer."""
INSTALL = """
import sys
from dataclasses import replace
from edgekit.errors import EdgekitError
from edgekit.targets import load_target
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.emulator.install import install
from edgekit.runtimes.locks import lock_path, read_lock
lock = read_lock(lock_path("bookworm"))
if sys.argv[1:]:
    lock = replace(lock, wheels=tuple(w for w in lock.wheels if w.name in sys.argv[1:]))
try:
    install(board_of(load_target("rpi3")), lock, progress=lambda *step: print(*step, flush=True))
except EdgekitError as error:
    sys.exit(f"edgekit: {error}")
"""


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is fetched, beside the tests' own caches; the first on a machine fetches it."""
    install(board_of(load_target("rpi4")))
    copied = tmp_path_factory.mktemp("fetched")
    for name in ("apt", "debs", "qemu", "wheels"):
        if (home() / name).exists():
            shutil.copytree(home() / name, copied / name, symlinks=True)
    return copied


@pytest.fixture
def cache(fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own with all that was fetched, and no board.

    Its files are those of `fetched`, half a gigabyte: a test replaces one, it never writes into it.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(fetched, home(), symlinks=True, copy_function=os.link)
    return home()


@pytest.fixture
def rpi3() -> Board:
    return board_of(load_target("rpi3"))


@pytest.fixture
def lock() -> Lock:
    """A lock of one small runtime."""
    whole = read_lock(lock_path("bookworm"))
    return replace(whole, wheels=tuple(wheel for wheel in whole.wheels if wheel.name in SMALL))


@pytest.fixture
def bare(lock: Lock) -> Lock:
    """A lock without a runtime, for what is not about runtimes: none is tried out."""
    return replace(lock, wheels=tuple(wheel for wheel in lock.wheels if wheel.name == "pillow"))


def run_install(
    cache_home: Path, *prefix: str, code: str = INSTALL, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-c", code],
        env=os.environ | {"XDG_CACHE_HOME": str(cache_home)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("edgekit: "), done.stderr
    return done.stderr


@pytest.mark.parametrize("step", STEPS[2:])
def test_a_killed_install_leaves_no_board_and_then_completes(
    cache: Path, rpi3: Board, lock: Lock, step: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", INSTALL, *SMALL],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(step):
            os.killpg(child.pid, signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    assert list_installed() == ()
    with pytest.raises(DeviceError, match=r"rpi3 is not installed: run `edgekit device install"):
        installed(rpi3)
    whole = install(rpi3, lock)
    assert (
        whole.record.runtimes
        and whole.python.is_file()
        and not any(tried.error for tried in whole.record.runtimes)
    )
    # The killed one's half is gone.
    assert [path.name for path in (cache / "boards").iterdir()] == [whole.folder.name]


def test_damaged_wheels_and_packages_are_fetched_again(
    cache: Path, rpi3: Board, lock: Lock
) -> None:
    wheel = cache / "wheels" / next(w.file for w in lock.wheels if w.name == "tflite-runtime")
    package = next((cache / "debs").glob("libbz2-1.0_*_arm64.deb"))
    whole = {path: sha256(path) for path in (wheel, package)}
    write_whole(wheel, wheel.read_bytes()[:-100])
    write_whole(package, b"!" + package.read_bytes()[1:])
    assert not any(tried.error for tried in install(rpi3, lock).record.runtimes)
    assert {path: sha256(path) for path in (wheel, package)} == whole


def test_a_wheel_other_than_the_locked_one_is_refused(cache: Path, rpi3: Board, lock: Lock) -> None:
    first = lock.wheels[0]
    (cache / "wheels" / first.file).unlink()
    forged = replace(lock, wheels=(replace(first, sha256="0" * 64), *lock.wheels[1:]))
    with pytest.raises(DeviceError, match=r"pip download: .*HASHES") as raised:
        install(rpi3, forged)
    assert "\n" not in str(raised.value)
    assert list_installed() == ()


def test_a_board_of_another_lock_is_named_and_replaced(
    cache: Path, rpi3: Board, bare: Lock
) -> None:
    older = replace(bare, packages=tuple(p for p in bare.packages if p != "libsqlite3-0"))
    install(rpi3, older)
    with pytest.raises(DeviceError, match=r"built from another lock: run `edgekit device install"):
        installed(rpi3, bare)
    newer = install(rpi3, bare)
    assert [folder for folder, _ in list_installed()] == [newer.folder]
    assert installed(rpi3, bare) == newer


def test_a_second_board_shares_its_files_and_removing_keeps_the_other(
    cache: Path, rpi3: Board, bare: Lock
) -> None:
    pi3 = install(rpi3, bare)
    zero = install(board_of(load_target("rpi-zero2w")), bare)
    assert pi3.python.samefile(zero.python)
    model = "proc/device-tree/model"
    assert (pi3.folder / model).read_text() == "Raspberry Pi 3 Model B\0"
    assert (zero.folder / model).read_text() == "Raspberry Pi Zero 2 W\0"
    assert remove("rpi3") == 1
    assert remove("rpi3") == 0
    assert installed(zero.board, bare) == zero
    assert zero.python.is_file() and (cache / "wheels").is_dir()
    assert remove("rpi-zero2w") == 1
    assert sorted(path.name for path in cache.iterdir()) == ["boards", "lock"]


def test_removing_one_board_does_not_take_another_of_a_longer_name(
    cache: Path, rpi3: Board, bare: Lock
) -> None:
    longer = install(replace(rpi3, name="rpi3-mine"), bare)
    assert remove("rpi3") == 0
    assert longer.python.is_file()


def test_two_installs_at_once_make_one_board(cache: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", INSTALL, "pillow"], stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert len(list_installed()) == 1


@pytest.mark.parametrize("megabytes", [16, 120, 300])
def test_a_full_disk_is_one_line_that_says_so(
    fetched: Path, tmp_path: Path, megabytes: int
) -> None:
    """It fills up in different steps."""
    disk = tmp_path / "disk"
    done = run_install(disk, *on_its_own_disk(disk, f"size={megabytes}m"))
    assert f"no space left on the disk of {disk}/edgekit/virtual" in one_line(done)


def test_apt_that_waits_for_ever_is_ended(tmp_path: Path) -> None:
    """It does when the disk fills up, and may have removed again what filled it."""
    limits = "from edgekit.devices.emulator import apt\napt.LISTS_BYTES = apt.FULL_BYTES = 0\n"
    disk = tmp_path / "disk"
    done = run_install(
        disk, *on_its_own_disk(disk, "size=16m"), code=f"{limits}apt.STANDSTILL_S = 4\n{INSTALL}"
    )
    assert "apt-get update has written nothing for 4 s" in one_line(done)


DEAD_PROXY = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def test_without_a_network_what_was_fetched_is_enough(cache: Path) -> None:
    done = run_install(cache.parent.parent, **DEAD_PROXY)
    assert done.returncode == 0, done.stderr
    assert len(list_installed()) == 1


def test_without_a_network_and_with_nothing_fetched_one_line_says_so(tmp_path: Path) -> None:
    assert "apt-get update for bookworm" in one_line(run_install(tmp_path, **DEAD_PROXY))


def test_the_hosts_apt_is_not_touched(cache: Path, rpi3: Board, bare: Lock) -> None:
    watched = [Path("/var/lib/apt/lists"), Path("/var/cache/apt"), Path("/var/lib/dpkg/status")]
    before = [path.stat().st_mtime_ns for path in watched if path.exists()]
    shutil.rmtree(cache / "apt")
    install(rpi3, bare)
    assert [path.stat().st_mtime_ns for path in watched if path.exists()] == before
