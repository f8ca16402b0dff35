"""Several exact plans of one network; which of them is fastest, the bench tells on the device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from compactmtl.compact import CompactModel
from compactmtl.compact_network import CompactNetwork
from compactmtl.compiler.cost import ConvShape, CostModel, MacsCost, WithoutGathers
from compactmtl.compiler.table import CostTable, default_table
from compactmtl.errors import UsageError
from compactmtl.parts import nearest

MULTIPLE = 16
"""What the aligned variant rounds to: whole blocks of AVX-512 and of tensor cores at 16 bits."""
UNALIGNED = 10.0
"""How much dearer it takes other widths to be: it still has them where nothing else is possible."""


@dataclass(frozen=True)
class AlignedWidths:
    """A cost model under which layers have widths that are multiples of 16, wherever possible."""

    model: CostModel

    @property
    def name(self) -> str:
        """Say what it wants."""
        return f"{self.model.name}, widths in multiples of {MULTIPLE}"

    @property
    def device(self) -> str:
        """Return that of the model."""
        return self.model.device

    @property
    def unifies(self) -> bool:
        """Return that of the model."""
        return self.model.unifies

    def conv(self, shape: ConvShape) -> float:
        """Cost what it costs in the model, and more where a width is no multiple."""
        is_aligned = shape.rows % MULTIPLE == shape.columns % MULTIPLE == 0
        return self.model.conv(shape) * (1.0 if is_aligned else UNALIGNED)

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Cost what it costs in the model."""
        return self.model.gather(stored=stored, read=read, positions=positions)


VARIANTS: dict[str, Callable[[CostModel], CostModel]] = {
    "by-cost": lambda model: model,
    "no-gathers": WithoutGathers,
    "aligned": AlignedWidths,
    "least-macs": lambda model: MacsCost(),
}
"""Name of a variant to the cost model it is made with, given the one of the target."""


def variant(name: str, model: CostModel) -> CostModel:
    """Return the cost model of a variant.

    Args:
        name: One of ``VARIANTS``.
        model: What things cost on the target.

    Raises:
        UsageError: There is no such variant.
    """
    if name not in VARIANTS:
        raise UsageError(
            f"no variant called `{name}`{nearest(name, VARIANTS)}",
            hint=f"there are: {', '.join(VARIANTS)}",
        )
    return VARIANTS[name](model)


def choose_objective(
    objective: str | None, table: Path | None, name: str | None
) -> str | CostModel:
    """Return the objective that the options of ``compress`` name together.

    Args:
        objective: "latency", "macs" or "params"; None is "latency".
        table: A cost table; None: the one that ships.
        name: One of ``VARIANTS``; None: by cost.

    Raises:
        UsageError: A table or a variant goes with another objective than latency.
    """
    if objective not in (None, "latency"):
        for option, value in (("--table", table), ("--variant", name)):
            if value is not None:
                raise UsageError(
                    f"{option} says how to be fast, the objective is {objective}",
                    hint="leave out one of the two",
                )
        return objective
    if name is not None:
        return variant(name, default_table() if table is None else CostTable.load(table))
    return "latency" if table is None else CostTable.load(table)


def variants(
    compact: CompactModel | CompactNetwork,
    compile_with: Callable[..., Any],
    table: Path | None = None,
) -> dict[str, CompactModel]:
    """Compile one network by several plans, each verified as any other; equal ones come once.

    Args:
        compact: The network by the plan that was asked for, which needs no second copy.
        compile_with: Compiles the network for an ``objective``, other options as for ``compact``.
        table: A cost table; None: the one that ships.

    Returns:
        The variants by name, without those that are equal to ``compact`` or to an earlier one, and
        without their dense twins, which are that of ``compact``.

    Raises:
        UsageError: The network is compiled in parts.
    """
    if isinstance(compact, CompactNetwork):
        raise UsageError("variants are of networks of one graph; this one is compiled in parts")
    model = default_table() if table is None else CostTable.load(table)
    found: dict[str, CompactModel] = {}
    for name, make in VARIANTS.items():
        made = compile_with(objective=make(model))
        if not any(equal(made, other) for other in (compact, *found.values())):
            found[name] = replace(made, dense=None)
    return found


def equal(one: CompactModel, other: CompactModel) -> bool:
    """Tell whether two compact models of one network compute the same in the same way."""
    return _ops(one) == _ops(other) and _tensors_equal(
        one.module.state_dict(), other.module.state_dict()
    )


def _ops(compact: CompactModel) -> list[tuple[str, str, str, str]]:
    return [
        (node.op, node.name, str(node.target), f"{node.args} {node.kwargs}")
        for node in compact.module.graph.nodes
    ]


def _tensors_equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.shape == other[name].shape and torch.equal(tensor, other[name])
        for name, tensor in one.items()
    )
