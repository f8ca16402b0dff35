"""Eight families of networks: what is left is the gather bound, and a list of what is above it."""

import pytest
import torch
from bounds import Bounds, bounds, fitted
from sparse_families import FAMILIES, UNPOOLING
from torch import Tensor, nn

from compactmtl.compact import CompactModel
from compactmtl.compiler import compress


def compare(name: str, width: float, size: int = 64) -> tuple[CompactModel, Bounds]:
    family = FAMILIES.get(name, UNPOOLING)
    network, image = family.make(width=width), family.images(1, size)
    return compress(network, image, objective="macs", dynamic=False), bounds(network, image)


def check(name: str, width: float) -> None:
    """Compare layer by layer: rows, columns and MACs are those of the bound plus what is listed."""
    compact, found = compare(name, width)
    carriers = [(row["layer"], row["channel"]) for row in compact.report.carriers]
    expected = fitted(found, carriers)
    left = {
        row["name"]: (row["out_after"], row["in_after"], row["macs_after"])
        for row in compact.report.layers
    }
    assert {n: e for n, e in left.items() if e != expected[n]} == {}
    assert compact.report.opaque == []
    excess = compact.report.after.macs - found.gather
    explained = sum(macs for _, _, macs in expected.values()) - found.gather
    assert excess == explained
    assert excess == 0 or carriers
    assert found.gather <= found.coupled < compact.report.before.macs


@pytest.mark.parametrize("name", ["mobile", "shuffle", "squeeze", "grouped", "unpooling"])
def test_narrow_families_reach_the_gather_bound(name: str) -> None:
    check(name, width=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families_reach_the_gather_bound(name: str) -> None:
    check(name, width=1.0)


def test_the_bound_sees_what_a_compiler_keeps_too_much() -> None:
    family = FAMILIES["mobile"]
    network, image = family.make(width=0.25), family.images(1, 32)
    found = bounds(network, image)
    loose = compress(network, image, objective="macs", gather=False, dynamic=False)
    left = {row["name"]: (row["out_after"], row["in_after"]) for row in loose.report.layers}
    assert loose.report.after.macs > found.gather
    assert any(left[name] != (rows, columns) for name, (rows, columns, _) in fitted(found).items())


def test_bounds_of_a_stream_solved_by_hand() -> None:
    """Stem 3 -> 4, block 4 -> 4 added to it, head 4 -> 2, all 1x1 on 2x2 positions."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.block, self.head = (
                nn.Conv2d(a, b, 1) for a, b in [(3, 4), (4, 4), (4, 2)]
            )

        def forward(self, image: Tensor) -> Tensor:
            x = self.stem(image).relu()
            return self.head((x + self.block(x)).relu())

    net = Net()
    with torch.no_grad():
        net.block.weight[:, [2, 3]] = 0  # reads 0 and 1
        net.head.weight[:, [1, 3]] = 0  # reads 0 and 2: channel 3 is dead, 1 alive before the sum
        net.block.weight[2] = 0  # a constant: what the head reads of channel 2 is the stem's
    found = bounds(net, torch.rand(1, 3, 2, 2))
    assert [int(layer.rows.sum()) for layer in found.layers] == [3, 1, 2]
    assert found.coupled == 4 * (3 * 3 + 1 * 3 + 2 * 2)
    assert found.gather == 4 * (3 * 3 + 1 * 2 + 2 * 2)
