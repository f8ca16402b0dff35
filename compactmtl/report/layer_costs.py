"""What each layer costs before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

from compactmtl.report import numbers
from compactmtl.report.collect import Record
from compactmtl.report.figures import Pairs, pair_bars, to_div
from compactmtl.report.html import Html, h, missing, section

TITLE = "Cost by layer"
LEAD = (
    "Grey is the dense network, blue what is left of it: the longest blue bars are where further "
    "pruning would pay."
)
MACS = "Multiply-accumulates per inference: how much of the arithmetic of each layer is left."
TIMES = (
    "Measured: where the time shrinks less than the MACs, something else than arithmetic holds the "
    "layer back."
)


def layer_costs_section(record: Record) -> Html:
    """Return MACs of each layer, and its measured time and bytes where there are any."""
    macs = _counted(record, "macs") or _compiled(record)
    if not macs:
        return section(TITLE, missing("No layer is listed.", "compactmtl compress"))
    charts = [("MACs", macs, numbers.count, MACS)]
    if times := _measured(record):
        charts.append(("Kernel time, ms", times, numbers.milliseconds, TIMES))
    elif moved := _moved(record):
        charts.append(("Bytes moved", moved, numbers.count, "Activations and weights."))
    drawn = [
        h(
            "div",
            Html(to_div(pair_bars(title, pairs, form), f"layer-costs-{index}")),
            h("p", sentence, class_="notes"),
        )
        for index, (title, pairs, form, sentence) in enumerate(charts)
    ]
    return section(
        TITLE,
        h("div", *drawn, class_="charts"),
        missing("Times of single layers:", "compactmtl bench --roofline") if not times else None,
        lead=LEAD,
    )


def _pairs(rows: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> Pairs:
    """Match layers by name, in the order of the dense network."""
    values = [{row["name"]: row[key] for row in rows.get(n) or ()} for n in ("dense", "compact")]
    if not all(values):
        return {}
    before, after = values
    return {n: (before.get(n, 0), after.get(n, 0)) for n in dict.fromkeys((*before, *after))}


def _layers(record: Record) -> dict[str, Any]:
    candidates = record.bench["candidates"] if record.bench else {}
    return {name: candidates.get(name, {}).get("layers") for name in ("dense", "compact")}


def _counted(record: Record, key: str) -> Pairs:
    """Return what was counted in the files that ran."""
    return _pairs(_layers(record), key)


def _moved(record: Record) -> Pairs:
    keys = ("input_bytes", "output_bytes", "weight_bytes")
    return _pairs(
        {
            name: [{"name": row["name"], "sum": sum(row[k] for k in keys)} for row in rows or ()]
            for name, rows in _layers(record).items()
        },
        "sum",
    )


def _measured(record: Record) -> Pairs:
    """Return times in ms."""
    found = (record.bench or {}).get("roofline") or {"artefacts": {}}
    rows = {
        name: [
            {"name": row["name"], "ms": row["measured_us"] / 1e3}
            for row in each["rows"]
            if row["kind"] == "layer"
        ]
        for name, each in found["artefacts"].items()
    }
    return _pairs(rows, "ms")


def _compiled(record: Record) -> Pairs:
    """Return what the compiler counted, where no files were measured."""
    layers = record.compress.get("layers") or ()
    return {each["name"]: (each["macs_before"], each["macs_after"]) for each in layers}
