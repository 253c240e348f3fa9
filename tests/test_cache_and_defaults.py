"""`edgekit cache`, and the options that a project's file sets."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from command_line import one_line_error, run_cli
from null_artifacts import null_artifact
from records import a_measurement

import edgekit
from edgekit import cli as command_line
from edgekit import run_log
from edgekit.conversion.fork_server import Wanted
from edgekit.conversion.steps import Children, run_step
from edgekit.errors import UserError
from edgekit.results import save


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache folder that holds something of each kind."""
    folder = tmp_path / "cache" / "edgekit"
    for name, size in (("decoded", 5000), ("virtual", 3000), ("weights", 10), ("newer", 1)):
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "inner" / "file").write_bytes(bytes(size))
    return folder


def cli(cache: Path, *arguments: object, cwd: Path | None = None) -> str:
    done = run_cli(*arguments, cwd=cwd, XDG_CACHE_HOME=str(cache.parent))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cache_is_shown_with_sizes_and_where_faces_lie(cache: Path) -> None:
    rows = json.loads(cli(cache, "cache", "show", "--json"))["rows"]
    assert [(row["name"], row["bytes"]) for row in rows] == [
        ("decoded", 5000),
        ("virtual", 3000),
        ("weights", 10),
        ("newer", 1),
    ]
    assert "faces" in rows[0]["holds"] and "not known" in rows[3]["what"]
    said = cli(cache, "cache", "show")
    assert "8 kB" in said and "faces too" in said


def test_every_part_that_the_code_makes_is_known(cache: Path) -> None:
    code = [path.read_text() for path in Path(edgekit.__file__).parent.rglob("*.py")]
    made = {name for text in code for name in re.findall(r'cache_folder\(\) / "([^"]+)"', text)}
    assert {"decoded", "locks", "logs", "sample-photograph", "virtual", "weights"} <= made
    for name in made:
        (cache / name).mkdir(exist_ok=True)
    rows = json.loads(cli(cache, "cache", "show", "--json"))["rows"]
    assert {row["name"] for row in rows} == made | {"newer"}
    assert [row["name"] for row in rows if row["holds"] == "unknown"] == ["newer"]


def test_clear_keeps_what_is_costly_unless_it_is_named(cache: Path) -> None:
    outside = cache.parent / "mine"
    outside.mkdir()
    (outside / "picture").write_text("mine")
    (cache / "decoded" / "link").symlink_to(outside)
    said = cli(cache, "cache", "clear")
    assert "removed decoded" in said and "kept: virtual, weights, newer" in said
    assert sorted(os.listdir(cache)) == ["newer", "virtual", "weights"]
    assert (outside / "picture").exists(), "a link is removed, not what it leads to"
    cli(cache, "cache", "clear", "virtual", "newer")
    assert os.listdir(cache) == ["weights"]


def test_clear_refuses_an_unknown_name_before_it_removes_anything(cache: Path) -> None:
    done = run_cli("cache", "clear", "virtual", "decodd", XDG_CACHE_HOME=str(cache.parent))
    assert "'decodd'" in one_line_error(done) and "decoded" in done.stderr
    assert (cache / "virtual").exists()
    for name in ("../mine", "/"):
        done = run_cli("cache", "clear", name, XDG_CACHE_HOME=str(cache.parent))
        one_line_error(done)


