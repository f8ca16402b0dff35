"""A small multi-task network with what is hard to export: pools that hand indices on, unpools."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim
from two_tasks import TwoTasks

from compactmtl.export.base import make_job
from compactmtl.export.cases import random_inputs
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.sidecar import Parent


@dataclass
class Interface:
    input_names: list[str]
    output_names: list[str]
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)


class Unpooling(nn.Module):
    """Two pools, two unpools, two tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.up = nn.Conv2d(6, 8, 3, padding=1)
        self.heads = nn.ModuleDict({"seg": nn.Conv2d(8, 5, 1), "depth": nn.Conv2d(8, 1, 1)})

    def forward(self, image):
        x = F.relu(self.norm(self.first(image)))
        large = x.shape[-2:]
        x, outer = F.max_pool2d(x, 2, return_indices=True)
        x = F.relu(self.second(x))
        small = x.shape[-2:]
        x, inner = F.max_pool2d(x, 2, return_indices=True)
        x = F.relu(self.up(F.max_unpool2d(x, inner, 2, output_size=small)))
        x = F.max_unpool2d(x, outer, 2, output_size=large)
        return {name: head(x) for name, head in self.heads.items()}


def capture(model, *inputs, dynamic=True):
    axes = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO} if dynamic else {}
    shapes = tuple({a: d for a, d in axes.items() if a < x.ndim} for x in inputs)
    return torch.export.export(model.eval(), inputs, dynamic_shapes=shapes)


@pytest.fixture(scope="session")
def network():
    torch.manual_seed(0)
    model = Unpooling().eval()
    with torch.no_grad():
        model.norm.running_mean.normal_(0, 0.1)
        model.norm.running_var.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="session")
def program(network):
    return capture(network, torch.rand(2, 3, 48, 64))


@pytest.fixture(scope="session")
def interface():
    return Interface(["image"], ["seg", "depth"], {"seg": {"kind": "segmentation"}})


@pytest.fixture(scope="session")
def stored(program, interface):
    return random_inputs(program, interface)


@pytest.fixture(scope="session")
def make_interface():
    return Interface


@pytest.fixture(scope="session")
def capture_program():
    return capture


@pytest.fixture(scope="session")
def engine_job(tmp_path_factory):
    """The job that ``write`` hands to an exporter of engines: with a checked ONNX file."""
    program = capture(TwoTasks(), torch.rand(2, 3, 16, 24))
    interface = Interface(["image"], ["seg", "depth"])
    source = tmp_path_factory.mktemp("source") / "model.trt.onnx"
    job = make_job(
        program,
        interface,
        source,
        stored=random_inputs(program, interface),
        parent=Parent(file="model.pt2", sha256="0" * 64),
        which="compact",
    )
    written = OnnxExporter("tensorrt").export(job)
    return replace(job, source=source, parent=Parent(file=source.name, sha256=written.sha256))
