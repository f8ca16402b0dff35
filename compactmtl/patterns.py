"""Layers chosen by patterns on their dotted names, one meaning for every part of the library."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from compactmtl.errors import PatternError, UsageError
from compactmtl.parts import nearest


def matching_layers(
    model: nn.Module, patterns: str | Sequence[str], types: tuple[type[nn.Module], ...]
) -> dict[str, nn.Module]:
    """Return the layers of the given types whose dotted name matches any of the patterns.

    Patterns are shell-like and case-sensitive (``fnmatch.fnmatchcase``); ``*`` also crosses dots.
    What a pattern with ``!`` in front matches is left out, wherever it stands in the list: all but
    the heads' last layers is ``("*", "!heads.*.1")``.
    A module that is registered under several names is returned once, under the first name that
    matches. The order is that of ``model.named_modules()``.

    Raises:
        PatternError: A pattern matches no such layer; the message has the nearest name. Or all of
            them only leave layers out.
    """
    wanted = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    every = dict(model.named_modules(remove_duplicate=False))
    layers = {name: module for name, module in every.items() if isinstance(module, types)}
    for pattern in (pattern.removeprefix("!") for pattern in wanted):
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise _nothing_matches(pattern, every, layers, types)
    unwanted = [pattern[1:] for pattern in wanted if pattern.startswith("!")]
    wanted = tuple(pattern for pattern in wanted if not pattern.startswith("!"))
    if unwanted and not wanted:
        raise PatternError(
            f"patterns {unwanted} only leave layers out",
            hint='say of which: ("*", "!heads.*")',
        )
    layers = {
        name: module
        for name, module in layers.items()
        if not any(fnmatchcase(name, pattern) for pattern in unwanted)
    }
    chosen: dict[str, nn.Module] = {}
    seen: set[int] = set()
    for name, module in layers.items():
        if id(module) not in seen and any(fnmatchcase(name, pattern) for pattern in wanted):
            chosen[name] = module
            seen.add(id(module))
    return chosen


def declared_patterns(
    model: nn.Module, patterns: str | Sequence[str] | None, attribute: str, argument: str
) -> tuple[str, ...]:
    """Return ``patterns`` as a tuple; None stands for what the network declares in ``attribute``.

    Raises:
        UsageError: ``patterns`` is None and the network declares nothing.
    """
    if patterns is None:
        if not hasattr(model, attribute):
            raise UsageError(
                f"{type(model).__name__} has no `{attribute}`, and `{argument}` was not given",
                hint=f"pass {argument}=..., patterns over the names in model.named_modules()",
            )
        patterns = getattr(model, attribute)
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _nothing_matches(
    pattern: str,
    every: dict[str, nn.Module],
    layers: dict[str, nn.Module],
    types: tuple[type[nn.Module], ...],
) -> PatternError:
    kinds = " or ".join(kind.__name__ for kind in types)
    message = f"pattern `{pattern}` matches no {kinds} layer{nearest(pattern, layers)}"
    containers = [name for name in every if name and fnmatchcase(name, pattern)]
    shown = ", ".join(list(layers)[:6]) + (", ..." if len(layers) > 6 else "")
    if any(layer.startswith(f"{name}.") for name in containers for layer in layers):
        hint = f"`{containers[0]}` holds layers; write `{pattern}.*` for them"
    elif layers:
        hint = f"the {len(layers)} layers are: {shown}"
    else:
        hint = f"the network has no {kinds} layer at all"
    return PatternError(message, hint=hint)
