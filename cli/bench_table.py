"""What `bench` prints of a record."""

from pathlib import Path
from typing import TYPE_CHECKING

from compactmtl.cli.bench_paced import show_paced
from compactmtl.cli.bench_roofline import show_roofline
from compactmtl.cli.console import console
from compactmtl.errors import CompactMTLError

if TYPE_CHECKING:
    from compactmtl.bench.record import BenchRecord


def show(record: "BenchRecord", path: Path | None) -> None:
    """Print tables, remarks and the verdict; as JSON, the record itself.

    Args:
        record: What was found.
        path: Where it was written.
    """
    from compactmtl.bench import table
    from compactmtl.board.bench.gpu_words import lines_of_gpu
    from compactmtl.board.jetson.words import lines_of_device

    console.table(table.title(record), table.CANDIDATE_COLUMNS, table.candidate_rows(record))
    if record.ratios:
        console.table("", table.RATIO_COLUMNS, table.ratio_rows(record))
    if record.baseline:
        console.table("", table.BASELINE_COLUMNS, table.baseline_rows(record))
    _show_parts(record)
    show_roofline(record)
    show_paced(record)
    if lines := lines_of_device(record.device) + lines_of_gpu(record.device):
        console.table("", ("",), [(line,) for line in lines])
    if found := table.fastest(record):
        console.info(found)
    for name, reason in record.left_out.items():
        console.warn(f"left out {name}: {reason}")
    for reason in record.why:
        console.warn(reason)
    console.info(f"verdict: {record.verdict}" + (f"; wrote {path}" if path else ""))
    console.result(record.model_dump(mode="json"))


def _show_parts(record: "BenchRecord") -> None:
    """Print where the time of networks in parts goes."""
    found = {name: each.parts_ms for name, each in record.candidates.items() if each.parts_ms}
    if found:
        parts = list(dict.fromkeys(part for times in found.values() for part in times))
        rows = [[name, *(times.get(part, 0.0) for part in parts)] for name, times in found.items()]
        console.table("median CPU ms of the parts", ["", *parts], rows)


def exit_code(*found: CompactMTLError | None) -> int:
    """Print the first thing that is not as it should be, if any, and return its exit code.

    The record is printed by then, and in ``--json`` mode stays the only document.
    """
    for error in found:
        if error is not None:
            console.error(error.message, error.hint)
            return error.exit_code
    return 0
