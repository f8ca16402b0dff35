"""The search for widths: what it can promise."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compactmtl.compiler import compress
from compactmtl.compiler.cost import ConvShape


@dataclass(frozen=True)
class FastAtSeventy:
    """A cost model with one good place that no step of one width, and no rounding up, leads to."""

    name: str = "seventy"
    device: str = ""
    unifies: bool = False

    def conv(self, shape: ConvShape) -> float:
        if min(shape.rows, shape.columns) < 8:
            return 0.0
        return shape.macs * (1 if shape.rows == shape.columns == 70 else 10)

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        return 0.0


@dataclass(frozen=True)
class DearWhereBlocked:
    """Layers cost their multiplications, and gathers only where widths are multiples of 4."""

    name: str = "blocks"
    device: str = ""
    unifies: bool = False

    def conv(self, shape: ConvShape) -> float:
        return shape.macs

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        return 1000.0 * positions if stored % 4 == 0 else 0.0


def layers(compact) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["in_after"], row["out_after"]) for row in compact.report.layers}


def test_what_comes_out_never_costs_more_than_the_widths_there_are(compile_static) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 70, 1), nn.Conv2d(70, 70, 1), nn.Conv2d(70, 2, 1)).eval()
    with torch.no_grad():
        net[1].weight[:, 60:] = 0
        net[2].weight[:, 60:] = 0
    assert layers(compile_static(net, objective="macs"))["1"] == (60, 60)
    assert layers(compile_static(net, objective=FastAtSeventy()))["1"] == (70, 70)


class TwoReaders(nn.Module):
    """Two layers that each read half of a value, of which one channel is dead."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 9, 1)
        self.a, self.b = nn.Conv2d(9, 6, 3, padding=1), nn.Conv2d(9, 6, 3, padding=1)
        with torch.no_grad():
            self.a.weight[:, 4:] = 0
            self.b.weight[:, [0, 1, 2, 3, 8]] = 0

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        return self.a(x) + self.b(x)


def test_a_gather_that_is_there_counts_as_one_that_is_made(compile_static) -> None:
    net = TwoReaders().eval()
    once = compile_static(net, objective=DearWhereBlocked())
    assert layers(once) == {"stem": (3, 9), "a": (4, 6), "b": (4, 6)}  # 9, for 8 is dear to read
    twice = compress(once.module, torch.rand(2, 3, 8, 8), objective=DearWhereBlocked())
    assert layers(twice) == layers(once)
