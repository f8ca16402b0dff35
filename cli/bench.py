"""The verb `bench`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import DEFAULT_FOLDER, Debug, Json, Out, Quiet
from compactmtl.errors import UsageError


def bench(
    targets: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER|FILES...", show_default="compact"),
    ] = None,
    *,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="cpu.")] = "cpu",
    threads: Annotated[int, typer.Option("--threads", help="Threads of the runtime.")] = 1,
    batch: Annotated[int, typer.Option("--batch", help="Batch size.")] = 1,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="HxW", help="Image size [default: of the stored inputs]."),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Least total time.")] = 10.0,
    rounds: Annotated[int, typer.Option("--rounds", help="Least number of rounds.")] = 50,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure the compact model against its dense twin.

    Runs every exported file of the folder that descends from its model.pt2, in turns, in one
    process, in an order drawn anew each round; or the files that are named, in which case the
    first is the baseline. Prints wall time (p50, p90, p99), CPU time of the process, MACs and
    parameters of the files that ran, and the ratio with its 95 % interval.

    Variants that `compress --variants` wrote and `export` exported run in the same turns; it says
    which plan is fastest here, and how to take it.

    The verdict is `noisy` where the machine was too busy for the figures to mean something.
    Writes bench.json into the folder; for files, into the file that --out names.

    Examples:
      compactmtl bench
      compactmtl bench compact/ --threads 2 --batch 4 --size 192x256
      compactmtl bench a.onnx b.onnx --size 96x128 --seconds 5 --out ab.json
    """
    from compactmtl.bench import bench as run
    from compactmtl.bench.record import RECORD, write_record
    from compactmtl.bench.table import (
        CANDIDATE_COLUMNS,
        RATIO_COLUMNS,
        candidate_rows,
        fastest,
        ratio_rows,
        title,
    )

    chosen = targets or [DEFAULT_FOLDER]
    with console.progress("round", None) as advance:
        record = run(
            chosen,
            threads=threads,
            batch=batch,
            size=_size(size),
            seconds=seconds,
            rounds=rounds,
            device=device,
            on_round=advance,
        )
    path = out or (chosen[0] / RECORD if chosen[0].is_dir() else None)
    if path is not None:
        write_record(path, record)
    console.table(title(record), CANDIDATE_COLUMNS, candidate_rows(record))
    if record.ratios:
        console.table("", RATIO_COLUMNS, ratio_rows(record))
    if found := fastest(record):
        console.info(found)
    for name, reason in record.left_out.items():
        console.warn(f"left out {name}: {reason}")
    for reason in record.why:
        console.warn(reason)
    console.info(f"verdict: {record.verdict}" + (f"; wrote {path}" if path else ""))
    console.result(record.model_dump(mode="json"))


def _size(text: str | None) -> tuple[int, int] | None:
    """Read HEIGHTxWIDTH."""
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"--size {text!r}: expected HEIGHTxWIDTH, as in 96x128")
    return int(height), int(width)
