"""Target profiles: sourced, strict, and never contradicted by the device that is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from raspberry_pi4 import PROBE

from edgekit.errors import BadTarget
from edgekit.onboard import runner
from edgekit.paths import shelf
from edgekit.targets import (
    DeviceFacts,
    Fact,
    check_device,
    how_to_reach,
    load_target,
    matches,
    target_names,
    with_system,
)


def facts_of(event: dict[str, Any]) -> DeviceFacts:
    return msgspec.convert(event, DeviceFacts)


PIS = ("rpi-zero2w", "rpi3", "rpi4", "rpi5")
BOARDS = (*PIS, *(f"{name}-trixie" for name in PIS), "rock-5b")
OTHERS = ("jetson-agx-orin", "rock-3a")
SHIPPED = ("host", *BOARDS, *OTHERS, "x86-avx2", "x86-avx512-vnni", "x86-desktop")


def facts(value: Any, where: str = "") -> Iterator[tuple[str, Fact[Any]]]:
    """Yield every fact of a target, by its dotted name."""
    for item in dataclasses.fields(value):
        inner = getattr(value, item.name)
        if isinstance(inner, Fact):
            yield f"{where}{item.name}", inner
        elif dataclasses.is_dataclass(inner):
            yield from facts(inner, f"{where}{item.name}.")


def profile(folder: Path, old: str, new: str) -> str:
    """Write a copy of the Pi 4's profile with one text exchanged and return its path."""
    text = (shelf("targets") / "rpi4.toml").read_text()
    assert text.count(old) == 1
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_the_shipped_targets_are_these() -> None:
    assert target_names() == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_fact_has_a_source(name: str) -> None:
    for where, fact in facts(load_target(name)):
        assert fact.source.strip(), where
        assert not (fact.verified and "general knowledge" in fact.source), where


@pytest.mark.parametrize(
    ("name", "unverified"),
    [
        ("rpi-zero2w", {"l1d_kilobytes", "l2_kilobytes", "fp32_macs_per_cycle", "dot_product"}),
        ("rpi3", {"l1d_kilobytes", "l2_kilobytes", "fp32_macs_per_cycle", "dot_product"}),
        ("rpi4", set()),
        ("rock-5b", set()),
        ("rock-3a", set()),
        ("jetson-agx-orin", set()),
        (
            "rpi5",
            {"l2_kilobytes", "l3_kilobytes", "fp32_macs_per_cycle", "int8_macs_per_cycle"},
        ),
    ],
)
def test_what_nobody_could_source_stays_marked(name: str, unverified: set[str]) -> None:
    marked = {where for where, fact in facts(load_target(name).hardware) if not fact.verified}
    assert marked - {"fp16_arithmetic"} == unverified


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_can_be_emulated_and_has_a_lock(name: str) -> None:
    from edgekit.devices.emulator.profile import board_of
    from edgekit.devices.emulator.sysroot import lock_of

    target = load_target(name)
    board = board_of(target)
    lock = lock_of(board)
    assert (board.debian, board.python, board.glibc) == (lock.debian, lock.python, lock.glibc)
    assert set(target.requires.features) <= set(board.features)
    assert not set(target.requires.absent) & set(board.features)
    assert board.title.startswith(target.requires.board)


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(BadTarget, match="unknown target 'rpi44': did you mean rpi4"):
        load_target("rpi44")


def test_a_boards_other_system_is_asked_for_behind_its_name() -> None:
    plain, other = load_target("rpi4"), load_target("rpi4-trixie")
    assert load_target("rpi4-bookworm") == plain, "the default system may be named"
    assert (other.name, other.title) == ("rpi4-trixie", plain.title)
    assert other.hardware == plain.hardware and other.emulation == plain.emulation
    pythons = [t.software.python and t.software.python.value for t in (plain, other)]
    assert pythons == ["3.11", "3.13"]
    assert with_system("rpi4", "trixie") == "rpi4-trixie" and with_system("rpi4", None) == "rpi4"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rpi4-buster", "unknown target 'rpi4-buster': did you mean rpi"),
        ("x86-avx2-trixie", "x86-avx2 has no system of ours, not trixie"),
    ],
)
def test_a_system_that_a_board_has_not_is_one_line(name: str, said: str) -> None:
    with pytest.raises(BadTarget, match=f"^{said}[^\n]*\\Z"):
        load_target(name)


def test_a_users_own_file_names_its_system_itself(tmp_path: Path) -> None:
    path = profile(tmp_path, '"bookworm", "trixie"', '"trixie"')
    target = load_target(path)
    assert target.name == "mine" and target.software == load_target("rpi4-trixie").software
    own = '[software.python]\nvalue = "3.12"\nsource = "mine"\n[emulation]'
    python = load_target(profile(tmp_path, "[emulation]", own)).software.python
    assert python is not None and python.value == "3.12", "what the file says comes first"
    with pytest.raises(BadTarget, match=r'write systems = \["trixie"\] into .*mine\.toml'):
        with_system(path, "trixie")


