"""`edgekit predict-latency`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.options import Wide, words

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.latency_model import Accuracy, Predictor
    from edgekit.records import PredictionRecord
    from edgekit.targets import Target


def predict_latency(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Artifacts, or folders of them.")
    ] = None,
    target: Annotated[str, typer.Option(help="A board: a profile's name or TOML file.")] = "rpi4",
    threads: Annotated[
        list[str] | None,
        typer.Option(help="Thread counts, separated by commas. Default: 1,2,3,4."),
    ] = None,
    clock_mhz: Annotated[
        float | None,
        typer.Option(help="Clock of the cores in MHz. Default: the target profile's.", min=1),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="Another runtime than the backend's own, or kernels of the evidence to hold a "
            "prediction to other people's numbers: ruy, armnn, ncnn, tengine."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Prediction method: executed (default where the virtual board is installed) or "
            "analytic."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Show how wrong the predictor was on measurements it had not seen."
        ),
    ] = False,
    refit: Annotated[
        Path | None,
        typer.Option(
            help="Improve the predictor with your own measurements of the board in this folder."
        ),
    ] = None,
    anchor: Annotated[
        Path | None,
        typer.Option(
            help="Scale the predictions by your own measurements of the board in this folder; "
            "their artifacts must be among those given."
        ),
    ] = None,
    shipped: Annotated[
        bool,
        typer.Option(
            "--shipped",
            help="Ignore your own --refit and use the coefficients that come with edgekit.",
        ),
    ] = False,
    results: Annotated[
        Path | None, typer.Option(help="Save the predictions in this folder, for the report.")
    ] = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Estimate the latency on a board that you do not have, with an interval.

    If the virtual board is installed, its runtime runs the artifact once and what it executes is
    timed. Otherwise the estimate comes from published times of the same operators.
    Example: edgekit predict-latency out/mtc --target rpi4 --threads 1,4
    """
    from edgekit.artifact import find_artifacts
    from edgekit.cli.output import command_line
    from edgekit.errors import JobFailed, UserError, did_you_mean
    from edgekit.latency_model import METHODS
    from edgekit.latency_model.records import predict
    from edgekit.results import save
    from edgekit.runtimes.table import role_of
    from edgekit.targets import load_target

    if method is not None and method not in METHODS:
        raise UserError(did_you_mean("method", method, list(METHODS)))
    if check:
        _check([method] if method else METHODS, wide=wide, as_json=as_json, quiet=quiet)
        return
    profile = load_target(target)
    if not artifacts:
        raise UserError("no artifact given: name some that `edgekit convert` made, or --check")
    found = [a for a in find_artifacts(artifacts) if role_of(a.manifest.backend) == "deployed"]
    command = command_line()
    if refit is not None:
        _refit(found, profile, refit, command, as_json=as_json)
        return
    choice = Choice(profile, method, shipped=shipped)
    if anchor is not None:
        choice.anchor(found, anchor)
    records: list[PredictionRecord] = []
    several = [[artifact] for artifact in found] or [[]]
    for one in several:
        try:
            predictor = choice.of(one[0] if one else None, runtime)
            records += predict(
                profile, one, predictor, runtime=runtime, threads=_threads(threads or ["1,2,3,4"]),
                clock_mhz=clock_mhz, command=command,
            )  # fmt: skip
        except JobFailed as error:  # it does not run there; the others do
            if len(several) == 1:
                raise
            choice.lines.append(f"{one[0].label} has no prediction: {error}")
    if not records:
        raise UserError(choice.lines[-1])
    if results is not None:
        for record in records:
            save(record, results)
    show_predicted(profile, records, choice.lines, wide=wide, as_json=as_json)


def _threads(given: list[str]) -> tuple[int, ...]:
    from edgekit.errors import UserError

    counts = words(given)
    if not counts or not all(word.isdigit() for word in counts):
        text = ",".join(given)
        raise UserError(f"--threads {text}: give counts separated by commas, like 1,4")
    return tuple(dict.fromkeys(map(int, counts)))


