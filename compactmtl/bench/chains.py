"""Chains of equal layers as ONNX graphs, to time a layer without what stands around it."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from compactmtl.board.onnx_session import session_options
from compactmtl.compiler.kernels import Work, addition, gather, kernel, reorder, work

OPSET, IR_VERSION = 20, 10  # what any ONNX Runtime of the last years reads
BLOCKS = (32, 16, 8, 4)


@dataclass(frozen=True)
class Convolution:
    """A square convolution, or a linear layer where ``side`` is 0; a ``ConvShape`` too."""

    rows: int
    columns: int
    size: int = 1
    groups: int = 1
    side: int = 1
    pooled: bool = False

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return self.size**2

    @property
    def positions(self) -> int:
        """Output positions."""
        return max(1, self.side**2)

    @property
    def in_positions(self) -> int:
        """Input positions."""
        return self.positions

    def turned(self) -> "Convolution":
        """Return it with inputs and outputs swapped."""
        return Convolution(self.columns, self.rows, self.size, self.groups, self.side)


@dataclass(frozen=True)
class Chain:
    """``length`` layers, each the one before turned around; the last may read through a gather.

    Attributes:
        layer: The first layer.
        length: Number of layers.
        gathered: Input channels that each layer but the first gathers of those that are there; 0
            for no gathers.
        added: Whether each layer's input is added to its output; for layers that keep the number
            of channels, in the plain layout.
    """

    layer: Convolution
    length: int
    gathered: int = 0
    added: bool = False

    def layers(self) -> list[Convolution]:
        """Return the layers as they run."""
        layers = []
        for index in range(self.length):
            layer = self.layer if index % 2 == 0 else self.layer.turned()
            if self.gathered and index:
                layer = Convolution(layer.rows, self.gathered, layer.size, 1, layer.side)
            layers.append(layer)
        return layers

    def work(self, *, align: int, block: int) -> Work:
        """Return the work of one run, changes of layout included."""
        total: Work = {}
        layout, channels, positions = "plain", self.layer.columns, self.layer.positions

        def add(part: Work) -> None:
            for key, amount in part.items():
                total[key] = total.get(key, 0.0) + amount

        def bring(to: str) -> None:
            nonlocal layout
            if layout != to:
                add(reorder(channels, positions, to=to, block=block))
            layout = to

        for index, layer in enumerate(self.layers()):
            if self.gathered and index:
                bring("plain")
                add(gather(self.gathered, positions))
                channels = self.gathered
            path = kernel(layer, align=align, block=block).partition(".")[2]
            bring("blocked" if path == "blocked" else "plain")
            add(work(layer, align=align, block=block))
            layout = "blocked" if path in ("blocked", "direct") else "plain"
            channels = layer.rows
            if self.added:
                add(addition(channels, positions))
        bring("plain")
        return total


def prepare(chain: Chain, *, threads: int) -> Callable[[], object]:
    """Return a call that runs the chain once in ONNX Runtime."""
    layer = chain.layer
    model = _model(layer.columns, chain.layers(), layer.side, added=chain.added)
    session = _session(model, threads)
    shape = _shape(chain.layer.columns, chain.layer.side)
    values = {"x": np.random.default_rng(0).random(shape, dtype=np.float32)}
    return lambda: session.run(None, values)


def find_blocks() -> tuple[int, int]:
    """Return by which number channels must divide for blocked kernels, and how many a block has.

    Read from what the runtime makes of small graphs here; (1, 1) where it has no blocked kernels.
    """
    block = _blocked_rows(columns=max(BLOCKS))
    if not block:
        return 1, 1
    align = next(n for n in (1, 2, 4, 8, 16, 32) if _blocked_rows(columns=2 * max(BLOCKS) + n))
    return align, block


def _blocked_rows(*, columns: int) -> int:
    """Return the rows that a convolution with one output channel is padded to; 0 if not blocked."""
    model = _model(columns, [Convolution(1, columns, 3, 1, 8)], 8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        _session(model, 1, optimised=path)
        graph = onnx.load(str(path)).graph
    sizes = {tensor.name: tensor.dims for tensor in graph.initializer}
    found = [
        node for node in graph.node if node.domain.endswith("nchwc") and "Conv" in node.op_type
    ]
    return int(sizes[found[0].input[1]][0]) if found else 0


def _model(
    columns: int, layers: Sequence[Convolution], side: int, *, added: bool = False
) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes, constants, channels, value = [], [], columns, "x"

    def constant(name: str, array: object) -> str:
        constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    for index, layer in enumerate(layers):
        if layer.columns != channels:
            chosen = np.sort(random.permutation(channels)[: layer.columns])
            nodes.append(_gather(value, constant(f"chosen{index}", chosen), f"gathered{index}"))
            value = f"gathered{index}"
        shape = (layer.rows, layer.columns // layer.groups) + (layer.size,) * 2 * bool(side)
        weight = constant(f"weight{index}", random.uniform(-0.1, 0.1, shape).astype(np.float32))
        bias = constant(f"bias{index}", np.zeros(layer.rows, np.float32))
        inputs, output = [value, weight, bias], f"layer{index}"
        if side:
            pads = [layer.size // 2] * 4
            nodes.append(helper.make_node("Conv", inputs, [output], pads=pads, group=layer.groups))
        else:
            nodes.append(helper.make_node("Gemm", inputs, [output], transB=1))
        if added:
            nodes.append(helper.make_node("Add", [output, value], [f"sum{index}"]))
            output = f"sum{index}"
        value, channels = f"value{index}", layer.rows
        nodes.append(helper.make_node("Relu", [output], [value]))
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, _shape(columns, side))
    result = helper.make_tensor_value_info(value, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "chain", [source], [result], constants)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def _gather(value: str, chosen: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Gather", [value, chosen], [output], axis=1)


def _shape(channels: int, side: int) -> tuple[int, ...]:
    return (1, channels, side, side) if side else (1, channels)


def _session(
    model: onnx.ModelProto, threads: int, optimised: Path | None = None
) -> ort.InferenceSession:
    options = session_options(threads)
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