def test_a_name_with_a_system_holds_for_that_system_only() -> None:
    trixie = PROBE | {"os": "Debian GNU/Linux 13 (trixie)"}
    assert matches(load_target("rpi4-trixie"), facts_of(trixie)) == []
    assert matches(load_target("rpi4"), facts_of(trixie)) == [], "the board, whatever it runs"
    assert matches(load_target("rpi4-trixie"), facts_of(PROBE)) == [
        "system: 'Debian GNU/Linux 12 (bookworm)', rpi4-trixie is trixie"
    ]


def test_a_users_own_file_is_a_target(tmp_path: Path) -> None:
    target = load_target(profile(tmp_path, "value = 1500", "value = 1800"))
    assert (target.name, target.hardware.clock_mhz and target.hardware.clock_mhz.value) == (
        "mine",
        1800,
    )


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('architecture = "aarch64"', 'architecture = "arm"', "architecture"),
        ('architecture = "aarch64"', "", "architecture"),
        ('title = "Rasp', 'titel = "Rasp', "titel"),
        ("value = 1500", 'value = "1500"', "hardware.clock_mhz.value"),
        ("value = 1500", "value = -1500", "hardware.clock_mhz.value"),
        ("value = 1500", "value = 1500\nverfied = false", "hardware.clock_mhz.verfied"),
        ('"bookworm", "trixie"', '"bookwurm", "trixie"', "bookwurm"),
        (
            "[emulation]",
            '[software.os]\nvalue = "x"\nsource = ""\n[emulation]',
            "software.os.source",
        ),
        ("[hardware.soc]", "[hardware.sock]", "hardware.sock"),
        ("[hardware.soc]", '[hardware."so\\nc"]', "hardware.so c"),
        ('midr = "0x410fd083"', 'midr = "0x410fd034"', "midr"),
        ("value = 1500", "value =", "line"),
    ],
)
def test_a_malformed_profile_is_one_line(tmp_path: Path, old: str, new: str, field: str) -> None:
    path = profile(tmp_path, old, new)
    with pytest.raises(BadTarget) as caught:
        load_target(path)
    message = str(caught.value)
    assert path in message and field in message and "\n" not in message


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "folder", "binary"):
        with pytest.raises(BadTarget, match=rf"^\S*{name}\.toml.*\Z"):
            load_target(str(tmp_path / f"{name}.toml"))


def test_a_real_boards_report_agrees_with_its_own_target_only() -> None:
    agreeing = [name for name in SHIPPED if not matches(load_target(name), facts_of(PROBE))]
    assert agreeing == ["host", "rpi4"]


@pytest.mark.parametrize(
    ("name", "change", "sides"),
    [
        ("rpi4-trixie", {}, ("bookworm", "trixie")),
        ("rpi4", {"machine": "x86_64"}, ("x86_64", "aarch64")),
        ("rpi4", {"board": "Raspberry Pi 400 Rev 1.0"}, ("Pi 400", "Pi 4 Model B")),
        ("rpi4", {"cores": 2}, ("2", "4")),
        ("rpi4", {"cpu_features": ["asimd"]}, ("without crc32", "rpi4 has")),
        ("rpi4", {"cpu_features": ["asimd", "crc32", "asimddp"]}, ("asimddp", "rpi4 is without")),
        ("rpi5", {"board": "Raspberry Pi 5 Model B Rev 1.0"}, ("without asimddp", "rpi5 has")),
    ],
)
def test_a_contradiction_shows_both_sides(
    name: str, change: dict[str, Any], sides: tuple[str, str]
) -> None:
    [reason] = matches(load_target(name), facts_of(PROBE | change))
    assert all(side in reason for side in sides), reason


def test_this_machine_is_the_host_and_no_pi() -> None:
    assert matches(load_target("host"), facts_of(runner.probe())) == []
    with pytest.raises(BadTarget) as caught:
        check_device(load_target("rpi-zero2w"), facts_of(runner.probe()), "local")
    message = str(caught.value)
    assert "Nothing was measured" in message and "--device virtual" in message
    assert "\n" not in message


def test_how_to_reach_a_target() -> None:
    for name in BOARDS:
        words = how_to_reach(load_target(name))
        assert "--device virtual (emulated: outputs and instruction counts, no latency)" in words
        assert "--device ssh://pi@HOST (measured)" in words
    for name in (*OTHERS, "x86-desktop", "x86-avx2", "x86-avx512-vnni"):
        words = how_to_reach(load_target(name))
        assert "virtual" not in words and "ssh://" in words
    assert "local" in how_to_reach(load_target("host"))
