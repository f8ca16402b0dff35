"""What a network says of itself that branches on what it finds: parts of it that are static graphs.

Between its parts such a network is Python. `compress` compiles the parts one by one and puts them
back; the network declares them, as ``models.panoptic_fpn`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class StaticPart:
    """A submodule that is one static graph.

    Attributes:
        module: Its dotted name.
        inputs: Names for its inputs.
        outputs: Names for its outputs; None: the keys of the dict that it returns.
    """

    module: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] | None = None


@runtime_checkable
class InParts(Protocol):
    """A network of static parts, called in the order of ``static_parts``, the first with images."""

    static_parts: ClassVar[Mapping[str, StaticPart]]

    def narrowed(self, round_up: Callable[[int], int]) -> nn.Module:
        """Return a copy that computes the same, handing on between parts only what is read.

        Args:
            round_up: From how many channels are read to how many are best handed on.
        """

    def processing(self) -> dict[str, Any]:
        """Return, as JSON data, what makes the network of its parts; see ``models.PIPELINES``."""
