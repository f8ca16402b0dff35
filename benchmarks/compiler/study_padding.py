"""How many multiplications of an ONNX file's convolutions read the image, and not its padding?

`python study_padding.py FILE...`, on files of one fixed input size, as `run.py --work DIR` keeps.
"""

import sys
from typing import Any

import numpy as np
import onnx


def inside(size: int, out: int, taps: int, *, start: int, stride: int, dilation: int) -> float:
    """Return the share of taps, over all outputs along one axis, that fall on the input."""
    first = np.arange(out)[:, None] * stride - start
    places = first + np.arange(taps)[None, :] * dilation
    return float(((places >= 0) & (places < size)).mean())


def count(path: str) -> tuple[float, float]:
    """Return all multiply-accumulate operations of the convolutions, and those inside."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = within = 0.0
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        given: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        weight, source, result = (
            weights[node.input[1]],
            shapes[node.input[0]],
            shapes[node.output[0]],
        )
        macs = float(np.prod(weight)) * result[2] * result[3]
        total += macs
        for axis in (0, 1):
            macs *= inside(
                source[2 + axis],
                result[2 + axis],
                weight[2 + axis],
                start=given.get("pads", [0] * 4)[axis],
                stride=given.get("strides", [1, 1])[axis],
                dilation=given.get("dilations", [1, 1])[axis],
            )
        within += macs
    return total, within


if __name__ == "__main__":
    for name in sys.argv[1:]:
        total, within = count(name)
        print(f"{name}: {total / 1e9:.3f} GMACs, {within / 1e9:.3f} inside the image")
