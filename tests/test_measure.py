"""Benchmarks by the real runner: interleaved, saved round by round, resumed, honest in failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import run_cli
from null_artifacts import null_artifact
from pictures import few
from records import a_measurement, a_round

from edgekit.artifact import find_artifacts
from edgekit.data.images import open_images
from edgekit.devices import Completed, open_device
from edgekit.devices.local import LocalDevice
from edgekit.errors import BadTarget, DeviceError, UserError
from edgekit.measurement.bench import BenchRequest, bench
from edgekit.measurement.summary import summary_row, verdict, was_throttled
from edgekit.results import load_results, save
from edgekit.runtimes.table import Environment
from edgekit.session import entry
from edgekit.targets import load_target

COLUMNS = [
    "model", "backend", "precision", "runtime", "threads",
    "p50_ms", "p50_low_ms", "p50_high_ms", "p90_ms", "p99_ms",
    "load_ms", "first_ms", "end_to_end_p50_ms", "peak_memory_mb", "size_bytes",
    "samples", "rounds", "verdict", "provenance", "target", "device",
]  # fmt: skip


WARM_UP_S = 0.1


@pytest.fixture
def device() -> Iterator[Any]:
    opened = open_device("local", load_target("host"))
    yield opened
    opened.close()


@pytest.fixture
def request_(tmp_path: Path, pictures: Path) -> BenchRequest:
    """Two null artifacts, three short rounds."""
    artifacts = [null_artifact(tmp_path / name, name) for name in ("one", "two")]
    return BenchRequest(
        entries=tuple(entry(artifact) for artifact in artifacts),
        target=load_target("host"),
        images=few(pictures),
        results=tmp_path / "results",
        min_seconds=0.0,
        warmup_max_seconds=WARM_UP_S,
        command="edgekit bench one two",
    )


def run_ids(results: Path) -> list[str]:
    return sorted(path.name for path in results.iterdir() if path.is_dir())


def test_interleaved_rounds_are_saved_raw_and_a_finished_plan_begins_a_new_run(
    request_: BenchRequest, device: Any
) -> None:
    said: list[tuple[str, str]] = []
    rows = bench(request_, device, lambda row, text: said.append((row, text)))
    assert load_results(request_.results) == (rows, [])
    assert [row.artifact.model for row in rows] == ["one", "two"]
    assert rows[0].run == rows[1].run
    for row in rows:
        assert row.error is None
        assert row.provenance == "measured"
        assert row.command == "edgekit bench one two"
        assert row.facts.cores >= 1
        assert len(row.rounds) == 3
        for item in row.rounds:
            assert len(item.invoke_s) >= 22
            assert item.load_s > 0
            assert item.peak_memory_bytes > 1_000_000
            assert len(item.clock_mhz) == 4

    rounds = [(text, row) for row, text in said if text.startswith("round")]
    assert [text for text, _ in rounds] == sorted(text for text, _ in rounds)
    for number in (1, 2, 3):
        assert len({row for text, row in rounds if text == f"round {number} of 3"}) == 2

    again = bench(request_, device)
    assert run_ids(request_.results) == [rows[0].run, again[0].run]


def test_another_plan_never_continues_a_run(request_: BenchRequest, device: Any) -> None:
    one = replace(request_, entries=request_.entries[:1])
    (row,) = bench(one, device)
    save(replace(row, rounds=row.rounds[:1]), one.results)
    (other,) = bench(replace(one, warmup_max_seconds=WARM_UP_S / 2), device)
    assert other.run != row.run
    assert len(load_results(one.results / row.run)[0][0].rounds) == 1
    (continued,) = bench(one, device)
    assert continued.run == row.run
    assert continued.rounds[0] == row.rounds[0]


def test_one_artifact_twice_makes_two_rows(request_: BenchRequest, device: Any) -> None:
    one = request_.entries[0]
    rows = bench(replace(request_, entries=(one, one)), device)
    assert rows[0].artifact == rows[1].artifact
    assert rows[0].label != rows[1].label
    assert len(load_results(request_.results)[0]) == 2


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from edgekit.artifact import load_artifact
from edgekit.devices import open_device
from edgekit.data.images import ImageSet, open_images
from edgekit.measurement.bench import BenchRequest, bench
from edgekit.runtimes.table import Environment
from edgekit.session import entry
from edgekit.targets import load_target

one, two, pictures, results = map(Path, sys.argv[1:])
target = load_target("host")
entries = tuple(entry(load_artifact(path)) for path in (one, two))
images = replace(open_images(pictures), names=open_images(pictures).names[:2])
request = BenchRequest(
    entries=entries, target=target, images=images, results=results, min_seconds=0.2,
    warmup_max_seconds=0.1,
)
bench(request, open_device("local", target))
"""


