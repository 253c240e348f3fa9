"""The float network behind its image, as int8 is made from it: same answers, fewer operators."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekit.backends._tflite_files import Pixels, behind_pixels

Step = tuple[str, float | list[float] | None]
OPTIONS = {
    "CAST": schema.CastOptionsT,
    "SUB": schema.SubOptionsT,
    "MUL": schema.MulOptionsT,
    "DIV": schema.DivOptionsT,
    "NEG": schema.NegOptionsT,
}
PIXELS = np.arange(0, 255, 5, dtype=np.uint8)[:48].reshape(1, 4, 4, 3)


def network(*steps: Step, also: int | None = None) -> bytes:
    """Return a .tflite whose operators follow one another, each with a constant or without.

    `also` makes the value behind so many steps a second output.
    """
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], []
    model.buffers, graph.tensors, graph.operators = [schema.BufferT()], [], []

    def tensor(name: str, shape: list[int], kind: int, data: bytes = b"") -> int:
        made, buffer = schema.TensorT(), schema.BufferT()
        made.name, made.shape, made.type = name.encode(), shape, kind
        if data:
            buffer.data = np.frombuffer(data, np.uint8)
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    kinds = schema.TensorType
    last = tensor("image", [1, 4, 4, 3], kinds.UINT8)
    graph.inputs, behind = [last], []
    for number, (name, value) in enumerate(steps):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        operator.opcodeIndex = number
        operator.builtinOptions = OPTIONS[name]()
        operator.builtinOptionsType = getattr(
            schema.BuiltinOptions, OPTIONS[name].__name__.removesuffix("T")
        )
        if name == "CAST":
            operator.builtinOptions.inDataType = kinds.UINT8
            operator.builtinOptions.outDataType = kinds.FLOAT32
        operator.inputs = [last]
        if value is not None:
            stored = np.array(value, np.float32)
            shape = list(stored.shape)
            operator.inputs.append(tensor(f"c{number}", shape, kinds.FLOAT32, stored.tobytes()))
        last = tensor(f"value {number}", [1, 4, 4, 3], kinds.FLOAT32)
        operator.outputs = [last]
        behind.append(last)
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.outputs = [last] if also is None else [last, behind[also - 1]]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [end("args_0", graph.inputs[0])]
    signature.outputs = [end(f"output_{n}", place) for n, place in enumerate(graph.outputs)]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def end(name: str, place: int) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), place
    return made


def answers(content: bytes, image: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what a .tflite answers by its signature, and its operators."""
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    return interpreter.get_signature_runner()(args_0=image), names


@pytest.mark.parametrize(
    ("steps", "taken", "left"),
    [
        ([("SUB", 120.0), ("DIV", 60.0)], Pixels(shift=120, factor=1 / 60), []),
        ([("SUB", [[[[120.0]]]]), ("MUL", 0.25)], Pixels(shift=120, factor=0.25), []),
        ([("DIV", 255.0)], Pixels(factor=1 / 255), []),
        ([("SUB", 120.0), ("SUB", 7.0)], Pixels(shift=127), []),
        ([("SUB", 120.0), ("SUB", 200.0)], Pixels(shift=120), ["SUB"]),
        ([("SUB", 0.5), ("DIV", 60.0)], Pixels(), ["SUB", "DIV"]),
        ([("MUL", 2.0), ("SUB", 1.0)], Pixels(factor=2.0), ["SUB"]),
        ([("SUB", [1.0, 2.0, 3.0])], Pixels(), ["SUB"]),
        ([("MUL", -1.0)], Pixels(), ["MUL"]),
        ([("MUL", 0.0)], Pixels(), ["MUL"]),
        ([("NEG", None), ("SUB", 3.0)], Pixels(), ["NEG", "SUB"]),
    ],
)
def test_it_answers_alike_for_what_it_takes_of_a_pixel(
    steps: list[Step], taken: Pixels, left: list[str]
) -> None:
    # The last operator stays: what is an output is computed by somebody.
    content = network(("CAST", None), *steps, ("NEG", None))
    wanted, _ = answers(content, PIXELS)
    stripped, pixels = behind_pixels(content)
    assert pixels == taken
    found, names = answers(stripped, (PIXELS.astype(np.float32) - taken.shift) * taken.factor)
    assert names == [*left, "NEG"]
    np.testing.assert_allclose(found["output_0"], wanted["output_0"], rtol=1e-6)


def test_a_value_that_is_an_output_too_is_still_computed() -> None:
    content = network(("CAST", None), ("SUB", 120.0), ("DIV", 60.0), ("NEG", None), also=2)
    stripped, pixels = behind_pixels(content)
    assert pixels == Pixels(shift=120)
    wanted, _ = answers(content, PIXELS)
    found, names = answers(stripped, PIXELS.astype(np.float32) - 120)
    assert names == ["DIV", "NEG"]
    assert all((found[name] == wanted[name]).all() for name in ("output_0", "output_1"))


def test_an_image_that_is_an_output_stays_as_it_is() -> None:
    content = network(("CAST", None), ("NEG", None), also=1)
    assert behind_pixels(content) == (content, None)
