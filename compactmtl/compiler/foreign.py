"""Foreign rules: what is given must be a rule, and what it raises is the user's own error."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from compactmtl.compiler.memory import is_out_of_memory
from compactmtl.compiler.rules import Rule
from compactmtl.errors import CompactMTLError, PartError, UsageError
from compactmtl.parts import call_part, import_part, is_foreign


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
        rules.append(call_part(name, part))
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
def foreign_errors(rules: Sequence[Rule]) -> Iterator[None]:
    """Turn what a foreign rule raises, or leads to, into one line; our own errors pass.

    Raises:
        PartError: With the rule and the line, or with all rules where none of them was running.
    """
    try:
        yield
    except CompactMTLError:
        raise
    except Exception as error:  # whatever the user's rule raises
        if not rules or is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        running = [
            (rule, frame.f_code, line)
            for frame, line in traceback.walk_tb(error.__traceback__)
            for rule in rules
            if frame.f_locals.get("self") is rule
        ]
        if not running:
            names = ", ".join(type(rule).__name__ for rule in rules)
            raise PartError(
                f"compiling fails with {names}: {reason}",
                hint="is what `lower` of a rule stores what its `needs` promises? --debug shows "
                "the traceback",
            ) from error
        rule, code, line = running[-1]
        raise PartError(
            f"rule {type(rule).__name__} failed in `{code.co_name}`: {reason} "
            f"({code.co_filename}:{line})",
            hint="--debug shows the traceback",
        ) from error
