"""`edgekit explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.options import Runtime

if TYPE_CHECKING:
    from edgekit.explain import Explanation

LISTED = 10
"""Operators that a person is shown; --json prints them all."""


def explain(
    artifact: Annotated[Path, typer.Argument(help="An artifact's folder.")],
    target: Annotated[str, typer.Option(help="Target profile, by name or TOML file.")] = "host",
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to run: local, virtual (emulated) or ssh://user@host. Default: virtual for "
            "a board target, otherwise local."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the runtime.", min=1)] = 1,
    runtime: Runtime = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Show why an artifact is slow: each operator that ran, what slows it, and what to do.

    The operators are those that the runtime executed, after it fused some of them. An emulated
    board gives no times, but the instructions of each operator.
    Example: edgekit explain out/mtc/onnx-int8 --target rpi4
    """
    import json

    from edgekit.artifact import load_artifact
    from edgekit.cli.output import progress, show, typed
    from edgekit.explain import explain as run
    from edgekit.targets import load_target

    profile = load_target(target)
    found = load_artifact(artifact)
    with progress(quiet or as_json) as say:
        say("explain", f"running {found.label} operator by operator")
        result = run(found, profile, device=device, runtime=runtime, threads=threads)
        say("explain", "done")
    title = f"{result.artifact} on {profile.title}"
    operators = operator_rows(result)
    if as_json:
        tables = [
            {"title": title, "rows": finding_rows(result), "notes": notes(result)},
            {"title": "Operators", "rows": operators, "notes": result.doubts},
        ]
        print(json.dumps(tables, indent=1))
        return
    show(title, finding_rows(result), as_json=False, notes=notes(result))
    costed = result.timed or result.counted
    if costed:
        operators.sort(key=lambda row: -(row["share_percent"] or 0))
    listed = f"{min(LISTED, len(operators))} of {len(operators)} operators, "
    listed += "the costliest" if costed else "in the order they run"
    warned = any(finding.severity == "warning" for finding in result.findings)
    then = "change the network as above, then edgekit convert" if warned else ""
    then = then or f"edgekit bench {typed(artifact)} --target {target}"
    show(listed, operators[:LISTED], as_json=False, notes=result.doubts, then=then)


def finding_rows(result: Explanation) -> list[dict[str, Any]]:
    """Return a row a finding; shares of the operators' cost in per cent."""
    return [
        {
            "severity": finding.severity,
            "what": finding.what,
            "where": finding.where,
            "share_percent": None if finding.share is None else 100 * finding.share,
            "remedy": finding.remedy,
        }
        for finding in result.findings
    ]


def operator_rows(result: Explanation) -> list[dict[str, Any]]:
    """Return a row an operator, in the order they ran."""
    from edgekit.explain.operators import row

    total = sum(operator.cost or 0 for operator in result.operators)
    return [row(operator, total) for operator in result.operators]


def notes(result: Explanation) -> list[str]:
    """Return what the artifact's convolutions and matrix products ran in, and the verdict."""
    from collections import Counter

    products = Counter(o.arithmetic for o in result.operators if o.is_product)
    ran = ", ".join(f"{count} in {arithmetic}" for arithmetic, count in products.items())
    warnings = sum(finding.severity == "warning" for finding in result.findings)
    return [
        f"convolutions and matrix products: {ran or 'none'}",
        f"run by {result.runtime} {result.runtime_version} on {result.device}",
        f"{warnings} to mend" if warnings else "nothing to mend in this artifact",
    ]
