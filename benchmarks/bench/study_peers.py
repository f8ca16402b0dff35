"""Our bench beside a loop at home and a public harness, on the same files in one run."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import onnxruntime as ort
from study_coverage import intervals
from subjects import Subject

from compactmtl.board.bench.loads import interleave_loads
from compactmtl.board.onnx_session import session_options

WARMUP = 10
PROCESSES = 2
BUSY = """
import numpy
values = numpy.ones(2**22)
while True:
    values.copy()
"""
"""What the background does: it moves 32 MB at a time, so it takes cores and memory's bandwidth."""

Method = Callable[[Subject, Subject, float], dict[str, Any]]


def measure(
    pairs: dict[str, tuple[Subject, Subject, float]], *, repeats: int, seconds: float
) -> list[dict[str, Any]]:
    """Compare each pair by each method, on the machine as it is and with a load that sets in."""
    rows = []
    for pair, (slower, faster, truth) in pairs.items():
        for background in ("as it is", "sets in at half time"):
            for repeat in range(repeats):
                for name, method in METHODS.items():
                    with load_at(seconds / 2 if background != "as it is" else None):
                        found = method(slower, faster, seconds)
                    row = {"pair": pair, "truth": truth, "background": background}
                    rows.append({**row, "repeat": repeat, "method": name, **found})
    return rows


def ours(slower: Subject, faster: Subject, seconds: float) -> dict[str, Any]:
    """Return our ratios with intervals."""
    artefacts = {"slower": slower.load, "faster": faster.load}
    row = intervals(interleave_loads(artefacts, seconds=seconds, rounds=20))
    return {clock: dict(zip(("value", "low", "high"), row[clock], strict=True))
            for clock in ("cpu", "wall")}  # fmt: skip


def loop(slower: Subject, faster: Subject, seconds: float) -> dict[str, Any]:
    """Return the ratio of mean wall times: one loop, then the other."""
    return {"wall": {"value": _mean_of_loop(slower, seconds) / _mean_of_loop(faster, seconds)}}


def _mean_of_loop(subject: Subject, seconds: float) -> float:
    call = subject.load().call
    for _ in range(WARMUP):
        call()
    calls, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds / 2:
        call()
        calls += 1
    return (time.perf_counter() - started) / calls


def polygraphy(slower: Subject, faster: Subject, seconds: float) -> dict[str, Any]:
    """Return the ratio of the means that Polygraphy's comparator prints: one, then the other.

    It takes a number of iterations, not a time; both get what fills their half on this machine.
    """
    from polygraphy.backend.onnxrt import OnnxrtRunner
    from polygraphy.comparator import Comparator
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.ERROR
    means = []
    for subject in (slower, faster):
        call, started = subject.load().call, time.perf_counter()
        for _ in range(WARMUP):
            call()
        iterations = round(seconds / 2 / ((time.perf_counter() - started) / WARMUP))
        del call
        runner = OnnxrtRunner(lambda subject=subject: _session(subject))
        feed = [subject.inputs] * iterations
        results = Comparator.run([runner], warm_up=WARMUP, data_loader=feed)
        ((_, iterations_of_one),) = results.items()
        means.append(sum(each.runtime for each in iterations_of_one) / iterations)
    return {"wall": {"value": means[0] / means[1]}}


def _session(subject: Subject) -> ort.InferenceSession:
    model = subject.model if isinstance(subject.model, bytes) else str(subject.model)
    return ort.InferenceSession(model, session_options(1), providers=["CPUExecutionProvider"])


METHODS: dict[str, Method] = {"compactmtl": ours, "loop": loop, "polygraphy": polygraphy}


@contextmanager
def load_at(seconds: float | None) -> Iterator[None]:
    """Start busy processes so many seconds into the block; None for none."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.extend(subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(PROCESSES))

    timer = threading.Timer(seconds or 0, start)
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if seconds is not None:
            timer.join()
        for process in started:
            process.kill()
            process.wait()