def test_after_kill_9_the_same_plan_continues_and_counts_nothing_twice(
    request_: BenchRequest, device: Any, pictures: Path
) -> None:
    request = replace(request_, min_seconds=0.2)
    folders = [str(item.artifact.folder) for item in request.entries]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *folders, str(pictures), str(request.results)]
    )
    limit = time.monotonic() + 60
    while len(list(request.results.glob("*/*.json"))) < 2 and time.monotonic() < limit:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before, problems = load_results(request.results)
    assert problems == []
    done = sum(len(row.rounds) for row in before)
    assert 2 <= done < 6

    rows = bench(request, device)
    assert run_ids(request.results) == [before[0].run]
    assert [len(row.rounds) for row in rows] == [3, 3]
    after = {row.label: row for row in rows}
    for row in before:
        assert after[row.label].rounds[: len(row.rounds)] == row.rounds
    samples = [item.invoke_s for row in rows for item in row.rounds]
    assert len(set(samples)) == 6


ANSWER = {
    "event": "bench", "load_s": 0.1, "first_s": 0.1, "warmup_s": [], "invoke_s": [0.1] * 30,
    "end_to_end_s": [0.1] * 30, "settled": True, "peak_memory_bytes": 1,
    "clock_mhz": [], "temperature_c": [], "throttled": [],
}  # fmt: skip
GONE_WRONG = {
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "signal 9",
    "import time; time.sleep(60)": "took more than",
    "print('Segmentation fault? No, worse: {}')": "no result",
    "raise SystemExit('out of memory')": "out of memory",
    f"print({json.dumps(ANSWER | {'load_s': 'soon'})!r})": "not a round",
    f"print({json.dumps(ANSWER | {'load_s': float('nan')})!r})": "times below 0",
    f"print({json.dumps(ANSWER | {'invoke_s': [0.1] * 30 + [-1]})!r})": "times below 0",
    f"print({json.dumps(ANSWER | {'end_to_end_s': [0.1] * 5})!r})": "fewer than the 22",
}


def test_a_runner_gone_wrong_costs_only_its_row(request_: BenchRequest, device: Any) -> None:
    """Killed, hung, babbling, lying: each is told in its row and the good one is measured."""
    one, good = request_.entries
    broken = tuple(replace(one, program=("-c", program)) for program in GONE_WRONG)
    rows = bench(replace(request_, entries=(*broken, good), timeout=8.0), device)
    for row, reason in zip(rows, GONE_WRONG.values(), strict=False):
        assert row.error is not None
        assert reason in row.error
        assert "\n" not in row.error
        assert row.rounds == ()
        assert verdict(row) == f"failed: {row.error}"
        assert summary_row(row)["p50_ms"] is None
    assert rows[-1].error is None
    assert len(rows[-1].rounds) == 3
    saved, problems = load_results(request_.results)
    assert problems == []
    assert sorted(saved, key=lambda row: row.label) == sorted(rows, key=lambda row: row.label)


