"""What `make test` does for Debian's packages, on machines that lack some: with stand-ins."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "system_packages.sh"
NEEDED = (
    "cc", "g++", "unshare", "mount", "pgrep", "ssh-keygen", "sshd", "chromium", "chromedriver",
)  # fmt: skip
ROOT = "echo 0"
USER = "echo 1000"
SAY = 'echo "$0 $*" >>said'


class Machine:
    """A PATH of stand-ins; `apt-get` and `sudo` write down how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in NEEDED:
            self.has(name, "exit 0")
        for name in ("sh", "env", "true"):
            self.has(name, "", link=shutil.which(name) or "")
        self.has("python3", "", link=sys.executable)
        self.has("apt-get", SAY.replace("$0", "apt-get"))

    def has(self, name: str, does: str, link: str = "") -> None:
        path = self.folder / name
        if link:
            path.symlink_to(link)
        else:
            path.write_text(f"#!/bin/sh\n{does}\n")
            path.chmod(0o755)

    def lacks(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    def run(self) -> subprocess.CompletedProcess[str]:
        # The script looks in /usr/sbin and /sbin as well, where this machine has an sshd.
        text = SCRIPT.read_text().replace("PATH=$PATH:/usr/sbin:/sbin", "")
        assert text != SCRIPT.read_text()
        return subprocess.run(
            ["/bin/sh", "-c", text],
            env={"PATH": str(self.folder)},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )

    @property
    def said(self) -> list[str]:
        file = self.folder / "said"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_apt_is_not_run_where_nothing_is_missing(machine: Machine) -> None:
    machine.has("id", "exit 1")
    done = machine.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.said == []


def test_root_fetches_the_lists_and_then_what_is_missing(machine: Machine) -> None:
    machine.has("id", ROOT)
    machine.lacks("chromium", "sshd", "cc")
    assert machine.run().returncode == 0
    update, install = machine.said
    assert update == "apt-get update -q"
    assert install.split()[:2] == ["apt-get", "install"] and "-y" in install
    assert install.endswith(" gcc libc6-dev openssh-server chromium")


def test_a_python_that_makes_no_environment_is_missing_too(machine: Machine) -> None:
    machine.has("id", ROOT)
    machine.lacks("python3")
    machine.has("python3", "exit 1")
    assert machine.run().returncode == 0
    assert machine.said[-1].endswith(" python3-venv")


def test_sudo_is_used_where_it_asks_nothing(machine: Machine) -> None:
    machine.has("id", USER)
    machine.has("sudo", f'{SAY.replace("$0", "sudo")}\nshift\nexec "$@"')
    machine.lacks("pgrep")
    assert machine.run().returncode == 0
    assert machine.said[0] == "sudo -n true"
    assert machine.said[1:3] == ["sudo -n apt-get update -q", "apt-get update -q"]
    assert machine.said[-1].endswith(" procps")


@pytest.mark.parametrize("sudo", ["", "exit 1"], ids=["no sudo", "sudo asks"])
def test_others_are_told_in_one_line_what_to_install(machine: Machine, sudo: str) -> None:
    machine.has("id", USER)
    if sudo:
        machine.has("sudo", sudo)
    machine.lacks("chromedriver", "ssh-keygen")
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "apt-get install openssh-client chromium-driver " in done.stderr
    assert machine.said == []


def test_a_machine_without_apt_is_told_the_names(machine: Machine) -> None:
    machine.has("id", ROOT)
    machine.lacks("apt-get", "unshare")
    done = machine.run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "util-linux" in done.stderr


def test_a_failing_apt_fails(machine: Machine) -> None:
    machine.has("id", ROOT)
    machine.lacks("cc", "apt-get")
    machine.has("apt-get", "exit 100")
    assert machine.run().returncode == 100