def open_for(
    target: Target, method: str = "analytic", *, shipped: bool = False
) -> tuple[Predictor, list[str]]:
    """Return the predictor for a target, and a line where it has the user's own coefficients."""
    from edgekit.latency_model import open_predictor
    from edgekit.latency_model.analytic.predictor import open_predictor as open_analytic
    from edgekit.latency_model.analytic.refit import user_file

    path = user_file(target)
    if method == "analytic" and path.is_file() and not shipped:
        said = f"coefficients refitted on your measurements: {path}; --shipped leaves them out"
        return open_analytic(path), [said]
    return open_predictor(method), []  # type: ignore[arg-type]


class Choice:
    """The predictor of each artifact, and the `lines` that say why.

    It is the one that is named. Else it is executed wherever that can be, for it errs less, and
    analytic where the user has refitted that: own rows come first.
    """

    def __init__(self, target: Target, method: str | None, *, shipped: bool) -> None:
        from edgekit.latency_model.analytic.refit import user_file

        self.target, self.shipped = target, shipped
        refitted = user_file(target).is_file() and not shipped
        self.method = method or ("analytic" if refitted else None)
        self.lines: list[str] = []
        self._open: dict[str, Predictor] = {}
        self._anchors: tuple[list[Artifact], Path] | None = None

    def anchor(self, artifacts: list[Artifact], results: Path) -> None:
        """Have the predictions scaled by the measurements in a folder."""
        self._anchors = artifacts, results

    def of(self, artifact: Artifact | None, runtime: str | None) -> Predictor:
        """Return an artifact's predictor."""
        if artifact is None or self.method is not None:
            return self._opened(self.method or "analytic")
        from edgekit.latency_model import Setting
        from edgekit.latency_model.executed.predictor import open_predictor
        from edgekit.latency_model.records import runtime_of

        clock = self.target.hardware.clock_mhz
        setting = Setting(
            target=self.target,
            runtime=runtime_of(artifact, runtime),
            threads=1,
            clock_mhz=float(clock.value) if clock else 0.0,
        )
        why = open_predictor().why_not(artifact, setting)
        if why is None:
            return self._opened("executed")
        line = f"analytic, not executed: {why}{self._gain(artifact)}"
        self.lines += [line] if line not in self.lines else []
        return self._opened("analytic")

    def _gain(self, artifact: Artifact) -> str:
        from edgekit.latency_model.anchored import kind_of
        from edgekit.latency_model.comparison import errors_of_both

        core, kind = self.target.hardware.core, kind_of(artifact.manifest.precision)
        both = errors_of_both(core.value, kind) if core else None
        if both is None:
            return ""
        return (
            f" (families left out, {kind}: executed is {both[0]:.0%} off and analytic "
            f"{both[1]:.0%} for the kernels both know)"
        )

    def _opened(self, method: str) -> Predictor:
        if method not in self._open:
            found, origin = open_for(self.target, method, shipped=self.shipped)
            self.lines += origin
            self._open[method] = self._anchored(found)
        return self._open[method]

    def _anchored(self, predictor: Predictor) -> Predictor:
        if self._anchors is None:
            return predictor
        from edgekit.errors import UserError
        from edgekit.latency_model.anchored import AnchoredPredictor, anchors_of
        from edgekit.latency_model.comparison import worth_of_anchors
        from edgekit.results import load_results

        artifacts, place = self._anchors
        measurements, problems = load_results(place)
        anchors, left = anchors_of(measurements, artifacts, self.target, predictor)
        self.lines += [*problems, *(f"no anchor: {line}" for line in left)]
        if not anchors:
            why = f" ({left[0]})" if left else ""
            raise UserError(
                f"{place} has no measurement on {self.target.name} of an artifact given here{why}: "
                "run `edgekit bench` on the board and name the artifact it timed too"
            )
        core = self.target.hardware.core
        known = worth_of_anchors(predictor.name, core.value if core else "")
        return AnchoredPredictor(predictor, anchors, known)


def show_predicted(
    target: Target,
    records: Sequence[PredictionRecord],
    origin: Sequence[str],
    *,
    wide: bool,
    as_json: bool = False,
    then: str = "",
) -> None:
    """Print predictions, what they stand on, and `origin`: whose coefficients these are."""
    from edgekit.cli.output import show
    from edgekit.latency_model.records import notes, row

    rows, lines = [row(record) for record in records], [*notes(records), *origin]
    models = {record.artifact.model for record in records}
    title = f"{target.title}, predicted"
    if not as_json:
        title = f"{models.pop() if len(models) == 1 else 'Latency'} on a {title}"
    then = then or f"edgekit bench ARTIFACT --target {target.name} --device ssh://USER@HOST"
    short = _short_rows(records)
    show(title, rows, as_json=as_json, notes=lines, short=short, wide=wide, then=then)


