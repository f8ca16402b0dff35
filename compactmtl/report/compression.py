"""Sections on what was removed, what it saves, and how that was checked."""

from collections.abc import Mapping
from typing import Any

from compactmtl.report import figures, numbers
from compactmtl.report.choices import choices
from compactmtl.report.collect import Record
from compactmtl.report.html import Html, facts, h, listing, missing, section, table
from compactmtl.report.latency import latency_chart

COST_ROWS = (
    ("MACs", "macs", numbers.count),
    ("Parameters", "num_params", numbers.count),
    ("Weights", "weights_bytes", numbers.size),
    ("Activations at their peak", "peak_activation_bytes", numbers.size),
    ("File", "size_bytes", numbers.size),
)
TIMES = (
    ("CPU time, p50", "cpu_ms", "p50"),
    ("CPU time, minimum", "cpu_ms", "min"),
    ("Latency p50", "latency_ms", "p50"),
    ("Latency p90", "latency_ms", "p90"),
    ("Latency p99", "latency_ms", "p99"),
    ("Latency mean", "latency_ms", "mean"),
    ("First inference", "first_ms", None),
    ("Load", "load_ms", None),
)


def cost_section(record: Record) -> Html:
    """Return cost and latency, dense against compact."""
    title = "Cost and latency"
    before, after = record.compress["before"], record.compress["after"]
    if record.bench is None:
        rows = [
            _row(label, before.get(key), after.get(key), form) for label, key, form in COST_ROWS[:3]
        ]
        export = not record.artefacts
        command = "compactmtl export && compactmtl bench" if export else "compactmtl bench"
        return section(
            title,
            table(("", "Dense", "Compact", "Dense / compact"), rows),
            missing("No latency yet. Measure it:", command),
        )
    candidates: Mapping[str, Mapping[str, Any]] = record.bench["candidates"]
    dense, compact = candidates.get("dense", {}), candidates.get("compact", {})
    rows = [_row(label, dense.get(key), compact.get(key), form) for label, key, form in COST_ROWS]
    for label, table_name, key in TIMES:
        pair = [
            c.get(table_name, {}).get(key) if key else c.get(table_name) for c in (dense, compact)
        ]
        if any(value is not None for value in pair):
            rows.append(_row(f"{label}, ms", pair[0], pair[1], numbers.milliseconds))
    return section(
        title,
        h(
            "div",
            table(("", "Dense", "Compact", "Dense / compact"), rows),
            latency_chart(candidates),
            class_="charts",
        ),
        _ratios(record.bench),
        _verdict(record.bench),
        h("h3", "How it was measured"),
        facts(record.bench.get("settings") or {}),
        lead="MACs count multiply-accumulates (FLOPs are twice as many). Both files ran "
        "interleaved in one process.",
    )


def channels_section(record: Record) -> Html:
    """Return the census and the channels of each layer, before and after."""
    census = record.compress.get("census") or {}
    layers = record.compress.get("layers") or []
    bars = [
        h("div", Html(figures.to_div(figures.layer_bars(layers, side), f"channels-{side}")))
        for side in ("in", "out")
        if layers
    ]
    gathers = sum(bool(layer.get("gather")) for layer in layers)
    note = (
        f"{gathers} of {len(layers)} layers read through a gather: they pick the channels they "
        "need from a tensor that other layers need whole."
        if gathers
        else None
    )
    return section(
        "Channels",
        h("div", *_meters(census), class_="meters") if census else None,
        h("div", *bars, class_="charts") if bars else missing("No layer is listed."),
        h("p", note, class_="notes") if note else None,
        listing([str(text) for text in record.compress.get("notes") or ()]),
        lead="Three different counts: training zeroes input groups; a filter is zero where nothing "
        "is computed; a channel can go where no live layer reads it.",
    )


def exactness_section(record: Record) -> Html:
    """Return what was verified, after compiling and after exporting."""
    verification = record.compress.get("verification") or {}
    parity = [
        (
            f"{artefact.path.name} · {task}",
            str(artefact.sidecar["verified"].get("runtime", "")),
            numbers.error(values.get("max_rel_error")),
            numbers.error(values.get("bound")),
            numbers.error(values.get("torch_fp32_error")),
        )
        for artefact in record.artefacts
        for task, values in artefact.sidecar.get("verified", {}).get("per_task", {}).items()
    ]
    columns = ("File and task", "Runtime", "Error vs fp64", "Allowed", "torch fp32 itself")
    return section(
        "Exactness",
        *choices(record.compress),
        h("h3", "Compact against the original network"),
        *_verification(verification),
        h("h3", "Exports against the compact model"),
        table(columns, parity)
        if parity
        else missing("Nothing was exported yet. Export it:", "compactmtl export"),
        _opaque(record.compress),
        lead="The compact network computes the same function: in fp64 to rounding, in fp32 at most "
        "four times as far from fp64 as the original itself.",
    )


