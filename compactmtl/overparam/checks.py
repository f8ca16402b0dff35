"""An optimiser that fits an expanded network, checked before each step."""

from collections.abc import Iterable

from torch import Tensor
from torch.optim import Optimizer

from compactmtl.errors import UsageError


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return every parameter an optimiser holds."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def check_optimizer(
    optimizer: Optimizer, needed: Iterable[Tensor], *, undecayed: Iterable[Tensor]
) -> None:
    """Check that an optimiser holds the needed parameters and does not decay others.

    Raises:
        UsageError: It does not.
    """
    held = {id(parameter) for parameter in parameters_of(optimizer)}
    missing = sum(id(parameter) not in held for parameter in needed)
    if missing:
        raise UsageError(
            f"{type(optimizer).__name__} lacks {missing} of the factors: "
            "it was built before `expand`, or from other parameters",
            hint="build it after expand, from param_groups(model, lr)",
        )
    free = {id(parameter) for parameter in undecayed}
    for index, group in enumerate(optimizer.param_groups):
        decay = group.get("weight_decay", 0.0)
        if decay != 0.0 and any(id(parameter) in free for parameter in group["params"]):
            raise UsageError(
                f"{type(optimizer).__name__} decays m: "
                f"weight_decay of parameter group {index} is {decay}, expected 0",
                hint="build it from param_groups(model, lr)",
            )


def check_no_gradient(optimizer: Optimizer, frozen: Iterable[Tensor], why: str) -> None:
    """Check that no frozen parameter in an optimiser has a gradient left, or it would be stepped.

    Raises:
        UsageError: One has.
    """
    held = {id(parameter) for parameter in parameters_of(optimizer)}
    stale = sum(p.grad is not None and id(p) in held for p in frozen)
    if stale:
        raise UsageError(
            f"{why}, but {type(optimizer).__name__} holds {stale} other parameters with a gradient",
            hint="call optimizer.zero_grad(set_to_none=True) before the block",
        )
