"""The documents: every block is run, every message exists, every link leads somewhere.

The pages share no state. Each is read from top to bottom in a folder of its own that holds what
its reader has: `faces/` with its labels.csv, `face.jpg` and, from an earlier page, `out/mtc`.
The conversion of the zoo's model is the suite's own recorded one; benchmarks of real machines are
cut short. A board over SSH is a real server on this machine, measured as what it is. A block that
cannot run here is marked in the page, with the reason, and counted below.
"""

from __future__ import annotations

import ast
import atexit
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nursery
import pytest
from records import a_measurement, an_emulation
from sshd import Board, accept, new_board

from edgekit.cli import EXIT_CODES
from edgekit.emulation import emulate
from edgekit.measurement.summary import summary_row
from edgekit.report import measured_rows
from edgekit.spec import ADIENCE_AGE_LABELS, GENDER_LABELS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "README.md": 1,
    "application.md": 1,
    "detect.md": 1,
    "faces.md": 1,
    "keypoints.md": 1,
    "one-board.md": 1,
    "sound-and-sensors.md": 1,
}
"""How many blocks of each page are marked as not run; each mark gives its reason."""

RECORDED = "edgekit convert multitask-cnn --calibration faces/ -o out/mtc"
REAL = re.compile(r"^edgekit bench .*(--target host|--device ssh:|--inventory)")
BOARD = re.compile(r"ssh://pi@([\w-]+)\.local")
SHORTER = " --min-seconds 0.05 --percentile p50"
SUSTAINED = re.compile(r"--sustained \d+")
FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL
)
FILE = re.compile(r"# ([\w./-]+\.\w+)(?:$|:)")


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    why_not: str

    @property
    def file(self) -> str:
        """The file whose content the block is: its first line says so."""
        first = FILE.match(self.text.split("\n")[0])
        return first[1] if first and self.kind != "console" else ""


def blocks(page: Path) -> list[Block]:
    found = FENCE.finditer(page.read_text())
    return [Block(m["kind"], m["text"], m["why"] or "") for m in found]


@pytest.fixture
def desk(tmp_path: Path, converted: Path, faces: Path) -> Path:
    """What a reader has at hand."""
    faces = shutil.copytree(faces, tmp_path / "faces")
    names = sorted(path.name for path in faces.iterdir())
    shutil.copy(faces / names[1], tmp_path / "face.jpg")
    rows = [
        f"{name},{ADIENCE_AGE_LABELS[i % 8]},{GENDER_LABELS[i % 2]},test"
        for i, name in enumerate(names)
    ]
    (faces / "labels.csv").write_text("\n".join(["file,age,gender,split", *rows]) + "\n")
    for backend in ("onnx", "tflite", "openvino"):  # what `edgekit convert` makes when not told
        for made in converted.glob(f"{backend}-*"):
            shutil.copytree(made, tmp_path / "out" / "mtc" / made.name)
    return tmp_path


@pytest.fixture
def boards(ssh_home: Path, tmp_path: Path) -> Iterator[Callable[[list[str]], dict[str, str]]]:
    """Starts boards by their names, with our Python on them; gives each one's address."""
    running: list[Board] = []

    def start(names: list[str]) -> dict[str, str]:
        public_key = (ssh_home / ".ssh" / "id_ed25519.pub").read_text()
        running.extend(new_board(tmp_path / "boards" / name, public_key) for name in names)
        accept(ssh_home, running)
        for board in running:
            board.has_our_python()
            board.start()
        return {name: board.address for name, board in zip(names, running, strict=True)}

    yield start
    for board in running:
        board.stop()


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the output quoted under it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.rstrip("\n").split("\n")
        end = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
        yield "\n".join(lines[: end + 1]), lines[end + 1 :]


@cache
def programs() -> str:
    """A folder with the `edgekit` command, whose conversions import nothing again (nursery.py)."""
    folder = Path(tempfile.mkdtemp(prefix="programs-"))
    atexit.register(shutil.rmtree, folder)
    command = folder / "edgekit"
    python, warm = shlex.quote(sys.executable), shlex.quote(nursery.__file__)
    command.write_text(
        f'#!/bin/sh\n[ "$1" = convert ] && exec {python} {warm} "$@"\n'
        f'exec {python} -m edgekit "$@"\n'
    )
    command.chmod(0o755)
    return str(folder)


