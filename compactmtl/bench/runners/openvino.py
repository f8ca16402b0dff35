"""OpenVINO on the CPU, computing in fp32."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compactmtl.bench.runners.base import Cost, InputInfo, Loaded, Runner
from compactmtl.board.openvino_session import core, output_names
from compactmtl.errors import BenchError
from compactmtl.export.openvino_model import compile_model, reason, runtime
from compactmtl.export.stored import Array, Arrays

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


class OpenVinoRunner(Runner):
    """Loads with the precision hint f32: the default one computes in bfloat16 where it can."""

    suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    def parts(self, path: Path) -> tuple[Path, ...]:
        """Return the file of weights; see ``Runner.parts``."""
        return (path.with_suffix(".bin"),)

    def cost(self, path: Path, inputs: Arrays) -> Cost:
        """Count the graph of the IR at these shapes; see ``Runner.cost``."""
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

    def load(self, path: Path, *, threads: int) -> Loaded:
        """Load an IR; see ``Runner.load``."""
        started = time.perf_counter_ns()
        model = compile_model(path, str(path), threads=threads)
        load_ms = (time.perf_counter_ns() - started) / 1e6
        return Loaded(
            inputs=tuple(_describe(value) for value in model.inputs),
            run=_run(model, path),
            load_ms=load_ms,
            runtime=runtime(),
        )


def _run(model: Any, path: Path) -> Callable[[Arrays], dict[str, Array]]:
    request = model.create_infer_request()
    names = output_names(model)

    def run(inputs: Arrays) -> dict[str, Array]:
        try:
            values = request.infer(inputs, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise BenchError(f"OpenVINO cannot run `{path}`: {reason(error)}") from error
        return {name: values[index] for index, name in enumerate(names)}

    return run


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


def _describe(value: Any) -> InputInfo:
    shape = tuple(
        "?" if size.is_dynamic else int(size.get_length()) for size in value.get_partial_shape()
    )
    return InputInfo(value.any_name, shape, np.dtype(value.get_element_type().to_dtype()).name)
