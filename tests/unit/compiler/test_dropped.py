"""What a network has for training only is listed."""

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from compactmtl.compiler import compress


class WithTrainingOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Identity(), nn.Sequential())
        self.depth = StochasticDepth(0.5, "row")
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Conv2d(8, 2, 1)
        self.aux = nn.ModuleDict({"head": nn.Sequential(nn.Conv2d(8, 2, 1), nn.ReLU())})
        self.temperature = nn.Parameter(torch.ones(1))
        self.tied = nn.Conv2d(8, 2, 1)
        self.tied.weight = self.head.weight

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        outputs = {"seg": self.head(self.dropout(x + self.depth(x)))}
        if self.training:
            outputs["aux"] = self.aux["head"](x) * self.temperature
        return outputs


def test_modules_that_do_nothing_in_eval_mode_are_listed_once() -> None:
    torch.manual_seed(0)
    network = WithTrainingOnly()
    with torch.no_grad():
        network.head.weight[:, 3] = 0  # what pruning removes is not among them
    report = compress(network, torch.rand(2, 3, 8, 8), dynamic=False).report
    assert report.dropped_modules == [
        {"module": "temperature", "kind": "Parameter", "num_params": 1},
        {"module": "depth", "kind": "StochasticDepth", "num_params": 0},
        {"module": "aux", "kind": "ModuleDict", "num_params": 18},
        {"module": "tied.bias", "kind": "Parameter", "num_params": 2},
    ]
    assert report.to_dict()["dropped_modules"] == report.dropped_modules


def test_nothing_is_listed_where_everything_is_used(segnet) -> None:
    assert compress(segnet, torch.rand(2, 3, 16, 16), dynamic=False).report.dropped_modules == []
