"""Stacks, and concatenation along other axes than the channels, solved by hand."""

import pytest
import torch
from torch import Tensor, nn


def layers(compact) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["in_after"], row["out_after"]) for row in compact.report.layers}


class Two(nn.Module):
    def __init__(self, how: str, rows: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(3, rows, 1)
        self.c, self.d = nn.Conv2d(6, 2, 1), nn.Conv2d(6, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        a, b = self.a(image), self.b(image)
        if self.how == "stack":
            y = torch.stack([a, b], 1).amax(1)
        elif self.how == "last":
            y = torch.stack((a, b), -1).softmax(-1).unbind(-1)[1]
        elif self.how == "width":
            y = torch.cat([a, b], 3)
        else:
            y = torch.cat([a, b], 0)
        return self.c(y), self.d(a)


@pytest.mark.parametrize("how", ["stack", "last", "width", "batch"])
def test_a_channel_that_nobody_reads_goes_from_all_operands(how: str, compile_static) -> None:
    net = Two(how)
    with torch.no_grad():
        net.c.weight[:, [0, 2, 3]] = 0
        net.d.weight[:, [0, 1]] = 0
    compact = compile_static(net, objective="macs")
    # `a` is read by `d` too, so the stack brings it to the layout of `b`
    assert layers(compact) == {"a": (3, 5), "b": (3, 3), "c": (3, 2), "d": (4, 2)}
    assert compact.report.opaque == []


@pytest.mark.parametrize("how", ["stack", "width"])
def test_a_constant_stays_one_where_it_is_the_same_in_all(how: str, compile_static) -> None:
    net = Two(how)
    with torch.no_grad():
        net.a.weight[:3] = net.b.weight[:3] = 0
        net.a.bias[:3] = torch.tensor([0.5, 0.7, 0.0])
        net.b.bias[:3] = torch.tensor([0.5, 0.6, 0.0])
    compact = compile_static(net, objective="macs")
    # 0 and 2 are the same constant in both; 1 is one in each, and two in both together
    assert layers(compact) == {"a": (3, 4), "b": (3, 4), "c": (4, 2), "d": (3, 2)}


def test_operands_with_channels_along_other_axes_stay_whole_and_say_why(compile_static) -> None:
    class Net(Two):
        def forward(self, image: Tensor) -> Tensor:
            return self.d(torch.cat([self.a(image), self.b(image).transpose(1, 3)], 2)[:, :6])

    net = Net("", rows=8)
    net.a = nn.Conv2d(3, 8, 1)
    with torch.no_grad():
        net.d.weight[:, :3] = 0
    compact = compile_static(net, 2, 3, 8, 8)
    assert layers(compact) == {"a": (3, 8), "b": (3, 8), "d": (3, 2)}
    (row,) = compact.report.opaque
    assert row["why"] == "its operands do not have the same channels"
