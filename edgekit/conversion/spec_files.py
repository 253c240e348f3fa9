"""The contract that a user wrote for a network: a spec.toml, and whether it fits a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadModel
from edgekit.spec import MAX_PIXELS, InputSpec, ModelSpec, OutputSpec

if TYPE_CHECKING:
    from edgekit.toml_files import Place, Places


def read_spec(path: str) -> ModelSpec:
    """Return the ModelSpec of a TOML file: `[input]` and `[[outputs]]`; BadModel otherwise.

    An output's `labels` may name a text file beside the spec, one label a line; `from` is its
    OutputSpec's `path`.
    """
    from edgekit.toml_files import read_toml

    def prepare(table: dict[str, Any]) -> Places:
        places = _prepare_inputs(table)
        outputs = table.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            if not isinstance(output, dict):
                continue
            if "from" in output:  # a keyword of Python's, so no name of a field
                output["path"] = output.pop("from")
            if isinstance(output.get("labels"), str):
                output["labels"] = _read_labels(Path(path).parent / output["labels"])
        return places

    remedy = (
        "a spec needs [input] with height and width, or [[inputs]] with name and kind, "
        "and [[outputs]] with name"
    )
    return read_toml(Path(path), ModelSpec, error=BadModel, remedy=remedy, prepare=prepare)


def _prepare_inputs(table: dict[str, Any]) -> Places:
    """Put `[[inputs]]` where ModelSpec has its fields, in place.

    Returns where those stand in the file. Raises Misplaced for what is no list of tables.
    """
    from edgekit.toml_files import Misplaced

    remedy = 'give each [[inputs]] a name and kind = "image" or "tensor"'
    inputs, single = table.get("inputs"), table.get("input")
    at: dict[str, list[int]] = {"image": [], "tensor": []}
    in_file = _in_file(frozenset(table), at)
    if isinstance(single, dict) and "kind" in single:
        raise Misplaced(
            ("input", "kind"), "[input] is one image and has no kind: write [[inputs]], with a name"
        )
    for several in ("inputs", "outputs"):
        if isinstance(table.get(several), dict):
            raise Misplaced(
                (several,), f"[{several}] is one table: write [[{several}]], once for each of them"
            )
    if inputs is None:
        return in_file
    if single is not None:
        raise Misplaced(("inputs",), "it has [input] and [[inputs]]: leave one of them out")
    if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
        raise Misplaced(("inputs",), f"inputs is no list of tables: {remedy}")
    for index, item in enumerate(inputs):
        if "kind" not in item or not isinstance(item.get("name"), str):
            raise Misplaced(("inputs", index), f"an input without name or kind: {remedy}")
        kind = item.pop("kind")
        if kind not in [*at]:
            raise Misplaced(
                ("inputs", index, "kind"), f"unknown inputs[{index}].kind {kind!r}: {remedy}"
            )
        at[kind].append(index)
    if len(at["image"]) > 1:
        told = f"it has {len(at['image'])} images: say all but one as tensors"
        raise Misplaced(("inputs", at["image"][1]), told)
    del table["inputs"]
    table["input"] = inputs[at["image"][0]] if at["image"] else None
    table["tensors"] = [inputs[index] for index in at["tensor"]]
    table["order"] = [item["name"] for item in inputs]
    return in_file


def _in_file(written: frozenset[str], at: Mapping[str, Sequence[int]]) -> Places:
    """Return where the places of a ModelSpec stand in a file with the tables `written`.

    `at`: which of its `[[inputs]]` are of a kind, in order.
    """

    def in_file(place: Place) -> Place:
        first, rest = place[:1], place[1:]
        if first == ("order",) and "order" not in written:
            return ()
        if first == ("tensors",) and "tensors" not in written:
            return ("inputs", *(at["tensor"][int(index)] for index in rest[:1]), *rest[1:])
        if first == ("input",) and at["image"]:
            return ("inputs", at["image"][0], *rest)
        if first == ("outputs",) and rest[1:] == ("path",):
            return (*place[:-1], "from")
        return place

    return in_file


def _read_labels(path: Path) -> list[str]:
    """Return a text file's lines, without empty ones at the end. Raises BadModel."""
    try:
        lines = path.read_text("utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise BadModel(
            f"the labels file {path} cannot be read ({reason}): "
            "give a text file beside the spec, one label a line"
        ) from None
    labels = [line.strip() for line in lines]
    if "" in labels:
        raise BadModel(f"{path}, line {labels.index('') + 1} is empty: give one label a line")
    return labels


def numbered(count: int) -> tuple[str, ...]:
    """Return names for outputs that have none."""
    return tuple(f"output_{index}" for index in range(count))


