"""`edgekit models`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgekit.cli.options import Wide


def models(
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the built-in networks with their parameters and multiply-accumulates (macs).

    Example: edgekit models --json
    """
    from edgekit import zoo
    from edgekit.cli.output import show

    rows = [
        {
            "name": name,
            "variant": variant,
            "default": variant == system.default,
            "parameters": facts.parameters,
            "macs": facts.macs,
            "input": f"{given.height}x{given.width}",
            "outputs": " ".join(f"{output}:{kind}" for output, kind in facts.outputs.items()),
            "weights": "trained" if zoo.weights_path(name, variant) else "random",
            "provenance": list(system.provenance),
            "published_parameters": system.published.parameters,
            "published_age_accuracy": system.published.age.percent,
            "published_gender_accuracy": system.published.gender.percent,
        }
        for name, system in zoo.systems().items()
        for variant, facts in system.variants.items()
        for given in (system.input_of(variant),)
    ]
    notes = (
        "macs: multiply-accumulates of convolutions and matrix products, one image",
        "published: the seed paper's own numbers on Adience; see `edgekit report` for ours",
    )
    short = [
        {
            "model": f"{row['name']}:{row['variant']}",
            "parameters": row["parameters"],
            "macs": row["macs"],
            "input": row["input"],
            "answers": row["outputs"],
            "weights": row["weights"],
        }
        for row in rows
    ]
    then = "edgekit convert multitask-cnn -o out"
    show("Model zoo", rows, as_json=as_json, notes=notes, short=short, wide=wide, then=then)
