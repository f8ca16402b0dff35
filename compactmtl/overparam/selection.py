"""Layers chosen by the papers' rules, beside patterns on their names."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from compactmtl.errors import PatternError
from compactmtl.overparam.kernel import LAYER_TYPES
from compactmtl.patterns import matching_layers

NUM_IN_BOTTLENECK = 3


def chosen_layers(model: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Return the layers that rules of ``RULES`` and patterns choose, in the network's order.

    A ``!`` in front of a pattern leaves layers out of what rules choose, too.

    Raises:
        PatternError: A pattern matches no layer, or a rule finds none.
    """
    names: list[str] = []
    for pattern in patterns:
        names += RULES[pattern](model) if pattern in RULES else [pattern]
    return matching_layers(model, names, LAYER_TYPES)


def all_but_final(model: nn.Module) -> list[str]:
    """Return all layers but the one that makes each task's output: the last of each head.

    Heads are what ``model.heads`` holds; a network without them ends in its last layer. Layers
    inside heads are taken too, as in the paper's single-task table; with several tasks they get
    factors of tasks that never pass through them: add ``!heads.*``.

    Source: Ren & Shi, section 3.1.
    """
    layers = _layers(model)
    heads = getattr(model, "heads", None)
    ends = [f"heads.{task}" for task, _ in heads.named_children()] if heads is not None else [""]
    final = set()
    for end in ends:
        inside = [n for n in layers if not end or n == end or n.startswith(f"{end}.")]
        final.update(inside[-1:])
    return _found("all_but_final", [name for name in layers if name not in final])


def bottleneck_first(model: nn.Module) -> list[str]:
    """Return the first 1x1 convolution of each bottleneck: three of its own, 1x1, larger, 1x1.

    Source: Ren & Shi, section 3.2 (DeepLabV3); He et al. (2016), figure 5, for the block.
    """
    found = []
    for name, module in model.named_modules():
        own = {n: c for n, c in module.named_children() if isinstance(c, nn.Conv2d)}
        sizes = [max(conv.kernel_size) for conv in own.values()]
        if len(sizes) == NUM_IN_BOTTLENECK and sizes[0] == sizes[2] == 1 < sizes[1]:
            found.append(f"{name}.{next(iter(own))}".removeprefix("."))
    return _found("bottleneck_first", found)


def _layers(model: nn.Module) -> Mapping[str, nn.Module]:
    return {n: m for n, m in model.named_modules() if isinstance(m, LAYER_TYPES)}


def _found(rule: str, names: list[str]) -> list[str]:
    if not names:
        raise PatternError(
            f"rule `{rule}` finds no layer in this network",
            hint="choose layers by patterns over their names",
        )
    return names


RULES: Mapping[str, Callable[[nn.Module], list[str]]] = {
    "all_but_final": all_but_final,
    "bottleneck_first": bottleneck_first,
}
"""What may stand among the patterns of ``expand(layers=)`` and of ``overparam.layers``."""
