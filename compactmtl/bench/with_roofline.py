"""A record with the roofline of its candidates."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from compactmtl.bench.fed import fed_inputs
from compactmtl.bench.record import BenchRecord, Candidate
from compactmtl.board.stored import Stored

CPU = "cpu"


def with_roofline(
    record: BenchRecord, files: Mapping[str, Path], stored: Stored | None
) -> BenchRecord:
    """Profile what was timed and hold it against the machine's limits.

    Args:
        record: What was found by timing, on this machine.
        files: File of each candidate.
        stored: The samples of the folder.

    Raises:
        BenchError: A file does not run.
    """
    from compactmtl.bench.roofline import Timed, measure_rooflines  # only where it is asked for

    threads = record.settings.threads
    timed = {
        name: Timed(
            path=files[name],
            inputs=fed_inputs(candidate.inputs, stored, record.settings.batch),
            layers=tuple(candidate.layers),
            run_us=1e3 * _run_ms(candidate, threads),
        )
        for name, candidate in record.candidates.items()
        if candidate.device == CPU
    }
    found = measure_rooflines(timed, threads=threads)
    elsewhere = {
        name: f"it computed on {candidate.device}, and the limits are those of the CPU"
        for name, candidate in record.candidates.items()
        if candidate.device != CPU
    }
    found = replace(found, left_out=found.left_out | elsewhere)
    return record.model_copy(update={"roofline": found})


def _run_ms(candidate: Candidate, threads: int) -> float:
    """Return the time of a run: CPU time on one thread, which other processes do not add to."""
    return candidate.cpu_ms.p50 if threads == 1 else candidate.latency_ms.p50
