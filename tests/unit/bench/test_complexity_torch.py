"""What is counted in an exported file, against torch's own counter on the module."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compactmtl.bench.onnx_graph import count_onnx
from compactmtl.bench.openvino_graph import count_openvino
from compactmtl.complexity import count
from compactmtl.export.onnx_convert import convert
from compactmtl.export.openvino_model import read_onnx
from compactmtl.export.options import OPSET
from compactmtl.models import MODELS

TASKS = {"seg": 5, "depth": 1}
SHAPE = (2, 3, 45, 70)  # no stage of the pools divides it
SMALL = {
    "segnet": {"widths": (4, 4, 6, 6)},
    "segnet_s": {"widths": (4, 5)},
    "deeplab_resnet18": {"width": 0.125, "head_channels": 8},
    "deeplab_resnet50": {"width": 0.125, "head_channels": 8},
    "mtan_segnet": {"widths": (4, 6, 8)},
    "mtan_deeplab": {"width": 0.0625, "head_channels": 6},
    "cross_stitch": {"widths": (4, 6)},
    "resnet_classifier": {"depth": 18, "width": 0.125},
}


def save_onnx(network, x, path, outputs=("y",)):
    """Export by the project's own translation, with the module's names."""
    interface = SimpleNamespace(input_names=["x"], output_names=list(outputs), tasks={})
    program = torch.export.export(network.eval(), (x,))
    onnx.save(convert(program, interface, opset=OPSET), path)


def flops(network, x):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "segnet" else pytest.mark.slow) for n in MODELS]
)
def test_networks(tmp_path, name):
    torch.manual_seed(0)
    network, x = MODELS[name](TASKS, **SMALL[name]).eval(), torch.rand(SHAPE)
    save_onnx(network, x, tmp_path / "m.onnx", TASKS)
    found = count_onnx(tmp_path / "m.onnx", {"x": x.numpy()})
    assert found.flops == flops(network, x) != flops(network, x[:1])
    assert found.uncounted == ()
    want = {layer.name: layer.macs for layer in count(network, x).layers}
    assert {layer.name: layer.macs for layer in found.layers} == want
    assert found.weights_bytes == 4 * found.num_params


LAYERS = {
    "plain": nn.Conv2d(6, 8, 3, stride=2, padding=1),
    "dilated": nn.Conv2d(6, 8, 3, dilation=2, bias=False),
    "grouped": nn.Conv2d(6, 9, 3, padding=1, groups=3),
    "depthwise": nn.Conv2d(6, 6, 5, padding=2, groups=6),
    "transposed": nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1),
    "transposed_grouped": nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2, bias=False),
    "conv1d": nn.Conv1d(6, 4, 3),
    "linear": nn.Linear(12, 7),
}


class Every(nn.Module):
    """Every layer on the same image."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict(LAYERS)

    def forward(self, x):
        return {n: f(x[:, :, 0] if n == "conv1d" else x) for n, f in self.layers.items()}


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """The file, its input, and torch's FLOPs and output shape of each layer."""
    path, network, x = (
        tmp_path_factory.mktemp("every") / "m.onnx",
        Every(),
        torch.rand(2, 6, 10, 12),
    )
    save_onnx(network, x, path, LAYERS)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes = {name: tuple(value.shape) for name, value in network(x).items()}
    counts = counter.get_flop_counts()
    return path, x, {n: sum(counts[f"Every.layers.{n}"].values()) for n in LAYERS}, shapes


def test_single_layers(every):
    path, x, flops_of, shapes = every
    found = count_onnx(path, {"x": x.numpy()})
    by_shape = {layer.output_shape: layer for layer in found.layers}
    assert len(by_shape) == len(LAYERS)
    for name, layer in LAYERS.items():
        cost = by_shape[shapes[name]]
        assert 2 * cost.macs == flops_of[name] > 0, name
        # A linear layer on images is a matrix product and an addition, which has no MACs.
        bias = 7 if name == "linear" else 0
        assert cost.num_params == sum(p.numel() for p in layer.parameters()) - bias, name
        assert cost.weight_bytes == 4 * cost.num_params
        assert cost.input_bytes == 4 * (2 * 6 * 12 if name == "conv1d" else x.numel())
        assert cost.output_bytes == 4 * np.prod(shapes[name])
    assert found.flops == sum(flops_of.values())
    assert found.num_params == sum(p.numel() for e in LAYERS.values() for p in e.parameters())


def test_the_same_in_openvino(every):
    openvino = pytest.importorskip("openvino")
    path, x, flops_of, shapes = every
    openvino.save_model(read_onnx(path.read_bytes()), path.with_suffix(".xml"))  # halves weights
    found = count_openvino(path.with_suffix(".xml"), {"x": x.numpy()})
    by_shape = {layer.output_shape: layer for layer in found.layers}
    assert {n: 2 * by_shape[shapes[n]].macs for n in LAYERS} == flops_of
    for layer in found.layers:
        assert layer.weight_bytes == 2 * layer.num_params  # as stored