def test_an_empty_cache_is_no_error(tmp_path: Path) -> None:
    assert "is empty" in cli(tmp_path / "none" / "edgekit", "cache", "show")
    assert "the cache is empty" in cli(tmp_path / "none" / "edgekit", "cache", "clear")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a working folder with one measurement and an artifact."""
    save(a_measurement(), tmp_path / "measured")
    null_artifact(tmp_path / "artifact")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "table"), [("edgekit.toml", "report"), ("pyproject.toml", "tool.edgekit.report")]
)
def test_a_projects_file_sets_options_and_what_is_typed_counts_more(
    project: Path, file: str, table: str
) -> None:
    (project / file).write_text(
        f'[{table}]\nresults = "measured"\nhtml = "page.html"\nquiet = true\n'
        + (
            ""
            if file == "edgekit.toml"
            else '[tool.ruff]\nline-length = 100\n[project]\nname="x"\n'
        )
    )
    done = run_cli("report", cwd=project)
    assert done.returncode == 0, done.stderr
    assert (project / "page.html").is_file() and done.stderr == ""
    assert run_cli("report", "--html", "other.html", cwd=project).returncode == 0
    assert (project / "other.html").is_file()


@pytest.mark.parametrize(
    ("value", "typed", "suffixes"),
    [
        ('"csv"', (), {".csv"}),
        ('["csv", "json"]', (), {".csv", ".json"}),
        ('"csv"', ("--format", "json", "--format", "latex"), {".json", ".tex"}),
        ('"csv"', ("--format", "json,latex"), {".json", ".tex"}),
    ],
)
def test_an_option_of_several_words_is_repeated_or_has_commas(
    project: Path, value: str, typed: tuple[str, ...], suffixes: set[str]
) -> None:
    (project / "edgekit.toml").write_text(f'[report]\nresults = "measured"\nformat = {value}\n')
    done = run_cli("report", "-o", "tables", *typed, cwd=project)
    assert done.returncode == 0, done.stderr
    assert {path.suffix for path in (project / "tables").iterdir()} - {".md"} == suffixes


def test_what_a_file_set_is_in_the_records_command(project: Path) -> None:
    (project / "edgekit.toml").write_text(
        '[bench]\nrounds = 3\nresults = "out"\nmin-seconds = 0.05\nquiet = true\n'
    )
    done = run_cli("bench", "artifact", "--rounds", "4", cwd=project)
    assert done.returncode == 0, done.stderr
    (record,) = (json.loads(path.read_text()) for path in (project / "out").rglob("*.json"))
    assert record["command"].startswith("edgekit bench artifact --rounds 4")
    assert "--results out" in record["command"] and "--min-seconds 0.05" in record["command"]
    assert "--rounds 3" not in record["command"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[bench]\nroundz = 5\n", ("edgekit.toml, line 2", "roundz", "rounds")),
        ("[banch]\nrounds = 5\n", ("edgekit.toml, line 1", "banch", "bench")),
        ('[bench]\nrounds = "many"\n', ("edgekit.toml", "bench, rounds = 'many'")),
        ("[device.instal]\n", ("edgekit.toml, line 1", "instal", "install")),
        ("rounds = 5\n", ("edgekit.toml, line 1", "rounds")),
        ("[bench\n", ("edgekit.toml", "not valid TOML")),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_nearest(
    project: Path, text: str, words: tuple[str, ...]
) -> None:
    (project / "edgekit.toml").write_text(text)
    said = one_line_error(run_cli("report", "--results", "measured", cwd=project))
    assert all(word in said for word in words), said


def test_another_tools_file_is_not_read(project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\n')
    assert run_cli("report", "--results", "measured", cwd=project).returncode == 0
    (project / "pyproject.toml").write_text("[broken\n")
    assert run_cli("report", "--results", "measured", cwd=project).returncode == 0


def test_a_notebook_shows_measurements_as_a_table() -> None:
    hostile = a_measurement("<b>model</b>", 1.0)
    shown = edgekit.table([hostile, a_measurement("other", 2.0)])._repr_html_()
    assert shown.count("<tr>") == 3 and "onnx-fp32" in shown
    assert "<b>" not in shown and "&lt;b&gt;model" in shown
    with pytest.raises(UserError, match="no measurement"):
        edgekit.table([])


def test_a_run_leaves_one_log_with_its_command_steps_and_end(project: Path) -> None:
    logs = project / "cache" / "edgekit" / "logs"
    done = run_cli(
        "report", "--results", "measured", "--html", "page.html", "--quiet",
        cwd=project, XDG_CACHE_HOME=str(project / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (log,) = logs.iterdir()
    lines = log.read_text().splitlines()
    assert lines[0] == "edgekit report --results measured --html page.html --quiet"
    assert lines[-1].endswith("page: done") and any("drawing" in line for line in lines)
    run_cli("report", "--results", "none", cwd=project, XDG_CACHE_HOME=str(project / "cache"))
    assert list(logs.iterdir()) == [log], "a run that did nothing leaves none"


def test_a_log_says_how_its_run_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run_log.path.cache_clear()
    run_log.end("before anything")
    assert not (tmp_path / "edgekit").exists()
    run_log.note("step: begun")
    run_log.end("ended with exit code 2: a reason")
    text = run_log.path().read_text()
    run_log.path.cache_clear()
    assert text.rstrip().endswith("ended with exit code 2: a reason")


def test_old_logs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "edgekit" / "logs"
    folder.mkdir(parents=True)
    for place in range(run_log.KEPT + 5):
        (folder / f"run-20200101T0000{place:02}-1.log").touch()
    run_log.path.cache_clear()
    run_log.note("now")
    run_log.path.cache_clear()
    assert len(list(folder.iterdir())) == run_log.KEPT


def test_with_v_the_converters_words_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chatty_step.py").write_text(
        "import sys\n"
        "def run(request, report):\n"
        "    print('pass 1: folding')\n"
        "    print('pass 2: \\x1b[2Jfusing', file=sys.stderr)\n"
        "    return {}\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    for setting, shown in (("", False), ("1", True)):
        monkeypatch.setenv(run_log.VERBOSE, setting)
        log = tmp_path / f"step{setting}.log"
        with Children() as children:
            wanted = Wanted(module="chatty_step")
            assert run_step(wanted, lambda: {}, log, print, children) == {}
        words = capfd.readouterr().err
        assert ("chatty_step: pass 1: folding" in words) is shown
        assert ("pass 2" in words) is shown and "\x1b" not in words
        assert "pass 1: folding" in log.read_text()


def test_every_command_says_what_comes_next(project: Path) -> None:
    for arguments in (
        ["models"], ["doctor"], ["cache", "show"], ["device", "list"],
        ["report", "--results", "measured"], ["keys", "new", "release"],
        ["bench", "artifact", "--rounds", "3", "--min-seconds", "0.05", "-q"],
    ):  # fmt: skip
        done = run_cli(*arguments, cwd=project, XDG_CACHE_HOME=str(project / "cache"))
        assert done.returncode == 0, done.stderr
        last = done.stdout.rpartition("next: ")
        assert last[1] and len(last[2].strip().splitlines()) <= 2, done.stdout
    as_json = run_cli("models", "--json").stdout
    assert "next: " not in as_json


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "out"], "goes on with the rounds that are missing"),
        (["convert", "x"], "starts again"),
        (["device", "install", "rpi4"], "goes on with what is missing"),
        (["-v", "train", "x"], "goes on after the last whole epoch"),
        (["models"], "starts again"),
    ],
)
def test_ctrl_c_says_whether_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgekit", *arguments])
    assert words in command_line._stopped("interrupted")
