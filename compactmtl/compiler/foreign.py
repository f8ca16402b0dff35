"""Foreign rules: what is given must be a rule, and what it raises is the user's own error."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from compactmtl.compiler.rules import Rule
from compactmtl.errors import CompactMTLError, PartError, UsageError
from compactmtl.parts import import_part, is_foreign


def import_rules(names: Sequence[str]) -> list[Rule]:
    """Import rules that a command line names as ``package.module:MyRule``.

    Raises:
        PartError: A name cannot be found, or is no rule.
    """
    rules = []
    for name in names:
        if not is_foreign(name):
            raise PartError(
                f"--rule `{name}`: expected package.module:MyRule",
                hint="MyRule is a subclass of compactmtl.compiler.rules.Rule",
            )
        part = import_part(name)
        if not isinstance(part, type) or not issubclass(part, Rule):
            raise PartError(
                f"--rule `{name}` is no rule, but {_what(part)}",
                hint="a subclass of compactmtl.compiler.rules.Rule",
            )
        with foreign_errors([part]):
            rules.append(part())
    return rules


def check_rules(rules: Sequence[Rule]) -> None:
    """Check that foreign rules are rules with ops.

    Raises:
        UsageError: One is not.
    """
    for rule in rules:
        if not isinstance(rule, Rule) or not getattr(rule, "ops", None):
            raise UsageError(
                f"rules: got {_what(rule)}, expected an object whose class derives from "
                "compactmtl.compiler.rules.Rule and has `ops`",
                hint="as in rules=[MyRule()]",
            )


def _what(part: object) -> str:
    """Return what a thing is, in words."""
    return f"the class {part.__name__}" if isinstance(part, type) else f"a {type(part).__name__}"


@contextmanager
def foreign_errors(rules: Sequence[Rule | type[Rule]]) -> Iterator[None]:
    """Turn what a foreign rule raises into one line; what we raise ourselves passes.

    Raises:
        PartError: With the rule's file and line.
    """
    try:
        yield
    except CompactMTLError:
        raise
    except Exception as error:  # whatever the user's rule raises, or what it returned leads to
        classes = [rule if isinstance(rule, type) else type(rule) for rule in rules]
        names = {sys.modules[kind.__module__].__file__: kind.__name__ for kind in classes}
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in names]
        if not frames:
            raise
        last = frames[-1]
        reason = " ".join(str(error).split())
        raise PartError(
            f"rule {names[last.filename]} failed in `{last.name}`: {type(error).__name__}: "
            f"{reason} ({last.filename}:{last.lineno})",
            hint="--debug shows the traceback",
        ) from error
