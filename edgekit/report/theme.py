"""The report's colours, light and dark: the one place that plots and page take them from."""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff",
    "raised": "#f5f6f8",
    "line": "#d9dde3",
    "muted": "#59616d",
    "ink": "#1c2128",
    "accent": "#0a5bb5",
    "measured": "#12692f",
    "emulated": "#6b3fa0",
    "predicted": "#8f4a00",
    "published": "#59626e",
    "series0": "#1667c4",
    "series1": "#b6500a",
    "series2": "#14804a",
    "series3": "#8a3fb5",
    "series4": "#b3203c",
    "series5": "#0d7a85",
    "series6": "#6b5f0e",
    "series7": "#5d6672",
}
"""Every colour by its name, as the plots are drawn and saved."""

DARK = {
    "paper": "#14171c",
    "raised": "#1d2128",
    "line": "#363d48",
    "muted": "#a3adba",
    "ink": "#e8ebef",
    "accent": "#7db8ff",
    "measured": "#6fd08c",
    "emulated": "#c9a6f5",
    "predicted": "#f5b26b",
    "published": "#b3bcc8",
    "series0": "#6db1ff",
    "series1": "#f2a25c",
    "series2": "#62cf91",
    "series3": "#cf9df2",
    "series4": "#f78d9d",
    "series5": "#5ccfd9",
    "series6": "#d3c45a",
    "series7": "#aab4c2",
}
"""The same names where the reader prefers dark."""

SERIES = tuple(name for name in LIGHT if name.startswith("series"))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two `#rrggbb` colours, 1 to 21 (WCAG 2.2, definition)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Return the relative luminance, 0 to 1 (WCAG 2.2; sRGB)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
