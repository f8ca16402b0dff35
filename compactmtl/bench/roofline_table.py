"""A roofline as a table: what loses most time above its limit."""

from collections.abc import Iterator
from typing import Any

from compactmtl.bench.limits import Machine, Roofline

COLUMNS = ("where the time goes", "op", "us", "limit us", "limited by", "of limit", "lost us")
NUM_ROWS = 10


def rows(roofline: Roofline) -> Iterator[list[Any]]:
    """Yield the rows that lose most time, under ``COLUMNS``, and the whole run."""
    worst = sorted(roofline.rows, key=lambda row: -row.lost_us)[:NUM_ROWS]
    for row in worst:
        share = f"{100 * row.share:.0f} %" if row.share is not None else ""
        times = (row.measured_us, row.limit_us, row.lost_us)
        measured, limit, lost = (f"{time:.1f}" for time in times)
        yield [row.name, row.op, measured, limit if row.bound else "", row.bound, share, lost]
    limit_us = sum(row.limit_us for row in roofline.rows)
    yield [
        "whole run",
        "",
        f"{roofline.run_us:.1f}",
        f"{limit_us:.1f}",
        "",
        f"{100 * limit_us / roofline.run_us:.0f} %",
        f"{roofline.run_us - limit_us:.1f}",
    ]


def sentence(machine: Machine) -> str:
    """Say what the machine attains."""
    integer = f", {machine.integer_gmacs:.0f} in int8" if machine.integer_gmacs else ""
    rates = ", ".join(
        f"{rate:.0f} GB/s up to {size / 2**20:.1f} MiB" for size, rate in machine.bandwidths
    )
    return (
        f"this machine attains {machine.peak_gmacs:.0f} GMAC/s in float32{integer}; {rates} "
        "(best of the runs of large convolutions and additions)"
    )
