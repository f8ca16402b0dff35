"""MACs and parameters of OpenVINO's IR."""

import math
from pathlib import Path
from typing import Any

from compactmtl.bench.cost import Cost
from compactmtl.board.openvino_session import core, reason
from compactmtl.errors import BenchError
from compactmtl.export.stored import Arrays

CONVOLUTION = ("Convolution", "GroupConvolution")
TRANSPOSED = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
UNCOUNTED = frozenset(
    {
        "DeformableConvolution",
        "Einsum",
        "If",
        "Loop",
        "LSTMSequence",
        "GRUSequence",
        "TensorIterator",
    }
)
"""Operations that hold MACs which are not counted; named wherever the total is."""


def count_openvino(path: Path, inputs: Arrays) -> Cost:
    """Count the graph of an IR at the shapes of these inputs.

    Raises:
        BenchError: It does not take these shapes.
    """
    model = core().read_model(path)
    try:
        model.reshape({name: list(array.shape) for name, array in inputs.items()})
    except RuntimeError as error:
        raise BenchError(f"OpenVINO cannot shape `{path}`: {reason(error)}") from error
    nodes = model.get_ops()
    counts = [(node.get_type_name(), _macs(node)) for node in nodes]
    unknown = {kind for kind, macs in counts if kind in UNCOUNTED or macs is None}
    constants = (node for node in nodes if node.get_type_name() == "Constant")
    return Cost(
        macs=sum(macs or 0 for _, macs in counts),
        num_params=sum(
            math.prod(node.get_output_shape(0))
            for node in constants
            if node.get_element_type().is_real() and len(node.get_output_shape(0))
        ),
        uncounted=tuple(sorted(unknown)),
    )


def _macs(node: Any) -> int | None:
    """Return the MACs of a node, 0 of one that has none, None where a size is not known."""
    kind = node.get_type_name()
    if kind not in (*CONVOLUTION, *TRANSPOSED, "MatMul"):
        return 0
    shapes = [node.get_output_partial_shape(0), *(v.get_partial_shape() for v in node.inputs()[:2])]
    if any(shape.is_dynamic for shape in shapes):
        return None
    output, left, right = (list(shape.to_shape()) for shape in shapes)
    # The weights of a grouped convolution have the groups in front.
    per_weight = right[2:] if kind.startswith("Group") else right[1:]
    if kind == "MatMul":
        per_weight = [left[-2 if node.get_attributes()["transpose_a"] else -1]]
    return int(math.prod(left if kind in TRANSPOSED else output) * math.prod(per_weight))