class Unplugged(LocalDevice):
    """This machine until `runs` programs ran; then nothing answers any more."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.runs = runs

    def run(
        self, arguments: Sequence[str], *, timeout: float, environment: Environment = "main"
    ) -> Completed:
        self.runs -= 1
        if self.runs < 0:
            raise DeviceError("local: connection lost")
        return super().run(arguments, timeout=timeout, environment=environment)


def test_a_lost_device_fails_no_row_and_the_bench_can_be_continued(
    request_: BenchRequest, device: Any
) -> None:
    unplugged = Unplugged(runs=4)
    with pytest.raises(DeviceError, match="connection lost"):
        bench(request_, unplugged)
    unplugged.close()
    before, _ = load_results(request_.results)
    assert sum(len(row.rounds) for row in before) == 3
    assert all(row.error is None for row in before)
    rows = bench(request_, device)
    assert rows[0].run == before[0].run
    assert [len(row.rounds) for row in rows] == [3, 3]


def test_two_benches_do_not_write_the_same_results(request_: BenchRequest, device: Any) -> None:
    complaints: list[str] = []

    def second(row: str, text: str) -> None:
        with pytest.raises(UserError) as caught:
            bench(request_, device)
        complaints.append(str(caught.value))

    one = replace(request_, entries=request_.entries[:1])
    (row,) = bench(one, device, second)
    assert len(row.rounds) == 3
    assert "another bench" in complaints[0]


def test_an_emulated_device_has_no_times(request_: BenchRequest, device: Any) -> None:
    device.provenance = "emulated"
    with pytest.raises(BadTarget, match="no times"):
        bench(request_, device)
    assert not request_.results.exists()


def test_a_device_that_is_not_the_target_is_refused(request_: BenchRequest, device: Any) -> None:
    with pytest.raises(BadTarget, match="is not rpi4"):
        bench(replace(request_, target=load_target("rpi4")), device)
    assert load_results(request_.results) == ([], [])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"entries": ()}, "nothing to measure"),
        ({"rounds": 2}, "3 or more"),
        ({"threads": 0}, "1 or more"),
        ({"threads": 2, "cores": (1,)}, "add cores"),
        ({"percentile": "p9"}, "p90"),
        ({"min_seconds": float("inf")}, "min-seconds"),
    ],
)
def test_a_senseless_request_is_one_line(
    request_: BenchRequest, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(request_, **changes)


def test_more_threads_than_cores_are_refused(request_: BenchRequest, device: Any) -> None:
    with pytest.raises(UserError, match="cores"):
        bench(replace(request_, threads=4096), device)


def test_the_percentile_sets_the_samples(request_: BenchRequest, device: Any) -> None:
    one = replace(request_, entries=request_.entries[:1], percentile="p99")
    (row,) = bench(one, device)
    assert summary_row(row)["p99_ms"] is not None
    assert summary_row(row)["samples"] >= 662


def test_the_threads_and_cores_asked_for_are_the_runners(
    request_: BenchRequest, device: Any
) -> None:
    core = min(os.sched_getaffinity(0))
    (row,) = bench(replace(request_, entries=request_.entries[:1], cores=(core,)), device)
    assert row.cores == (core,)
    assert row.error is None
    (row,) = bench(replace(request_, entries=request_.entries[:1], cores=(4000,)), device)
    assert row.error is not None, "a core that is not there must not be passed over"


def test_a_summary_row_has_its_columns_in_milliseconds() -> None:
    row = summary_row(a_measurement(rounds=(ROUND,) * 3))
    assert list(row) == COLUMNS
    assert row["p50_ms"] == pytest.approx(10.0)
    assert row["p90_ms"] == pytest.approx(10.0)
    assert row["p99_ms"] is None
    assert row["end_to_end_p50_ms"] == pytest.approx(20.0)
    assert row["load_ms"] == pytest.approx(200.0)
    assert row["peak_memory_mb"] == pytest.approx(50.0)
    assert row["samples"] == 90
    assert row["verdict"] == "ok"
    assert row["provenance"] == "measured"


ROUND = a_round()


@pytest.mark.parametrize(
    ("rounds", "doubt"),
    [
        ((ROUND, replace(ROUND, settled=False), ROUND), "round 2 did not settle"),
        ((ROUND, ROUND, replace(ROUND, throttled=("0x0", "0x4", "0x0"))), "round 3 throttled"),
        ((a_round(tuple(0.01 + 0.0002 * i for i in range(60))), ROUND, ROUND), "round 1 drif"),
        ((ROUND, a_round((0.012,) * 30), ROUND), "20% apart"),
        ((ROUND, ROUND), "2 of 3 rounds"),
    ],
)
def test_every_doubt_is_said_and_no_sample_dropped(rounds: tuple[Any, ...], doubt: str) -> None:
    measurement = a_measurement(rounds=rounds)
    assert verdict(measurement).startswith("inconclusive: ")
    assert doubt in verdict(measurement)
    assert summary_row(measurement)["samples"] == sum(len(r.invoke_s) for r in rounds)


@pytest.mark.parametrize(
    ("flags", "held"),
    [
        (("0x0", "0x0"), False),
        (("0x50000", "0x50000"), False),  # happened before this run
        (("0x0", "0x20000"), True),  # happened between two readings
        (("0x0", "0x50005", "0x50000"), True),
        ((None, None), None),
        ((), None),
        (("VCHI initialization failed",), None),
    ],
)
def test_throttling_counts_where_it_happened_in_this_run(
    flags: tuple[str | None, ...], held: bool | None
) -> None:
    assert was_throttled(flags) is held


@pytest.mark.slow
def test_real_artifacts_and_torch_eager_are_measured_side_by_side(
    converted: Path, tmp_path: Path, pictures: Path, device: Any
) -> None:
    folder = tmp_path / "torch"
    done = run_cli(
        "convert", "multitask-cnn", "--backend", "torch", "--precision", "fp32",
        "--images", pictures, "-o", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = tuple(entry(artifact) for artifact in find_artifacts([converted, folder]))
    request = BenchRequest(
        entries=entries,
        target=load_target("host"),
        images=open_images(pictures),
        results=tmp_path / "results",
        min_seconds=0.1,
        warmup_max_seconds=1.0,
    )
    measured = bench(request, device)
    rows = {row.label: summary_row(row) for row in measured}
    assert not [row["verdict"] for row in rows.values() if "failed" in row["verdict"]]
    runtimes = {row["runtime"] for row in rows.values()}
    assert runtimes == {"onnxruntime", "ai_edge_litert", "openvino", "ncnn", "null", "torch"}
    for record in measured:  # the fastest: the two are not timed at once, other tests run beside
        fastest = min(time for r in record.rounds for time in r.invoke_s)
        assert fastest < min(time for r in record.rounds for time in r.end_to_end_s), record.label
    harness = next(row["p50_ms"] for row in rows.values() if row["runtime"] == "null")
    for row in rows.values():
        assert row["end_to_end_p50_ms"] > 0 and row["p50_ms"] > 0
        assert row["p50_low_ms"] <= row["p50_ms"] <= row["p50_high_ms"]
        assert row["p90_ms"] >= row["p50_ms"]
        assert row["runtime"] == "null" or row["p50_ms"] > 2 * harness


def test_torch_rows_stay_on_this_machine(request_: BenchRequest, device: Any) -> None:
    null = request_.entries[0].artifact
    torch_row = entry(replace(null, manifest=replace(null.manifest, backend="torch")))
    assert torch_row.runtime == "torch"
    assert torch_row.program == ("-m", "edgekit.backends._torch_runtime")
    device.name = "ssh://pi@board"
    with pytest.raises(UserError, match="this machine only"):
        bench(replace(request_, entries=(torch_row,)), device)
