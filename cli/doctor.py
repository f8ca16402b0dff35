"""The verb `doctor`."""

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet


def doctor(*, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Say what this machine can train, export and bench.

    Looks only; changes nothing and always exits 0.

    Examples:
      compactmtl doctor
      compactmtl doctor --json | jq .extras
    """
    console.table("t", ["a", "b"], [["x", 1.234567], ["[b]", None]])
    console.result({"a": 1})
