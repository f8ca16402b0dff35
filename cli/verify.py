"""The verb `verify`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...")],
    *,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads per runtime.")] = 1,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Run exported files on stored inputs and compare with stored outputs.

    Needs no torch. Beside each file must lie what `export` wrote with it: its sidecar and
    reference.npz. Bytes are checked against the sidecar's SHA-256, the file runs in its own
    runtime, and each task's output must be as close to torch in float64 as when it was exported.
    What is wrong with a file, or missing to run it, is said at the end, when all others are
    verified; the exit code is that of the first.

    On a board without the rest of compactmtl: python -m compactmtl.board verify FILE.

    Examples:
      compactmtl verify compact/model.onnx
      compactmtl verify compact/model.onnx compact/model.xml --threads 4 --json
    """
    from compactmtl.board.verify import Verification
    from compactmtl.board.verify import verify as run
    from compactmtl.errors import CompactMTLError
    from compactmtl.export.board_errors import translated

    found: list[Verification] = []
    failed: dict[Path, CompactMTLError] = {}
    with console.progress("verify", len(files)) as advance:
        for path in files:
            try:
                with translated():
                    found.append(run(path, threads=threads))
            except CompactMTLError as wrong:
                failed[path] = wrong
            advance(note=path.name)
    if found:
        console.table(
            "",
            ["file", "runtime", "task", "relative error", "relative RMS", "at most"],
            [
                [
                    each.file,
                    each.runtime,
                    name,
                    f"{o.error:.1e}",
                    f"{o.rel_rms:.1e}",
                    f"{o.bound:.1e}",
                ]
                for each in found
                for name, o in each.outputs.items()
            ],
        )
        console.info(f"verified {len(found)} file{'s' if len(found) > 1 else ''}")
    for error in failed.values():
        console.error(error.message, error.hint)
    console.result(
        {
            "verified": [asdict(each) for each in found],
            "failed": [
                {
                    "file": path.name,
                    "type": type(error).__name__,
                    "message": error.message,
                    "hint": error.hint,
                    "exit_code": error.exit_code,
                }
                for path, error in failed.items()
            ],
        }
    )
    return next((error.exit_code for error in failed.values()), 0)