def _verification(verification: Mapping[str, Any]) -> list[Html]:
    """Return the errors per output as a table, and everything else as facts."""
    if not verification:
        return [missing("report.json holds no verification.")]
    rest = {key: value for key, value in verification.items() if key != "outputs"}
    rest["shapes"] = [list(shape) for shape in dict.fromkeys(map(tuple, rest.get("shapes", ())))]
    factor = verification.get("fp32_factor")
    rows = [
        (
            name,
            numbers.error(check.get("fp64_error")),
            numbers.error(check.get("fp32_error")),
            numbers.error(check.get("fp32_error_of_original")),
        )
        for name, check in (verification.get("outputs") or {}).items()
    ]
    columns = ("Output", "fp64 error", "fp32 error", "fp32 error of the original")
    parts = [table(columns, rows)] if rows else []
    if factor is not None:
        text = f"Errors are relative to fp64; in fp32 at most {factor:g} times the original's own."
        parts.append(h("p", text, class_="notes"))
    return [*parts, facts(rest)]


def _opaque(compress: Mapping[str, Any]) -> Html:
    opaque, carriers = compress.get("opaque") or [], compress.get("carriers") or []
    rows = [
        tuple(str(entry.get(key) or numbers.DASH) for key in ("node", "op", "why", "source"))
        for entry in opaque
    ]
    parts: list[Html | None] = [h("h3", "Kept whole")]
    if rows:
        parts.append(
            h(
                "p",
                "The compiler does not see through these ops; their inputs keep every channel.",
                class_="lead",
            )
        )
        parts.append(table(("Node", "Op", "Why", "In your source"), rows, class_="text"))
    else:
        parts.append(h("p", "Nothing: every op was understood.", class_="dim"))
    if carriers:
        names = [numbers.anything(carrier) for carrier in carriers]
        parts.append(
            h(
                "p",
                f"{len(names)} carrier channel(s) hold constants that feed zero-padded layers.",
                class_="dim",
            )
        )
        parts.append(listing(names))
    return h("div", *parts)


def _ratios(bench: Mapping[str, Any]) -> Html | None:
    sentences = [
        f"{name}: CPU time {numbers.interval(ratio['cpu'], ratio['cpu_interval'])}, "
        f"wall time {numbers.interval(ratio['wall'], ratio['wall_interval'])}."
        for name, ratio in bench["ratios"].items()
    ]
    if not sentences:
        return None
    lead = h("p", "Ratio of medians with its 95 % interval:", class_="notes")
    return h("div", lead, listing(sentences))


def _verdict(bench: Mapping[str, Any]) -> Html | None:
    why = [str(reason) for reason in bench.get("why") or ()]
    if bench.get("verdict") == "ok":
        return None
    sentence = f"Verdict: {bench.get('verdict')}. The ratio of times is not to be relied on."
    return h("div", missing(sentence, "compactmtl bench"), listing(why))


def _meters(census: Mapping[str, Any]) -> list[Html]:
    rows = (
        ("Zero input groups", "zero_groups", "num_groups"),
        ("Zero filters", "zero_filters", "num_filters"),
        ("Channels the compiler removed", "removable_channels", "num_channels"),
    )
    return [
        _meter(label, census[part], census[whole])
        for label, part, whole in rows
        if census.get(part) is not None and census.get(whole)
    ]


def _meter(label: str, part: int, whole: int) -> Html:
    width = f"width: {100.0 * part / whole:.1f}%"
    return h(
        "div",
        h("div", label, class_="label"),
        h("div", numbers.share(part, whole), h("span", f"{part:,} of {whole:,}"), class_="value"),
        h("div", h("i", style=width), class_="bar"),
        class_="meter",
    )


def _row(label: str, before: Any, after: Any, form: Any) -> list[str]:
    gain = h("strong", numbers.ratio(numbers.divided(before, after)))
    return [label, form(before), form(after), gain]
