"""Writes constraints.txt: the exact versions edgekit was tested with; run it before a release.

python docs/write_constraints.py                  constraints.txt, from what is installed here
python docs/write_constraints.py --sbom FILE      the same packages as CycloneDX JSON
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
NAME = "edgekit-deploy"
HEAD = "# Tested together by `make test`. Written by docs/write_constraints.py.\n"


def closure(root: str = NAME, extra: str = "all") -> dict[str, str]:
    """Return the version of every package that `root[extra]` brings here, by its name."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(root, extra), (root, "")]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            package = distribution(name)
        except PackageNotFoundError:  # for another platform
            continue
        if name != root:
            found[name] = package.version.partition("+")[0]  # torch's own index adds +cpu
        for line in package.requires or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": wanted}):
                waiting += [(canonicalize_name(need.name), e) for e in (*need.extras, "")]
    return dict(sorted(found.items()))


def constraints() -> str:
    """Return constraints.txt."""
    return HEAD + "".join(f"{name}=={version}\n" for name, version in closure().items())


def sbom() -> str:
    """Return the same packages as a CycloneDX 1.6 document."""
    components = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "bom-ref": f"{name}@{version}",
        }
        for name, version in closure().items()
    ]
    root = {"type": "application", "name": NAME, "version": distribution(NAME).version}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
    }
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sbom"]:
        Path(sys.argv[2]).write_text(sbom())
    else:
        (ROOT / "constraints.txt").write_text(constraints())
