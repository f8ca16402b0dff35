"""Widths: which values grow together, which channels they take, and what a pooling wants."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.compiler import compress
from compactmtl.compiler.cost import ConvShape


class Unpooling(nn.Module):
    """One pooling whose positions an unpooling uses again."""

    def __init__(self, encoder: slice, decoder: slice) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1)
        self.c = nn.Conv2d(24, 4, 3, padding=1)
        for layer, kept in ((self.b, encoder), (self.c, decoder)):
            with torch.no_grad():
                weight = layer.weight.clone()
                layer.weight.zero_()[:, kept] = weight[:, kept]

    def forward(self, image: Tensor) -> Tensor:
        x, positions = F.max_pool2d(self.a(image), 2, 2, return_indices=True)
        return self.c(F.max_unpool2d(F.relu(self.b(x)), positions, 2, 2))


@dataclass(frozen=True)
class Multiples:
    """A cost model that wants eight rows, sixteen where they are pooled."""

    name: str = "multiples"
    device: str = ""
    unifies: bool = True

    def conv(self, shape: ConvShape) -> float:
        return shape.macs * (10 if shape.rows % (16 if shape.pooled else 8) else 1)

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        return read


@pytest.mark.parametrize(
    ("encoder", "decoder", "rows"),
    [
        (slice(3, 16), slice(3, 10), (16, 8)),  # 13 and 7 live: each grows by what suits it
        (slice(8, 24), slice(8, 15), (16, 8)),  # 16 and 7: it grows by what the encoder stores
        (slice(0, 9), slice(9, 18), (18, 16)),  # 18 and 9: no more than 24 are there
    ],
)
def test_what_unpooling_joins_has_widths_of_its_own(encoder, decoder, rows) -> None:
    image = torch.rand(1, 3, 16, 16)
    network = Unpooling(encoder, decoder).eval()
    compact = compress(network, image, objective=Multiples(), dynamic=False)
    found = tuple(compact.module.get_parameter(f"{layer}.weight").shape[0] for layer in "ab")
    assert found == rows
    torch.testing.assert_close(compact.module(image), network(image), rtol=1e-4, atol=1e-5)


def test_only_what_is_pooled_counts_as_pooled() -> None:
    asked: dict[int, set[bool]] = {}

    class Recorder(Multiples):
        def conv(self, shape: ConvShape) -> float:
            asked.setdefault(shape.taps * shape.positions, set()).add(shape.pooled)
            return super().conv(shape)

    network = Unpooling(slice(0, 13), slice(0, 7)).eval()
    network.c = nn.Conv2d(24, 4, 1)
    compress(network, torch.rand(1, 3, 16, 16), objective=Recorder(), dynamic=False)
    assert True in asked[9 * 256]  # a
    assert asked[9 * 64] == {False}  # b
    assert asked[256] == {False}  # c
