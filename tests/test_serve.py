"""`edgekit serve`: the page, the answers, and uploads that no one should send."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import one_line_error, run_cli
from null_artifacts import null_artifact

from edgekit.artifact import Artifact
from edgekit.serving import page
from edgekit.serving.worker import WAITING, Busy, Failed, TooSlow, Worker

JPEG = {"Content-Type": "image/jpeg"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve an artifact that answers zeros; pictures of up to 0.3 MB, two seconds each."""
    artifact = null_artifact(tmp_path_factory.mktemp("served") / "artifact")
    number = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "edgekit", "serve", str(artifact.folder), "--port", str(number),
            "--max-mb", "0.3", "--timeout", "20",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", number), 1).close()
            break
        except OSError:
            assert process.poll() is None, "it ended"
            time.sleep(0.1)
    yield number
    process.terminate()
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        text = reply.read()
        kind = reply.headers.get("content-type", "")
        return reply.status, json.loads(text) if "json" in kind else text.decode()
    finally:
        connection.close()


def test_a_picture_is_answered_and_the_page_is_there(port: int, pictures: Path) -> None:
    picture = sorted(pictures.iterdir())[0].read_bytes()
    status, answer = ask(port, "POST", "/predict", picture, JPEG)
    assert (status, answer) == (
        200,
        {"age": {"label": "young", "index": 0, "confidence": 0.5}},
    )
    status, text = ask(port, "GET", "/")
    assert status == 200 and "Drop a picture" in text and "cats" in text
    status, health = ask(port, "GET", "/health")
    assert status == 200 and health["artifact"].startswith("cats")


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"", JPEG, 400, "empty"),
        (b"not a picture", JPEG, 422, "cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), {"Content-Type": "image/png"}, 422, "cannot be read"),
        (b"\xff\xd8" + bytes(400_000), JPEG, 413, "larger than 0.3 MB"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "Content-Type"),
        (b"x", {"Content-Type": "text/plain"}, 415, "Content-Type"),
        (b"x", {}, 415, "Content-Type"),
        (iter([bytes(200_000)] * 3), JPEG, 413, "larger than 0.3 MB"),
    ],
    ids=["empty", "text", "cut", "large", "form", "plain", "none", "chunked-large"],
)
def test_a_bad_upload_is_refused_with_its_reason(
    port: int, body: Any, headers: dict[str, str], status: int, words: str
) -> None:
    got, answer = ask(port, "POST", "/predict", body, headers)
    assert got == status and words in answer["error"]


def test_after_bad_uploads_it_still_answers(port: int, pictures: Path) -> None:
    with socket.create_connection(("127.0.0.1", port)) as cut:  # an upload that ends in the middle
        cut.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Content-Length: 1000\r\n\r\nhalf"
        )
    picture = sorted(pictures.iterdir())[0].read_bytes()
    assert ask(port, "POST", "/predict", picture, JPEG)[0] == 200


def test_another_name_for_this_machine_is_no_way_in(port: int) -> None:
    assert ask(port, "GET", "/health", headers={"Host": "evil.example"})[0] == 400
    assert ask(port, "GET", "/predict")[0] == 405
    assert ask(port, "GET", "/../../etc/passwd")[0] == 404


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_label() -> None:
    text, policy = page("<script>alert(1)</script>")
    assert "<script>alert" not in text and "&lt;script&gt;" in text
    assert "http:" not in text and "https:" not in text
    assert "default-src 'none'" in policy and "unsafe" not in policy


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return null_artifact(tmp_path / "artifact")


def test_a_process_that_hangs_or_dies_is_started_again(
    artifact: Artifact, tmp_path: Path, pictures: Path
) -> None:
    data = sorted(pictures.iterdir())[0].read_bytes()
    worker = Worker(artifact, tmp_path)
    try:
        with pytest.raises(TooSlow):
            worker.ask(data, 0.0)
        assert "age" in worker.ask(data, 60)
        process = worker._process
        assert process is not None
        process.kill()
        process.wait()
        assert "age" in worker.ask(data, 60)
        (artifact.folder / "manifest.json").write_text("{}")
        worker.close()
        with pytest.raises(Failed):
            worker.ask(data, 60)
        assert not (tmp_path / "picture").exists()
    finally:
        worker.close()


def test_only_so_many_pictures_wait(artifact: Artifact, tmp_path: Path) -> None:
    worker = Worker(artifact, tmp_path)
    for _ in range(WAITING + 1):
        worker._places.acquire()
    with pytest.raises(Busy):
        worker.ask(b"", 1)


def test_a_port_in_use_and_a_missing_artifact_are_one_line(artifact: Artifact, port: int) -> None:
    assert "nothing" in one_line_error(run_cli("serve", "nothing"))
    done = run_cli("serve", artifact.folder, "--port", port)
    assert f"port {port}" in one_line_error(done)
    away = run_cli("serve", artifact.folder, "--host", "no.such.host.invalid")
    assert "--host of this machine" in one_line_error(away) and not away.stdout
