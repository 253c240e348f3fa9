"""Fleets: the inventory is read strictly, a rollout stops where it should, fifty boards deploy."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bundles import give_python, null_bundle
from command_line import one_line_error, run_cli
from null_artifacts import APP, null_artifact
from sshd import Board, accept, new_board

from edgekit.deployment.inventory import Host, read_inventory
from edgekit.deployment.rollout import Outcome, Plan, roll_out
from edgekit.devices.ssh_link.address import Address, parse_address
from edgekit.errors import BadInventory, EdgekitError, UserError
from edgekit.progress import Say
from edgekit.results import load_results

FLEET = """
[defaults]
require_signature = true
max_p90_ms = 40.0

[groups.kitchen]
hosts = ["ssh://pi@kitchen-1.local", "pi@kitchen-2.local:2222"]
max_p90_ms = 25

[groups.hall]
hosts = ["ssh://pi@hall.local"]
python = "/opt/python/bin/python3"
target = "rpi5"
require_signature = false
"""


def inventory(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return path


def test_a_groups_word_goes_before_the_defaults(tmp_path: Path) -> None:
    path = inventory(tmp_path, FLEET)
    one, two, hall = read_inventory(path)
    assert (one.address, one.group, one.max_p90_ms, one.require_signature, one.python) == (
        parse_address("ssh://pi@kitchen-1.local"), "kitchen", 25, True, "python3",
    )  # fmt: skip
    assert two.address.port == 2222
    assert (hall.max_p90_ms, hall.require_signature, hall.target) == (40.0, False, "rpi5")
    assert read_inventory(path, ["hall"]) == [hall]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "groups"),
        ("[groups.a]\n", "names no board"),
        ('[groups.a]\nhosts = "ssh://pi@a"\n', "array"),
        ('[groups.a]\nhosts = ["ssh://pi@a"]\nmax_p90 = 3\n', "max_p90"),
        ('[groups.a]\nhosts = ["ssh://pi@a"]\nmax_p90_ms = -3\n', "above 0"),
        ('[groups.a]\nhosts = ["ssh://pi@a"]\nmax_p90_ms = nan\n', "above 0"),
        ('[groups.a]\nhosts = ["ssh://pi:secret@a"]\n', "no password"),
        ('[groups.a]\nhosts = ["-oProxyCommand=x"]\n', "no SSH address"),
        ('[groups.a]\nhosts = ["pi@a"]\n[groups.b]\nhosts = ["ssh://pi@a"]\n', "twice"),
        ('[hosts]\na = "pi@a"\n', "hosts"),
        ("[groups.a\n", "fleet.toml"),
    ],
)
def test_a_wrong_inventory_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadInventory, match=reason) as caught:
        read_inventory(inventory(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_an_unknown_group_or_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInventory, match=r"unknown group 'kitchn': did you mean kitchen"):
        read_inventory(inventory(tmp_path, FLEET), ["kitchn"])
    with pytest.raises(BadInventory, match="cannot be read"):
        read_inventory(tmp_path / "missing.toml")


HOSTS = [Host(address=Address(f"board-{number}")) for number in range(20)]


class Boards:
    """An action that fails on some boards and knows how many were at work together."""

    def __init__(self, *failing: int) -> None:
        self._failing = {HOSTS[number] for number in failing}
        self._lock = threading.Lock()
        self._running = 0
        self.most = 0
        self.begun: list[Host] = []

    def __call__(self, host: Host, say: Say) -> str:
        with self._lock:
            self.begun.append(host)
            self._running += 1
            self.most = max(self.most, self._running)
        say(str(host.address), "step")
        with self._lock:
            self._running -= 1
        if host in self._failing:
            raise EdgekitError("broken")
        return "fine"


def counts(outcomes: Sequence[Outcome[Any]]) -> tuple[int, int, int]:
    """Return how many went well, failed, and were not begun."""
    return (
        sum(outcome.result is not None for outcome in outcomes),
        sum(outcome.error is not None for outcome in outcomes),
        sum(outcome.result is None and outcome.error is None for outcome in outcomes),
    )


def test_a_failing_canary_stops_everything() -> None:
    action = Boards(1)
    outcomes = roll_out(HOSTS, action, Plan(canary=2, max_failures=1.0))
    assert counts(outcomes) == (1, 1, 18)
    assert set(action.begun) == set(HOSTS[:2])
    assert [outcome.host for outcome in outcomes] == HOSTS


def test_an_error_that_nobody_expected_costs_one_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def action(host: Host, say: Say) -> str:
        return {HOSTS[3]: ""}[host] if host is HOSTS[4] else "fine"

    outcomes = roll_out(HOSTS, action, Plan(at_once=1))
    assert counts(outcomes) == (19, 1, 0)
    error = str(outcomes[4].error)
    assert error.startswith("ssh://board-4: unexpected KeyError") and "\n" not in error
    (log,) = (tmp_path / "edgekit" / "logs").iterdir()
    assert str(log) in error and "Traceback" in log.read_text()


def test_canaries_end_before_others_begin() -> None:
    action = Boards()
    assert counts(roll_out(HOSTS, action, Plan(canary=3, at_once=8))) == (20, 0, 0)
    assert set(action.begun[:3]) == set(HOSTS[:3])


@pytest.mark.parametrize(("share", "failed"), [(0.0, 1), (0.05, 2), (0.1, 3), (1.0, 20)])
def test_no_board_is_begun_above_the_share_of_failures(share: float, failed: int) -> None:
    outcomes = roll_out(HOSTS, Boards(*range(20)), Plan(at_once=1, max_failures=share))
    assert counts(outcomes) == (0, failed, 20 - failed)


def test_no_more_boards_at_once_than_asked_for() -> None:
    both = threading.Barrier(2, timeout=10)
    action = Boards()

    def meet(board: str, step: str) -> None:
        both.wait()  # passes only where two are at work together

    assert counts(roll_out(HOSTS, action, Plan(at_once=2), meet)) == (20, 0, 0)
    assert action.most == 2


def test_an_interruption_ends_what_runs_at_its_next_step() -> None:
    seen: list[str] = []

    def action(host: Host, say: Say) -> str:
        if host is HOSTS[0]:
            raise KeyboardInterrupt
        say("one", "first")
        return "done"

    with pytest.raises(KeyboardInterrupt):
        roll_out(HOSTS, action, Plan(canary=1), lambda board, step: seen.append(step))
    assert seen == []


def test_a_plan_that_cannot_be_is_one_line() -> None:
    for wrong in ({"canary": -1}, {"at_once": 0}, {"max_failures": 1.5}):
        with pytest.raises(UserError):
            Plan(**wrong)


@pytest.fixture
def fifty(ssh_home: Path, tmp_path: Path) -> Iterator[list[Board]]:
    """Fifty SSH servers, each with a home folder, key and port of its own."""
    public = (ssh_home / ".ssh" / "id_ed25519.pub").read_text()
    boards = [new_board(tmp_path / f"board-{number:02d}", public) for number in range(50)]
    accept(ssh_home, boards)
    for board in boards:
        board.start()
        give_python(board)
    yield boards
    for board in boards:
        board.stop()


def serves(board: Board) -> bool:
    return (board.home / ".edgekit" / "apps" / APP / "current" / "manifest.json").is_file()


def test_fifty_boards_deploy_with_one_that_fails(
    fifty: list[Board], tmp_path: Path, pictures: Path
) -> None:
    one = tmp_path / "pictures"
    one.mkdir()
    picture = min(pictures.iterdir())
    (one / picture.name).write_bytes(picture.read_bytes())
    bundle = null_bundle(tmp_path / "bundle", one)
    broken = fifty[45]
    python = broken.home / "bin" / "python3"
    whole = python.read_text()
    python.write_text(whole.replace('"$@"', '-I -S "$@"'))  # a Python without NumPy
    groups = {"weak": [broken], "most": fifty[:40], "last": [*fifty[40:45], *fifty[46:]]}
    path = tmp_path / "fleet.toml"

    def order(*names: str) -> None:
        tables = [(name, json.dumps([board.address for board in groups[name]])) for name in names]
        path.write_text("".join(f"[groups.{name}]\nhosts = {text}\n" for name, text in tables))

    def deploy(*options: str) -> tuple[Counter[str], list[dict[str, Any]]]:
        done = run_cli("deploy", bundle.path, "--inventory", path, "--json", *options)
        assert "Traceback" not in done.stderr, done.stderr
        rows = json.loads(done.stdout)["rows"]
        assert done.returncode == (any(row["result"] in {"failed", "not begun"} for row in rows))
        return Counter(row["result"] for row in rows), rows

    order("weak", "most", "last")
    counted, rows = deploy("--canary", "1")
    assert counted == {"failed": 1, "not begun": 49}
    assert "golden" in rows[0]["error"] and not any(map(serves, fifty))

    order("most", "weak", "last")
    counted, rows = deploy("--canary", "1", "--at-once", "4")
    assert counted == {"deployed": 49, "failed": 1}
    assert [row["board"] for row in rows if row["error"]] == [broken.address]
    assert sum(map(serves, fifty)) == 49 and not serves(broken)

    python.write_text(whole)
    counted, _ = deploy("--group", "weak", "--group", "last")
    assert counted == {"deployed": 1, "already there": 9}
    assert all(map(serves, fifty))


def test_boards_are_named_in_one_way_only(tmp_path: Path) -> None:
    path = inventory(tmp_path, FLEET)
    both = run_cli("status", "--to", "ssh://a", "--inventory", path)
    assert "--inventory" in one_line_error(both)
    assert "--to" in one_line_error(run_cli("status"))


def test_one_command_benches_all_boards(ssh_home: Path, tmp_path: Path, pictures: Path) -> None:
    public = (ssh_home / ".ssh" / "id_ed25519.pub").read_text()
    boards = [new_board(tmp_path / f"board-{number}", public) for number in range(3)]
    accept(ssh_home, boards)
    for board in boards[:2]:
        board.start()
        give_python(board)
    addresses = json.dumps([board.address for board in boards])
    path = inventory(tmp_path, f"[groups.all]\nhosts = {addresses}\n")
    artifact = null_artifact(tmp_path / "artifact")
    options = ["--min-seconds", "0", "--percentile", "p50", "--images", pictures, "--json"]
    results = tmp_path / "results"
    try:
        done = run_cli(
            "bench", artifact.folder, "--inventory", path, "--results", results, *options
        )
        table = json.loads(done.stdout)
        rows = {row["device"]: row for row in table["rows"]}
        assert list(rows) == [board.address for board in boards], done.stderr
        assert done.returncode == 1 and "refuses connections" in rows[boards[2].address]["verdict"]
        assert all(rows[board.address]["p50_ms"] > 0 for board in boards[:2])
        assert {m.device for m in load_results(results)[0]} == set(list(rows)[:2])
    finally:
        for board in boards[:2]:
            board.stop()
