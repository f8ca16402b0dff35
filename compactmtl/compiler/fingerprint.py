"""A few numbers of what a compact model computes, to know it again elsewhere."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from compactmtl.compact import InputSpec, Manifest
from compactmtl.compiler.precision import double_copy, to_double
from compactmtl.graph_mode import modal

NUM_VALUES = 16
GOLDEN = 0.6180339887498949  # its multiples spread evenly over [0, 1) and need no random generator


@torch.no_grad()
def output_checks(module: fx.GraphModule, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return, per output, its shape, its largest magnitude and some of its numbers, in float64.

    They are computed on an input that every release of torch makes alike, at the example size and
    batch 1 where that is free.

    Args:
        module: A compact graph; its mode does not matter, and stays.
        manifest: Its inputs and outputs.
    """
    wide = modal(double_copy(module)).eval()
    outputs = tree_leaves(wide(*(to_double(ramp(spec)) for spec in manifest.inputs)))
    checks = {}
    for name, output in zip(manifest.output_names, outputs, strict=True):
        numbers = output.double().flatten()
        num_values = max(min(NUM_VALUES, numbers.numel()), 1)
        places = torch.arange(0, numbers.numel() * num_values, max(numbers.numel(), 1))
        checks[name] = {
            "shape": list(output.shape),
            "scale": numbers.abs().max().item() if numbers.numel() else 0.0,
            "values": numbers[places // num_values].tolist(),
        }
    return checks


def ramp(spec: InputSpec) -> Tensor:
    """Return an input of the example shape that is the same everywhere, with numbers in [0, 1)."""
    shape = (1 if 0 in spec.dynamic else spec.shape[0], *spec.shape[1:])
    numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * GOLDEN % 1.0
    return numbers.reshape(shape).to(getattr(torch, spec.dtype))
