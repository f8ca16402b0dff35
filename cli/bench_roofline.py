"""How `bench --roofline` shows where the time goes."""

from typing import TYPE_CHECKING

from compactmtl.cli.console import console

if TYPE_CHECKING:
    from compactmtl.bench.record import BenchRecord


def show_roofline(record: "BenchRecord") -> None:
    """Print the rows that lose most time, one table per file; nothing where none was measured."""
    from compactmtl.bench.roofline_table import COLUMNS, rows, sentence

    if record.roofline is None:
        return
    for name, found in record.roofline.artefacts.items():
        console.table(f"\n{name}", COLUMNS, list(rows(found)))
        if found.remark:
            console.warn(f"{name}: {found.remark}")
    console.info(sentence(record.roofline.machine))
    for name, why in record.roofline.left_out.items():
        console.warn(f"no roofline for {name}: {why}")
