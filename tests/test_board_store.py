"""The versions on a board: killed at every single file operation, what serves is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import null_bundle
from null_artifacts import APP

import edgekit.onboard.receiver
from edgekit.deployment.bundle import Bundle
from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.__main__ import Talk
from edgekit.onboard.receiver.archive import damage, unpack
from edgekit.onboard.receiver.durable import flush_tree
from edgekit.onboard.receiver.run_script import write_run
from edgekit.onboard.receiver.store import App


def put(app: App, bundle: Bundle) -> None:
    app.sweep()
    unpack(bundle.path, app.aside)
    write_run(app.aside, sys.executable)
    flush_tree(app.aside)
    app.adopt(bundle.sha256)
    app.switch(bundle.sha256)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("versions")
    return [null_bundle(folder / word, pictures, word) for word in ("one", "two", "three", "four")]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = App(APP)
    made.folder.mkdir(parents=True)
    return made


def test_killed_at_every_file_operation(
    app: App, versions: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a kill leaves does not depend on when the disk has it.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    old, new = versions[:2]
    put(app, old)
    points = 0
    while True:
        pid = os.fork()
        if pid == 0:
            _die_at(app, new, points)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        active = app.active()
        assert active in {old.sha256, new.sha256}, points
        assert damage(app.path(active)) is None, points
        assert app.history()[-1] == active
        if code == 0:
            break
        assert code == 9
        put(app, new)  # the next run completes
        assert (app.active(), damage(app.path(new.sha256))) == (new.sha256, None), points
        put(app, old)
        app.prune(1)
        points += 1
    print(f"{points} points of death")
    assert points > 40
    assert {path.name for path in app.versions.iterdir()} == {new.sha256}


def _die_at(app: App, bundle: Bundle, operation: int) -> None:
    watched = {"open", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.chmod"}
    left = operation

    def count(event: str, arguments: object) -> None:
        nonlocal left
        if event in watched:
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(count)
    try:
        put(app, bundle)
        app.prune(1)
    finally:
        os._exit(0 if sys.exc_info()[0] is None else 1)


def test_the_last_versions_are_kept_and_one_goes_back_through_them(
    app: App, versions: list[Bundle]
) -> None:
    names = [bundle.sha256 for bundle in versions]
    for bundle in versions:
        put(app, bundle)
        app.prune(3)
    assert {path.name for path in app.versions.iterdir()} == set(names[1:])
    assert [app.roll_back(), app.roll_back()] == [names[2], names[1]]
    with pytest.raises(Refused, match="no earlier version"):
        app.roll_back()
    assert app.active() == names[1]
    put(app, versions[3])
    assert app.roll_back() == names[1], "what served before, not what was rolled back from"


def test_one_does_not_go_back_to_a_damaged_version(app: App, versions: list[Bundle]) -> None:
    put(app, versions[0])
    put(app, versions[1])
    (app.path(versions[0].sha256) / "model.null").write_text("changed")
    with pytest.raises(Refused, match="damaged"):
        app.roll_back()
    assert app.active() == versions[1].sha256


def test_a_version_that_serves_is_not_touched_by_its_own_redeploy(
    app: App, versions: list[Bundle]
) -> None:
    put(app, versions[0])
    inode = app.path(versions[0].sha256).stat().st_ino
    put(app, versions[0])
    assert app.path(versions[0].sha256).stat().st_ino == inode
    (app.path(versions[0].sha256) / "model.null").unlink()
    put(app, versions[0])
    assert damage(app.path(versions[0].sha256)) is None


@pytest.mark.parametrize("text", ["", "{", "[1, null]", '["../../x"]', '{"a": 1}', "7"])
def test_a_history_that_is_nonsense_hides_nothing(
    app: App, versions: list[Bundle], text: str
) -> None:
    put(app, versions[0])
    (app.folder / "history.json").write_text(text)
    assert app.history() == [versions[0].sha256]
    put(app, versions[1])
    assert app.history() == [versions[0].sha256, versions[1].sha256]


def test_the_lock_holds_another_process_off(app: App) -> None:
    code = (
        "import sys; from edgekit.onboard.receiver.store import App\n"
        f"with App({APP!r}).locked(0): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(Refused, match="another deploy"), app.locked(0):
        raise AssertionError("never entered")
    holder.kill()
    holder.communicate()
    with app.locked(5):
        pass


@pytest.mark.parametrize("name", ["", "..", ".", "../x", "a/b", "/a", "A", "a b", "a\n", 7, None])
def test_an_application_is_a_plain_word(app: App, name: object) -> None:
    with pytest.raises(Refused):
        App(name)  # type: ignore[arg-type]


def test_the_board_code_is_python_3_9_and_needs_nothing_of_edgekit(tmp_path: Path) -> None:
    import ast

    folder = Path(edgekit.onboard.receiver.__file__).parent
    for path in folder.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))
    from edgekit.deployment.deploy import receiver

    program = tmp_path / "receiver.pyz"
    program.write_bytes(receiver())
    assert receiver() == program.read_bytes()
    lines = ['{"do": "status"}', "", '{"do": "switch"}', '{"do": "open", "app": "../x", "wait": 0}']
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(program)],
        input="\n".join([*lines, ""]), capture_output=True, text=True, env={"HOME": str(tmp_path)},
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[0] == {"ok": {"apps": []}}, done.stderr
    assert "cannot be asked for now" in answers[1]["refused"]
    assert "no name for an application" in answers[2]["refused"]
    assert not (tmp_path / ".edgekit").exists()


@pytest.mark.parametrize("change", ["emptied", "one line more", "another Python", "a link", "gone"])
def test_a_changed_run_script_is_damage(app: App, versions: list[Bundle], change: str) -> None:
    put(app, versions[0])
    put(app, versions[1])
    for bundle in versions[:2]:
        assert app.fault(bundle.sha256) is None
    run = app.path(versions[0].sha256) / "run"
    text = run.read_text()
    run.unlink()
    if change == "a link":
        run.symlink_to("/bin/true")
    elif change != "gone":
        other = {"emptied": "", "one line more": f"{text}id\n", "another Python": text}[change]
        run.write_text(other.replace(sys.executable, "/nowhere/python3"))
    assert "run " in str(app.fault(versions[0].sha256))
    with pytest.raises(Refused, match="damaged"):
        app.roll_back()
    put(app, versions[0])
    assert app.fault(versions[0].sha256) is None, "a deploy mends it"


def test_a_stray_or_broken_folder_hides_no_application(
    app: App, versions: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(app, versions[0])
    (app.folder.parent / "lost+found").mkdir()
    (app.folder.parent / "notes.txt").write_text("mine")
    broken = App("broken")
    broken.folder.mkdir()
    (broken.folder / "current").symlink_to(broken.folder / "current")
    rows = {row["app"]: row for row in Talk().status()["apps"]}
    assert set(rows) == {APP, "lost+found", "notes.txt", "broken"}
    assert rows[APP]["active"] == versions[0].sha256 and rows[APP]["damage"] is None
    assert "no application" in rows["lost+found"]["damage"]


def test_a_release_does_not_sink_by_itself(app: App) -> None:
    assert app.release() == 0
    for number in (3, None, 2):
        app.raise_release(number)
        assert app.release() == 3
    for text in ("", "[[[[", '"3"', "9" * 5000, "null"):
        (app.folder / "release.json").write_text(text)
        with pytest.raises(Refused, match="damaged"):
            app.release()
