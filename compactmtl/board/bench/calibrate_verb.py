"""The verb ``calibrate`` of ``python -m compactmtl.board``."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_calibrate(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("calibrate", help="Time chains of layers in ONNX Runtime.")
    parser.set_defaults(call=_calibrate)
    add = parser.add_argument
    add("file", type=Path, nargs="?", metavar="FILE", help="Chains; without: blocks of channels.")
    add("--threads", type=int, default=1, metavar="N", help="Of the runtime.")
    add("--rounds", type=int, default=12, metavar="N", help="How often each chain is timed.")
    add("--json", action="store_true", help="Print one JSON document.")


def _calibrate(asked: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    from compactmtl.board.bench.blocks import find_blocks  # brings numpy
    from compactmtl.board.bench.chains import read_chains
    from compactmtl.board.bench.time_chains import time_chains
    from compactmtl.board.machine import describe

    if asked.file is None:
        align, block = find_blocks()
        say(f"blocks of {block} channels where they divide by {align}")
        return {"align": align, "block": block, "environment": describe()}
    times = time_chains(
        read_chains(asked.file),
        threads=asked.threads,
        rounds=asked.rounds,
        progress=lambda done, total: say(f"{done} of {total} chains"),
    )
    return {"times_ns": times}
