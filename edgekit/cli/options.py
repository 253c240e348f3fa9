"""Options that several commands share, worded once."""

from __future__ import annotations

from inspect import cleandoc
from typing import Annotated

import typer

Runtime = Annotated[
    str | None,
    typer.Option(
        help="Use another runtime than the default. TFLite: tflite_runtime; torch: aotinductor or "
        "executorch."
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="Print all columns.")]


def words(values: list[str]) -> list[str]:
    """Return the words of an option that may be repeated, or have its words between commas."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def flowing(text: str) -> str:
    """Return a command's docstring for its help: paragraphs without line ends, examples apart.

    A terminal breaks lines where it has to; those of the source come in between.
    """
    apart = cleandoc(text).replace("\nExample: ", "\n\nExample: ")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in apart.split("\n\n"))
