"""What this machine attains in ONNX Runtime: multiply-accumulates and bytes per second."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compactmtl.bench.kernel_times import profile
from compactmtl.bench.limits import Machine

CONVOLUTIONS = ((128, 28, 3), (64, 56, 3), (128, 14, 3), (256, 28, 1))
"""Channels, side and kernel of well-shaped convolutions; the fastest one is the peak."""
ADDED_BYTES = (2**16, 2**19, 2**22, 2**26)
"""Bytes of each of the three tensors of an addition: from the caches to the memory."""
OPSET, IR_VERSION = 20, 10


def measure_machine(*, threads: int, integer: bool, seconds: float = 0.3) -> Machine:
    """Measure the limits in the runtime and at the threads of a bench.

    The best of all runs counts: other load on the machine only ever takes away.

    Args:
        threads: Threads of the runtime.
        integer: Measure 8-bit integers as well.
        seconds: Least time of each probe.
    """
    return Machine(
        peak_gmacs=max(_gmacs(probe, threads, seconds) for probe in CONVOLUTIONS),
        integer_gmacs=max(
            (_gmacs(probe, threads, seconds, integer=True) for probe in CONVOLUTIONS if integer),
            default=None,
        ),
        bandwidths=tuple((3 * size, _gbytes(size, threads, seconds)) for size in ADDED_BYTES),
    )


def _gmacs(
    probe: tuple[int, int, int], threads: int, seconds: float, *, integer: bool = False
) -> float:
    channels, side, size = probe
    model = integer_convolution(*probe) if integer else convolution(*probe)
    image = np.ones((1, channels, side, side), np.uint8 if integer else np.float32)
    kernels = profile(model, {"x": image}, threads=threads, seconds=seconds)
    fastest = min(min(kernel.us) for kernel in kernels if "Conv" in kernel.op)
    return channels**2 * size**2 * side**2 / max(fastest, 1.0) / 1e3


def _gbytes(size: int, threads: int, seconds: float) -> float:
    numbers = np.ones(size // 4, np.float32)
    model = _model([helper.make_node("Add", ["x", "x2"], ["y"])], ("x", "x2"), TensorProto.FLOAT)
    (kernel,) = profile(model, {"x": numbers, "x2": numbers + 1}, threads=threads, seconds=seconds)
    # The smallest take a few microseconds, which is what the profile counts in.
    quick = sorted(kernel.us)[: math.ceil(len(kernel.us) / 2)]
    return 3 * size / max(sum(quick) / len(quick), 1.0) / 1e3


def convolution(channels: int, side: int, size: int) -> onnx.ModelProto:
    """Return one convolution that keeps channels and size."""
    weight = np.full((channels, channels, size, size), 0.01, np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[size // 2] * 4)
    return _model([node], ("x",), TensorProto.FLOAT, [numpy_helper.from_array(weight, "w")])


def integer_convolution(channels: int, side: int, size: int) -> onnx.ModelProto:
    """Return one convolution of 8-bit integers that keeps channels and size."""
    constants: dict[str, npt.NDArray[Any]] = {
        "w": np.ones((channels, channels, size, size), np.int8),
        "scale": np.full((), 0.01, np.float32),
        "weight_scale": np.full(channels, 0.01, np.float32),
        "zero": np.zeros((), np.uint8),
        "weight_zero": np.zeros(channels, np.int8),
    }
    inputs = ["x", "scale", "zero", "w", "weight_scale", "weight_zero", "scale", "zero"]
    node = helper.make_node("QLinearConv", inputs, ["y"], pads=[size // 2] * 4)
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return _model([node], ("x",), TensorProto.UINT8, stored)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    kind: int,
    constants: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    shape = ["n"] if not constants else ["n", constants[0].dims[1], "h", "w"]
    given = [helper.make_tensor_value_info(name, kind, shape) for name in inputs]
    result = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(list(nodes), "probe", given, [result], list(constants))
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
