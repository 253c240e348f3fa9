"""A full disk is one line with the remedy in every command that writes, and leaves nothing half."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import bad_artifacts
import pytest
from command_line import one_line_error
from pictures import draw_pictures

from edgekit.artifact import Artifact, write_manifest
from edgekit.spec import OutputSpec


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an artifact, labelled pictures, and an empty folder where a disk comes."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "art").mkdir()
    (folder / "disk").mkdir()
    made: Artifact = bad_artifacts.onnx_fp32(folder / "art")
    animals = OutputSpec("animal", "classification", ("cat", "dog", "hen"))
    write_manifest(made.folder, replace(made.manifest, outputs=(animals,)))
    names = sorted(path.name for path in draw_pictures(folder / "data", 4).iterdir())
    lines = ["file,animal,split", *(f"{name},cat,test" for name in names)]
    (folder / "data" / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def on_a_full_disk(place: Path, command: str) -> str:
    """Return the error of a command run where `disk` is a full file system of 64 kB.

    It is mounted for this process alone. What is left there may be empty, but is never a part.
    """
    script = (
        "mount -t tmpfs -o size=64k tmpfs disk && "
        "{ cat /dev/zero >disk/filler 2>/dev/null; export XDG_CACHE_HOME=$PWD/cache; "
        f"{sys.executable} -m edgekit {command}; code=$?; "
        "find disk -type f -size +0 >left; exit $code; }"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=place,
        timeout=300,
    )
    line = one_line_error(done)
    assert (place / "left").read_text().split() == ["disk/filler"]
    return line


@pytest.mark.parametrize(
    "command",
    [
        "keys new disk/key",
        "evaluate art --data data -q --workers 1 --results disk/r",
        "bench art -q --rounds 3 --results disk/r",
        "bundle art -o disk/art.ekb",
        "predict data -a art --csv disk/answers.csv",
        "predict data -a art --save disk/r",
    ],
)
def test_what_is_written_to_a_full_disk_is_refused_in_one_line(place: Path, command: str) -> None:
    line = on_a_full_disk(place, command)
    assert "no space left" in line.lower() and "free some" in line and "disk" in line
