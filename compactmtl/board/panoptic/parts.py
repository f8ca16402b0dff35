"""The parts of a Panoptic FPN that a runtime computes."""

from collections.abc import Callable, Mapping

from compactmtl.board.tensors import Array

Part = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""A loaded part: named arrays to named arrays."""

LEARNED = ("pixels", "boxes", "masks")
"""Graphs of layers, with the names that ``compress`` gave them."""
BOX_ALIGN, MASK_ALIGN, SUPPRESSION = "box_align", "mask_align", "suppression"
"""Operators without weights: RoI align for each head, and non-maximum suppression."""
NAMES = (*LEARNED, BOX_ALIGN, MASK_ALIGN, SUPPRESSION)
