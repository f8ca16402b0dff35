"""The verb `calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet


def calibrate(
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the table.")
    ] = Path("table.json"),
    threads: Annotated[int, typer.Option("--threads", help="Threads of the runtime.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure a quarter of the shapes: faster, rougher.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="USER@BOARD", help="Measure there, through your own ssh."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure what layers cost in this machine's ONNX Runtime.

    How many channels run fastest depends on processor and runtime: whole blocks of 16 or 8, or
    the true count without blocks; a gather pays for one layer and not for another. `compress`
    decides that by a cost table. One is shipped; where it was measured on another machine,
    `compress` and the report say so. Measure your own on the machine that will run the model, and
    hand it to compress. A table decides speed, never what the model computes.

    Takes two minutes, a half with --quick. Other load on the machine makes it less exact: CPU time
    and minima are used, and the table says how far it is off on shapes it was not fitted to. With
    --host, ONNX Runtime on the board's processor is measured; TensorRT and its GPU are not.

    Examples:
      compactmtl calibrate
      compactmtl compress ckpt.pt --prune-zero-channels --table table.json
      compactmtl calibrate --threads 2 -o two-threads.json
      compactmtl calibrate --host user@board -o board.json
    """
    from compactmtl.bench.calibrate import calibrate as measure  # the runtime
    from compactmtl.remote.ssh import Host

    there = None if host is None else Host(host)

    with console.progress("chain of layers", None) as advance:
        done = 0

        def progress(now: int, total: int) -> None:
            nonlocal done
            advance(now - done, total=total)
            done = now

        table = measure(threads=threads, quick=quick, host=there, progress=progress)
    table.save(out)
    console.table(
        f"{table.runtime} on {table.device}",
        ["kernel", "measured", "median error", "90 %"],
        [
            [name, each.num, f"{each.median:.1%}", f"{each.p90:.1%}"]
            for name, each in (*table.by_kernel.items(), ("all", table.accuracy))
        ],
    )
    if table.block > 1:
        console.info(f"whole blocks of {table.block} where channels divide by {table.align}")
    console.info(f"wrote {out}; use it with: compactmtl compress CHECKPOINT --table {out}")
    console.result(table.model_dump(mode="json"))
