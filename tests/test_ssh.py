"""The SSH connection, against a real OpenSSH server: who is let in, what is left, what is told."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sshd import Board, children, new_key
from waiting import appears, in_the_background, wait_gone

from edgekit.devices.ssh_link import process
from edgekit.devices.ssh_link.address import Address, parse_address
from edgekit.devices.ssh_link.connection import Connection, connect
from edgekit.devices.ssh_link.transfer import PART_BYTES
from edgekit.errors import BadTarget, DeviceError, DeviceLost, DeviceTimeout

HOSTILE = "$(touch touched) `touch touched` ; & | > x\n'\"\\ *~"


@pytest.fixture
def there(board: Board) -> Iterator[Connection]:
    connection = connect(parse_address(board.address))
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ssh://pi@raspberrypi.local", Address("raspberrypi.local", "pi")),
        ("pi@raspberrypi.local:2222", Address("raspberrypi.local", "pi", 2222)),
        ("ssh://board", Address("board")),
        ("ssh://pi@[fe80::1%eth0]:22", Address("fe80::1%eth0", "pi", 22)),
    ],
)
def test_an_address_is_read_and_written_back(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no SSH address"),
        ("ssh://", "no SSH address"),
        ("ssh://pi:secret@host", "password"),
        ("ssh://-oProxyCommand=touch@host", "no SSH address"),
        ("ssh://pi@-oProxyCommand=x", "no SSH address"),
        ("ssh://pi@host$(id)", "no SSH address"),
        ("ssh://pi@host/path", "no SSH address"),
        ("ssh://pi@host:0", "port"),
        ("ssh://pi@host:65536", "port"),
        ("ssh://pi@ho st", "no SSH address"),
        ("ssh://pi@host\n", "no SSH address"),
    ],
)
def test_what_is_no_address_is_one_line(text: str, word: str) -> None:
    with pytest.raises(BadTarget, match=rf"^[^\n]*{word}[^\n]*\Z") as raised:
        parse_address(text)
    assert "secret" not in str(raised.value)


def test_names_reach_the_program_as_they_are(there: Connection, board: Board) -> None:
    done = there.run(["printf", "%s|", HOSTILE, "", "-n"], timeout=30)
    assert (done.exit_code, done.stdout) == (0, f"{HOSTILE}||-n|".encode())
    folder = board.home / HOSTILE.replace("/", "")
    folder.mkdir()
    assert there.run(["pwd"], folder=folder.name, timeout=30).stdout.decode() == f"{folder}\n"
    assert not list(board.home.rglob("touched"))


def test_files_of_any_name_go_there_and_back(
    there: Connection, board: Board, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / HOSTILE.replace("/", "")).write_bytes(b"\0\xff")
    there.put(source, f".edgekit/{HOSTILE}")
    name = f".edgekit/{HOSTILE}/{HOSTILE}"
    assert (board.home / name).read_bytes() == b"\0\xff"
    assert there.sha256(name) == hashlib.sha256(b"\0\xff").hexdigest()
    there.fetch(f".edgekit/{HOSTILE}", tmp_path / "back")
    assert (tmp_path / "back" / HOSTILE).read_bytes() == b"\0\xff"
    assert not list(board.home.rglob("touched"))


@pytest.mark.parametrize("name", [HOSTILE, "ends in a backslash\\", "!!", "caf\udce9"])
def test_no_login_shell_sees_a_name(there: Connection, name: str) -> None:
    """Fish and csh quote otherwise than sh: what they read has nothing that they would expand."""
    line = process._command([name], name)
    assert re.fullmatch(r"""exec sh -c 'eval "\$\(echo [A-Za-z0-9+/=]+ \| base64 -d\)"'""", line)
    assert there.run(["printf", "%s", name], timeout=30).stdout == os.fsencode(name)


def test_a_name_no_program_can_have_is_refused(there: Connection) -> None:
    with pytest.raises(DeviceError, match="zero byte"):
        there.run(["printf", "a\0b"], timeout=30)


def test_an_unknown_host_key_is_never_accepted(board: Board, ssh_home: Path) -> None:
    known = ssh_home / ".ssh" / "known_hosts"
    known.unlink()
    address = parse_address(board.address)
    with pytest.raises(DeviceError, match=r"^[^\n]*not known yet[^\n]*\Z") as raised:
        connect(address)
    assert f"ssh -p {board.port} {address.user}@127.0.0.1" in str(raised.value)
    fingerprint = subprocess.check_output(
        ["ssh-keygen", "-lf", board.folder / "host_key"], text=True
    ).split()[1]
    assert fingerprint in str(raised.value)
    assert not known.exists()


@pytest.mark.parametrize("known_too", ["", "with its port", "without its port"])
def test_a_revoked_host_key_is_not_told_to_be_accepted(
    board: Board, ssh_home: Path, known_too: str
) -> None:
    known = ssh_home / ".ssh" / "known_hosts"
    line = board.known_hosts_line
    plain = {
        "": "",
        "with its port": line,
        "without its port": f"127.0.0.1 {line.split(' ', 1)[1]}",
    }
    known.write_text(f"{plain[known_too]}\n@revoked {line}")
    with pytest.raises(DeviceError, match="@revoked") as caught:
        connect(parse_address(board.address))
    assert "accept" not in str(caught.value)


def test_a_config_that_turns_verification_off_does_not(board: Board, ssh_home: Path) -> None:
    (ssh_home / ".ssh" / "known_hosts").unlink()
    config = ssh_home / ".ssh" / "config"
    config.write_text("Host *\n  UserKnownHostsFile none\n  StrictHostKeyChecking no\n")
    try:
        with pytest.raises(DeviceError, match="not known yet"):
            connect(parse_address(board.address))
    finally:
        config.unlink()


def test_the_command_told_for_a_changed_host_key_is_the_one_that_helps(
    board: Board, ssh_home: Path
) -> None:
    known = ssh_home / ".ssh" / "known_hosts"
    other = new_key(board.folder / "other_key")
    known.write_text(f"[127.0.0.1]:{board.port} {other}")
    with pytest.raises(DeviceError, match=r"^[^\n]*not the one you accepted[^\n]*\Z") as raised:
        connect(parse_address(board.address))
    told = re.search(r"ssh-keygen -R '([^']+)'", str(raised.value))
    assert told
    subprocess.run(["ssh-keygen", "-f", known, "-R", told[1]], check=True, capture_output=True)
    with pytest.raises(DeviceError, match="not known yet"):
        connect(parse_address(board.address))


def test_a_key_the_board_does_not_take_is_one_line(board: Board) -> None:
    (board.folder / "authorized_keys").write_text("")
    with pytest.raises(DeviceError, match=r"^[^\n]*ssh-copy-id -p [0-9]+ [^\n]*\Z"):
        connect(parse_address(board.address))


def test_the_users_config_names_host_port_and_key(board: Board, ssh_home: Path) -> None:
    address = parse_address(board.address)
    key = new_key(ssh_home / "elsewhere" / "key")
    (board.folder / "authorized_keys").write_text(key)
    config = ssh_home / ".ssh" / "config"
    config.write_text(
        f"Host myboard\n  HostName 127.0.0.1\n  Port {board.port}\n  User {address.user}\n"
        f"  IdentityFile {ssh_home}/elsewhere/key\n"
    )
    try:
        connection = connect(parse_address("ssh://myboard"))
        assert connection.home == str(board.home)
        connection.close()
    finally:
        config.unlink()
        (ssh_home / "elsewhere" / "key").unlink()


@pytest.mark.parametrize(
    ("address", "words"),
    [("ssh://pi@no-such-host.invalid", "check the name"), ("ssh://pi@127.0.0.1:1", "refuses")],
)
def test_a_board_that_is_not_there_is_one_line(ssh_home: Path, address: str, words: str) -> None:
    with pytest.raises(DeviceLost, match=rf"^{re.escape(address)}[^\n]*{words}[^\n]*\Z"):
        connect(parse_address(address))


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 400, b"SSH-2.0-x\r\n" + b"\0" * 999]
)
def test_a_server_that_is_silent_or_speaks_garbage_is_one_line(
    ssh_home: Path, answer: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            with server.accept()[0] as peer:
                peer.sendall(answer)
                ended.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"ssh://pi@127.0.0.1:{server.getsockname()[1]}"
        try:
            with pytest.raises(DeviceError, match=rf"^{address}[^\n]*\Z"):
                connect(parse_address(address), timeout=1.5)
        finally:
            ended.set()
            thread.join()


def test_a_time_limit_ends_the_whole_group_there(there: Connection, board: Board) -> None:
    script = "echo $$ >pid; sleep 60 & echo $! >child; wait"
    with pytest.raises(DeviceTimeout, match=r"^[^\n]*2 s[^\n]*\Z"):
        there.run(["sh", "-c", script], timeout=2)
    assert wait_gone(int((board.home / "pid").read_text()))
    assert wait_gone(int((board.home / "child").read_text()))


def test_a_lost_connection_ends_what_ran_there(there: Connection, board: Board) -> None:
    pid = board.home / "pid"
    cutter = in_the_background(lambda: appears(pid), board.cut)
    with pytest.raises(DeviceLost, match=r"^[^\n]*\Z"):
        there.run(["sh", "-c", "echo $$ >pid.new; mv pid.new pid; sleep 60"], timeout=50)
    cutter.join()
    assert wait_gone(int(pid.read_text()))
    with pytest.raises(DeviceLost):
        there.run(["true"], timeout=30)


def test_a_board_that_hangs_is_given_up(
    board: Board, ssh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.devices.ssh_link.handshake.KEEPALIVE_S", 0.3)
    hung = connect(parse_address(board.address))
    (serving,) = board.connections()
    stopper = in_the_background(
        lambda: appears(board.home / "begun"), lambda: os.kill(serving, signal.SIGSTOP)
    )
    with pytest.raises(DeviceLost, match=r"^[^\n]*\Z"):
        hung.run(["sh", "-c", "touch begun; sleep 60"], timeout=50)
    stopper.join()
    os.kill(serving, signal.SIGKILL)


def test_a_disk_that_hangs_is_given_up(
    board: Board, there: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.devices.ssh_link.transfer.STALL_S", 1.0)
    assert there.kind_below(there.home, "bin") == "folder"
    (server,) = [pid for pid in descendants(board.connections()) if "sftp" in name_of(pid)]
    os.kill(server, signal.SIGSTOP)
    with pytest.raises(DeviceLost, match=r"^[^\n]*does not answer[^\n]*\Z"):
        there.kind_below(there.home, "bin")
    os.kill(server, signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_edgekit_interrupted_or_killed_leaves_nothing_running(board: Board, how: int) -> None:
    code = (
        "from edgekit.devices.ssh_link.address import parse_address\n"
        "from edgekit.devices.ssh_link.connection import connect\n"
        f"there = connect(parse_address({board.address!r}))\n"
        "there.run(['sh', '-c', 'echo $$ >pid.new; mv pid.new pid; sleep 60'], timeout=50)\n"
    )
    edgekit = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.DEVNULL,
        # A test run in the background ignores Ctrl-C, and what it starts would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    appears(board.home / "pid")
    edgekit.send_signal(how)
    edgekit.wait(20)
    assert wait_gone(int((board.home / "pid").read_text()))


def test_a_flood_of_output_is_ended(there: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.devices.ssh_link.process.MAX_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(DeviceError, match=r"^[^\n]*more than 1 MiB[^\n]*\Z"):
        there.run(["cat", "/dev/zero"], timeout=50)


def test_a_chatty_login_is_passed_over(board: Board, tmp_path: Path) -> None:
    session = board.folder / "session"
    plain = session.read_text()
    chatty = "#!/bin/sh\necho 'Welcome!'; printf 'Disk is 90 %% full'; echo warn >&2\n"
    session.write_text(plain.replace("#!/bin/sh\n", chatty))
    noisy = connect(parse_address(board.address))
    try:
        assert noisy.home == str(board.home)
        done = noisy.run(["sh", "-c", "echo out; echo err >&2"], timeout=50)
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
        (board.home / "file").write_bytes(b"content")
        assert noisy.sha256("file") == hashlib.sha256(b"content").hexdigest()
        talk = noisy.talk(["cat"])
        assert talk.ask(b"hello", timeout=50) == b"hello\n"
        talk.close()
        with pytest.raises(DeviceError, match=r"print 'Welcome!' in every session.*~/\.bashrc"):
            noisy.put(tmp_path, "folder")
    finally:
        noisy.close()


def test_an_answer_without_end_is_cut_off(there: Connection) -> None:
    talk = there.talk(["sh", "-c", "read line; exec cat /dev/zero"])
    with pytest.raises(DeviceError, match=r"a line of more than 1 MiB"):
        talk.ask(b"hello", timeout=50)
    talk.close()


def test_a_folder_larger_than_any_of_ours_is_not_fetched(
    board: Board, there: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"huge": 1 << 40, "many/a": 900_000, "many/b": 900_000}.items():
        (board.home / name).parent.mkdir(exist_ok=True)
        with (board.home / name).open("wb") as file:
            file.truncate(size)  # takes no room
    monkeypatch.setattr("edgekit.devices.ssh_link.transfer.MAX_BYTES", 1_000_000)
    for name in ("huge", "many"):
        with pytest.raises(DeviceError, match="more than any of ours"):
            there.fetch(name, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


def test_a_copy_that_was_cut_goes_on_where_it_stopped(
    board: Board, there: Connection, tmp_path: Path
) -> None:
    content = os.urandom(3 * PART_BYTES)
    source = tmp_path / "model"
    source.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    aside = board.home / f".{digest[:32]}.partial"
    aside.write_bytes(content[: 2 * PART_BYTES])
    begun = aside.stat().st_ino
    there.put(source, "model")
    assert (board.home / "model").read_bytes() == content
    assert (board.home / "model").stat().st_ino == begun, "it was gone on with, not begun anew"

    aside.write_bytes(b"x" * PART_BYTES)
    there.put(source, "damaged")
    assert (board.home / "damaged").read_bytes() == content
    assert not list(board.home.glob(".*partial"))


def test_a_copy_that_is_cut_leaves_the_old_file(
    board: Board, there: Connection, tmp_path: Path
) -> None:
    (board.home / "model").write_text("old")
    source = tmp_path / "model"
    with source.open("wb") as file:
        file.truncate(1 << 28)
    cutter = in_the_background(lambda: appears(board.home, ".*.partial"), board.cut)
    with pytest.raises(DeviceLost):
        there.put(source, "model")
    cutter.join()
    assert (board.home / "model").read_text() == "old"


def test_a_link_is_replaced_not_written_through(
    board: Board, there: Connection, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    (board.home / "model").symlink_to(outside)
    source = tmp_path / "model"
    source.write_text("ours")
    aside = board.home / f".{hashlib.sha256(b'ours').hexdigest()[:32]}.partial"
    aside.symlink_to(outside)
    there.put(source, "model")
    assert outside.read_text() == "theirs"
    assert (board.home / "model").read_text() == "ours"
    assert not (board.home / "model").is_symlink()


def test_links_and_pipes_are_not_fetched(board: Board, there: Connection, tmp_path: Path) -> None:
    folder = board.home / "folder"
    folder.mkdir()
    (folder / "secret").symlink_to("/etc/passwd")
    os.mkfifo(board.home / "pipe")
    for name in ("folder", "folder/secret", "pipe"):
        with pytest.raises(DeviceError, match=r"^[^\n]*refused[^\n]*\Z"):
            there.fetch(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for name in ("folder/secret", "pipe", "missing"):
        with pytest.raises(DeviceError, match=r"^[^\n]*no file[^\n]*\Z"):
            there.sha256(name)


def test_a_full_disk_is_one_line_and_the_old_file_stays(
    board: Board, there: Connection, tmp_path: Path
) -> None:
    small = board.home / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small])
    assert mounted.returncode == 0, "needs a tmpfs"
    try:
        (small / "model").write_text("old")
        source = tmp_path / "model"
        source.write_bytes(os.urandom(4 << 20))
        with pytest.raises(DeviceError, match=r"^[^\n]*no room[^\n]*\Z"):
            there.put(source, "small/model")
        assert (small / "model").read_text() == "old"
    finally:
        subprocess.run(["umount", small], check=True)


def descendants(pids: list[int]) -> list[int]:
    """Return the processes and all that they started."""
    return [found for pid in pids for found in (pid, *descendants(children(pid)))]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()
