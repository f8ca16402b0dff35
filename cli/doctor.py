"""The verb `doctor`."""

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet

SHOWN = ("python", "os", "cpu", "usable_cores", "memory_gib")


def doctor(*, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Say what this machine can train, export and bench.

    Looks only: it changes nothing and exits 0 whatever it finds.

    Examples:
      compactmtl doctor
      compactmtl doctor --json | jq '.findings[] | select(.ok | not)'
    """
    from compactmtl.doctor import examine  # imports torch

    found = examine()
    machine = found["environment"]
    console.table("", ("", ""), [(key.replace("_", " "), str(machine[key])) for key in SHOWN])
    console.table(
        "",
        ("for", "what", "", "detail", "what to do"),
        [
            (
                finding["area"],
                finding["what"],
                "ok" if finding["ok"] else "no",
                finding["detail"],
                "" if finding["ok"] else finding["hint"],
            )
            for finding in found["findings"]
        ],
    )
    console.result(found)
