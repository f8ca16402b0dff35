"""What `compactmtl train` aims at: a share of zeros, of multiplications, or a latency."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compactmtl.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compactmtl.recipe import Recipe

TargetSparsity = Annotated[
    float | None,
    typer.Option(
        "--target-sparsity", metavar="SHARE", help="Make this share of the channel groups zero."
    ),
]
TargetMacs = Annotated[
    float | None,
    typer.Option("--target-macs", metavar="SHARE", help="Leave this share of the multiplications."),
]
TargetLatency = Annotated[
    float | None,
    typer.Option(
        "--target-latency-ms", metavar="MS", help="Until the cost table predicts this latency."
    ),
]
CostTableFile = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="FILE",
        help="The cost table that latencies are predicted by.",
        show_default="the one that ships",
    ),
]
Assume = Annotated[
    bool,
    typer.Option("--assume", help="Take a cost table that was measured on another machine."),
]


def target_settings(
    sparsity: float | None, macs: float | None, latency_ms: float | None
) -> list[str]:
    """Return the settings that put the command line's target in the place of the recipe's own.

    Raises:
        UsageError: Two targets.
    """
    given = {"target": sparsity, "target_macs": macs, "target_latency_ms": latency_ms}
    chosen = {name: value for name, value in given.items() if value is not None}
    if len(chosen) > 1:
        raise UsageError(
            "two targets, expected one: --target-sparsity, --target-macs or --target-latency-ms"
        )
    if not chosen:
        return []
    aims = [f"sparsity.{name}={chosen.get(name, '')}" for name in given]
    return [*aims, 'sparsity.schedule="target"', "check.target=true"]


def cost_of(
    recipe: "Recipe", table: Path | None, *, assume: bool
) -> "Callable[[nn.Module, Tensor], float] | None":
    """Return what a recipe's target of cost is measured by; None where it has none.

    Raises:
        RefusedError: The cost table is of another machine.
    """
    section = recipe.sparsity
    if section is None or (section.target_macs is None and section.target_latency_ms is None):
        return None
    from compactmtl.compiler.predict import macs_left, predicted_ms
    from compactmtl.compiler.table import CostTable, default_table, not_measured_here

    if section.target_macs is not None:
        return macs_left
    costs = default_table() if table is None else CostTable.load(table)
    elsewhere = not_measured_here(costs)
    if elsewhere and not assume:
        raise RefusedError(
            f"milliseconds would be another machine's: the cost table is {elsewhere}",
            hint="`compactmtl calibrate` (--host for a board), then --table FILE; or --assume",
        )
    return partial(predicted_ms, table=costs)
