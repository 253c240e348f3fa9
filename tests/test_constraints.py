"""constraints.txt allows what pyproject.toml asks for, and names all of it."""

from __future__ import annotations

import json
import runpy
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
NOT_ALL = {"dev", "examples", "docs", "camera"}


def pinned() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(need.name): need for need in found}


def test_every_requirement_of_ours_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].items()
    lines = [*project["dependencies"], *(x for k, v in extras if k not in NOT_ALL for x in v)]
    needs = [Requirement(line) for line in lines]
    ours = [need for need in needs if canonicalize_name(need.name) != project["name"]]
    assert len(ours) > 20
    pins = pinned()
    for need in ours:
        (exact,) = pins[canonicalize_name(need.name)].specifier
        assert exact.operator == "=="
        assert need.specifier.contains(exact.version, prereleases=True), need


def test_the_sbom_lists_what_is_installed() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "write_constraints.py"))
    document = json.loads(script["sbom"]())
    assert document["bomFormat"] == "CycloneDX"
    listed = {part["purl"].removeprefix("pkg:pypi/") for part in document["components"]}
    names = {item.partition("@")[0] for item in listed}
    assert {"torch", "numpy", "onnxruntime", "openvino", "ai-edge-litert", "msgspec"} <= names
    assert len(names) > 60
