"""The network of the self-test: two convolutions, in three precisions, and what it computes.

In fp16 and int8 the precision lies in the graph (casts; Q/DQ pairs with fixed scales), as in the
files that ``compactmtl export`` writes.
"""

import numpy as np
import numpy.typing as npt

from compactmtl.board.onnx_write import Array, Node, model_bytes

PRECISIONS = ("fp32", "fp16", "int8")
INPUT, OUTPUT = "image", "y"
SIZE, CHANNELS, OUTPUTS = 128, 32, 8
TOLERANCES = {"fp32": 2e-3, "fp16": 2e-2, "int8": 1e-1}
"""Largest deviation over largest magnitude. TensorRT computes fp32 convolutions in TF32 unless told
otherwise, which has 10 bits of mantissa; int8 has 8 bits, and two convolutions in a row."""

Floats = npt.NDArray[np.float32]


def network(precision: str) -> bytes:
    """Return the network as an ONNX file."""
    first, second = weights()
    shapes = {
        "inputs": {INPUT: (1, 3, SIZE, SIZE)},
        "outputs": {OUTPUT: (1, OUTPUTS, SIZE, SIZE)},
    }
    halves: dict[str, Array] = {"first": first.astype("f2"), "second": second.astype("f2")}
    if precision == "fp32":
        nodes = [_conv(INPUT, "first", "a", 1), Node("Relu", ["a"], "b")]
        nodes.append(_conv("b", "second", OUTPUT, 0))
        return model_bytes(nodes, {"first": first, "second": second}, **shapes)
    if precision == "fp16":
        nodes = [
            Node("Cast", [INPUT], "half", {"to": 10}),
            _conv("half", "first", "a", 1),
            Node("Relu", ["a"], "b"),
            _conv("b", "second", "c", 0),
            Node("Cast", ["c"], OUTPUT, {"to": 1}),
        ]
        return model_bytes(nodes, halves, **shapes)
    nodes, constants = _int8(first, second)
    return model_bytes(nodes, constants, **shapes)


def weights() -> tuple[Floats, Floats]:
    """Return the weights of both convolutions, the same on every machine."""
    generator = np.random.default_rng(0)
    first = generator.uniform(-0.3, 0.3, (CHANNELS, 3, 3, 3)).astype(np.float32)
    second = generator.uniform(-0.3, 0.3, (OUTPUTS, CHANNELS, 1, 1)).astype(np.float32)
    return first, second


def image() -> Floats:
    """Return the input, in [0, 1)."""
    return np.random.default_rng(1).random((1, 3, SIZE, SIZE), dtype=np.float32)


def expected(values: Floats) -> npt.NDArray[np.float64]:
    """Return what the network computes, in float64, by numpy alone."""
    first, second = (each.astype(np.float64) for each in weights())
    padded = np.pad(values.astype(np.float64)[0], ((0, 0), (1, 1), (1, 1)))
    hidden = np.zeros((CHANNELS, SIZE, SIZE))
    for row in range(3):
        for column in range(3):
            part = padded[:, row : row + SIZE, column : column + SIZE]
            hidden += np.tensordot(first[:, :, row, column], part, axes=1)
    return np.tensordot(second[:, :, 0, 0], np.maximum(hidden, 0), axes=1)[None]


def _conv(source: str, weight: str, output: str, pad: int) -> Node:
    return Node("Conv", [source, weight], output, {"pads": [pad] * 4})


def _int8(first: Floats, second: Floats) -> tuple[list[Node], dict[str, Array]]:
    """Return Q/DQ pairs and all: one scale per tensor for values, one per row for weights."""
    constants: dict[str, Array] = {"zero": np.array(0, np.int8)}
    # The image is below 1; hidden values hardly reach half of what their weights allow.
    for source, largest in ((INPUT, 1.0), ("b", 3 * 9 * 0.3 / 2)):
        constants[f"{source}_scale"] = np.array(largest / 127, np.float32)
    for name, weight in (("first", first), ("second", second)):
        scales = np.abs(weight).max(axis=(1, 2, 3)) / 127
        constants[name] = np.rint(weight / scales[:, None, None, None]).astype(np.int8)
        constants[f"{name}_scale"] = scales.astype(np.float32)
        constants[f"{name}_zero"] = np.zeros(len(scales), np.int8)
    nodes = [*_quantised(INPUT, "first", "a", 1), Node("Relu", ["a"], "b")]
    return [*nodes, *_quantised("b", "second", OUTPUT, 0)], constants


def _quantised(source: str, weight: str, output: str, pad: int) -> list[Node]:
    scale, rows = [f"{source}_scale", "zero"], [f"{weight}_scale", f"{weight}_zero"]
    return [
        Node("QuantizeLinear", [source, *scale], f"{source}_q"),
        Node("DequantizeLinear", [f"{source}_q", *scale], f"{source}_dq"),
        Node("DequantizeLinear", [weight, *rows], f"{weight}_dq", {"axis": 0}),
        _conv(f"{source}_dq", f"{weight}_dq", output, pad),
    ]
