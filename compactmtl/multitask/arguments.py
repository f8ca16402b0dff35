"""Arguments a recipe gives to a part, checked against the part's own signature."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compactmtl.errors import RecipeError
from compactmtl.parts import nearest


def checked_arguments(
    factory: Callable[..., Any], args: Mapping[str, Any], *, what: str, positional: int = 1
) -> dict[str, Any]:
    """Return ``args`` ready for ``factory(<positional arguments>, **args)``.

    Values for our own parts are also checked against the parameter's annotation (a TOML list
    becomes a tuple where one is expected); types in a user's part are the user's business.

    Args:
        factory: The part: a class or a function.
        args: What the recipe says.
        what: The part's name for the message, as in "network `segnet`".
        positional: How many leading parameters the library fills itself.

    Raises:
        RecipeError: An unknown argument (with the nearest name), a missing one, or a wrong type.
    """
    parameters = list(inspect.signature(factory).parameters.values())[positional:]
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    hint = f"arguments here: {', '.join(named)}" if named else "it takes no arguments"
    for name in args:
        if name not in named and not takes_any:
            raise RecipeError(f"{what}: unknown argument `{name}`{nearest(name, named)}", hint=hint)
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in args:
            raise RecipeError(f"{what}: argument `{name}` is missing", hint=hint)
    if not factory.__module__.startswith("compactmtl."):
        return dict(args)
    return {name: _typed(value, named[name], what) for name, value in args.items()}


def _typed(value: object, parameter: inspect.Parameter, what: str) -> object:
    """Return the value in the type its parameter is annotated with."""
    try:
        return TypeAdapter(parameter.annotation).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise RecipeError(
            f"{what}: argument `{parameter.name}`: {reason} (got {value!r})"
        ) from error
