"""The one TOML reader: what it refuses, the line it names, and that no file keeps it busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.conversion.calibration import load_recipe, recipe_names
from edgekit.conversion.spec_files import read_spec
from edgekit.deployment.inventory import read_inventory
from edgekit.errors import BadModel, UserError
from edgekit.latency_model.executed.issue_table import core
from edgekit.paths import shelf
from edgekit.targets import load_target, own_names
from edgekit.toml_files import MAX_BYTES
from edgekit.zoo.registry import registry

SPEC = """\
# a spec with everything in it
[input]
height = 64
width = 48                      # the crop
colour = "GREY"
mean = [0.0]
std = [255.0]

[[outputs]]
name = "age"
kind = "classification"
labels = ["young", '''
[input]
"old"''']

[[outputs]]
name = "vector"
"""

READERS: dict[str, Callable[[Path], object]] = {
    "spec": lambda path: read_spec(str(path)),
    "recipe": lambda path: load_recipe(str(path)),
    "target": lambda path: load_target(str(path)),
    "inventory": read_inventory,
}

ABSURD = {
    "large": "a = 1\n" * (MAX_BYTES // 6 + 1),
    "nested arrays": "a = " + "[" * 100_000,
    "nested tables": "a = " + "{a = " * 100_000,
    "decimal digits": "a = " + "9" * 5_000,
    "hexadecimal digits": "a = 0x" + "_f" * 400_000,
    "one dotted key": ".".join("a" * 400_000) + " = 1",
    "one dotted header": "[" + ".".join("a" * 400_000) + "]",
    "quoted parts": "'a'." * 200_000 + "'a' = 1",
    "many dotted keys": "".join(f"a.b.c{index} = 1\n" for index in range(60_000)),
    "long dotted keys": "".join("a." * 18 + f"b{index} = 1\n" for index in range(20_000)),
    "many tables": "".join(f"[a.b{index}]\n" for index in range(49_000)),
    "many members": "a = [" + "1," * 49_000 + "]",
    "a string without end": 'a = """' + '\\"""' * 200_000,
    "quotes": '"' * 999_000,
    "lines": "#\n" * 499_000,
    "a long key": "a" * 900_000 + " = 1",
    "a long value": "title = '" + "x" * 900_000 + "'",
}


def written(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(BadModel) as caught:
        read_spec(str(path))
    return str(caught.value).removeprefix(str(path))


def test_a_spec_with_everything_is_read(tmp_path: Path) -> None:
    spec = read_spec(str(written(tmp_path, SPEC)))
    assert (spec.image.height, spec.image.width, spec.image.colour) == (64, 48, "GREY")
    assert [output.name for output in spec.outputs] == ["age", "vector"]
    assert spec.outputs[0].labels == ("young", '[input]\n"old"')


def test_lines_of_windows_and_its_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SPEC.replace("\n", "\r\n").encode())
    assert read_spec(str(path)) == read_spec(str(written(tmp_path, SPEC)))


def test_every_toml_file_that_ships_is_read() -> None:
    assert len(own_names()) > 2 and all(load_target(name).title for name in own_names())
    assert all(load_recipe(name).samples for name in recipe_names())
    assert len(registry().systems) == 7
    assert core("cortex-a72").width == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "colour =",
            "color =",
            ", line 5: unknown field 'input.color': did you mean input.colour?",
        ),
        ("colour =", "Colour =", ", line 5: unknown field 'input.Colour': did you mean input.col"),
        ("kind =", "knd =", ", line 11: unknown field 'outputs[0].knd': did you mean outputs[0].k"),
        (
            'name = "vector"\n',
            'name = "vector"\n"knd" = "tensor"\n',
            ", line 18: unknown field 'outputs[1].knd': did you mean outputs[1].kind?",
        ),
        ("[[outputs]]", "[[output]]", ", line 9: unknown field 'output': did you mean outputs"),
        ("height = 64", "height = '64'", ", line 3: Expected `int`, got `str` at field 'input.hei"),
        ("height = 64", "", ", line 2: field 'input.height' is missing"),
        (
            '"classification"',
            '"box"',
            ", line 11: unknown outputs[0].kind 'box': choose from class",
        ),
        ("height = 64", "height =", ": not valid TOML: Invalid value (at line 3, column 9)"),
        ("height = 64", '"\x1b[31mred\x1b[0m" = 1', ", line 3: unknown field 'input. [31mred [0m'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in SPEC
    message = complaint(written(tmp_path, SPEC.replace(old, new, 1).replace("\x1b", "\\u001b")))
    assert message.startswith(said)
    assert message.endswith(
        "; a spec needs [input] with height and width, or [[inputs]] with name and kind, and "
        "[[outputs]] with name"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[input]\nh", "[inputs]\nh", ", line 2: [inputs] is one table: write [[inputs]], once fo"),
        ("[input]\n", '[input]\nkind = "image"\n', ", line 3: [input] is one image and has no kin"),
        ("height = 64", "height = 0", ", line 2: height and width must be positive, not 0×48"),
        ("std = [255.0]", "std = [nan]", ", line 2: mean and std must be finite numbers"),
    ],
)
def test_what_a_dataclass_refuses_says_itself_what_it_needs(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert complaint(written(tmp_path, SPEC.replace(old, new, 1))).startswith(said)


INPUTS = """\
[[inputs]]
name = "weather"
kind = "tensor"
shape = [1, 3]

[[inputs]]
name = "photo"
kind = "image"
height = 24
width = 16

[[inputs]]
name = "tide"
kind = "tensor"
shape = [1, 2]

