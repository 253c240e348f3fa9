"""What the tables share of the seed paper: its systems' names, its errata, what is rebuilt."""

from __future__ import annotations

from functools import cache

from edgekit import zoo
from edgekit.errors import BadModel


@cache
def system_of(model: str) -> tuple[str, str] | None:
    """Return the (system, variant) that a model's name stands for, None for a user's own model."""
    try:
        return zoo.resolve(model)
    except BadModel:
        return None


def erratum_notes(*places: str) -> tuple[str, ...]:
    """Return one note per erratum at these places of the paper: as printed, and what is found."""
    return tuple(
        f"The paper ({item.where}) prints: {item.printed}. Found: {item.finding}."
        for item in zoo.errata()
        if item.where in places
    )


def reconstruction_notes() -> tuple[str, ...]:
    """Return one note per system whose layer table is not public."""
    return tuple(
        f"{system.name} is a reconstruction [{', '.join(system.provenance)}]: {system.title}"
        for system in zoo.systems().values()
        if "reconstruction" in system.provenance
    )


def published_notes() -> tuple[str, ...]:
    """Return what the paper's numbers of a system must be read with, one note a system."""
    return tuple(
        f"{system.name}: {system.published.note}"
        for system in zoo.systems().values()
        if system.published.note
    )
