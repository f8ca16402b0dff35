"""The verbs of ``python -m compactmtl.board`` that tell what a board is."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compactmtl.board.doctor import examine
from compactmtl.board.received import SENT, check_received

Say = Callable[[str], None]


def add_verbs(verbs: Any) -> None:
    """Add ``doctor``, ``selftest`` and ``check`` to a parser's verbs."""
    for name, call, text in (
        ("doctor", _doctor, "Say what this board is and can do."),
        ("selftest", _selftest, "Build, verify, time and measure a small network."),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.set_defaults(call=call)
        verb.add_argument("--json", action="store_true", help="Print one JSON document.")
    check = verbs.add_parser("check", help="Compare files with the list they were sent with.")
    check.set_defaults(call=_check)
    check.add_argument("file", type=Path, nargs="?", default=Path(SENT), metavar="FILE")
    check.add_argument("--json", action="store_true", help="Print one JSON document.")


def _doctor(asked: argparse.Namespace, say: Say) -> dict[str, Any]:
    found = examine(Path.cwd())
    for finding in found["findings"]:
        mark = "ok" if finding["ok"] else "no"
        hint = f" ({finding['hint']})" if finding["hint"] else ""
        say(f"{finding['what']}: {mark}, {finding['detail']}{hint}")
    say(found["evidence"])
    return found


def _selftest(asked: argparse.Namespace, say: Say) -> dict[str, Any]:
    from compactmtl.board.selftest import selftest  # brings numpy

    with tempfile.TemporaryDirectory(prefix="compactmtl-selftest.") as folder:
        found = selftest(Path(folder), say)
    for each in found["assumptions"]:
        say(f"{each['holds']}: {each['what']} ({each['detail']})")
    say(found["board"]["evidence"])
    return found


def _check(asked: argparse.Namespace, say: Say) -> dict[str, Any]:
    num = check_received(asked.file)
    say(f"{num} files arrived as they were sent")
    return {"files": num}
