"""Parts that recipes and command lines name: ours by a word, the user's as package.module:Name."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from compactmtl.errors import CompactMTLError, PartError

T = TypeVar("T")


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean `x`?"`` for the closest of ``names``, or an empty string."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean `{matches[0]}`?" if matches else ""


def is_foreign(name: str) -> bool:
    """Tell whether a name points into the user's own code."""
    return ":" in name


def import_part(name: str) -> Any:
    """Import ``package.module:Name``, looking in the working directory too.

    Only call this with a name from a recipe or a command line, never from a checkpoint.

    Raises:
        PartError: The module or the name in it cannot be found.
    """
    module_name, _, attribute = name.partition(":")
    if not all(step.isidentifier() for step in f"{module_name}.{attribute}".split(".")):
        raise PartError(f"`{name}` is not of the form package.module:Name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        part = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PartError(
            f"cannot import `{module_name}` (from `{name}`): {error}",
            hint="run from the folder that holds the module, or install its package",
        ) from error
    except CompactMTLError:
        raise
    except Exception as error:  # whatever the user's module raises while it is imported
        raise _failed(f"importing `{module_name}` (from `{name}`)", error) from error
    for step in attribute.split("."):
        if not hasattr(part, step):
            raise PartError(
                f"module `{module_name}` has no `{attribute}`{nearest(step, dir(part))}"
            )
        part = getattr(part, step)
    return part


def call_part(name: str, part: Callable[..., T], *args: object, **kwargs: object) -> T:
    """Call a part; where the user's own fails, say so in one line.

    Raises:
        PartError: The user's own part raised something.
    """
    if not is_foreign(name):
        return part(*args, **kwargs)
    try:
        return part(*args, **kwargs)
    except CompactMTLError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise _failed(f"`{name}`", error) from error


def _failed(what: str, error: Exception) -> PartError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_theirs = last.filename != __file__ and not last.filename.startswith("<")
    place = f" ({last.filename}:{last.lineno})" if is_theirs else ""
    reason = " ".join(str(error).split())
    return PartError(
        f"{what} failed: {type(error).__name__}: {reason}{place}",
        hint="--debug shows the traceback",
    )


def find_part(name: str, registry: Mapping[str, Callable[..., T]], what: str) -> Callable[..., T]:
    """Return the part called ``name``, from ``registry`` or imported as ``package.module:Name``.

    Raises:
        PartError: No such part; the message lists what there is and suggests the nearest name.
    """
    if is_foreign(name):
        part = import_part(name)
        if not callable(part):
            raise PartError(
                f"{what} `{name}` is a {type(part).__name__}, expected a class or function"
            )
        return part  # type: ignore[no-any-return]
    if name not in registry:
        known = ", ".join(sorted(registry))
        raise PartError(
            f"no {what} called `{name}`{nearest(name, registry)}",
            hint=f"there are: {known}; your own is written package.module:Name",
        )
    return registry[name]