def _short_rows(records: Sequence[PredictionRecord]) -> dict[str, list[dict[str, Any]]]:
    """Return a row a prediction, with what tells it from the others, by model."""
    from edgekit.cli.output import grouped
    from edgekit.report.cells import size, with_interval

    kernels = {"ruy", "armnn", "ncnn", "tengine"}  # of the evidence; ncnn's are an artifact's too
    runtimes = len({(r.artifact.backend, r.runtime) for r in records}) > len(
        {r.artifact.backend for r in records}
    )
    rows = []
    for record in records:
        artifact = record.artifact
        row: dict[str, Any] = {"artifact": f"{artifact.backend}-{artifact.precision}"}
        if runtimes or record.runtime in kernels - {artifact.backend}:
            row["runtime"] = record.runtime
        row |= {
            "threads": record.threads,
            "p50, ms": with_interval(1e3 * record.seconds, 1e3 * record.low, 1e3 * record.high),
            "size": size(artifact.bytes),
            "result": "calibrated" if record.calibrated else "uncalibrated",
        }
        rows.append((artifact.model, row))
    return grouped(rows)


def _check_rows(rows: Sequence[Accuracy]) -> list[dict[str, object]]:
    """Return a row a part of the evidence; errors in per cent."""

    def percent(share: float | None) -> str:
        return "–" if share is None else f"{100 * share:.0f} %"

    return [
        {
            "board": row.board,
            "kernels": f"{row.runtime} {row.dtype}",
            "threads": row.threads,
            "rows": row.rows,
            "mean error": percent(row.mape),
            "within 20 %": percent(row.within_20),
            "in interval": percent(row.covered),
            "method": row.method,
        }
        for row in rows
    ]


def _check(methods: Sequence[str], *, wide: bool, as_json: bool, quiet: bool) -> None:
    from dataclasses import asdict

    from edgekit.cli.output import progress, show
    from edgekit.latency_model import open_predictor

    rows: list[Accuracy] = []
    lines: list[str] = []
    with progress(quiet or as_json) as say:
        for method in methods:
            say(method, "predicting every evidence row without its family")
            found, said = open_predictor(method).check()  # type: ignore[arg-type]
            rows += found
            lines += said
            say(method, "done")
    lines += [f"{r.board}, {r.runtime} {r.dtype}: {r.note}" for r in rows if r.note]
    title = "Errors of predicted latency on left-out evidence, as shares"
    full = [asdict(row) for row in rows]
    then, short = "edgekit predict-latency ARTIFACT --target TARGET", _check_rows(rows)
    show(title, full, as_json=as_json, notes=lines, short=short, wide=wide, then=then)


def _refit(
    artifacts: list[Artifact], target: Target, results: Path, command: str, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from edgekit.cli.output import show
    from edgekit.latency_model.analytic import coefficients as files
    from edgekit.latency_model.analytic.predictor import open_predictor
    from edgekit.latency_model.analytic.refit import own_observations, refit, user_file
    from edgekit.latency_model.operators import workload_of
    from edgekit.results import load_results

    measurements, problems = load_results(results)
    predictor = open_predictor()
    workloads = {artifact.sha256: workload_of(artifact) for artifact in artifacts}
    own, left = own_observations(measurements, workloads, target, predictor)
    merged, changes = refit(predictor, own, command=command)
    lines = [*problems, *(f"left out: {line}" for line in left)]
    path = user_file(target)
    if any(change.kept for change in changes):
        was = " (the file that was there is replaced)" if path.is_file() else ""
        files.save(merged, path)
        lines.append(f"kept in {path}{was}: predictions for {target.name} use it from now on")
    else:
        lines.append("nothing kept: no error on left-out models became smaller")
    lines.append(
        "before: error of the shipped coefficients on your rows; after: each model predicted by a "
        "fit without it, – where there is only one"
    )
    title, then = (
        f"{target.title}, refitted",
        f"edgekit predict-latency ARTIFACT --target {target.name}",
    )
    show(title, [asdict(c) for c in changes], as_json=as_json, notes=lines, then=then)
