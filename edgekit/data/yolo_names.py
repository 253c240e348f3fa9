"""The class names of a YOLO `data.yaml`: its `names`, a list, or a mapping from 0 on."""

from __future__ import annotations

from edgekit.errors import BadData, MissingPackage, first_line

REMEDY = "write names: [first, second] in it, or a classes.txt with one name a line"


def names_in(text: str, file: str) -> list[str] | None:
    """Return the names in a data.yaml, None where it has no `names`.

    Raises BadData for text that is no YAML, and for names that are no list and no mapping from 0
    on; MissingPackage without PyYAML.
    """
    try:
        import yaml
    except ImportError:
        raise MissingPackage("pyyaml", "detection") from None
    try:
        # BaseLoader makes strings, lists and mappings alone: a class called `no` stays a word.
        held = yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadData(f"{file} is no YAML ({first_line(error)}): {REMEDY}") from None
    if not isinstance(held, dict) or "names" not in held:
        return None
    names = held["names"]
    if isinstance(names, dict):
        names = _ordered(names, file)
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise BadData(f"{file}: names is no list of names, and no mapping: {REMEDY}")
    return [name.strip() for name in names]


def _ordered(names: dict[str, object], file: str) -> list[object]:
    """Return what a mapping from 0 on holds, in order."""
    wanted = [str(place) for place in range(len(names))]
    if set(names) != set(wanted):
        told = ", ".join(str(key)[:20] for key in list(names)[:8])
        raise BadData(f"{file}: names counts {told}, not from 0 on: {REMEDY}")
    return [names[key] for key in wanted]
