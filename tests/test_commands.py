"""Every command there is, walked: its example, its JSON, its silence, its colours, its Tab."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import typer.main
from command_line import Cli, commands_of, on_a_terminal

from edgekit import cli as command_line

EDGEKIT = Path(sys.executable).with_name("edgekit")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;\d]*m")


COMMANDS = dict(commands_of(typer.main.get_command(command_line.app)))


@pytest.fixture(params=COMMANDS)
def named(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, COMMANDS[request.param]


def calls(command: Any) -> set[str]:
    """The names of the functions that a command's own code calls."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(command.callback)))
    return {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}


def test_the_walk_finds_the_commands_of_the_groups_too() -> None:
    assert {"convert", "bench", "device install", "device list"} <= set(COMMANDS)


def test_help_has_an_example_that_the_command_would_take(named: tuple[str, Any]) -> None:
    name, command = named
    lines = [line.strip() for line in (command.help or "").splitlines()]
    examples = [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]
    assert examples, f"{name} has no line 'Example: edgekit {name} …'"
    for example in examples:
        words = shlex.split(example)
        assert words[: 1 + len(name.split())] == ["edgekit", *name.split()]
        command.make_context(name, words[1 + len(name.split()) :])  # raises for what is unknown


def test_help_has_no_line_ends_of_the_source(named: tuple[str, Any]) -> None:
    """A terminal breaks lines at its own width: others in between leave half-empty lines."""
    assert all("\n" not in text for text in (named[1].help or "").split("\n\n"))


def test_every_option_and_argument_is_explained(named: tuple[str, Any]) -> None:
    for parameter in named[1].params:
        assert getattr(parameter, "help", "") or parameter.name == "help", parameter.name


def test_what_prints_a_table_takes_json_and_what_shows_progress_takes_quiet(
    named: tuple[str, Any],
) -> None:
    name, command = named
    options = {option for parameter in command.params for option in parameter.opts}
    if calls(command) & {"show", "emulated"}:
        assert "--json" in options, name
    if calls(command) & {"progress", "_progress"}:
        assert {"--quiet", "-q"} <= options, name


def test_the_exit_codes_are_in_the_help(cli: Cli) -> None:
    words = " ".join(cli("--help", COLUMNS="200").stdout.split())
    assert command_line.EXIT_CODES in words
    assert str(command_line.INTERRUPTED) in command_line.EXIT_CODES


@pytest.mark.parametrize("arguments", [("--help",), ("bench", "--help"), ("doctor",)])
def test_colour_is_for_terminals_alone_and_no_color_is_heeded(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    assert "\x1b" in on_a_terminal(*arguments)
    assert not COLOUR.search(on_a_terminal(*arguments, NO_COLOR="1"))
    assert "\x1b" not in cli(*arguments).stdout


def test_quiet_and_json_leave_standard_error_empty(cli: Cli, pictures: Path) -> None:
    done = cli("models", "--json")
    assert not done.stderr and json.loads(done.stdout)["rows"]
    done = cli("doctor", "--json")
    assert not done.stderr and json.loads(done.stdout)["rows"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("edgekit be", "bench"),
        (
            "edgekit bench out --target rpi",
            "rpi-zero2w rpi-zero2w-trixie rpi3 rpi3-trixie rpi4 rpi4-trixie rpi5 rpi5-trixie",
        ),
        ("edgekit evaluate out --target x86-d", "x86-desktop"),
        ("edgekit device install rpi4", "rpi4 rpi4-trixie"),
        ("edgekit convert multi", "multitask-cnn"),
    ],
)
def test_tab_completes_commands_targets_and_the_zoo(typed: str, offered: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(
        [EDGEKIT],
        capture_output=True,
        text=True,
        env=os.environ | words | {"_EDGEKIT_COMPLETE": "complete_bash"},
    )
    assert sorted(done.stdout.split()) == offered.split()


def test_the_shell_shows_its_completion_script() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{EDGEKIT} --show-completion; true"], capture_output=True, text=True
    )
    assert "_EDGEKIT_COMPLETE=complete_bash" in done.stdout
