"""Chains of layers in ONNX Runtime, to time a layer without what stands around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.board.errors import DamagedError
from compactmtl.board.files import read_json, to_json
from compactmtl.board.onnx_session import OnnxSession
from compactmtl.board.onnx_write import Array, Node, model_bytes

INPUT = "x"


@dataclass(frozen=True)
class Layer:
    """A square convolution, or a linear layer where ``side`` is 0.

    Attributes:
        rows: Output channels.
        columns: Input channels; where the layer before has more, it gathers these.
        size: Kernel size.
        groups: Groups of channels.
        side: Height and width.
    """

    rows: int
    columns: int
    size: int
    groups: int
    side: int


@dataclass(frozen=True)
class Layers:
    """Layers one after the other, each followed by a ReLU.

    Attributes:
        layers: In order.
        added: Whether each layer's input is added to its output.
    """

    layers: tuple[Layer, ...]
    added: bool = False


def prepare(chain: Layers, *, threads: int) -> Callable[[], object]:
    """Return a call that runs the chain once in ONNX Runtime."""
    session = OnnxSession(model(chain), threads=threads, name="chain")
    shape = _shape(chain.layers[0].columns, chain.layers[0].side)
    return session.bind({INPUT: np.random.default_rng(0).random(shape, dtype=np.float32)})


def model(chain: Layers) -> bytes:
    """Return a chain as an ONNX file, with weights drawn from one seed."""
    generator = np.random.default_rng(0)
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    value, channels = INPUT, chain.layers[0].columns
    for index, layer in enumerate(chain.layers):
        if layer.columns != channels:
            chosen = np.sort(generator.permutation(channels)[: layer.columns])
            constants[f"chosen{index}"] = chosen.astype(np.int64)
            gathered = f"gathered{index}"
            nodes.append(Node("Gather", [value, f"chosen{index}"], gathered, {"axis": 1}))
            value = gathered
        shape = (layer.rows, layer.columns // layer.groups) + (layer.size,) * 2 * bool(layer.side)
        weight, bias, output = f"weight{index}", f"bias{index}", f"layer{index}"
        constants[weight] = generator.uniform(-0.1, 0.1, shape).astype(np.float32)
        constants[bias] = np.zeros(layer.rows, np.float32)
        if layer.side:
            options: dict[str, int | list[int]] = {"pads": [layer.size // 2] * 4}
            options["group"] = layer.groups
            nodes.append(Node("Conv", [value, weight, bias], output, options))
        else:
            nodes.append(Node("Gemm", [value, weight, bias], output, {"transB": 1}))
        if chain.added:
            nodes.append(Node("Add", [output, value], f"sum{index}"))
            output = f"sum{index}"
        value, channels = f"value{index}", layer.rows
        nodes.append(Node("Relu", [output], value))
    first, last = chain.layers[0], chain.layers[-1]
    return model_bytes(
        nodes,
        constants,
        inputs={INPUT: _shape(first.columns, first.side)},
        outputs={value: _shape(last.rows, last.side)},
    )


def _shape(channels: int, side: int) -> tuple[int, ...]:
    return (1, channels, side, side) if side else (1, channels)


def chains_bytes(chains: Sequence[Layers]) -> bytes:
    """Return chains as the JSON document that goes to a board."""
    return to_json(
        {
            "chains": [
                {
                    "added": chain.added,
                    "layers": [list(vars(layer).values()) for layer in chain.layers],
                }
                for chain in chains
            ]
        }
    )


def read_chains(path: Path) -> list[Layers]:
    """Read chains from such a document.

    Raises:
        AbsentError: There is no such file.
        DamagedError: It holds no chains.
    """
    document = read_json(path)
    try:
        return [_read(entry) for entry in document["chains"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"`{path}` holds no chains of layers: {error!r}") from error


def _read(entry: Mapping[str, Any]) -> Layers:
    layers = tuple(Layer(*(int(number) for number in layer)) for layer in entry["layers"])
    if not layers or any(
        min(each.rows, each.columns, each.size, each.groups) < 1 for each in layers
    ):
        raise ValueError("a layer without channels")
    return Layers(layers, bool(entry["added"]))
