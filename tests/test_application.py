"""An application on a board: three lines from the deployed folder, and its systemd unit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import give_python, null_bundle
from command_line import run_cli
from null_artifacts import APP
from PIL import Image
from sshd import Board

from edgekit.deployment.deploy import DeployRequest, deploy, roll_back, status
from edgekit.devices.ssh_link.address import parse_address
from edgekit.devices.ssh_link.provision import clean
from edgekit.errors import DeviceError, UserError
from edgekit.onboard.receiver import Refused, service
from edgekit.onboard.runner import load, main

ROOT = Path(__file__).parents[1]
UNIT = """[Unit]
Description=a test's
[Service]
ExecStart=%h/.edgekit/apps/cats/current/run %h/app.py
[Install]
WantedBy=default.target
"""
SYSTEMCTL = """
echo "$@" >> "$HOME/systemctl.log"
shift
case "$1" in
  restart) readlink "$HOME/.edgekit/apps/cats/current" >> "$HOME/restarted"
           if [ -e "$HOME/never-starts" ]; then echo failed > "$HOME/state"
           else echo active > "$HOME/state"; fi ;;
  is-active) cat "$HOME/state" ;;
esac
"""
"""What a user's systemd is asked, noted down; `never-starts` is a service that ends at once."""

APPLICATION = """
import json, sys
import numpy as np
from runner import load
model = load()
frame = np.arange(120 * 90 * 3, dtype=np.uint8).reshape(120, 90, 3)
print(json.dumps([sys.argv[1:], model(sys.argv[1]), model(frame)]))
"""


def pythons() -> list[str]:
    """Return this Python and, where they are here with NumPy and Pillow, the oldest and newest."""
    found = [sys.executable]
    for name in ("python3.9", "python3.13"):
        path = shutil.which(name)
        if path is None:
            continue
        has = [path, "-c", "import numpy, PIL"]
        if subprocess.run(has, capture_output=True).returncode == 0:
            found.append(path)
    return found


def test_three_lines_answer_a_file_and_an_array_from_the_deployed_folder(
    board: Board, tmp_path: Path, pictures: Path
) -> None:
    give_python(board)
    deploy(DeployRequest(bundle=null_bundle(tmp_path / "one", pictures)), at(board))
    application = board.home / "app.py"
    application.write_text(APPLICATION)
    picture = sorted(pictures.iterdir())[0]
    current = board.home / ".edgekit" / "apps" / APP / "current"
    wanted = {"age": {"label": "young", "index": 0, "confidence": 0.5}}
    for command in [
        [str(current / "run")],
        *([python, str(current / "runner.py")] for python in pythons()),
    ]:
        done = subprocess.run(
            [*command, str(application), str(picture)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"HOME": str(board.home), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [[str(picture)], wanted, wanted]


def test_a_frame_is_answered_as_its_file_is(converted: Path, faces: Path, tmp_path: Path) -> None:
    model = load(converted / "onnx-fp32", threads=1)
    picture = sorted(path for path in faces.iterdir() if path.suffix in {".jpg", ".png"})[0]
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    lossless = tmp_path / "face.png"
    Image.fromarray(pixels).save(lossless)
    answer = model(lossless)
    assert set(answer) == {"age", "gender"}
    assert model(pixels) == answer == model(str(lossless)) == model(lossless.read_bytes())
    assert model(pixels[:, ::-1]) != answer, "another picture has another answer"
    spec = model.manifest["input"]
    small = np.asarray(
        Image.fromarray(pixels).resize((spec["width"], spec["height"]), Image.Resampling.BILINEAR)
    )
    assert model(small) == answer, "a frame of the network's size is taken as it is"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((8, 8, 3), np.float32), "give uint8 pixels, height x width x 3 (RGB)"),
        (np.zeros((8, 8), np.uint8), r"uint8 (8, 8): give uint8 pixels"),
        (np.zeros((8, 8, 4), np.uint8), r"(8, 8, 4): give"),
        (np.zeros((0, 8, 3), np.uint8), r"(0, 8, 3): give"),
    ],
)
def test_an_array_that_is_no_picture_is_refused_with_what_to_give(
    converted: Path, given: Any, words: str
) -> None:
    model = load(converted / "onnx-fp32", threads=1)
    with pytest.raises(ValueError) as caught:
        model(given)
    assert words in str(caught.value)