def complete_spec(
    spec: ModelSpec | None, shape: tuple[int, ...], outputs: tuple[str, ...], where: str
) -> ModelSpec:
    """Return `spec` checked against a graph's input shape, or one read off the shape alone.

    Without a spec the channels' place tells the layout, pixels are scaled to [0, 1], and outputs
    are plain tensors called `outputs`. Raises BadModel where the shape is no image's or contradicts
    the spec.
    """
    if len(shape) != 4:
        raise BadModel(
            f"{where} takes a {len(shape)}-dimensional input, not one image batch (4): "
            'say kind = "tensor" and its shape in an [[inputs]] of --spec'
        )
    nchw = shape[1] in {1, 3}
    if not nchw and shape[3] not in {1, 3}:
        raise BadModel(f"{where} takes {shape}: neither NCHW nor NHWC with 1 or 3 channels")
    channels = shape[1] if nchw else shape[3]
    height, width = shape[2:] if nchw else shape[1:3]
    if height * width > MAX_PIXELS or height < 1 or width < 1:
        raise BadModel(
            f"{where} takes {height}×{width} pixels: edgekit converts up to {MAX_PIXELS:,}"
        )
    if spec is None:
        return ModelSpec(
            InputSpec(
                height,
                width,
                mean=(0.0,) * channels,
                std=(255.0,) * channels,
                colour="RGB" if channels == 3 else "GREY",
                layout="NCHW" if nchw else "NHWC",
            ),
            tuple(OutputSpec(name) for name in outputs),
        )
    given = (spec.image.height, spec.image.width, spec.image.channels)
    if given != (height, width, channels):
        raise BadModel(f"the spec says {given} (height, width, channels) but {where} takes {shape}")
    planes = (spec.image.channels, spec.image.height, spec.image.width)
    wanted = planes if spec.image.layout == "NCHW" else (*planes[1:], planes[0])
    if shape[1:] != wanted:
        other = "NHWC" if spec.image.layout == "NCHW" else "NCHW"
        raise BadModel(
            f"the spec's layout is {spec.image.layout}, {where} takes {shape}: write "
            f'layout = "{other}" under the image'
        )
    check_count(spec, len(outputs), where)
    return spec


def check_units(model: str, image: InputSpec | None) -> None:
    """Raise BadModel for a mean and std of pixels of 0 to 1: edgekit's are of 0 to 255."""
    if image is None or not (max(image.std) < 1 and max(map(abs, image.mean)) <= 1):
        return
    mean, std = ([round(255 * value, 3) for value in values] for values in (image.mean, image.std))
    raise BadModel(
        f"the spec of {model} has mean {list(image.mean)} and std {list(image.std)}, which are of "
        f"pixels from 0 to 1; edgekit counts them from 0 to 255: write mean = {mean} and "
        f"std = {std}"
    )


def fix_sizes(sizes: Sequence[int | str], image: InputSpec | None, where: str) -> tuple[int, ...]:
    """Return an input's shape; a free batch is 1, other free sizes are those of the spec's image.

    A free size is given by its name in the file. Raises BadModel where no spec says it.
    """
    batch, rest = sizes[:1], sizes[1:]
    free = any(isinstance(size, str) for size in rest)
    if free and (image is None or len(sizes) != 4):
        raise BadModel(
            f"{where} has free sizes in its input ({', '.join(map(str, sizes))}): say them in "
            "--spec, or export it at one fixed size"
        )
    if free and image is not None:
        held = image.height, image.width
        meant = (image.channels, *held) if image.layout == "NCHW" else (*held, image.channels)
        rest = [m if isinstance(size, str) else size for size, m in zip(rest, meant, strict=True)]
    return tuple(1 if isinstance(size, str) else size for size in (*batch, *rest))


def check_one(shape: Sequence[int], where: str) -> None:
    """Raise BadModel for a picture's input that takes several at once."""
    if shape and shape[0] > 1:
        raise BadModel(
            f"{where} has a fixed batch of {shape[0]}: export it with a batch of 1, or a free one"
        )


def check_count(spec: ModelSpec, count: int, where: str) -> None:
    """Raise BadModel where a graph of `count` outputs has not those of a spec that picks none."""
    picked = any(output.path for output in spec.outputs)
    if len(spec.outputs) != count and not picked:
        raise BadModel(
            f"the spec names {len(spec.outputs)} outputs but {where} has {count}: name all of "
            "them, or say with `from` which are meant"
        )


def check_batch(model: str, output: OutputSpec, shape: tuple[int, ...]) -> None:
    """Raise BadModel for an output, of one sample, that must begin with a batch of 1 and does not.

    A plain tensor may begin otherwise: the state of a recurrent network is (layers, batch, size).
    """
    if not shape or (shape[0] != 1 and output.kind != "tensor"):
        raise BadModel(
            f"output '{output.name}' of {model} has shape {shape} for one sample: its first "
            "dimension must be the batch, 1 (add it with [None])"
        )


def check_tensors(
    spec: ModelSpec, found: Sequence[tuple[str, tuple[int | None, ...]]], where: str
) -> None:
    """Raise BadModel, with both shapes, where an input is not of the spec's; None fits any size."""
    sizes = dict(found)
    for tensor in spec.tensors:
        held = sizes[tensor.name]
        fits = len(held) == len(tensor.shape) and all(
            size in {None, wanted} for size, wanted in zip(held, tensor.shape, strict=False)
        )
        if not fits:
            told = ", ".join("any" if size is None else str(size) for size in held)
            raise BadModel(
                f"the spec says that '{tensor.name}' is {list(tensor.shape)}, "
                f"{where} takes [{told}]"
            )
