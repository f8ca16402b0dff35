"""Antialiased resizing as two products with constant matrices.

Rewrites: bilinear and bicubic resizing with ``antialias=True`` between sizes that are fixed.
Leaves alone: all of a program's, if one has a dynamic size; ONNX's Resize stays, and the dialect's
check names it.
Algebra: the op is linear and separable, ``y = A x B^T`` for each plane. Torch itself makes A and B:
its op on a unit matrix, of which the other axis keeps its size, returns its own weights, in its own
precision. The products may sum in another order than torch, as any convolution may.
"""

from collections.abc import Sequence
from typing import Any

import torch
from onnx import numpy_helper
from torch import Tensor
from torch.export import ExportedProgram

from compactmtl.export.onnx_values import Value, op

OPS = (torch.ops.aten._upsample_bilinear2d_aa, torch.ops.aten._upsample_bicubic2d_aa)
BILINEAR = torch.ops.aten._upsample_bilinear2d_aa.default
BICUBIC = torch.ops.aten._upsample_bicubic2d_aa.default


def has_fixed_sizes(program: ExportedProgram) -> bool:
    """Tell whether all antialiased resizing of a program is between fixed sizes."""
    return all(
        isinstance(size, int)
        for node in program.graph.nodes
        if getattr(node.target, "overloadpacket", None) in OPS
        for value in (node, node.args[0])
        for size in value.meta["val"].shape[-2:]
    )


def bilinear(
    self: Value,
    output_size: Sequence[int],
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """Translate ``aten._upsample_bilinear2d_aa``: (N, C, H, W) -> (N, C, *output_size)."""
    return _resize(BILINEAR, self, output_size, align_corners, (scales_h, scales_w))


def bicubic(
    self: Value,
    output_size: Sequence[int],
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """Translate ``aten._upsample_bicubic2d_aa``: (N, C, H, W) -> (N, C, *output_size)."""
    return _resize(BICUBIC, self, output_size, align_corners, (scales_h, scales_w))


def _resize(
    resize: Any,
    x: Value,
    sizes: Sequence[int],
    align_corners: bool,
    scales: tuple[float | None, float | None],
) -> Value:
    planes = zip(x.shape[-2:], sizes, scales, strict=True)
    down, right = (
        weights_of(resize, int(before), int(after), align_corners, scale)
        for before, after, scale in planes
    )
    narrowed = op.MatMul(x, _like(x, right.T.contiguous()))  # the axis that torch starts with
    return op.MatMul(_like(x, down), narrowed)


def _like(x: Value, weights: Tensor) -> Value:
    return op.CastLike(op.Constant(value=numpy_helper.from_array(weights.numpy())), x)


def weights_of(
    resize: Any, before: int, after: int, align_corners: bool, scale: float | None
) -> Tensor:
    """Return the matrix (after, before) by which torch resizes one axis."""
    unit = torch.eye(before)[None, None]
    weights: Tensor = resize(unit, [after, before], align_corners, scale, None)[0, 0]
    return weights