def test_a_program_gets_its_arguments_and_its_neighbours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "neighbour_of_app.py").write_text("WORD = 'here'")
    app = tmp_path / "app.py"
    app.write_text("import sys, neighbour_of_app as n\nprint(n.WORD, sys.argv[1:], __name__)")
    monkeypatch.setattr(sys, "argv", ["runner.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main([str(app), "--fast", "2"]) == 0
    assert capsys.readouterr().out == "here ['--fast', '2'] __main__\n"


@pytest.fixture
def serviced(board: Board, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Return a board with a systemd that notes what it is asked."""
    give_python(board)
    board.has("systemctl", SYSTEMCTL)
    return board


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    path = tmp_path / "cats.service"
    path.write_text(UNIT)
    return path


def at(board: Board) -> Any:
    return parse_address(board.address)


def restarted(board: Board) -> list[str]:
    """Return the versions that the service was started with, in order."""
    path = board.home / "restarted"
    return [Path(line).name for line in path.read_text().split()] if path.exists() else []


def installed(board: Board) -> Path:
    return board.home / ".config" / "systemd" / "user" / "cats.service"


def test_a_service_is_installed_and_restarted_with_every_version(
    serviced: Board, tmp_path: Path, pictures: Path, unit: Path
) -> None:
    one = null_bundle(tmp_path / "one", pictures, "one")
    two = null_bundle(tmp_path / "two", pictures, "two")
    done = run_cli("deploy", one.path, "--to", serviced.address, "--service", unit, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert installed(serviced).read_text() == UNIT
    log = (serviced.home / "systemctl.log").read_text()
    assert "--user daemon-reload" in log and "--user enable cats.service" in log
    assert restarted(serviced) == [one.sha256]

    deploy(DeployRequest(bundle=one, service=unit), at(serviced))
    assert restarted(serviced) == [one.sha256], "it runs that version already"

    deploy(DeployRequest(bundle=two), at(serviced))
    assert restarted(serviced) == [one.sha256, two.sha256], "without --service too"
    roll_back(APP, at(serviced))
    assert restarted(serviced) == [one.sha256, two.sha256, one.sha256]

    assert clean(at(serviced))
    assert not installed(serviced).exists()
    assert "--user disable --now cats.service" in (serviced.home / "systemctl.log").read_text()


def test_a_service_that_does_not_start_takes_the_switch_back(
    serviced: Board, tmp_path: Path, pictures: Path, unit: Path
) -> None:
    one = null_bundle(tmp_path / "one", pictures, "one", release=1)
    two = null_bundle(tmp_path / "two", pictures, "two", release=2)
    (serviced.home / "never-starts").touch()
    with pytest.raises(DeviceError, match=r"cats.service is failed.*nothing serves, as before"):
        deploy(DeployRequest(bundle=one, service=unit), at(serviced))
    assert not installed(serviced).exists()
    assert status(at(serviced))[0]["active"] is None

    (serviced.home / "never-starts").unlink()
    deploy(DeployRequest(bundle=one, service=unit), at(serviced))
    (serviced.home / "never-starts").touch()
    unit.write_text(UNIT.replace("a test's", "another"))
    with pytest.raises(DeviceError, match=f"{one.sha256[:12]} serves again"):
        deploy(DeployRequest(bundle=two, service=unit), at(serviced))
    (row,) = status(at(serviced))
    assert (row["active"], row["earlier"]) == (one.sha256, [])
    assert installed(serviced).read_text() == UNIT
    (serviced.home / "never-starts").unlink()
    deploy(DeployRequest(bundle=one, service=unit), at(serviced))
    assert restarted(serviced)[-1] == one.sha256, "release 2 never served, so 1 is not too old"


def test_a_board_without_systemd_refuses_before_anything_is_switched(
    board: Board, tmp_path: Path, pictures: Path, unit: Path
) -> None:
    give_python(board)
    board.has("systemctl", 'echo "Failed to connect to bus: No medium found" >&2; exit 1')
    bundle = null_bundle(tmp_path / "one", pictures)
    with pytest.raises(DeviceError, match="Failed to connect to bus"):
        deploy(DeployRequest(bundle=bundle, service=unit), at(board))
    assert status(at(board))[0]["active"] is None
    deploy(DeployRequest(bundle=bundle), at(board))
    assert status(at(board))[0]["active"] == bundle.sha256


def test_a_unit_of_someone_else_is_not_replaced(
    serviced: Board, tmp_path: Path, pictures: Path, unit: Path
) -> None:
    installed(serviced).parent.mkdir(parents=True)
    installed(serviced).write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(DeviceError, match="was not made by edgekit"):
        bundle = null_bundle(tmp_path / "one", pictures)
        deploy(DeployRequest(bundle=bundle, service=unit), at(serviced))
    assert "ExecStart=/bin/true" in installed(serviced).read_text()


@pytest.mark.parametrize(
    ("name", "text"), [("unit.txt", UNIT), ("a.service", "[Unit]\n"), ("none.service", None)]
)
def test_a_file_that_is_no_unit_is_refused_at_home(
    tmp_path: Path, pictures: Path, name: str, text: str | None
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    bundle = null_bundle(tmp_path / "one", pictures)
    with pytest.raises(UserError, match=r"give a \.service file"):
        deploy(
            DeployRequest(bundle=bundle, service=file), parse_address("ssh://pi@nowhere.invalid")
        )


def test_a_units_name_leads_nowhere_else(tmp_path: Path) -> None:
    for name in ("../x.service", "a b.service", ".service", "-x.service", "x.timer"):
        with pytest.raises(Refused, match="no unit's name"):
            service.Service(tmp_path).check(name, UNIT)


def test_the_examples_are_whole() -> None:
    examples = ROOT / "docs" / "examples"
    text = (examples / "camera.service").read_text()
    assert "[Service]" in text and "current/run %h/camera.py" in text
    compile((examples / "camera.py").read_text(), "camera.py", "exec")
