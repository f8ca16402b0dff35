"""One bench: load, check, count, time in turns, judge, record."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from compactmtl.bench.candidates import COMPACT, Chosen, choose, make_inputs
from compactmtl.bench.cost import Cost, count, parts
from compactmtl.bench.device import check_device
from compactmtl.bench.record import (
    BenchRecord,
    Candidate,
    CpuTime,
    Latency,
    RatioRecord,
    Settings,
)
from compactmtl.board.bench.statistics import Ratio, ratio_of_medians, summarise, why_noisy
from compactmtl.board.bench.timing import Timings, interleave
from compactmtl.board.sessions import Session, open_session
from compactmtl.environment import environment, load_average
from compactmtl.errors import NonFiniteError, UsageError
from compactmtl.export.board_errors import translated
from compactmtl.export.stored import Arrays
from compactmtl.files import sha256


@dataclass(frozen=True)
class _Ready:
    """A candidate that has run once."""

    path: Path
    session: Session
    inputs: Arrays
    source: str
    first_ms: float
    cost: Cost
    parts: tuple[Path, ...]


def run_bench(
    target: str | Path | Sequence[str | Path],
    *,
    threads: int,
    batch: int,
    size: tuple[int, int] | None,
    seconds: float,
    rounds: int,
    device: str,
    on_round: Callable[[], None] | None,
) -> BenchRecord:
    """Measure; see ``compactmtl.bench.bench``."""
    with translated():
        return _run(
            target,
            threads=threads,
            batch=batch,
            size=size,
            seconds=seconds,
            rounds=rounds,
            device=device,
            on_round=on_round,
        )


def _run(
    target: str | Path | Sequence[str | Path],
    *,
    threads: int,
    batch: int,
    size: tuple[int, int] | None,
    seconds: float,
    rounds: int,
    device: str,
    on_round: Callable[[], None] | None,
) -> BenchRecord:
    check_device(device)
    for name, value in (("threads", threads), ("batch", batch), ("rounds", rounds)):
        if value < 1:
            raise UsageError(f"{name} (={value}) must be at least 1")
    chosen = choose(target)
    described = environment()
    ready = {
        name: _prepare(path, chosen, threads=threads, batch=batch, size=size)
        for name, path in chosen.files.items()
    }
    timings = interleave(
        {name: each.session.bind(each.inputs) for name, each in ready.items()},
        seconds=seconds,
        rounds=rounds,
        on_round=on_round,
    )
    runtimes = {name: candidate.session.runtime for name, candidate in ready.items()}
    ratios = _ratios(timings, runtimes, chosen.variants)
    why = why_noisy(
        timings,
        {f"{pair} ({clock})": r for pair, both in ratios.items() for clock, r in both.items()},
        threads=threads,
    )
    first = next(iter(ready.values()))
    return BenchRecord(
        environment=described,
        settings=Settings(
            device=device,
            threads=threads,
            batch=batch,
            shapes={name: list(array.shape) for name, array in first.inputs.items()},
            inputs=first.source,
            seconds=seconds,
            rounds=rounds,
        ),
        candidates={name: _candidate(ready[name], timings[name]) for name in ready},
        ratios={pair: _ratio_record(both) for pair, both in ratios.items()},
        verdict="noisy" if why else "ok",
        why=why,
        left_out=chosen.left_out,
        variants=list(chosen.variants),
        load_average=load_average(),
        peak_rss_mib=_peak_rss_mib(),
    )


def _prepare(
    path: Path, chosen: Chosen, *, threads: int, batch: int, size: tuple[int, int] | None
) -> _Ready:
    session = open_session(path, threads=threads)
    inputs, source = make_inputs(session.inputs, chosen, batch=batch, size=size)
    started = time.perf_counter_ns()
    outputs = session(inputs)
    first_ms = (time.perf_counter_ns() - started) / 1e6
    for name, value in outputs.items():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise NonFiniteError(
                f"output `{name}` of `{path}` holds NaN or Inf on inputs: {source}",
                hint="a model that computes nothing is not worth timing; check its weights",
            )
    cost = count(path, inputs)
    return _Ready(path, session, inputs, source, first_ms, cost, parts(path))


def _ratios(
    timings: Mapping[str, Timings], runtimes: Mapping[str, str], variants: Sequence[str]
) -> dict[str, dict[str, Ratio]]:
    """Return ratios within each runtime: its first candidate over each other one.

    Also the compact model over its variants. Two runtimes differ in more than the model.
    """
    pairs = []
    for runtime in dict.fromkeys(runtimes.values()):
        baseline, *others = (name for name in timings if runtimes[name] == runtime)
        pairs += [(baseline, other) for other in others]
    if COMPACT in timings:
        pairs += [(COMPACT, name) for name in variants if (COMPACT, name) not in pairs]
    return {
        f"{one}/{other}": {
            "cpu": ratio_of_medians(timings[one].cpu_ms, timings[other].cpu_ms),
            "wall": ratio_of_medians(timings[one].wall_ms, timings[other].wall_ms),
        }
        for one, other in pairs
    }


def _ratio_record(both: Mapping[str, Ratio]) -> RatioRecord:
    cpu, wall = both["cpu"], both["wall"]
    return RatioRecord(
        cpu=cpu.value,
        cpu_interval=(cpu.low, cpu.high),
        wall=wall.value,
        wall_interval=(wall.low, wall.high),
    )


def _candidate(ready: _Ready, timings: Timings) -> Candidate:
    cpu = summarise(timings.cpu_ms)
    return Candidate(
        file=ready.path.name,
        sha256=sha256(ready.path),
        runtime=ready.session.runtime,
        parts={part.name: sha256(part) for part in ready.parts},
        size_bytes=sum(file.stat().st_size for file in (ready.path, *ready.parts)),
        macs=ready.cost.macs,
        num_params=ready.cost.num_params,
        uncounted=list(ready.cost.uncounted),
        load_ms=ready.session.load_ms,
        first_ms=ready.first_ms,
        latency_ms=Latency(**asdict(summarise(timings.wall_ms))),
        cpu_ms=CpuTime(p50=cpu.p50, min=cpu.min),
    )


def _peak_rss_mib() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # bytes, or KiB