[[outputs]]
name = "word"
from = "logits"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[1, 3]", '["a", 3]', "4: Expected `int`, got `str` at field 'inputs[0].shape[0]'"),
        ("[1, 2]", "[1, 2.5]", "15: Expected `int`, got `float` at field 'inputs[2].shape[1]'"),
        ("[1, 2]", "[1, 0]", "12: input 'tide': shape needs whole numbers of 1 or more"),
        ("shape = [1, 2]\n", "", "12: field 'inputs[2].shape' is missing"),
        ("= 24", "= '2'", "9: Expected `int`, got `str` at field 'inputs[1].height'"),
        ("height", "heigth", "9: unknown field 'inputs[1].heigth': did you mean inputs[1].height"),
        ("shape = [1, 2]", "size = 2", "15: unknown field 'inputs[2].size': choose from inputs[2]"),
        ('"logits"', "1", "19: Expected `str | null`, got `int` at field 'outputs[0].from'"),
        ("from", "form", "19: unknown field 'outputs[0].form': did you mean outputs[0].from"),
        ("[[outputs]]", "[[output]]", "17: unknown field 'output': did you mean outputs or inputs"),
        ("[[outputs]]", "[[xyz]]", "17: unknown field 'xyz': choose from inputs, outputs"),
        ("[[outputs]]", "[outputs]", "17: [outputs] is one table: write [[outputs]], once for ea"),
        ('kind = "image"', 'kind = ["image"]', "8: unknown inputs[1].kind ['image']: give each"),
        ('kind = "image"', 'kind = "img"', "8: unknown inputs[1].kind 'img': give each [[inputs]]"),
        ('name = "tide"', "", "12: an input without name or kind: give each [[inputs]] a name"),
    ],
)
def test_inputs_are_named_as_the_user_wrote_them(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in INPUTS
    message = complaint(written(tmp_path, INPUTS.replace(old, new, 1)))
    assert (
        message.startswith(f", line {said}") and "tensors" not in message and "order" not in message
    )


def test_a_field_in_an_inline_table_is_on_the_line_of_its_key(tmp_path: Path) -> None:
    text = (
        "\ninput = {height = 8, width = 8}\noutputs = [{name = 'a'}, {name = 'b', lables = []}]\n"
    )
    assert complaint(written(tmp_path, text)).startswith(
        ", line 3: unknown field 'outputs[1].lables': did you mean "
        "outputs[1].labels or outputs[1].boxes?"
    )


@pytest.mark.parametrize(
    ("reader", "text", "said"),
    [
        ("recipe", "samples = 8\npick = 'first'\nseed = 0\nmetod = 'minmax'\n", "4: unknown field"),
        ("target", "title = 'x'\narchitecture = 'any'\nname = 'y'\n", "3: field 'name' does not"),
        ("inventory", "[groups.a]\nhost = ['ssh://a']\n", "2: unknown field 'groups.a.host'"),
        ("inventory", "[defaults]\nmax_p90 = 3\n[groups.a]\n", "2: unknown field 'defaults.max_p"),
    ],
)
def test_recipes_targets_and_inventories_name_it_too(
    tmp_path: Path, reader: str, text: str, said: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    assert str(caught.value).startswith(f"{path}, line {said}")


def test_a_target_without_its_file_names_the_file(tmp_path: Path) -> None:
    for reader in ("spec", "target", "inventory"):
        with pytest.raises(UserError, match=r"there.toml cannot be read \(No such file"):
            READERS[reader](tmp_path / "there.toml")


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        *(("spec", kind) for kind in ABSURD),
        *((reader, "nested tables") for reader in READERS if reader != "spec"),
    ],
)
@pytest.mark.unmeasured
def test_no_file_keeps_a_reader_busy(tmp_path: Path, reader: str, kind: str) -> None:
    path = written(tmp_path, ABSURD[kind])
    start = time.process_time()
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    assert time.process_time() - start < 10
    message = str(caught.value)
    assert message.startswith(str(path)) and message.isprintable() and len(message) < 1_000


def test_the_limits_are_far_from_our_own_files() -> None:
    longest = max(path.stat().st_size for path in shelf("targets").glob("*.toml"))
    assert longest * 20 < MAX_BYTES


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_spec_is_read_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    """Cut, doubled and overwritten pieces of a spec: never another error than BadModel."""
    content = SPEC.encode()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 40, len(content))))
        piece = data.draw(
            st.one_of(
                st.binary(max_size=6),
                st.text("[]{}.=\"'\\,#\n \t0123456789_-+einfxaT:Z", max_size=12).map(str.encode),
                st.just(content[start:end] * 2),
            )
        )
        content = content[:start] + piece + content[end:]
    path = tmp_path / "damaged.toml"
    path.write_bytes(content)
    try:
        read_spec(str(path))
    except BadModel as error:
        assert str(error).startswith(str(path)) and str(error).isprintable()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "classification"', 'kind = "classifcation"', "did you mean classification?"),
        ("width = 32", 'width = 32\nfit = "tile"', "choose from crop, letterbox, stretch"),
        ("width = 32", 'width = 32\ncolour = "RGBA"', "did you mean RGB?"),
    ],
)
def test_a_word_that_is_no_choice_names_the_choices(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = tmp_path / "spec.toml"
    text = (
        "[input]\nheight = 32\nwidth = 32\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n"
        '[[outputs]]\nname = "animal"\nkind = "classification"\nlabels = ["cat", "dog"]\n'
    )
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(BadModel) as refused:
        read_spec(str(file))
    assert said in str(refused.value) and "spec.toml, line" in str(refused.value)
