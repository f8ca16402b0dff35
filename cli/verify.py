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
) -> None:
    """Run exported files on stored inputs and compare with stored outputs.

    Needs no torch. Beside each file must lie what `export` wrote with it: its sidecar and
    reference.npz. Bytes are checked against the sidecar's SHA-256, the file runs in its own
    runtime, and each task's output must be as close to torch in float64 as when it was exported.
    Stops at the first that is not.

    On a board without the rest of compactmtl: python -m compactmtl.board verify FILE.

    Examples:
      compactmtl verify compact/model.onnx
      compactmtl verify compact/model.onnx compact/model.xml --threads 4 --json
    """
    from compactmtl.board.verify import verify as run
    from compactmtl.export.board_errors import translated

    found = []
    with console.progress("verify", len(files)) as advance:
        for path in files:
            with translated():
                found.append(run(path, threads=threads))
            advance(note=path.name)
    console.table(
        "",
        ["file", "runtime", "task", "relative error", "relative RMS", "at most"],
        [
            [each.file, each.runtime, name, f"{o.error:.1e}", f"{o.rel_rms:.1e}", f"{o.bound:.1e}"]
            for each in found
            for name, o in each.outputs.items()
        ],
    )
    console.info(f"verified {len(found)} file{'s' if len(found) > 1 else ''}")
    console.result({"verified": [asdict(each) for each in found]})
