"""Shared fixtures: pictures made from seeded noise, the CLI as a user runs it, real artifacts."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import sys
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import Cli, run_cli
from command_server import open_command_server
from nursery import PLACE, open_nursery
from pictures import draw_pictures, face_pictures
from runner_server import lend, open_runner_server
from sshd import Board, accept, new_board, new_key

# Several processes share the cores: a thread of torch that waits must not keep one busy meanwhile.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# NumPy's linear algebra starts threads that do, in each of a thousand processes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# With PyTorch imported there are a million objects to look through for garbage.
gc.set_threshold(20_000)

LONGEST_FIRST = (
    "test_convert", "test_docs", "test_deploy_faults", "test_virtual", "test_blocks", "test_page",
    "test_predict_executed", "test_measure", "test_virtual_install", "test_explain_instructions",
    "test_scale_out", "test_provision", "test_api", "test_examples", "test_explain", "test_fleet",
    "test_guard", "test_plugins", "test_release", "test_devices", "test_training", "test_ssh",
    "test_ssh_bench", "test_best", "test_faults", "test_converter_faults", "test_deploy",
    "test_predict", "test_int8_arithmetic", "test_reference_runtimes", "test_application",
    "test_tensors", "test_weights", "test_interrupt", "test_onnx2tf",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """One nursery, one command server and one runner server for all processes of a run."""
    lend()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        stack = contextlib.ExitStack()
        stack.enter_context(open_nursery())
        stack.enter_context(open_command_server())
        stack.enter_context(open_runner_server())
        if (torch := find_spec("torch")) and not (torch.cached and Path(torch.cached).exists()):
            _first_alone().touch()
        config.add_cleanup(stack.close)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let one process compile what all import, where nothing is compiled yet: it takes 10 s each.

    The first has the lock alone; the others wait for it, and share the lock then.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or not _first_alone().exists():
        return (yield)
    with _first_alone().open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
        return (yield)


def _first_alone() -> Path:
    """Return what the first process locks; it is there where nothing is compiled yet."""
    return Path(os.environ[PLACE]).with_name("first-alone")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin: of two processes, none has a long one alone at the end."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that is marked `unmeasured`, its fixtures too, without coverage.

    pytest-cov's own `no_cover` measures on in a process of xdist, where a second Coverage lies
    under the one that it stops.
    """
    tracer = sys.gettrace()
    marked = item.get_closest_marker("unmeasured") is not None
    if marked:
        sys.settrace(None)
    try:
        return (yield)
    finally:
        if marked:
            sys.settrace(tracer)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 pictures: enough for calibration and for parity images beside it."""
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 48)


@pytest.fixture
def cli() -> Cli:
    """The `edgekit` command."""
    return run_cli


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 crops of the sample face."""
    return face_pictures(tmp_path_factory.mktemp("faces"), 48)


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """The folder of every artifact of multitask-cnn, converted once by the real command."""
    return convert_once(
        tmp_path_factory, "multitask-cnn", "--backend", "onnx", "--backend", "tflite",
        "--backend", "openvino", "--backend", "ncnn", "--backend", "null",
        "--calibration", faces,
    )  # fmt: skip


@pytest.fixture(scope="session")
def small_converted(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The folder of six artifacts of user_models:small, converted once by the real command."""
    return convert_once(tmp_path_factory, "user_models:small", "--calibration", pictures)


def convert_once(factory: pytest.TempPathFactory, model: str, *options: object) -> Path:
    """Return the folder of a conversion that the processes of one test run share.

    The first to need it makes it, the others wait. A conversion of which a part failed leaves the
    rest: what it said is kept, so that every process fails by its cause.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "converted" / model.replace(":", "-")
    failed = shared / f"{folder.name}.failed"
    with (shared / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists() and not failed.exists():
            done = run_cli("convert", model, *options, "-o", folder, cwd=Path(__file__).parent)
            if done.returncode:
                failed.write_text(done.stderr + done.stdout)
    assert not failed.exists(), failed.read_text()
    return folder


@pytest.fixture(scope="session")
def ssh_user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a user with a key, and no host accepted yet."""
    home = tmp_path_factory.mktemp("user")
    new_key(home / ".ssh" / "id_ed25519")
    return home


@pytest.fixture
def ssh_home(ssh_user: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be that user, in this process and in the commands it starts."""
    monkeypatch.setenv("HOME", str(ssh_user))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return ssh_user


@pytest.fixture
def board(ssh_home: Path, tmp_path: Path) -> Iterator[Board]:
    """A real SSH server whose key the user has accepted."""
    made = new_board(tmp_path / "board", (ssh_home / ".ssh" / "id_ed25519.pub").read_text())
    accept(ssh_home, [made])
    made.start()
    yield made
    made.stop()
