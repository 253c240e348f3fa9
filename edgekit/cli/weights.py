"""`edgekit weights`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekit.training.recorded import Recorded


def weights(
    models: Annotated[
        list[str] | None, typer.Argument(help="Only these: zoo names as in `edgekit models`.")
    ] = None,
    data: Annotated[str, typer.Option(help="UTKFace, a zip or folder.", envvar="UTKFACE")] = "",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--weights", help="Folder for the weights. Default: the cache where edgekit looks."
        ),
    ] = None,
    remake: Annotated[
        bool, typer.Option("--remake", help="Train those that ship, too, and keep both.")
    ] = False,
    fit_confidence: Annotated[
        bool,
        typer.Option(
            "--fit-confidence",
            help="Train nothing: fit the confidences of weights that are there, on the validation "
            "side of --data, and renew their cards.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train the zoo networks that come without weights, by the recorded commands; can be resumed.

    Example: edgekit weights --data utkface.zip
    """
    from edgekit import zoo
    from edgekit.cli.output import progress, show
    from edgekit.errors import BadData, BadModel, did_you_mean
    from edgekit.training.recorded import for_use, join_pairs, make, recorded, with_needed

    place = (folder or zoo.own_weights()).expanduser().resolve()
    known = recorded(place)
    names = [one.source for one in known]
    for name in models or ():
        if name not in names:
            raise BadModel(did_you_mean("training on record", name, names))
    wanted = [one for one in known if one.source in models] if models else for_use(known)
    if fit_confidence:
        _fit_confidence(wanted, place, data, as_json, quiet)
        return
    kept = [one for one in wanted if one.ships and not remake]
    left = [one for one in with_needed([o for o in wanted if o not in kept], known) if not one.made]
    shown = [one for one in known if one in wanted or one in left]
    if left and not data:
        raise BadData(
            "no data to train on: give --data, or make weights UTKFACE=path/to/utkface.zip"
        )
    if left and not Path(data).expanduser().exists():
        raise BadData(f"{data}: no such folder or zip archive: check --data or UTKFACE")

    def row(one: Recorded, left: list[Recorded]) -> dict[str, object]:
        return {
            "model": one.source,
            "weights": "ship" if one in kept else "to train" if one in left else "made",
            "hours_recorded": None if one.hours is None else round(one.hours, 2),
            "parameters": one.result.parameters,
            "path": str((zoo.WEIGHTS if one in kept else place) / one.weights.name),
        }

    if left and not (quiet or as_json):
        show("To do", [row(one, left) for one in shown], as_json=False)
    for one in left:
        with progress(quiet or as_json) as say:
            about = "no epochs" if one.hours is None else f"{one.hours:.1f} h where it was recorded"
            say("train", f"{one.source}, {about}")
        make(one, Path(data).expanduser().resolve(), quiet or as_json)
    pairs = join_pairs([one for one in wanted if not one.ships])
    notes = [f"{path.name} joins the age and the gender network" for path in pairs]
    then = f"edgekit convert {shown[0].source if shown else 'MODEL'} -o out"
    show("Weights", [row(one, []) for one in shown], as_json=as_json, notes=notes, then=then)


def _fit_confidence(
    wanted: list[Recorded], place: Path, data: str, as_json: bool, quiet: bool
) -> None:
    """Fit the temperatures of every training whose weights are there, and print what it changed."""
    from edgekit import zoo
    from edgekit.cli.output import progress, show
    from edgekit.errors import BadData
    from edgekit.training.refit import refit

    if not data or not Path(data).expanduser().exists():
        raise BadData(f"no data to fit on at '{data}': give --data the data it was trained on")
    rows = []
    for one in wanted:
        paths = (place / one.weights.name, zoo.WEIGHTS / one.weights.name)
        weights = next((path for path in paths if path.is_file()), None)
        if weights is None:
            continue
        with progress(quiet or as_json) as say:
            say("fit", one.source)
            result = refit(one, weights, data)
            say("fit", "done")
        rows += [
            {
                "model": one.source,
                "output": item.output,
                "temperature": round(item.temperature, 3),
                "ece": round(item.ece, 2),
                "ece_before": round(item.plain_ece, 2),
                "path": str(weights),
            }
            for item in result.test.confidence
        ]
    title = "Confidence: the calibration error on the test side, in points"
    notes = [] if rows else ["no weights with a confidence are there"]
    show(title, rows, as_json=as_json, notes=notes, then="edgekit convert MODEL -o out")
