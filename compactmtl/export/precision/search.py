"""Which layers to keep in fp32, so that no task's error grows by more than its budget."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from compactmtl.errors import ExportError

PerTask = Mapping[str, float]


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        kept: Layers to keep, the most expensive first.
        costs: Per layer that was ranked: each task's error where it alone is lowered.
        growth: How much each task's error grows with ``kept`` in fp32.
    """

    kept: Sequence[str]
    costs: Mapping[str, PerTask]
    growth: PerTask


def find_kept(
    layers: Sequence[str],
    *,
    errors: Callable[[Collection[str]], PerTask],
    growth: Callable[[Collection[str]], PerTask],
    budgets: PerTask,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Keep as few of the most expensive layers as it takes to stay within every budget.

    Each layer is lowered alone. Its cost is the error this makes, as a share of the error with all
    layers lowered, of the task where that share is largest. The order of costs does not depend on
    the budgets, and the first that are enough are kept: a smaller budget keeps the same layers and
    perhaps more. The same figures give the same layers; of equal ones, the earlier in the network.

    Args:
        layers: Names in the network's order.
        errors: Takes the layers that stay in fp32; returns each task's error, cheap to measure.
        growth: The same for what the budgets limit.
        budgets: Task name to limit; decides which tasks matter.
        progress: Called with the steps done and how many there are at most.

    Raises:
        ExportError: Not even a single lowered layer is within the budgets.
    """
    total, done = 1 + 2 * len(layers), 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    now = growth(())
    step()
    if _within(now, budgets):
        return Found(kept=(), costs={}, growth=now)
    whole = errors(())
    costs = {}
    for layer in layers:
        costs[layer] = errors([other for other in layers if other != layer])
        step()
    ranked = sorted(
        layers, key=lambda layer: -max(_share(costs[layer][task], whole[task]) for task in budgets)
    )
    best, best_excess = now, _excess(now, budgets)
    best_num = 0
    for num in range(1, len(layers)):
        now = growth(ranked[:num])
        step()
        if _within(now, budgets):
            return Found(kept=tuple(ranked[:num]), costs=costs, growth=now)
        if _excess(now, budgets) < best_excess:
            best, best_excess, best_num = now, _excess(now, budgets), num
    asked = ", ".join(f"{task} {limit:g}" for task, limit in budgets.items())
    reached = ", ".join(f"{task} {best[task]:.3g}" for task in budgets)
    raise ExportError(
        f"no choice of layers keeps the growth of the errors within {asked}; the best reached is "
        f"{reached}, with {best_num} of {len(layers)} layers in fp32; nothing was written",
        hint="allow more, calibrate on more samples, or choose fp16",
    )


def _share(error: float, whole: float) -> float:
    if not math.isfinite(whole):  # what overflows says nothing of how much the others matter
        return error
    return error / whole if whole > 0 else 0.0


def _within(growth: PerTask, budgets: PerTask) -> bool:
    return all(growth[task] <= limit for task, limit in budgets.items())  # NaN is not within


def _excess(growth: PerTask, budgets: PerTask) -> float:
    return max(growth[task] - limit for task, limit in budgets.items())
