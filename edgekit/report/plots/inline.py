"""A figure as SVG inside the page: no URL, no style of its own, its colours the page's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from edgekit.report.plots.canvas import POINT, picture
from edgekit.report.theme import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR_NAMES = {colour: name for name, colour in LIGHT.items()}
_DROPPED = {"font-family", "font"}
"""What the page's own style sheet says of every plot."""
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def inline(figure: Figure, name: str, label: str, titles: Mapping[str, str]) -> str:
    """Return a figure's `<svg>` for a page whose CSS has `.fill-ink`, `.stroke-ink` and so on.

    The style attributes that a strict content policy forbids become plain ones, each colour of
    the theme a class. Ids start with `name`, which must be unlike others. `label` is the text
    alternative; `titles` are tooltips by record key. Everything is escaped.
    """
    root = ElementTree.fromstring(picture(figure, "svg", text=True))
    used = {
        value.rpartition("#")[2].rstrip(")")
        for element in root.iter()
        for value in element.attrib.values()
        if "#" in value and ("url(" in value or value.startswith("#"))
    }
    _shorten(root)
    for element in list(root.iter()):
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update(_plain(attributes, name, used))
        key = element.attrib.pop("data-record", None)
        if key is not None:
            element.set("class", "point")
            element.set("data-record", key)
            title = ElementTree.Element("title")
            title.text = titles.get(key, key)
            element.insert(0, title)
    root.attrib = {
        "class": "plot",
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": label,
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _shorten(root: ElementTree.Element) -> None:
    """Take out what the page has already: the background, the style sheet, the white between."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}style", "}metadata")) or child.get("id") == "patch_1":
                parent.remove(child)
            elif child.tail:
                child.tail = None
        if parent.text and not parent.text.strip():
            parent.text = None


def _plain(attributes: dict[str, str], name: str, used: set[str]) -> dict[str, str]:
    style = attributes.pop("style", "")
    declared = [part.partition(":") for part in style.split(";") if ":" in part]
    plain: dict[str, str] = {}
    classes: list[str] = []
    for key, value in attributes.items():
        if key == "id":
            if value.startswith(POINT):
                plain["data-record"] = value.removeprefix(POINT)
            elif value in used:
                plain["id"] = f"{name}-{value}"
        elif key == "href":
            plain["href"] = f"#{name}-{value[1:]}"
        elif key == "clip-path":
            plain[key] = value.replace("#", f"#{name}-")
        else:
            plain[key] = _LONG_NUMBER.sub(_two_decimals, " ".join(value.split()))
    for key, _, value in ((key.strip(), colon, value.strip()) for key, colon, value in declared):
        colour = _COLOUR_NAMES.get(value)
        if key in {"fill", "stroke"} and colour is not None:
            classes.append(f"{key}-{colour}")
        elif key not in _DROPPED:
            plain[key] = value
    if classes:
        plain["class"] = " ".join(classes)
    return plain


def _two_decimals(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
