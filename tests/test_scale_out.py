"""Folds and evaluation shards on a real Dask scheduler and two workers, one of which is killed."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, one_line_error
from pictures import draw_pictures
from PIL import Image
from scale_out_work import Task, fail, refuse, request, square
from waiting import until

from edgekit.artifact import load_artifact
from edgekit.data import SplitPlan, open_dataset
from edgekit.devices.local import LocalDevice
from edgekit.errors import BadArtifact, BadData, EdgekitError, MissingPackage, UserError
from edgekit.evaluation.evaluate import evaluate
from edgekit.evaluation.shards import Shard, run_shard, run_shards, shard_count, shards_of
from edgekit.executors import open_executor
from edgekit.executors.dask import DaskExecutor
from edgekit.spec import ADIENCE_AGE_LABELS, GENDER_LABELS
from edgekit.targets import load_target
from edgekit.training.folds import train_alone
from edgekit.training.run import TrainOptions

TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Cluster:
    """A scheduler on loopback, and what its workers need to import and to cache."""

    address: str
    environment: dict[str, str]
    folder: Path

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker, as `dask worker --nthreads 1` on another machine would be."""
        scratch = self.folder / f"worker-{time.monotonic_ns()}"
        command = [
            "worker", self.address.replace("dask", "tcp"), "--nthreads", "1", "--no-nanny",
            "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(scratch),
        ]  # fmt: skip
        return dask(command, self.environment, self.folder)


