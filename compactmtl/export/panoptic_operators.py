"""ONNX graphs of one operator each, for what stands between the parts of Panoptic FPN."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from compactmtl.board.panoptic.roi_align import SAMPLES
from compactmtl.export.options import OPSET


def roi_align_model(side: int, *, dtype: Literal["float32", "float64"] = "float32") -> bytes:
    """Return a model that samples one level of a pyramid in boxes.

    Args:
        side: Bins along each side of a box.
        dtype: Of features and boxes.

    Shape:
        features: (1, C, h, w).
        boxes: (n, 4), x0 y0 x1 y1 in pixels of this level.
        aligned: (n, C, side, side).

    Source:
        He et al. (2017), Mask R-CNN, section 3; the boxes are not moved by half a pixel, as in
        torchvision with ``aligned=False``.
    """
    kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    zero = helper.make_tensor("value", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("Shape", ["boxes"], ["num"], start=0, end=1),
        helper.make_node("ConstantOfShape", ["num"], ["image_of_box"], value=zero),
        helper.make_node(
            "RoiAlign",
            ["features", "boxes", "image_of_box"],
            ["aligned"],
            coordinate_transformation_mode="output_half_pixel",
            output_height=side,
            output_width=side,
            sampling_ratio=SAMPLES,
        ),
    ]
    return _model(
        "roi_align",
        nodes,
        [
            helper.make_tensor_value_info("features", kind, [1, "channels", "height", "width"]),
            helper.make_tensor_value_info("boxes", kind, ["things", 4]),
        ],
        helper.make_tensor_value_info("aligned", kind, ["things", "channels", side, side]),
    )


def suppression_model() -> bytes:
    """Return a model that drops boxes which a better one overlaps by more than a threshold.

    Shape:
        boxes: (n, 4) float32, x0 y0 x1 y1.
        scores: (n,) float32.
        threshold: (1,) float32, on the area of the intersection over that of the union.
        kept: (m,) int64, the places of those that stay, best first.

    Source:
        Greedy non-maximum suppression, as in torchvision.
    """
    fixed = {"zero": [0], "zero_one": [0, 1], "two": [2], "all": [np.iinfo(np.int32).max]}
    nodes = [
        helper.make_node("Unsqueeze", ["boxes", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["scores", "zero_one"], ["of_class"]),
        helper.make_node(
            "NonMaxSuppression", ["batch", "of_class", "all", "threshold"], ["selected"]
        ),
        helper.make_node("Gather", ["selected", "two"], ["column"], axis=1),
        helper.make_node("Squeeze", ["column", "one"], ["kept"]),
    ]
    return _model(
        "suppression",
        nodes,
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["boxes", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["boxes"]),
            helper.make_tensor_value_info("threshold", TensorProto.FLOAT, [1]),
        ],
        helper.make_tensor_value_info("kept", TensorProto.INT64, ["kept"]),
        {**fixed, "one": [1]},
    )


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    constants: Mapping[str, list[int]] = MappingProxyType({}),
) -> bytes:
    initialisers = [
        helper.make_tensor(key, TensorProto.INT64, [len(value)], value)
        for key, value in constants.items()
    ]
    graph = helper.make_graph(nodes, name, inputs, [output], initialisers)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets)
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
