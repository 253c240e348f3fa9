"""The golden test on a board: a runner that ended well is believed, a printed line is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.trial import golden, latency

PASSED = json.dumps({"event": "golden", "passed": True, "faults": []})
ERROR = """print('{"error": "no", "kind": "KeyError"}')"""


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "version"
    (folder / "golden").mkdir(parents=True)
    return folder


def runner(version: Path, *lines: str) -> None:
    (version / "runner.py").write_text("\n".join(lines) + "\n")


def test_the_runners_own_word_counts(version: Path) -> None:
    runner(version, "print('{no json')", "print('[' * 99999)", f"print('{PASSED}')")
    assert golden(sys.executable, version)["passed"] is True


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((f"print('{PASSED}')", "raise SystemExit(3)"), "exit code 3"),
        ((f"print('{PASSED}', flush=True)", "import os", "os.abort()"), "signal 6"),
        ((f"print('{PASSED}')", ERROR), "KeyError: no"),
        (("""print('{"event": "other", "passed": true}')""",), "no answer"),
        (("""print('{"passed": true}')""",), "no answer"),
        (("print('{' * 9999)",), "no answer"),
        (("""print('{"event": "golden", "passed": 1}')""",), "golden test failed"),
    ],
)  # fmt: skip
def test_a_printed_line_proves_nothing(version: Path, lines: tuple[str, ...], words: str) -> None:
    runner(version, *lines)
    with pytest.raises(Refused, match=words):
        golden(sys.executable, version)


@pytest.mark.parametrize("times", ["[]", "null", "{}", '["1"]', "[-1]", "[true]", "[NaN]"])
def test_times_that_are_none_meet_no_limit(version: Path, tmp_path: Path, times: str) -> None:
    runner(version, f"""print('{{"event": "bench", "invoke_s": {times}}}')""")
    with pytest.raises(Refused, match="holds no times"):
        latency(sys.executable, version, 5.0, tmp_path)
