"""Shared fixtures: pictures made from seeded noise, the CLI as a user runs it, real artifacts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sshd import Board, accept, new_board, new_key

Cli = Callable[..., subprocess.CompletedProcess[str]]


def draw_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Write `count` smooth colour pictures, half PNG and half JPEG, of different sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        coarse = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        size = (int(rng.integers(70, 200)), int(rng.integers(70, 200)))
        picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        picture.save(folder / f"picture-{index:03d}.{'jpg' if index % 2 else 'png'}")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 pictures: enough for calibration and for parity images beside it."""
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 48)


def run_cli(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the `edgekit` command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "edgekit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=300,
    )


@pytest.fixture
def cli() -> Cli:
    """The `edgekit` command."""
    return run_cli


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The folder of every artifact of multitask-cnn, converted once by the real command."""
    folder = tmp_path_factory.mktemp("converted") / "multitask-cnn"
    done = run_cli(
        "convert", "multitask-cnn", "--backend", "onnx", "--backend", "tflite", "--backend",
        "openvino", "--backend", "null", "--calibration", pictures, "-o", folder, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def one_line_error(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Return the error of a failed command: one line, no traceback, the exit code as agreed."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("edgekit: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


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
