"""The top of the page: title, verdicts and the numbers a colleague asks for first."""

from collections.abc import Callable, Mapping
from typing import Any

from compactmtl.report import numbers
from compactmtl.report.collect import Record
from compactmtl.report.html import Html, h

Pair = tuple[float | None, float | None]


def header(record: Record) -> Html:
    """Return the page's header."""
    return h(
        "header",
        h(
            "div",
            h("p", "compactmtl report", class_="brand"),
            h("h1", record.title),
            *(h("p", line, class_="sub") for line in _subtitle(record)),
            h("ul", *_verdicts(record), class_="chips"),
            h("div", *_tiles(record), class_="tiles"),
        ),
    )


def cpu_ms(record: Record) -> Pair:
    """Return the median CPU time per inference, dense and compact, where it was measured."""
    candidates = record.bench["candidates"] if record.bench else {}
    dense, compact = (
        candidates.get(which, {}).get("cpu_ms", {}).get("p50") for which in ("dense", "compact")
    )
    return dense, compact


def _subtitle(record: Record) -> list[str]:
    origin = f"Compiled from {record.compress['source'].get('file')}"
    if record.run is None:
        return [f"{origin}. Dense is the same network with nothing removed."]
    description = record.run.recipe.description
    origin += f" of run {record.run.name}. Dense is the same network with nothing removed."
    return [description, origin] if description else [origin]


def _verdicts(record: Record) -> list[Html]:
    chips = [_verification(record.compress)]
    check = record.run.summary.get("check") if record.run else None
    if isinstance(check, Mapping):
        passed = bool(check.get("passed"))
        chips.append(
            _chip("good" if passed else "bad", f"check {'passed' if passed else 'missed'}")
        )
    parity = [artefact.sidecar.get("verified", {}) for artefact in record.artefacts]
    if parity:
        ran = [verified for verified in parity if verified.get("status") == "ran"]
        text = f"{len(ran)} of {len(parity)} exports verified in their runtime"
        chips.append(_chip("good" if len(ran) == len(parity) else "warn", text))
    if record.bench is None:
        chips.append(_chip("warn", "latency not measured"))
    elif record.bench.get("verdict") == "ok":
        chips.append(_chip("good", "latency measured, verdict ok"))
    else:
        chips.append(_chip("warn", f"latency: {record.bench.get('verdict')}"))
    opaque = len(record.compress.get("opaque", ()))
    if opaque:
        chips.append(_chip("warn", f"{opaque} op{'s' if opaque > 1 else ''} kept whole"))
    return chips


def _verification(compress: Mapping[str, Any]) -> Html:
    small = compress.get("threshold")
    if small and compress.get("verification"):
        return _chip(
            "warn", f"compact equals the original with {small['num_zeroed']} small groups at zero"
        )
    if compress.get("verification"):
        return _chip("good", "compact equals the original, verified")
    return _chip("warn", "equality not verified")


def _tiles(record: Record) -> list[Html]:
    before, after = record.compress["before"], record.compress["after"]
    census = record.compress.get("census") or {}
    zero, groups = census.get("zero_groups"), census.get("num_groups")
    return [
        _time_tile(record),
        _ratio_tile("Fewer MACs", (before.get("macs"), after.get("macs")), numbers.count),
        _ratio_tile(
            "Fewer parameters", (before.get("num_params"), after.get("num_params")), numbers.count
        ),
        _ratio_tile(
            "Smaller weights",
            (before.get("weights_bytes"), after.get("weights_bytes")),
            numbers.size,
        ),
        _tile(
            "Zero input groups",
            numbers.share(zero, groups),
            f"{zero:,} of {groups:,}, all layers" if zero is not None and groups else "no census",
        ),
        _tile(
            "Largest error",
            numbers.error(record.compress.get("max_rel_error")),
            "against float64, relative",
        ),
    ]


def _time_tile(record: Record) -> Html:
    """Show the bench's own ratio, which is of turns beside each other: medians have another one."""
    label, (before, after) = "Less CPU time", cpu_ms(record)
    found = record.bench["ratios"].get("dense/compact") if record.bench else None
    if found is None:
        return _tile(label, numbers.DASH, "not measured")
    detail = f"{numbers.milliseconds(before)} → {numbers.milliseconds(after)} ms"
    return _tile(label, numbers.ratio(found["cpu"]), detail)


def _ratio_tile(label: str, pair: Pair, form: Callable[[float], str]) -> Html:
    before, after = pair
    if before is None or after is None:
        return _tile(label, numbers.DASH, "not measured")
    detail = f"{form(before)} → {form(after)}"
    return _tile(label, numbers.ratio(numbers.divided(before, after)), detail)


def _tile(label: str, value: str, detail: str) -> Html:
    return h(
        "div",
        h("div", label, class_="label"),
        h("div", value, class_="value"),
        h("div", detail, class_="detail"),
        class_="tile",
    )


def _chip(state: str, text: str) -> Html:
    return h("li", text, class_=state)
