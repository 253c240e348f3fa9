"""Table III of the seed paper, parameters: the printed figure beside our exact counts."""

from __future__ import annotations

from edgekit import zoo
from edgekit.report.seed_paper import erratum_notes, reconstruction_notes
from edgekit.report.table import Cell, Table
from edgekit.zoo import System

COLUMNS = (
    "system",
    "variant",
    "system_provenance",
    "published_parameters",
    "published_parameters_match",
    "parameters",
    "macs",
    "deployed_parameters",
    "deployed_macs",
)


def parameters_table() -> Table:
    """Return a row per system and variant: as printed, as counted, and as deployed."""
    rows: list[dict[str, Cell]] = []
    for system in zoo.systems().values():
        for name, variant in system.variants.items():
            if variant.input is not None:  # a teacher is none of the paper's
                continue
            parameters, macs = deployed(system, name)
            values = (
                system.name,
                name,
                ", ".join(system.provenance),
                system.published.parameters,
                system.published.parameters_match,
                variant.parameters,
                variant.macs,
                parameters,
                macs,
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    notes = (
        "parameters and macs are ours: exact counts on the built networks; macs are "
        "multiply-accumulates of convolutions and matrix products, one image",
        "deployed_*: what a user needs for age and gender together; two networks where each "
        "answers one of them",
        "published_*: as the seed paper prints it (Vu et al., APSIPA 2019), for a system as a "
        "whole; it does not say which variant",
        *erratum_notes("parameter counts", "Table I"),
        *reconstruction_notes(),
    )
    return Table(
        name="table-3-parameters",
        title="Table III, parameters",
        columns=COLUMNS,
        rows=tuple(rows),
        notes=notes,
    )


def deployed(system: System, name: str) -> tuple[int, int]:
    """Return parameters and macs of the networks that answer age and gender.

    A variant with one output is deployed with its twin, which bears the other output's name.
    """
    variant = system.variants[name]
    if variant.answers_both:
        return variant.parameters, variant.macs
    (task,) = variant.outputs
    twin = system.variants[name.replace(task, {"age": "gender", "gender": "age"}[task])]
    return variant.parameters + twin.parameters, variant.macs + twin.macs
