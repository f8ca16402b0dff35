"""Near-zero groups: what counts as small, and what the report says of it."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from compactmtl.compiler.capture import capture
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.threshold import apply_threshold
from compactmtl.errors import UsageError
from compactmtl.overparam import expand

IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Chain(nn.Module):
    """Two plain convolutions, a depthwise, a transposed and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.last = nn.Linear(4, 2)

    def forward(self, image: Tensor) -> Tensor:
        x = self.up(torch.relu(self.second(torch.relu(self.first(image)))))
        return self.last(x.mean((2, 3)))


@pytest.fixture
def chain() -> Chain:
    """Return it with three groups whose root mean square is 1e-4, and one that is zero."""
    torch.manual_seed(1)
    net = Chain().to(memory_format=torch.channels_last)
    with torch.no_grad():
        for group in (net.second.weight[:, 2], net.second.weight[:, 5], net.up.weight[3]):
            group.mul_(1e-4 / group.square().mean().sqrt())
        net.first.weight[:, 1] = 0
    return net


def test_groups_below_the_limit_go_and_the_network_stays(chain, compile_static) -> None:
    before = copy.deepcopy(chain.state_dict())
    example = (2, 3, 8, 8)
    assert compile_static(chain, *example, threshold=0.9e-4).report.threshold["num_zeroed"] == 0
    compact = compile_static(chain, *example, threshold=1.1e-4)
    assert compact.report.threshold["layers"] == {"second": 2, "up": 1}
    assert compact.report.threshold["num_zeroed"] == 3
    assert compact.report.threshold["num_groups"] == 3 + 8 + 6 + 4
    assert compact.module.get_parameter("first.weight").shape[0] == 6
    assert compact.module.get_parameter("second.weight").shape[:2] == (5, 6)
    for name, value in chain.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(compact.dense(IMAGE), chain(IMAGE))  # the network before the threshold


def test_every_kind_of_convolution_has_its_groups() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2),
        nn.ConvTranspose2d(8, 6, 2, groups=2),
        nn.Conv2d(6, 6, 3, groups=6),
    ).to(memory_format=torch.channels_last)
    grouped, transposed, depthwise = (layer.weight.detach() for layer in net)
    groups = [  # one for each input channel
        [grouped[4 * (c // 2) : 4 * (c // 2) + 4, c % 2] for c in range(4)],
        [transposed[c] for c in range(8)],
        [depthwise[c] for c in range(6)],
    ]
    sizes = [torch.stack([g.square().mean().sqrt() for g in layer]) for layer in groups]
    limit = torch.cat(sizes).sort().values[7:9].mean().item()
    captured = capture(net, torch.rand(2, 4, 8, 8), dynamic=False)
    normalise(captured.module)
    small = apply_threshold(captured.module, limit)
    assert sum(small.groups.values()) == 8
    assert small.num_groups == 18
    for layer, size in zip(groups, sizes, strict=True):
        for group, rms in zip(layer, size, strict=True):
            if rms < limit:
                group.zero_()  # in the network itself, whose weights the capture shares
    for name, tensor in captured.module.named_parameters():
        assert torch.equal(small.module.get_parameter(name), tensor)


def test_the_change_is_that_of_the_zeroed_network(chain, compile_static) -> None:
    compact = compile_static(chain, 2, 3, 8, 8, threshold=1.1e-4, images=[IMAGE])
    zeroed = copy.deepcopy(chain)
    with torch.no_grad():
        zeroed.second.weight[:, [2, 5]] = 0
        zeroed.up.weight[3] = 0
    torch.testing.assert_close(compact.module(IMAGE), zeroed(IMAGE), rtol=1e-5, atol=1e-6)
    generator = torch.Generator().manual_seed(0)  # the noise that verification draws
    noise = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64).to(torch.float32)
    expected = {"rms": 0.0, "max": 0.0}
    for image in (noise, IMAGE):
        old, new = chain.double()(image.double()), zeroed.double()(image.double())
        rms = (new - old).norm() / old.norm()
        expected["rms"] = max(expected["rms"], rms.item())
        expected["max"] = max(expected["max"], ((new - old).abs().max() / old.abs().max()).item())
    assert compact.report.threshold["outputs"]["output"] == pytest.approx(expected, rel=1e-9)
    assert 0 < expected["rms"] < 1e-2


def test_the_contracted_kernel_of_an_expanded_network_counts(chain, compile_static) -> None:
    plain = compile_static(chain, 2, 3, 8, 8, threshold=1.1e-4)
    expand(chain, tasks=("a",), layers=("second",))
    compact = compile_static(chain, 2, 3, 8, 8, threshold=1.1e-4)
    assert compact.report.threshold["layers"] == plain.report.threshold["layers"]
    assert compact.report.after == plain.report.after


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf])
def test_a_threshold_that_is_none_is_refused(chain, compile_static, limit) -> None:
    with pytest.raises(UsageError, match="expected a positive number"):
        compile_static(chain, 2, 3, 8, 8, threshold=limit)


def test_a_threshold_without_removal_is_refused(chain, compile_static) -> None:
    with pytest.raises(UsageError, match="none are"):
        compile_static(chain, 2, 3, 8, 8, threshold=1e-3, prune_zero_channels=False)
