"""Bundles made, signed, shipped, refused and rolled back, over a real SSH server."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import give_python, null_bundle
from command_line import one_line_error, run_cli
from null_artifacts import APP, null_artifact
from sshd import Board

from edgekit.deployment.bundle import Bundle, read_bundle
from edgekit.deployment.deploy import Deployed, DeployRequest, deploy, roll_back, status, trust
from edgekit.deployment.keys import sign, trusted_line
from edgekit.devices.ssh_link.address import parse_address
from edgekit.errors import BadBundle, DeviceError, UserError
from edgekit.onboard.receiver.archive import header, unpack


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("few")
    for path in sorted(pictures.iterdir())[:2]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "release"
    assert run_cli("keys", "new", path).returncode == 0
    return path


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Bundle:
    return null_bundle(tmp_path_factory.mktemp("plain"), few)


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory, few: Path, key: Path) -> Bundle:
    return null_bundle(tmp_path_factory.mktemp("signed"), few, "signed", key=key)


def ship(bundle: Bundle, board: Board, **options: Any) -> Deployed:
    return deploy(DeployRequest(bundle=bundle, **options), parse_address(board.address))


def active(board: Board) -> str | None:
    (app,) = status(parse_address(board.address)) or [{"active": None}]
    found: str | None = app["active"]
    return found


def forged(
    bundle: Bundle,
    folder: Path,
    index: dict[str, Any] | None = None,
    signature: bytes | None = None,
    files: dict[str, bytes] | None = None,
) -> Bundle:
    """Return the bundle with another index, signature or files, written without edgekit."""
    unpack(bundle.path, folder)
    content = {e.name: (folder / e.name).read_bytes() for e in bundle.head.files} | (files or {})
    table = {**bundle.head.index, **(index or {})}
    table["files"] = [
        {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in content.items()
    ]
    changed = index is not None or files is not None
    entries = {"index.json": json.dumps(table).encode() if changed else bundle.head.index_bytes}
    if found := signature or bundle.head.signature:
        entries["index.json.sig"] = found
    path = folder.with_suffix(".ekb")
    path.write_bytes(
        b"".join(
            header(name, len(data)) + data + bytes(-len(data) % 512)
            for name, data in (entries | content).items()
        )
        + bytes(1024)
    )
    return read_bundle(path)


def test_from_artifact_to_board_and_back_by_the_commands(
    board: Board, tmp_path: Path, few: Path
) -> None:
    give_python(board)
    hashes = []
    for word in ("one", "two"):
        artifact = null_artifact(tmp_path / word, content=word)
        bundle = tmp_path / f"{word}.ekb"
        done = run_cli("bundle", artifact.folder, "-o", bundle, "--images", few, "--json")
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)["rows"]
        done = run_cli("deploy", bundle, "--to", board.address, "--max-p90", "60000", "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        (result,) = json.loads(done.stdout)["rows"]
        assert (result["result"], result["version"]) == ("deployed", row["version"])
        assert 0 < result["p90_ms"] < 60_000
        hashes.append(result["version"])
    assert result["before"] == hashes[0]
    again = json.loads(run_cli("deploy", bundle, "--to", board.address, "--json").stdout)
    assert again["rows"][0]["result"] == "already there"
    done = run_cli("rollback", APP, "--to", board.address, "--json")
    assert json.loads(done.stdout)["rows"][0]["version"] == hashes[0], done.stderr
    (row,) = json.loads(run_cli("status", "--to", board.address, "--json").stdout)["rows"]
    assert (row["app"], row["version"], row["state"]) == (APP, hashes[0], "whole")
    assert row["earlier"] == []
    done = run_cli("rollback", APP, "--to", board.address)
    assert done.returncode == 1 and "no earlier version" in done.stdout


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_ncnn_artifact_is_proven_served_and_asked_on_the_board(
    board: Board, tmp_path: Path, converted: Path, faces: Path, precision: str
) -> None:
    """Its weights are a second file, and its runtime is not one that convert builds for unasked."""
    give_python(board)
    bundle = tmp_path / "ncnn.ekb"
    folder = converted / f"ncnn-{precision}"
    done = run_cli("bundle", folder, "-o", bundle, "--images", faces, "--json")
    assert done.returncode == 0, done.stderr
    head = read_bundle(bundle).head
    assert {"model.param", "model.bin"} <= {entry.name.rpartition("/")[2] for entry in head.files}
    done = run_cli("deploy", bundle, "--to", board.address, "--max-p90", "60000", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    (result,) = json.loads(done.stdout)["rows"]
    assert result["result"] == "deployed"
    (current,) = (board.home / ".edgekit" / "apps").glob("*/current")
    picture = str(min(faces.iterdir()))
    answer = json.loads(board.run(f"{current}/run", "predict", picture))
    (here,) = json.loads(run_cli("predict", picture, "-a", folder, "--json").stdout)["rows"]
    for name in ("age", "gender"):
        assert answer["outputs"][name]["label"] == here[name]


def test_the_runner_needs_nothing_but_its_folder(board: Board, plain: Bundle, few: Path) -> None:
    give_python(board)
    ship(plain, board)
    current = board.home / ".edgekit" / "apps" / APP / "current"
    pictures = sorted(map(str, few.iterdir()))
    ways = {
        "predict": board.run("python3", f"{current}/runner.py", "predict", *pictures),
        "run": board.run(f"{current}/run", "predict", *pictures),
        "folder": board.run("python3", f"{current}/runner.py", "serve", str(few)),
        "lines": board.run(
            "sh", "-c", 'printf "%s\\n%s\\n" "$2" "$3" | python3 "$1" serve', "sh",
            f"{current}/runner.py", *pictures,
        ),
    }  # fmt: skip
    for way, text in ways.items():
        answers = [json.loads(line) for line in text.splitlines()]
        assert [answer["image"] for answer in answers] == pictures, way
        assert answers[0]["outputs"]["age"]["label"] in {"young", "old"}


def test_equal_input_gives_equal_bytes(tmp_path: Path, few: Path, key: Path) -> None:
    made = [
        null_bundle(tmp_path / word, few, "same", key=key, max_p90_ms=5.0) for word in ("a", "b")
    ]
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    assert made[0].head.signature is not None


def test_a_golden_answer_that_differs_keeps_the_old_version(
    board: Board, tmp_path: Path, plain: Bundle
) -> None:
    give_python(board)
    ship(plain, board)
    answers = io.BytesIO()
    np.savez(answers, age=np.ones((2, 2), np.float32))
    wrong = forged(plain, tmp_path / "wrong", files={"golden/answers.npz": answers.getvalue()})
    with pytest.raises(DeviceError, match="golden test failed here: age: 1 from the golden"):
        ship(wrong, board)
    assert active(board) == plain.sha256


def test_a_p90_over_the_limit_keeps_the_old_version(
    board: Board, plain: Bundle, signed: Bundle
) -> None:
    give_python(board)
    ship(plain, board)
    with pytest.raises(DeviceError, match=r"p90 is .* over the limit of 1e-09 ms"):
        ship(signed, board, max_p90_ms=1e-9)
    assert active(board) == plain.sha256


def test_a_board_without_numpy_says_so(board: Board, plain: Bundle) -> None:
    give_python(board)
    python = board.home / "bin" / "python3"
    python.write_text(python.read_text().replace('"$@"', '-I -S "$@"'))
    with pytest.raises(DeviceError, match=r"golden: the runner .*numpy"):
        ship(plain, board)
    assert active(board) is None


def test_a_trusting_board_takes_signed_bundles_only(
    board: Board, tmp_path: Path, plain: Bundle, signed: Bundle, key: Path, few: Path
) -> None:
    give_python(board)
    ship(plain, board)
    done = run_cli("keys", "trust", f"{key}.pub", "--to", board.address)
    assert done.returncode == 0, done.stderr + done.stdout
    assert run_cli("keys", "new", tmp_path / "stranger").returncode == 0
    strange = null_bundle(tmp_path / "s", few, "strange", key=tmp_path / "stranger")
    altered = forged(signed, tmp_path / "altered", {"max_p90_ms": 1e9})
    waived = forged(plain, tmp_path / "waived", {"require_signature": False, "trusted": True})
    for bundle, reason in (
        (null_bundle(tmp_path / "p", few, "unsigned"), "not signed"),
        (strange, "of nobody in"),
        (altered, "of other bytes"),
        (waived, "not signed"),
    ):
        with pytest.raises(DeviceError, match=reason):
            ship(bundle, board)
        assert active(board) == plain.sha256
    assert ship(signed, board).signed_by == "release"
    assert active(board) == signed.sha256


def test_a_required_signature_needs_someone_to_trust(
    board: Board, plain: Bundle, signed: Bundle, key: Path
) -> None:
    give_python(board)
    with pytest.raises(DeviceError, match="names nobody: edgekit keys trust"):
        ship(signed, board, require_signature=True)
    assert active(board) is None
    trust(trusted_line(Path(f"{key}.pub")), parse_address(board.address))
    assert ship(signed, board, require_signature=True).signed_by == "release"


def test_a_signed_deploy_is_resumed_and_verified_again(
    board: Board, plain: Bundle, signed: Bundle, key: Path
) -> None:
    give_python(board)
    trust(trusted_line(Path(f"{key}.pub")), parse_address(board.address))
    assert ship(signed, board, require_signature=True).already is False
    again = ship(signed, board, require_signature=True)
    assert (again.already, again.signed_by) == (True, "release")
    (board.home / ".edgekit" / "trusted").write_text("")
    for required in (True, False):
        with pytest.raises(DeviceError, match="of nobody in"):
            ship(signed, board, require_signature=required)


def test_a_board_begins_to_trust_and_what_it_serves_is_asked_for_its_signature(
    board: Board, plain: Bundle, signed: Bundle, key: Path
) -> None:
    give_python(board)
    ship(plain, board)
    with pytest.raises(DeviceError, match="names nobody"):
        ship(plain, board, require_signature=True)
    trust(trusted_line(Path(f"{key}.pub")), parse_address(board.address))
    with pytest.raises(DeviceError, match="not signed"):
        ship(plain, board)
    ship(signed, board)
    with pytest.raises(DeviceError, match="may not serve: the bundle is not signed"):
        roll_back(APP, parse_address(board.address))
    assert active(board) == signed.sha256
    (board.home / ".edgekit" / "trusted").unlink()
    with pytest.raises(DeviceError, match="may not serve: a signature is required"):
        roll_back(APP, parse_address(board.address), require_signature=True)
    assert roll_back(APP, parse_address(board.address)).version == plain.sha256


def test_a_trust_list_that_was_lost_is_not_no_list(board: Board, plain: Bundle, key: Path) -> None:
    give_python(board)
    trusted = board.home / ".edgekit" / "trusted"
    trust(trusted_line(Path(f"{key}.pub")), parse_address(board.address))
    trusted.rename(board.home / "list")
    trusted.symlink_to(board.home / "elsewhere")
    for action in (
        lambda: ship(plain, board),
        lambda: trust(trusted_line(Path(f"{key}.pub")), parse_address(board.address)),
    ):
        with pytest.raises(DeviceError, match="cannot be read: restore it"):
            action()
    assert active(board) is None and trusted.is_symlink()


def test_an_older_release_is_not_served_again_unasked(
    board: Board, tmp_path: Path, few: Path, key: Path
) -> None:
    give_python(board)
    made = {
        number: null_bundle(tmp_path / str(number), few, str(number), key=key, release=number)
        for number in (1, 2, None)
    }
    ship(made[1], board)
    ship(made[2], board)
    for older in (1, None):
        with pytest.raises(DeviceError, match=r"has served release 2 .* --allow-older"):
            ship(made[older], board)
        assert active(board) == made[2].sha256
    assert roll_back(APP, parse_address(board.address)).version == made[1].sha256
    assert ship(made[1], board, allow_older=True).already
    assert ship(made[None], board, allow_older=True).version == made[None].sha256
    with pytest.raises(DeviceError, match="has served release 2"):
        ship(made[1], board)


def test_a_signature_made_for_something_else_does_not_count(
    board: Board, tmp_path: Path, plain: Bundle, key: Path
) -> None:
    give_python(board)
    trust(trusted_line(Path(f"{key}.pub")), parse_address(board.address))
    index = tmp_path / "index"
    index.write_bytes(plain.head.index_bytes)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", "git", str(index)]
    subprocess.run(command, check=True)
    other = forged(plain, tmp_path / "git", signature=(tmp_path / "index.sig").read_bytes())
    with pytest.raises(DeviceError, match="of nobody in"):
        ship(other, board)


def test_a_key_is_private_and_never_overwritten(key: Path) -> None:
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "never overwritten" in one_line_error(run_cli("keys", "new", key))
    assert key.read_bytes() == before
    key.rename(key.with_name("moved"))
    assert "never overwritten" in one_line_error(run_cli("keys", "new", key))
    assert not key.exists()
    key.with_name("moved").rename(key)
    assert sign(b"data", key) == sign(b"data", key)


def test_a_key_that_others_may_read_is_told_how_to_mend(tmp_path: Path, key: Path) -> None:
    open_key = tmp_path / "open"
    shutil.copy(key, open_key)
    open_key.chmod(0o640)
    with pytest.raises(UserError, match=f"chmod 600 {open_key}"):
        sign(b"data", open_key)


def test_an_upload_that_was_cut_goes_on(board: Board, tmp_path: Path, few: Path) -> None:
    from edgekit.deployment.deploy import reached

    give_python(board)
    big = null_bundle(tmp_path / "big", few, "x" * 5_000_000)
    size = big.path.stat().st_size
    address = parse_address(board.address)
    with reached(address) as there:
        there.ask("open", app=APP, wait=0)
        place = there.ask("receive", bundle=big.sha256, size=size)["path"]
    partial = board.home / Path(place).parent / f".{big.sha256[:32]}.partial"
    content = big.path.read_bytes()
    partial.write_bytes(content[: size // 2])
    inode = partial.stat().st_ino
    with reached(address) as there:
        there.ask("open", app=APP, wait=0)
        there.ask("receive", bundle=big.sha256, size=size)
        there.connection.put(big.path, place)
        assert (board.home / place).stat().st_ino == inode, "the same file, gone on with"
    (board.home / place).write_bytes(content[:-2000] + bytes(2000))  # rot on the card
    with reached(address) as there:
        there.ask("open", app=APP, wait=0)
        there.ask("receive", bundle=big.sha256, size=size)
        with pytest.raises(DeviceError, match="arrived damaged"):
            there.ask("verify", required=False)
    assert ship(big, board).version == big.sha256


def test_steps_cannot_be_left_out(board: Board, plain: Bundle) -> None:
    from edgekit.deployment.deploy import reached

    give_python(board)
    with reached(parse_address(board.address)) as there:
        for step, arguments in (("switch", {}), ("receive", {"bundle": "0" * 64, "size": 1})):
            with pytest.raises(DeviceError):
                there.ask(step, **arguments)
        there.ask("open", app=APP, wait=0)
        place = there.ask("receive", bundle=plain.sha256, size=plain.path.stat().st_size)["path"]
        there.connection.put(plain.path, place)
        for step in ("unpack", "golden", "latency", "switch"):
            arguments = {"limit_ms": None} if step == "latency" else {}
            with pytest.raises(DeviceError, match=r"has not|no Python yet"):
                there.ask(step, **arguments)
    assert active(board) is None


def test_what_is_no_bundle_is_one_line(tmp_path: Path, plain: Bundle, board: Board) -> None:
    wrong = tmp_path / "wrong.ekb"
    wrong.write_bytes(b"PK\3\4 no bundle")
    cut = tmp_path / "cut.ekb"
    cut.write_bytes(plain.path.read_bytes()[:-1])
    for path in (wrong, cut, tmp_path / "missing.ekb"):
        with pytest.raises(BadBundle):
            read_bundle(path)
    assert "no edgekit bundle" in one_line_error(run_cli("deploy", wrong, "--to", board.address))
    assert "--to" in one_line_error(run_cli("deploy", plain.path))
    assert "SSH address" in one_line_error(run_cli("deploy", plain.path, "--to", "ssh://a b"))
    artifact = plain.path.parent / "artifact"
    assert "--force" in one_line_error(run_cli("bundle", artifact, "-o", plain.path))
    named = run_cli("bundle", artifact, "-o", tmp_path / "x.ekb", "--name", "../x")
    assert "no name for an application" in one_line_error(named)
    assert not (tmp_path / "x.ekb").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_host_that_goes_in_the_middle_of_a_step_frees_the_board(
    board: Board, plain: Bundle, number: int, code: int
) -> None:
    give_python(board)
    python = board.home / "bin" / "python3"
    whole = python.read_text()
    hangs = 'case "$*" in *"runner.py golden"*) sleep 300;; esac\n'
    python.write_text(whole.replace("exec ", hangs + "exec "))
    command = [sys.executable, "-m", "edgekit", "deploy", str(plain.path), "--to", board.address]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A test run in the background ignores Ctrl-C, and what it starts would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.strip().endswith(": golden"):
            process.send_signal(number)
    assert process.wait() == code, "".join(said)
    assert "Traceback" not in "".join(said)
    process.stderr.close()
    python.write_text(whole)
    assert ship(plain, board, wait=60).already is False
    assert active(board) == plain.sha256
