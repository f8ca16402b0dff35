"""A network that chooses by what it computes: rounding flips choices, and float64 decides."""

import pytest
import torch
from torch import Tensor, nn

import compactmtl as cm
from compactmtl.errors import VerificationError

IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Chooses(nn.Module):
    """Keeps the values that reach a limit: its own values, rounded, so that each is a near-tie."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.part = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.Conv2d(24, 6, 3))
        with torch.no_grad():
            self.part[2].weight[:, 5:15] = 0
            self.register_buffer("limit", self.part(IMAGE))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        values = self.part(image)
        chosen = values >= self.limit
        return {"values": values[chosen], "chosen": chosen}


def test_flips_are_counted_and_decided_in_float64():
    report = cm.compress(Chooses().eval(), IMAGE, part="part", dynamic=False).report.part
    assert report["num_flipped"] == 1
    assert report["rms_change_of_whole"] < 1e-9


def test_a_wrong_part_is_found_in_float64_too(monkeypatch):
    from compactmtl.compiler import part

    def wrong(model: nn.Module, compact: cm.CompactModel) -> nn.Module:
        whole = cm.stitch(model, compact)
        with torch.no_grad():
            next(whole.part.parameters()).mul_(1.001)
        return whole

    monkeypatch.setattr(part, "stitch", wrong)
    with pytest.raises(VerificationError, match=r"another shape.* in float64 it differs by"):
        cm.compress(Chooses().eval(), IMAGE, part="part", dynamic=False)


class FindsNothing(nn.Module):
    """Hands its part nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Conv2d(3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.part(image[:0])


def test_a_part_that_is_handed_nothing_is_proved_on_noise():
    compact = cm.compress(FindsNothing().eval(), IMAGE, part="part")
    assert compact.report.verification["num_inputs"] >= 2
