"""Networks that take one size of image only: their batch stays free, and nothing else."""

import pytest
import torch
from torch import Tensor, nn

from compactmtl.compiler import compress
from compactmtl.compiler.capture import capture


class Flat(nn.Module):
    """A convolution, flattened into a linear layer; every third channel is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6 * 7 * 7, 5)
        with torch.no_grad():
            self.linear.weight.view(5, 6, 49)[:, ::3] = 0

    def forward(self, image: Tensor) -> Tensor:
        return self.linear(self.conv(image).relu().flatten(1))


class Sized(nn.Module):
    """A network that refuses other sizes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] != 7:
            raise ValueError("7 columns, please")
        return self.conv(image)


@pytest.mark.parametrize("net", [Flat, Sized])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_size_is_fixed_and_the_batch_is_free(net, batch):
    captured = capture(net(), torch.randn(batch, 3, 7, 7))
    assert captured.dynamic == [{0: "batch"}]


def test_other_networks_keep_their_sizes_free():
    captured = capture(nn.Conv2d(3, 4, 3), torch.randn(2, 3, 7, 7))
    assert captured.dynamic == [{0: "batch", 2: "height", 3: "width"}]


def test_a_flattened_network_is_compiled_for_any_batch():
    net = Flat().eval()
    compact = compress(net, torch.randn(1, 3, 7, 7))
    assert compact.report.after.num_params < compact.report.before.num_params
    for batch in (1, 4):
        image = torch.randn(batch, 3, 7, 7)
        torch.testing.assert_close(compact.module(image), net(image), rtol=1e-5, atol=1e-6)
