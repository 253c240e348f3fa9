"""What a mistake is answered with: the true reason, the remedy, and no word lost to markup."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import bad_artifacts
import pytest
import typer.main
from command_line import Cli, commands_of, one_line_error
from pictures import draw_pictures
from rich.text import Text
from typer.testing import CliRunner

from edgekit import cli as command_line
from edgekit.artifact import write_manifest
from edgekit.conversion.sources import SourceRequest, load_module, source_kind
from edgekit.errors import BadModel
from edgekit.spec import OutputSpec

COMMANDS = dict(commands_of(typer.main.get_command(command_line.app)))
ROOT = Path(command_line.__file__).parent


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w\[\]<>./:~…]+", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loses_no_word_to_markup(name: str) -> None:
    """As it is written in the source against as it is printed."""
    wide = {"COLUMNS": "400", "TERMINAL_WIDTH": "400"}
    shown = CliRunner().invoke(command_line.app, [*name.split(), "--help"], env=wide).stdout
    printed = " ".join(words_of(shown))
    command: Any = COMMANDS[name]
    for parameter in command.params:
        for word in words_of((getattr(parameter, "help", "") or "").replace("\\[", "[")):
            assert word in printed, f"{name} {parameter.name}: {word!r} is lost"
    for line in (command.help or "").splitlines():
        assert " ".join(words_of(line)) in printed, line


def test_a_bracket_in_a_help_text_is_written_so_that_it_is_shown() -> None:
    for path in ROOT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "help":
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        plain = part.value.replace("\\[", "[")
                        assert Text.from_markup(part.value).plain == plain, f"{path.name}: {plain}"


def test_an_error_loses_no_word_to_markup(cli: Cli, tmp_path: Path) -> None:
    odd = "[red]nothing[/red]"
    assert odd in one_line_error(cli("convert", odd, "-o", tmp_path / "out"))
    usage = cli("convert", "multitask-cnn", "-o", tmp_path / "out", "--[bold]x")
    assert usage.returncode == 2 and "[bold]x" in usage.stderr


def test_weights_without_a_network_are_told_how_to_name_it(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "own.pth"
    torch.save({"weight": torch.zeros(2)}, path)
    request = SourceRequest(locator=str(path), spec="spec.toml")
    with pytest.raises(BadModel, match=r"no network.*--arch mymodel:make_model") as raised:
        load_module(request, source_kind(request))
    assert "truncated" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [("def make():\n    return {}['weights']\n", r"broken_\w+:make raised KeyError: 'weights'"),
     ("def make():\n    raise SystemExit(5)\n", r"broken_\w+:make raised SystemExit: 5.*line 2"),
     ("def make():\n    import cv2_not_there\n", "pip install cv2_not_there"),
     ("import os\nos.nothing\n", r"module broken_\w+ raised AttributeError: .*nothing.*line 2"),
     ("\ndef make(:\n", r"module broken_\w+ raised SyntaxError: .*line 2"),
     ("def make():\n    return 1, 2, 3\n", "gave a tuple, not a torch.nn.Module")],
)  # fmt: skip
def test_a_factory_that_fails_is_named_with_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    name = f"broken_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadModel, match=said):
        load_module(SourceRequest(locator=f"{name}:make"), "factory")


def test_a_missing_import_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_another.py").write_text("import cv2_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    other = SourceRequest(locator="needs_another:make")
    with pytest.raises(BadModel, match="pip install cv2_that_is_not_there") as raised:
        load_module(other, "factory")
    assert "folder" not in str(raised.value)
    own = SourceRequest(locator="not_here_at_all:make")
    with pytest.raises(BadModel, match=r"in the folder that holds not_here_at_all\.py"):
        load_module(own, "factory")


def test_a_network_of_ones_own_is_not_taken_for_a_misspelt_zoo_name() -> None:
    with pytest.raises(BadModel, match="mymodel:make_model --spec") as raised:
        source_kind(SourceRequest(locator="resnet18"))
    assert "did you mean" not in str(raised.value)
    with pytest.raises(BadModel, match="did you mean caffenet"):
        source_kind(SourceRequest(locator="cafenet"))


def test_whatever_a_command_prints_is_shown_and_never_executed() -> None:
    """Labels, boards and file names reach a terminal by `show`, `tell` and the error line alone."""
    for path in ROOT.glob("*.py"):
        if path.name in {"output.py", "__init__.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "typer.echo"}:
                assert "json" in ast.unparse(node), f"{path.name}, line {node.lineno}: use tell"


def test_an_escape_in_a_label_or_a_name_is_written_out(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    made = bad_artifacts.onnx_fp32(tmp_path / "art")
    outputs = (OutputSpec("animal", "classification", ("\x1b[2J", "\x9b31m", "\x07[red]")),)
    write_manifest(made.folder, replace(made.manifest, model="\x1b]0;t\x07", outputs=outputs))
    (picture,) = draw_pictures(tmp_path / "p", 1).iterdir()
    odd = picture.rename(picture.with_name(f"\x1b[31m{picture.name}"))
    broken = tmp_path / "p" / "\x1b[32m.jpg"
    broken.touch()
    drawn = ("--save", tmp_path / "\x1b[33m", "--csv", tmp_path / "\x1b[34m.csv")
    done = cli("predict", odd, broken, "-a", made.folder, *drawn)
    assert done.returncode == 2 and r"\x1b[31m" in done.stdout and r"\x1b[32m" in done.stdout
    also = cli("bundle", made.folder, "-o", tmp_path / "\x1b[35m.ekb")
    lost = cli("bench", tmp_path / "\x1b[36m")
    key = cli("keys", "new", tmp_path / "\x1b[37m")
    assert also.returncode == 0 and lost.returncode == 2 and key.returncode == 0
    for text in (done, also, lost, key):
        assert not set("\x1b\x9b\x07") & set(text.stdout + text.stderr)
