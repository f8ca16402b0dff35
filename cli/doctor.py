"""The verb `doctor`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet

SHOWN = ("python", "os", "cpu", "usable_cores", "memory_gib")
SHOWN_BOARD = ("evidence", "python", "kernel", "machine", "cores", "memory_gib")


def doctor(
    *,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="USER@BOARD", help="Ask a board, through your own ssh."),
    ] = None,
    selftest: Annotated[
        bool,
        typer.Option("--selftest", help="Build, verify, time and measure a small network."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what this machine can train, export and bench.

    With --host: what a board is. Looks only: it changes nothing and exits 0 whatever it finds. What
    was sent to a board lies in a temporary folder there and is removed afterwards. The self-test
    says which of our assumptions about boards hold.

    Examples:
      compactmtl doctor
      compactmtl doctor --json | jq '.findings[] | select(.ok | not)'
      compactmtl doctor --host user@board --selftest
    """
    if selftest:
        console.result(_selftest(host))
    elif host is not None:
        found = _ask(host, "doctor")
        _show(found, {key: found[key] for key in SHOWN_BOARD})
        console.result(found)
    else:
        from compactmtl.doctor import examine  # imports torch, where there is one

        found = examine()
        _show(found, {key: found["environment"][key] for key in SHOWN})
        console.result(found)


def _show(found: dict[str, Any], machine: dict[str, Any]) -> None:
    console.table("", ("", ""), [(k.replace("_", " "), str(v)) for k, v in machine.items()])
    console.table(
        "",
        ("for", "what", "", "detail", "what to do"),
        [
            (each["area"], each["what"], "ok" if each["ok"] else "no", each["detail"], hint)
            for each in found["findings"]
            for hint in ["" if each["ok"] else each["hint"]]
        ],
    )


def _selftest(host: str | None) -> dict[str, Any]:
    if host is None:
        import tempfile

        from compactmtl.board.selftest import selftest

        with tempfile.TemporaryDirectory() as folder:
            found = selftest(Path(folder), console.info)
    else:
        found = _ask(host, "selftest")
    rows = [(each["holds"], each["what"], each["detail"]) for each in found["assumptions"]]
    console.table(found["board"]["evidence"], ("holds", "what we assume", "what was found"), rows)
    return found


def _ask(host: str, verb: str) -> dict[str, Any]:
    from compactmtl.export.on_board import call, on_board
    from compactmtl.remote.ssh import Host

    with on_board(Host(host), {}) as folder:
        return call(folder, [verb], on_line=console.info)
