"""Measure exported models against each other on this machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compactmtl.bench.record import BenchRecord
    from compactmtl.board.bench.paced_run import PacedPlan


def bench(
    target: str | Path | Sequence[str | Path],
    *,
    threads: int = 1,
    batch: int = 1,
    size: tuple[int, int] | None = None,
    seconds: float = 10.0,
    rounds: int = 50,
    device: str = "cpu",
    providers: Sequence[str] = (),
    torch: Sequence[str] = (),
    cuda_graph: bool = False,
    roofline: bool = False,
    time_limit: float | None = None,
    baseline: str | Path | None = None,
    max_regression: float = 0.05,
    paced: "PacedPlan | None" = None,
    host: str | None = None,
    lock_clocks: bool = False,
    record_to: Path | None = None,
    on_round: Callable[[], None] | None = None,
    on_frame: Callable[[], None] | None = None,
) -> "BenchRecord":
    """Time a compact folder's artefacts, or files, in turns in this process.

    Args:
        target: The folder that ``compress`` and ``export`` wrote, or one or more files. Of a
            folder, only what descends from its ``model.pt2`` is measured; the rest is listed in
            the record. The first file, or the dense twin, is the baseline of the ratios.
        threads: Threads of the runtime. With 1, wall and CPU time can judge each other.
        batch: Batch size.
        size: Height and width; None: those of the stored inputs.
        seconds: Least total time of the measurement.
        rounds: Least number of rounds; in each, every candidate runs once.
        device: ``cpu``, ``cuda``, or ``jetson``, which is watched meanwhile: power, energy, clocks.
        providers: Execution providers of ONNX Runtime: ``cpu``, ``cuda``, ``tensorrt``; each ONNX
            file is a candidate in each. Empty: that of the device.
        torch: ``eager``, ``compile`` or both: measure the models in torch itself, too.
        cuda_graph: Launch what computes on a GPU as recorded CUDA graphs.
        roofline: Measure, after the timing, what the machine attains in ONNX Runtime and what each
            layer of the ONNX files takes; see ``compactmtl.bench.limits``.
        time_limit: Longest that loading a candidate, or one call of it, may take, in seconds. A
            runtime that hangs cannot be interrupted: **the process ends**, with one line and exit
            code 21.
        baseline: An earlier ``bench.json`` of that machine to compare with.
        max_regression: Growth of the time that counts as a regression; 0.05 is 5 %.
        paced: Then run the one artefact at a camera's pace, too; see
            ``compactmtl.board.bench.paced``.
        host: Measure on this machine, through the user's own ssh, as in ``user@board``.
        lock_clocks: Set a Jetson's clocks to their maximum meanwhile; they are restored.
        record_to: Where all that was seen of a Jetson is written, for ``replay``.
        on_round: Called after each round; of a host, for several at once.
        on_frame: Likewise after each frame of a paced run, in whose time it is.

    Returns:
        The record; ``compactmtl.bench.record.write_record`` writes it.

    Raises:
        UsageError: A setting is out of range, or the artefact does not take it.
        NotPossibleHereError: The device is not one this machine can measure, or the host does not
            answer.
        MissingFileError: There is no such file, or the folder holds nothing to measure.
        CorruptFileError: A file is not what its suffix says, or the baseline's of another version.
        NonFiniteError: A model yields NaN or Inf.
        BenchError: A runtime fails while it runs.
    """
    if host is not None:
        from compactmtl.bench.on_host import Asked, bench_on_host
        from compactmtl.errors import UsageError
        from compactmtl.remote.ssh import Host

        if torch:
            raise UsageError("torch does not run on a board", hint="leave out --torch, or --host")
        if roofline:
            raise UsageError(
                "a roofline is not measured over --host", hint="leave out --roofline, or --host"
            )
        asked = Asked(
            device=device,
            providers=tuple(providers) or (device if device != "jetson" else "cpu",),
            cuda_graph=cuda_graph,
            threads=threads,
            batch=batch,
            size=size,
            seconds=seconds,
            rounds=rounds,
            time_limit=time_limit,
            lock_clocks=lock_clocks,
            record_to=record_to,
            paced=paced,
        )
        return bench_on_host(
            Host(host),
            target,
            asked,
            baseline=None if baseline is None else Path(baseline),
            max_regression=max_regression,
            on_round=on_round,
            on_frame=on_frame,
        )
    from compactmtl.bench.run import run_bench  # the runtimes are imported when they are used

    return run_bench(
        target,
        threads=threads,
        batch=batch,
        size=size,
        seconds=seconds,
        rounds=rounds,
        device=device,
        providers=tuple(providers),
        torch=tuple(torch),
        cuda_graph=cuda_graph,
        roofline=roofline,
        time_limit=time_limit,
        baseline=None if baseline is None else Path(baseline),
        max_regression=max_regression,
        paced=paced,
        lock_clocks=lock_clocks,
        record_to=record_to,
        on_round=on_round,
        on_frame=on_frame,
    )