def dask(
    arguments: list[str], environment: dict[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    with (folder / "dask.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            env=environment, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip


def start(folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Cluster]:
    """Start a scheduler on a free port of loopback and wait until it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    scheduler = dask(arguments, environment, folder)
    until(lambda: listening(port), scheduler)
    return scheduler, Cluster(f"dask://127.0.0.1:{port}", environment, folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    environment = os.environ | {
        "PYTHONPATH": str(TESTS),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    scheduler, cluster = start(folder, environment)
    yield cluster
    scheduler.kill()
    scheduler.wait()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Every worker that was ever started; all end with the module."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def workers(
    cluster: Cluster, running: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Two living workers' process numbers; this process keeps its files where they do."""
    monkeypatch.setenv("XDG_CACHE_HOME", cluster.environment["XDG_CACHE_HOME"])
    running[:] = [process for process in running if process.poll() is None]
    running += [cluster.worker() for _ in range(2 - len(running))]
    return [process.pid for process in running]


def test_without_workers_it_gives_up_in_one_line(  # before any is started
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.executors.dask.PATIENCE_S", 0.2)
    with pytest.raises(EdgekitError, match=r"has had no worker for 0\.2 s"):
        list(DaskExecutor(cluster.address[7:]).map(square, [Task(tmp_path, 1)]))


def test_a_killed_workers_task_goes_to_the_other(
    cluster: Cluster, workers: list[int], tmp_path: Path
) -> None:
    tasks = [Task(tmp_path, number) for number in range(6)]
    results: dict[int, int] = {}
    victims: list[int] = []
    for index, result in open_executor(cluster.address, 1).map(square, tasks):
        results[index] = result
        if not victims:
            until(lambda: list(tmp_path.glob("0.*")))
            victims = [int(path.suffix[1:]) for path in tmp_path.glob("0.*")]
            assert set(victims) < set(workers)
            os.kill(victims[0], signal.SIGKILL)
    assert results == {number: number**2 for number in range(6)}
    attempts = {int(path.suffix[1:]) for path in tmp_path.glob("0.*")}
    assert attempts == set(workers)


def test_an_expected_error_comes_back_as_itself_and_is_not_tried_again(
    cluster: Cluster, workers: list[int], tmp_path: Path
) -> None:
    executor = open_executor(cluster.address, 1)
    with pytest.raises(MissingPackage, match=r"pip install 'edgekit-deploy\[onnx\]'"):
        list(executor.map(refuse, [Task(tmp_path, 1)]))
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(EdgekitError, match="ZeroDivisionError: task 3; what was done is kept"):
        list(executor.map(fail, [Task(tmp_path, 3)]))


def test_another_version_on_a_worker_is_told(
    cluster: Cluster, workers: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.executors.dask.__version__", "99.0")
    with pytest.raises(UserError, match=r"and you have 99\.0: install the same"):
        list(open_executor(cluster.address, 1).map(square, [Task(tmp_path, 1)]))


def test_a_lost_scheduler_is_one_line(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    scheduler, cluster = start(tmp_path, environment)
    worker = cluster.worker()
    try:
        tasks = [Task(tmp_path, 1), Task(tmp_path, 0)]
        results = open_executor(cluster.address, 1).map(square, tasks)
        assert next(results) == (0, 1)
        scheduler.kill()
        with pytest.raises(EdgekitError, match="was lost: start it and run again"):
            next(results)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()


def test_nobody_at_the_address_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.executors.dask.CONNECT_S", 0.5)
    with pytest.raises(UserError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        list(open_executor("dask://127.0.0.1:1", 1).map(square, [Task(tmp_path, 1)]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dsk://127.0.0.1:8786", "did you mean dask"),
        ("dask", "give dask://HOST:PORT"),
        ("dask://127.0.0.1", "give dask://HOST:PORT"),
        ("dask://inproc://x:1", "give dask://HOST:PORT"),
        ("local://2", "local has no address"),
    ],
)
def test_executors_that_are_none(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_executor(text, 1)


@pytest.mark.parametrize("workers", [1, 3])
def test_here_every_item_is_done_once_and_the_first_error_ends_it(workers: int) -> None:
    executor = open_executor("local", workers)
    assert sorted(executor.map(lambda item: -item, range(7))) == [(i, -i) for i in range(7)]
    with pytest.raises(ZeroDivisionError):
        list(executor.map(lambda item: 1 // item, [1, 0, 1]))


def test_closing_a_device_ends_what_another_thread_runs_on_it(tmp_path: Path) -> None:
    device = LocalDevice()
    script = f"open({str(tmp_path / 'begun')!r}, 'w').close(); import time; time.sleep(600)"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(device.run, ["-c", script], timeout=600)
        until((tmp_path / "begun").exists)
        device.close()
        assert running.result(60).exit_code == -signal.SIGKILL


# Evaluation


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 labelled pictures and two broken ones."""
    folder = draw_pictures(tmp_path_factory.mktemp("labelled"), 25, seed=3)
    for name in ("z1.png", "z2.png"):
        (folder / name).write_bytes(b"no picture")
    rows = ["file,age,gender,split"]
    for index, path in enumerate(sorted(folder.iterdir())):
        rows.append(f"{path.name},{ADIENCE_AGE_LABELS[index % 8]},{GENDER_LABELS[index % 2]},test")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_worker_killed_in_an_evaluation_changes_nothing(
    cluster: Cluster, workers: list[int], converted: Path, labelled: Path
) -> None:
    told: list[str] = []

    def say(step: str, text: str) -> None:
        told.append(text)
        if text == "2 of 6 shards":
            os.kill(workers[0], signal.SIGKILL)

    spread = evaluate(request(converted, labelled, cluster.address), say)
    assert "2 of 6 shards" in told and "6 of 6 shards" in told
    here = evaluate(request(converted, labelled, "local"))
    assert spread == tuple(here)
    assert here[0].broken == 2 and here[0].assessment.images == 25


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from scale_out_work import request
from edgekit.evaluation.evaluate import evaluate

def say(step, text):
    if text == "2 of 6 shards":
        os.kill(os.getpid(), signal.SIGKILL)

evaluate(request(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]), say)
"""


def test_a_killed_client_goes_on_with_what_was_done(
    cluster: Cluster, workers: list[int], converted: Path, labelled: Path
) -> None:
    places = map(str, (TESTS, converted, labelled, cluster.address))
    killed = subprocess.run([sys.executable, "-c", KILLED, *places], env=cluster.environment)
    assert killed.returncode == -signal.SIGKILL
    told: list[str] = []
    evaluate(request(converted, labelled, cluster.address), lambda step, text: told.append(text))
    assert told[2] == "2 of 6 shards" and "1 of 6 shards" not in told
    kept = Path(cluster.environment["XDG_CACHE_HOME"]) / "edgekit" / "unfinished"
    assert not list(kept.iterdir())  # a finished evaluation is done anew the next time


def test_a_shard_of_broken_images_alone_is_an_answer(converted: Path, labelled: Path) -> None:
    (shard,) = shards(converted / "onnx-fp32", labelled, 1)
    answer = run_shard(replace(shard, images=shard.images[-2:]))
    assert (answer.decided, set(answer.broken)) == ({}, {"z1.png", "z2.png"})


def test_a_failed_shard_keeps_the_others(
    converted: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    artifact = load_artifact(converted / "onnx-fp32")
    first, last = shards(artifact.folder, labelled, 2)
    changed = replace(last, artifact_sha256="0" * 64)
    told: list[int] = []
    with pytest.raises(BadArtifact, match="not the artifact that was asked for"):
        run_shards([first, changed], open_executor("local", 1), told.append)
    run_shards([first, last], open_executor("local", 1), told.append)
    assert told == [0, 1, 1, 2]


def test_an_emulated_board_gets_shards_of_minutes(converted: Path) -> None:
    """adiencenet in float takes 5 s a picture there: docs/virtual-board.md."""
    light = load_artifact(converted / "tflite-fp32")
    source = replace(light.manifest.source, macs=709_253_120)
    heavy = replace(light, manifest=replace(light.manifest, source=source))
    assert shard_count(heavy, 2531, "local", 2) == 2
    assert shard_count(light, 200, "virtual", 2) == 2
    assert 60 < 5.1 * 200 / shard_count(heavy, 200, "virtual", 2) < 300
    unknown = replace(heavy, manifest=replace(light.manifest, source=replace(source, macs=None)))
    assert shard_count(unknown, 200, "virtual", 4) == 4


def test_a_worker_with_other_images_says_so(
    converted: Path, labelled: Path, tmp_path: Path
) -> None:
    (shard,) = shards(converted / "onnx-fp32", labelled, 1)
    other = draw_pictures(tmp_path / "other", 25, seed=4)
    with pytest.raises(BadData, match="is not the file its hash was taken of"):
        run_shard(replace(shard, data=other))
    with pytest.raises(BadData, match="no such folder"):
        run_shard(replace(shard, data=tmp_path / "nothing"))


def shards(artifact: Path, labelled: Path, count: int) -> list[Shard]:
    dataset = open_dataset(str(labelled)).split("test")
    target = load_target("host")
    loaded = load_artifact(artifact)
    return list(shards_of(loaded, dataset, labelled, target, "local", None, count))


# Folds


@pytest.fixture(scope="module")
def adience(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five folds of eight faces, in Adience's layout."""
    root = tmp_path_factory.mktemp("adience") / "Adience"
    header = (
        "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial\tscore"
    )
    for fold in range(5):
        lines = [header]
        for index in range(8):
            age, gender, level = (("(25, 32)", "m", 60), ("(60, 100)", "f", 190))[index % 2]
            user, name = f"{fold}{index}@N01", f"{fold}{index}_o.jpg"
            lines.append("\t".join([user, name, str(index), age, gender, *["0"] * 7]))
            path = root / "aligned" / user / f"landmark_aligned_face.{index}.{name}"
            path.parent.mkdir(parents=True)
            noise = np.random.default_rng(100 * fold + index).integers(-40, 40, (70, 70, 3))
            buffer = io.BytesIO()
            Image.fromarray((level + noise).astype(np.uint8)).save(buffer, "JPEG")
            path.write_bytes(buffer.getvalue())
        (root / f"fold_{fold}_data.txt").write_text("\n".join(lines))
    return root


def test_a_worker_killed_in_a_fold_changes_no_weight(
    cluster: Cluster, workers: list[int], adience: Path, tmp_path: Path, cli: Cli
) -> None:
    options = [
        "train", "multitask-cnn", "--data", adience, "--protocol", "folds", "--fold", "all",
        "--set", "epochs=2", "--set", "batch=16", "--threads", 1, "--json",
    ]  # fmt: skip
    command = [*options, "--executor", cluster.address, "-o", tmp_path / "spread"]
    client = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *map(str, command)],
        stdout=subprocess.PIPE,
        env=cluster.environment,
    )
    try:
        until(lambda: list((tmp_path / "spread").glob("fold-*/checkpoint.pt")), client)
        os.kill(workers[1], signal.SIGKILL)
        spread, _ = client.communicate(timeout=600)
    finally:
        client.kill()
    assert client.returncode == 0
    here = cli(*options, "-o", tmp_path / "here", "--quiet", **cluster.environment)
    assert here.returncode == 0, here.stderr
    results, expected = json.loads(spread), json.loads(here.stdout)
    assert [r["weights_sha256"] for r in results] == [r["weights_sha256"] for r in expected]
    assert [r["test"] for r in results] == [r["test"] for r in expected]
    assert [f"--fold {fold}" in r["command"] for fold, r in enumerate(results)] == [True] * 5


def test_two_runs_of_one_folder_wait_for_each_other(adience: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, pathlib; lock = open(sys.argv[1], 'w');"
            "fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()",
            str(tmp_path / ".lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    options = TrainOptions(
        model="multitask-cnn",
        data=str(adience),
        output=tmp_path,
        plan=SplitPlan(protocol="folds"),
        changes=("epochs=1",),
        threads=1,
    )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(train_alone, options)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        assert not (tmp_path / "checkpoint.pt").exists()
        holder.kill()  # a worker's death frees its folder
        holder.communicate()
        assert waiting.result(60).best_epoch == 1


def test_wrong_executors_are_one_line_on_the_command_line(
    cli: Cli, adience: Path, tmp_path: Path
) -> None:
    done = cli(
        "train", "multitask-cnn", "--data", adience, "-o", tmp_path, "--executor", "ray://x:1"
    )
    assert "unknown executor 'ray'" in one_line_error(done)
