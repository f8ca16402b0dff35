"""Compile one network and compare it with its original; the one oracle of all random networks."""

from typing import Any

import torch
from torch import Tensor, nn

from compactmtl.compact import CompactModel
from compactmtl.compiler import compress


def draw_inputs(seed: int, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Return one random tensor per shape."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(shape, generator=generator) for shape in shapes)


def settings_of(seed: int) -> dict[str, Any]:
    """Return settings that change from seed to seed: every mixture occurs."""
    return {
        "objective": ("latency", "macs")[seed % 2],
        "gather": seed % 3 != 0,
        "dynamic": seed % 10 == 7,
    }


@torch.no_grad()  # some networks write in place into views, or into their inputs
def check_exact(model: nn.Module, inputs: tuple[Tensor, ...], **settings: Any) -> CompactModel:
    """Compile ``model`` and compare; ``compress`` itself verifies in float64, at two sizes if free.

    What is compared here is what the user gets, in the precision and at the size he gave.
    """
    expected = {name: value.clone() for name, value in model(*(x.clone() for x in inputs)).items()}
    compact = compress(model, [x.clone() for x in inputs], **settings)
    got = compact.module(*(x.clone() for x in inputs))
    assert list(got) == list(expected)
    # A maximum chosen the other way at a near-tie moves a value: only `compress`, which imposes the
    # original's choices, can compare then.
    flipped = compact.report.verification["selection_flips"] > 0
    for name, value in expected.items():
        assert got[name].shape == value.shape
        if not flipped:
            tolerance = 1e-4 * value.abs().max().item()
            torch.testing.assert_close(got[name], value, rtol=1e-3, atol=tolerance)
    return compact


def share_left(compact: CompactModel) -> float:
    """Return the share of parameters that is left."""
    return compact.report.after.num_params / compact.report.before.num_params
