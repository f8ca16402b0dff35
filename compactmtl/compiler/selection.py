"""Run a graph while recording, or imposing, the choices that rounding can flip: max positions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.compiler.normalise import op_name

POOLS_WITH_POSITIONS = frozenset({"max_pool2d_with_indices"})


@dataclass
class Selections:
    """The positions every max pool chose, by node name, and how they differ from imposed ones.

    Attributes:
        chosen: Per pool the flat positions (N, C, H', W').
        flips: Number of positions that differ from the imposed choice.
        widest_gap: Largest distance between own and imposed maximum over the flips, relative to
            the largest magnitude in that tensor.
    """

    chosen: dict[str, Tensor] = field(default_factory=dict)
    flips: int = 0
    widest_gap: float = 0.0


class SelectingRunner(fx.Interpreter):
    """Run a graph; let max pools take imposed positions instead of their own.

    Args:
        module: The graph.
        imposed: Positions by node name, for exactly the channels that the node stores; None: free.
        live: By node name which of these channels matter; the others may hold anything.
        selections: Filled with what the pools would choose themselves.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        selections: Selections,
        imposed: Mapping[str, Tensor] | None = None,
        live: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.extra_traceback = False
        self._selections = selections
        self._imposed = imposed
        self._live = live or {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node; at a pool with positions record, compare and impose."""
        result = super().run_node(n)
        if n.op != "call_function" or op_name(n) not in POOLS_WITH_POSITIONS:
            return result
        values, own = result
        self._selections.chosen[n.name] = own
        if self._imposed is None:
            return result
        imposed = self._imposed[n.name]
        source = self.fetch_args_kwargs_from_env(n)[0][0].flatten(2)
        taken = source.gather(2, imposed.flatten(2)).view_as(values)
        differs = own != imposed
        if n.name in self._live:
            differs &= self._live[n.name].reshape(1, -1, 1, 1)
        if differs.any():
            scale = source.abs().amax().clamp_min(torch.finfo(source.dtype).tiny)
            gap = ((values - taken)[differs].amax() / scale).item()
            self._selections.flips += int(differs.sum())
            self._selections.widest_gap = max(self._selections.widest_gap, gap)
        return taken, imposed


def has_selections(module: fx.GraphModule) -> bool:
    """Tell whether a graph holds a choice that rounding can flip."""
    return any(
        n.op == "call_function" and op_name(n) in POOLS_WITH_POSITIONS for n in module.graph.nodes
    )
