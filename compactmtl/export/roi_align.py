"""RoI align as an ONNX graph of one operator: what stands between the parts of Panoptic FPN."""

from typing import Literal

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
    graph = helper.make_graph(
        nodes,
        "roi_align",
        [
            helper.make_tensor_value_info("features", kind, [1, "channels", "height", "width"]),
            helper.make_tensor_value_info("boxes", kind, ["things", 4]),
        ],
        [helper.make_tensor_value_info("aligned", kind, ["things", "channels", side, side])],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets)
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