def run(command: str | list[str], desk: Path) -> str:
    path = f"{programs()}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=desk,
        env=os.environ | {"PATH": path},
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def run_console(text: str, desk: Path) -> None:
    for command, quoted in commands(text):
        if command.startswith(RECORDED):
            continue
        short = SUSTAINED.sub("--sustained 0.05", command) + SHORTER
        printed = run(short if REAL.match(command) else command, desk)
        for line in quoted:
            wanted = ".*".join(re.escape(part) for part in line.strip().split("…"))
            assert re.search(wanted, printed), f"{command}\n{line}\nis not in\n{printed}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page: Path, desk: Path, request: pytest.FixtureRequest) -> None:
    names = sorted(set(BOARD.findall(page.read_text())))
    boards = request.getfixturevalue("boards")(names) if names else {}
    for block in blocks(page):
        text = BOARD.sub(lambda match: boards[match[1]], block.text)
        if text != block.text:
            text = text.replace("--target rpi4", "--target host")
        if block.why_not:
            continue
        if block.file:
            place = desk / block.file
            if not place.exists():
                place.write_text(text)
        elif block.kind == "console":
            run_console(text, desk)
        elif block.kind == "python":
            run([sys.executable, "-c", text], desk)
        else:
            raise AssertionError(f"{page.name}: a {block.kind} block names no file: {block.text}")


def test_what_is_not_run_is_counted() -> None:
    marked = {page.name: sum(bool(b.why_not) for b in blocks(page)) for page in PAGES}
    assert {name: count for name, count in marked.items() if count} == NOT_RUN


def test_every_block_is_seen() -> None:
    for page in PAGES:
        assert page.read_text().count("```") == 2 * len(blocks(page)), page.name


# The reference, the messages, the columns, the links


def test_the_reference_is_up_to_date() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "write_reference.py"))["pages"]()
    for name, text in written.items():
        page = ROOT / "docs" / "reference" / name
        assert page.read_text() == text, f"{name} is old: run python docs/write_reference.py"


def texts_in_the_code() -> set[str]:
    """Every string of the package, `…` where a value goes in."""
    found = set()
    for path in (ROOT / "edgekit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_message_of_the_troubleshooting_page_is_one_of_ours() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    assert len(quoted) > 20
    ours = texts_in_the_code()
    unknown = [words for words in quoted if not any(words in text for text in ours)]
    assert not unknown, f"no message reads so: {unknown}"


def test_every_column_a_terminal_shows_is_explained() -> None:
    page = (ROOT / "docs" / "read-the-numbers.md").read_text()
    (row,) = measured_rows.short_rows([a_measurement()])
    shown = {*row, *summary_row(a_measurement()), *emulate.row(an_emulation())}
    unexplained = {name for name in shown if f"`{name}`" not in page}
    assert not unexplained


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        anchors = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE) if heading else []
        slugs = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in anchors}
        assert not heading or heading in slugs, link


def test_the_readme_says_what_every_exit_code_means() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    for code in re.findall(r"\b(\d+) ", EXIT_CODES):
        assert re.search(rf"Exit codes:[^.]*\b{code}\b", text), code


def test_the_site_has_every_page_and_no_other() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", text, re.MULTILINE)
    docs = ROOT / "docs"
    pages = [path.relative_to(docs).as_posix() for path in docs.rglob("*.md")]
    assert sorted(named) == sorted(pages), "mkdocs.yml names other pages than docs/ holds"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_no_link_of_the_site_is_dead(page: Path) -> None:
    """A site has what lies in docs/ and nothing else of the repository."""
    docs = (ROOT / "docs").resolve()
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file() and target.is_relative_to(docs), link
        assert target.suffix != ".py" or target.parent.name == "examples", link
        anchors = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE) if heading else []
        slugs = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in anchors}
        assert not heading or heading in slugs, link


def test_the_dockerfile_copies_what_is_there() -> None:
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {"edgekit", "targets", "benchmarks", "calibration"} & set(ignored)
