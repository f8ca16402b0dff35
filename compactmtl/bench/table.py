"""A record as tables: headings and cells, for whoever prints."""

from typing import Any

from compactmtl.bench.candidates import COMPACT
from compactmtl.bench.record import BenchRecord, Candidate

CANDIDATE_COLUMNS = (
    *("", "p50 ms", "p90 ms", "p99 ms", "CPU p50 ms", "per s"),
    *("GMACs", "parameters", "MB", "load ms", "first ms", "n"),
)
BASELINE_COLUMNS = ("against the baseline", "time", "95 %", "clock", "")
RATIO_COLUMNS = ("ratio", "CPU", "95 %", "wall", "95 %", "")


def title(record: BenchRecord) -> str:
    """Return runtime, threads and input shapes in one line."""
    runtimes = dict.fromkeys(candidate.runtime for candidate in record.candidates.values())
    shapes = ("x".join(map(str, shape)) for shape in record.settings.shapes.values())
    threads = record.settings.threads
    return (
        f"{', '.join(runtimes)}, {threads} thread{'s' if threads > 1 else ''}, "
        f"input {', '.join(shapes)}"
    )


def candidate_rows(record: BenchRecord) -> list[list[Any]]:
    """Return one row per candidate, under ``CANDIDATE_COLUMNS``."""
    return [
        [
            name,
            f"{candidate.latency_ms.p50:.2f}",
            f"{candidate.latency_ms.p90:.2f}",
            f"{candidate.latency_ms.p99:.2f}",
            f"{candidate.cpu_ms.p50:.2f}",
            f"{candidate.throughput.samples_per_s:.1f}",
            _macs(candidate),
            "-" if candidate.num_params is None else candidate.num_params,
            f"{candidate.size_bytes / 1e6:.2f}",
            f"{candidate.load_ms:.1f}",
            f"{candidate.first_ms:.1f}",
            candidate.latency_ms.n,
        ]
        for name, candidate in record.candidates.items()
    ]


def _macs(candidate: Candidate) -> str:
    if candidate.macs is None:
        return "-"
    # A plus sign: the file holds operations whose MACs are not counted.
    return f"{candidate.macs / 1e9:.3f}" + ("+" if candidate.uncounted else "")


def ratio_rows(record: BenchRecord) -> list[list[Any]]:
    """Return one row per ratio, under ``RATIO_COLUMNS``."""
    return [
        [
            pair,
            f"{ratio.cpu:.2f}",
            "{:.2f} - {:.2f}".format(*ratio.cpu_interval),
            f"{ratio.wall:.2f}",
            "{:.2f} - {:.2f}".format(*ratio.wall_interval),
            "no difference shown" if ratio.verdict == "inconclusive" else "",
        ]
        for pair, ratio in record.ratios.items()
    ]


def baseline_rows(record: BenchRecord) -> list[list[Any]]:
    """Return one row per candidate that the baseline has, too, under ``BASELINE_COLUMNS``."""
    return [
        [
            name,
            f"{each.ratio:.3f}",
            "{:.3f} - {:.3f}".format(*each.interval),
            each.clock,
            ", ".join([each.verdict, *(["another file"] if each.is_other_file else [])]),
        ]
        for name, each in record.baseline.items()
    ]


def fastest(record: BenchRecord) -> str:
    """Say which of the compact model and its variants is fastest here, and how to take it.

    A variant counts as faster where the whole interval of its ratio is above 1. "" where there are
    no variants.
    """
    ratios = {name: record.ratios.get(f"{COMPACT}/{name}") for name in record.variants}
    ranked = sorted(
        ((ratio.value, name, ratio) for name, ratio in ratios.items() if ratio is not None),
        reverse=True,
    )
    if not ranked:
        return ""
    value, name, ratio = ranked[0]
    low, high = ratio.interval
    if low <= 1:
        return f"no variant is faster here than compact (best: {name}, {value:.2f}x)"
    return (
        f"fastest here: {name}, {value:.2f}x compact ({low:.2f} to {high:.2f}); to take it, "
        f"compress again with --variant {name}"
    )
