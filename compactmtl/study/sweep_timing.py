"""How long the compiled models of a sweep take in ONNX Runtime, all of a seed in turns."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compactmtl.board.bench.items import items_of
from compactmtl.board.bench.judge import judge
from compactmtl.board.bench.loads import interleave_loads
from compactmtl.board.bench.memory import PeakMemory
from compactmtl.board.bench.prepare import prepare
from compactmtl.board.bench.statistics import summarise
from compactmtl.board.bench.timing import ROUNDS
from compactmtl.environment import environment
from compactmtl.export.board_errors import translated
from compactmtl.export.stored import INPUTS, read_inputs
from compactmtl.files import make_folder, read_json, sha256, write_json
from compactmtl.study.cells import RunCell

FOLDER = "timing"
MODEL, DENSE = "model.onnx", "dense.onnx"
THREADS = 1
"""With one thread CPU time can judge, which other load on the machine disturbs least."""

Document = dict[str, Any]
Series = Mapping[str, str]
"""Label of a recipe to the task set it belongs to."""


def dense_name(series: str) -> str:
    """Return what the dense twin of a task set is called in a timing."""
    return f"{series}: dense"


def time_models(
    cells: Sequence[RunCell],
    series: Series,
    root: Path,
    *,
    seconds: float,
    on_round: Callable[[], None] = lambda: None,
) -> dict[int, Document]:
    """Measure the compiled models, each seed's in one interleaved run; nothing else must run here.

    One dense twin per task set runs in the same turns: all of a task set are alike but for their
    weights, so its first one stands for them. What was measured of the same files is not measured
    again; each document lies in ``timing/``.

    Args:
        cells: The finished runs.
        series: The task set of each label.
        root: The sweep's folder.
        seconds: Least time for each seed.
        on_round: Called after each round of measuring.

    Returns:
        Seed to its document.

    Raises:
        BenchError: A model does not run.
        WriteError: The folder cannot be written.
    """
    found = {}
    for seed in sorted({cell.seed for cell in cells}):
        files, pairs = _choose([cell for cell in cells if cell.seed == seed], series)
        wanted = {name: sha256(path) for name, path in files.items()}
        path = make_folder(root / FOLDER) / f"seed-{seed}.json"
        document = read_json(path) if path.is_file() else {}
        if (document.get("files"), document.get("seconds")) != (wanted, seconds):
            document = _measure(files, pairs, seconds, on_round)
            document |= {"files": wanted, "seconds": seconds}
            write_json(path, document)
        found[seed] = document
    return found


def _choose(
    cells: Sequence[RunCell], series: Series
) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """Return the files of one seed, dense twins first, and which pairs are compared."""
    dense: dict[str, Path] = {}
    for cell in cells:
        dense.setdefault(dense_name(series[cell.subject.label]), cell.compact / DENSE)
    compact = {cell.subject.label: cell.compact / MODEL for cell in cells}
    return dense | compact, [(dense_name(series[label]), label) for label in compact]


def _measure(
    files: Mapping[str, Path],
    pairs: Sequence[tuple[str, str]],
    seconds: float,
    on_round: Callable[[], None],
) -> Document:
    memory = PeakMemory()
    with translated():
        ready = {
            name: prepare(
                name,
                item,
                read_inputs(item.path.parent / INPUTS),
                batch=1,
                size=None,
                memory=memory,
                guard=lambda _: nullcontext(),
            )
            for name, item in items_of(files, threads=THREADS).items()
        }
        timings = interleave_loads(
            {name: each.reload for name, each in ready.items()},
            seconds=seconds,
            rounds=ROUNDS,
            loading_s=sum(each.load_ms + each.first_ms for each in ready.values()) / 1e3,
            on_round=on_round,
        )
        judged = judge(timings, pairs, on_cpu=set(ready), threads=THREADS)
    first = next(iter(ready.values()))
    return {
        "format_version": 1,
        "environment": environment(),
        "runtime": first.session.runtime,
        "threads": THREADS,
        "shapes": {name: list(array.shape) for name, array in first.inputs.items()},
        "models": {
            name: {
                "cpu_ms": asdict(summarise(timings[name].cpu_ms)),
                "latency_ms": asdict(summarise(timings[name].wall_ms)),
            }
            for name in ready
        },
        **judged,
    }
