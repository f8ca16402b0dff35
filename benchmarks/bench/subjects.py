"""What is compared: a network with itself, and two chains of layers of which one is 5 % longer."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from compactmtl.board.bench.loads import Loaded
from compactmtl.board.onnx_session import OnnxSession

LAYERS, LONGER = 40, 42
CHANNELS, SIDE = 64, 14

Inputs = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Subject:
    """A model and what it runs on."""

    model: Path | bytes
    inputs: Inputs

    def load(self) -> Loaded:
        """Load it."""
        return Loaded(OnnxSession(self.model, threads=1, name="subject").bind(self.inputs))


def network(path: Path, size: tuple[int, int]) -> Subject:
    """Return a network of one image as input."""
    (image,) = OnnxSession(path, threads=1).inputs
    return Subject(path, {image.name: random((1, 3, *size))})


def chain(layers: int) -> Subject:
    """Return a chain of equal convolutions that share one kernel.

    So a chain of 42 does the same work as one of 40, twice more: exactly 5 % more, but for what a
    call costs whatever the network is, and what the first and last layer do to the layout. The
    share of these two in a chain of 40 is below a percent, so the truth is within 0.0005 of 1.05.
    """
    shape = [1, CHANNELS, SIDE, SIDE]
    values = ["image", *(f"value{index}" for index in range(layers))]
    nodes = []
    for index, (before, after) in enumerate(pairwise(values)):
        convolved = f"convolved{index}"
        nodes.append(helper.make_node("Conv", [before, "kernel"], [convolved], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [convolved], [after]))
    kernel = np.random.default_rng(0).normal(0, 0.06, (CHANNELS, CHANNELS, 3, 3))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(values[-1], TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(kernel.astype(np.float32), "kernel")],
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return Subject(model.SerializeToString(), {"image": random(tuple(shape))})


def random(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return values in [0, 1)."""
    return np.random.default_rng(0).random(shape, dtype=np.float32)
