"""What `bench` does for boards: options, and reporting a recording."""

from pathlib import Path
from typing import Annotated

import typer

HostOption = Annotated[
    str | None,
    typer.Option("--host", metavar="USER@BOARD", help="Measure there, through your own ssh."),
]
LockClocks = Annotated[
    bool,
    typer.Option("--lock-clocks", help="Jetson: clocks at maximum meanwhile; needs root there."),
]
RecordTo = Annotated[
    Path | None,
    typer.Option("--record-tegrastats", metavar="FILE", help="Jetson: note all that was seen."),
]
Replay = Annotated[
    Path | None,
    typer.Option("--replay", metavar="FILE", help="Report what --record-tegrastats noted."),
]


def report_replayed(path: Path, out: Path | None) -> None:
    """Report a recording as if it were measured now; write its record where ``out`` says."""
    from compactmtl.bench.record import write_record
    from compactmtl.bench.replay import replay
    from compactmtl.cli.bench_table import show

    record = replay(path)
    if out is not None:
        write_record(out, record)
    show(record, out)
