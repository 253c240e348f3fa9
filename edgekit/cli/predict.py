"""`edgekit predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.options import Runtime, Wide
from edgekit.errors import UserError

if TYPE_CHECKING:
    from edgekit.artifact import Artifact


SHOWN = 5
"""So many drawn pictures are named, and then how many more there are."""


def predict(
    artifact: Annotated[
        Path, typer.Option("--artifact", "-a", help="An artifact's folder or model file.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Images, folders of them, patterns like 'photos/*.jpg', one video, or .npz and "
            ".npy samples.",
            show_default=False,
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Each picture is one face, cut out before: do not look for faces."
        ),
    ] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(help="Write the picture with boxes and answers to this .jpg or .png."),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(help="Withhold answers less sure than this, 0 to 1.", min=0, max=1),
    ] = None,
    runtime: Runtime = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the pictures with the answers drawn on them.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="File for all answers, one row each, with what failed."),
    ] = None,
    camera: Annotated[
        int | None,
        typer.Option(help="Answer what this camera sees, 0 for the first, until Ctrl-C.", min=0),
    ] = None,
    every: Annotated[
        float,
        typer.Option(help="For a video or camera: seconds from one frame to the next.", min=0),
    ] = 1.0,
    frames: Annotated[
        int | None,
        typer.Option(help="For a video or camera: stop after this many frames.", min=1),
    ] = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run an artifact on images and print its answers; a model of faces answers every face.

    For a detector it prints one row for each box; the numbers are pixels of the picture. An image
    that cannot be read costs its own row alone; the exit code is 2 then.

    Example: edgekit predict photos --artifact out/onnx-int8 --csv answers.csv --save answers
    """
    from edgekit.annotation import check_annotation
    from edgekit.artifact import load_artifact
    from edgekit.cli.predict_frames import Wanted, run
    from edgekit.data.video import is_video

    given = images or []
    if annotate is not None:
        check_annotation(annotate)
        if len(given) > 1 or any(path.is_dir() for path in given):
            raise UserError("--annotate draws on one picture: give one image")
    loaded = load_artifact(artifact)
    if save is not None and loaded.manifest.tensors:
        raise UserError("--save draws on pictures, and this artifact takes samples: leave it out")
    videos = [path for path in given if is_video(path)]
    if camera is None and not videos:
        if not given:
            raise UserError("which images? name files or folders, or give --camera 0")
        _images(given, loaded, whole, annotate, abstain, runtime, save, table, wide, as_json, quiet)
        return
    if len(given) + (camera is not None) > 1:
        raise UserError("give one video, or one --camera, or images: not several of them")
    if annotate is not None or loaded.manifest.tensors:
        raise UserError("a video needs an artifact that takes pictures, and --save for --annotate")
    wanted = Wanted(
        artifact=loaded, whole=whole, abstain=abstain, runtime=runtime, save=save, table=table,
        every=every, frames=frames, as_json=as_json,
    )  # fmt: skip
    run(videos[0] if videos else camera or 0, wanted)


def _images(
    given: list[Path],
    artifact: Artifact,
    whole: bool,
    annotate: Path | None,
    abstain: float | None,
    runtime: str | None,
    save: Path | None,
    table: Path | None,
    wide: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from edgekit.api import answer as run
    from edgekit.cli.output import progress, show
    from edgekit.cli.predict_rows import box_rows, notes_on, row, short_rows, then, write_csv
    from edgekit.evaluation.drawing import save_drawn, save_pictures

    with progress(quiet or as_json) as say:
        answers = run(given, artifact, runtime=runtime, whole=whole, abstain=abstain, say=say)
    notes = notes_on(answers, artifact.manifest)
    if annotate is not None:
        save_drawn(Path(answers[0].image).read_bytes(), answers, annotate, artifact.manifest)
        notes.append(f"{annotate} shows it")
    if save is not None:
        saved = save_pictures(answers, save, artifact.manifest)
        notes += [f"drawn: {path}" for path in saved[:SHOWN]]
        if len(saved) > SHOWN:
            notes.append(f"and {len(saved) - SHOWN:,} more in {save}")
    if table is not None:
        write_csv(answers, table)
        notes.append(f"{table} holds all answers")
    answered = [answer for answer in answers if not answer.fault]
    rows, short = [], []
    for item, said in zip(answered, short_rows(answered), strict=True):
        rows += list(box_rows(item)) or [row(item)]
        short += list(box_rows(item, short=True)) or [said]
    show(
        artifact.label,
        rows,
        as_json=as_json,
        notes=notes,
        short=short,
        wide=wide,
        then=then(artifact),
    )
    if any(answer.unreadable for answer in answers):
        raise typer.Exit(UserError.exit_code)
