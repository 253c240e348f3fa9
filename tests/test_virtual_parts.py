"""The parts a virtual board is built from, without network: sources, locks, wheels, /proc, /sys."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from edgekit.devices.emulator import apt, crash
from edgekit.devices.emulator.profile import board_of, system_files, write_system_files
from edgekit.errors import BadTarget, DeviceError
from edgekit.runtimes import wheels
from edgekit.runtimes.locks import lock_path, read_lock
from edgekit.targets import load_target

TRIXIE = {
    "ID": "debian",
    "VERSION_CODENAME": "trixie",
    "PRETTY_NAME": "Debian GNU/Linux 13 (trixie)",
}
DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: trixie trixie-updates trixie-backports
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://mirror.example/off
Suites: trixie
Components: main
"""
ONE_LINE = """\
deb [arch=amd64 signed-by=/keys/d.gpg] http://mirror.example/debian stable main # ours
deb http://vendor.example/linux/debian trixie stable
deb-src http://mirror.example/debian trixie main
"""


def sources(folder: Path, release: dict[str, str], **files: str) -> str:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        (folder / "sources.list.d" / name.replace("_", ".")).write_text(text)
    return apt.debian_sources(folder, release, "bookworm")


def test_a_later_debian_gives_the_boards_release_from_its_own_mirror(tmp_path: Path) -> None:
    text = sources(tmp_path, TRIXIE, debian_sources=DEB822)
    assert "URIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n" in text
    assert "Suites: bookworm-security\n" in text
    assert "END PGP" in text, "an embedded key is kept whole"
    assert "trixie" not in text and "backports" not in text and "/off" not in text
    assert "contrib" not in text


def test_one_line_sources_keep_their_key_and_lose_their_architecture(tmp_path: Path) -> None:
    text = sources(tmp_path, TRIXIE, mine_list=ONE_LINE)
    assert text == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n"
        "Components: main\nSigned-By: /keys/d.gpg\n"
    )


def test_a_host_that_is_not_debian_is_told_what_would_do(tmp_path: Path) -> None:
    ubuntu = {"ID": "ubuntu", "VERSION_CODENAME": "noble", "PRETTY_NAME": "Ubuntu 24.04"}
    with pytest.raises(DeviceError, match=r"Ubuntu 24\.04 has no Debian .*ssh://") as raised:
        sources(tmp_path, ubuntu, ubuntu_sources=DEB822.replace("trixie", "noble"))
    assert "\n" not in str(raised.value)


def test_a_host_without_apt_is_told_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"no apt-get: .*Debian.*ssh://"):
        apt.Apt(tmp_path, "bookworm", "arm64").update()


@pytest.mark.parametrize("name", ["../../evil.py", "/etc/evil", "a/../../evil"])
def test_a_wheel_that_would_land_outside_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.whl", "w") as archive:
        archive.writestr("fine.py", "")
        archive.writestr(name, "x")
    with pytest.raises(DeviceError, match="refused"):
        wheels.unpack(tmp_path / "bad.whl", tmp_path / "site")
    assert not (tmp_path / "site").exists(), "nothing of a refused wheel is unpacked"


def test_a_wheel_with_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("lib.so")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.whl", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DeviceError, match=r"holds 'lib\.so': refused"):
        wheels.unpack(tmp_path / "bad.whl", tmp_path / "site")


def test_half_a_wheel_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "half.whl").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DeviceError, match=r"half\.whl is damaged"):
        wheels.unpack(tmp_path / "half.whl", tmp_path / "site")


def test_a_damaged_lock_names_its_file(tmp_path: Path) -> None:
    lock = json.loads(lock_path("bookworm").read_text())
    del lock["wheels"]
    (tmp_path / "bookworm.json").write_text(json.dumps(lock))
    with pytest.raises(BadTarget, match=r"bookworm\.json is damaged .*wheels"):
        read_lock(tmp_path / "bookworm.json")
    (tmp_path / "bookworm.json").write_text(lock_path("bookworm").read_text()[:-9])
    with pytest.raises(BadTarget, match=r"bookworm\.json is damaged"):
        read_lock(tmp_path / "bookworm.json")


def test_a_target_that_is_no_board_says_so() -> None:
    with pytest.raises(BadTarget, match=r"x86-avx2 has no \[emulation\]"):
        board_of(load_target("x86-avx2"))


def test_the_boards_kernel_tells_its_own_cpu_and_memory() -> None:
    files = system_files(board_of(load_target("rpi5")))
    cpuinfo = files["proc/cpuinfo"]
    assert cpuinfo.count("processor\t:") == 4
    assert "CPU part\t: 0xd0b\n" in cpuinfo and " asimddp" in cpuinfo
    midr = files["sys/devices/system/cpu/cpu3/regs/identification/midr_el1"]
    assert midr == "0x00000000414fd0b1\n"
    assert files["sys/devices/system/cpu/possible"] == "0-3\n"
    # What an emulator does not have must not shine through from the host either.
    for untold in ("cpufreq/scaling_cur_freq", "cpufreq/scaling_governor"):
        assert files[f"sys/devices/system/cpu/cpu0/{untold}"] == ""


def test_boards_that_share_files_do_not_write_into_each_other(tmp_path: Path) -> None:
    pi4, pi5 = (board_of(load_target(name)) for name in ("rpi4", "rpi5"))
    write_system_files(pi4, tmp_path / "four")
    (tmp_path / "five/proc").mkdir(parents=True)
    os.link(tmp_path / "four/proc/cpuinfo", tmp_path / "five/proc/cpuinfo")
    write_system_files(pi5, tmp_path / "five")
    assert "0xd08" in (tmp_path / "four/proc/cpuinfo").read_text()
    assert "0xd0b" in (tmp_path / "five/proc/cpuinfo").read_text()


@pytest.mark.parametrize(
    ("word", "name"),
    [
        (0x4E829420, "sdot"),
        (0x6E829420, "udot"),
        (0x4F82E020, "sdot"),
        (0x4E83A441, "smmla"),
        (0x6E42FC20, "bfdot"),
        (0x4E420C20, "half-precision"),
        (0xB8E00041, "atomic"),
        (0x88A07C41, "cas"),
        (0x04A00000, "SVE"),
        (0x4E284820, "AES"),
    ],
)
def test_an_instruction_is_named_by_its_encoding(word: int, name: str) -> None:
    assert name in crash.name_of(word)


@pytest.mark.parametrize("word", [0x4E21D420, 0x91000400, 0xF9400020, 0x4E228420, 0x0E617820])
def test_instructions_every_board_has_are_not_called_extensions(word: int) -> None:
    assert crash.name_of(word).startswith("not an instruction of a later extension")
