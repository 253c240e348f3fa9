"""What the shell offers after Tab: names of targets and of the zoo, where an option takes one."""

from __future__ import annotations


def targets(incomplete: str) -> list[str]:
    """Return the targets that begin so."""
    from edgekit.targets import target_names

    return [name for name in target_names() if name.startswith(incomplete)]


def zoo_names(incomplete: str) -> list[str]:
    """Return the zoo's systems that begin so."""
    from edgekit import zoo

    return [name for name in zoo.systems() if name.startswith(incomplete)]
