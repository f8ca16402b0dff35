"""The workstation's side of a bench: choose, have it measured, count, check the record."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compactmtl.bench.baseline import compare, read_baseline
from compactmtl.bench.candidates import COMPACT, Chosen, choose
from compactmtl.bench.cost import RUNTIMES, count
from compactmtl.bench.device import check_device
from compactmtl.bench.fed import fed_inputs
from compactmtl.bench.parts_ms import parts_ms
from compactmtl.bench.record import BenchRecord, parse_record
from compactmtl.bench.ways import Ways, make_items
from compactmtl.bench.with_roofline import with_roofline
from compactmtl.board.bench.limit import TimeLimit
from compactmtl.board.bench.on_device import measure_on
from compactmtl.board.bench.paced_run import PacedPlan, measure_paced, the_one
from compactmtl.board.bench.run import Settings, measure
from compactmtl.board.bench.watch import Unwatched, Watch
from compactmtl.board.engine_gpu import check_fits
from compactmtl.board.onnx_session import PROVIDERS
from compactmtl.board.panoptic.session import SUFFIX as PANOPTIC
from compactmtl.board.stored import Stored
from compactmtl.environment import cpu_model, environment
from compactmtl.export.board_errors import translated


def run_bench(
    target: str | Path | Sequence[str | Path],
    *,
    threads: int,
    batch: int,
    size: tuple[int, int] | None,
    seconds: float,
    rounds: int,
    device: str,
    providers: tuple[str, ...],
    torch: tuple[str, ...],
    cuda_graph: bool,
    roofline: bool,
    time_limit: float | None,
    baseline: Path | None,
    max_regression: float,
    paced: PacedPlan | None,
    lock_clocks: bool,
    record_to: Path | None,
    on_round: Callable[[], None] | None,
    on_frame: Callable[[], None] | None,
) -> BenchRecord:
    """Measure; see ``compactmtl.bench.bench``."""
    check_device(device)
    with translated(), ExitStack() as stack:
        settings = Settings(
            device=device, threads=threads, batch=batch, size=size, seconds=seconds, rounds=rounds
        )
        earlier = None
        if baseline is not None:
            earlier = read_baseline(
                baseline, device=device, threads=threads, batch=batch, cpu=cpu_model()
            )
        chosen = choose(target, programs=bool(torch))
        computing = device if device in PROVIDERS else "cpu"
        ways = Ways(providers or (computing,), torch, computing, cuda_graph)
        items = make_items(chosen.files, ways, threads=threads)
        for item in items.values():
            check_fits(item.path)  # before anything starts CUDA
        limit = stack.enter_context(TimeLimit(time_limit)) if time_limit is not None else None
        if paced is not None:
            the_one(items)

        def run(watch: Watch | None) -> dict[str, Any]:
            document = measure(
                items,
                settings,
                environment=environment(),
                stored=chosen.stored,
                also=pairs_of_variants(chosen, items),
                left_out=chosen.left_out,
                watch=watch,
                limit=limit,
                on_round=on_round,
            )
            if paced is not None:
                section = measure_paced(
                    items,
                    paced,
                    settings,
                    stored=chosen.stored,
                    thermometer=(watch or Unwatched()).thermometer,
                    limit=limit,
                    on_frame=on_frame,
                )
                document["paced"] = asdict(section)
            return document

        document = measure_on(device, run, lock_clocks=lock_clocks, record_to=record_to)
        files = {name: item.path for name, item in items.items()}
        record = complete(document, chosen, files)
        record = with_roofline(record, files, chosen.stored) if roofline else record
    if earlier is None:
        return record
    comparison = compare(record, earlier, max_regression=max_regression)
    return record.model_copy(update={"baseline": comparison})


def complete(document: dict[str, Any], chosen: Chosen, files: Mapping[str, Path]) -> BenchRecord:
    """Add what only a workstation can count to what was measured, here or on a board.

    Args:
        document: What was measured.
        chosen: What was to be measured.
        files: Name of a candidate to its file.

    Raises:
        CorruptFileError: The document is no record.
        BenchError: A file does not run on the inputs of the measurement.
    """
    record = parse_record({**document, "variants": list(chosen.variants)}, "what was measured")
    batch, counted = record.settings.batch, {}
    for name, candidate in record.candidates.items():
        fields = _count(files[name], candidate.inputs, chosen.stored, batch)
        counted[name] = candidate.model_copy(update=fields)
    return record.model_copy(update={"candidates": counted})


def pairs_of_variants(chosen: Chosen, names: Collection[str]) -> list[tuple[str, str]]:
    """Return the pairs of the compact model and its variants, as far as they are measured."""
    return [(COMPACT, name) for name in chosen.variants if {COMPACT, name} <= set(names)]


def _count(path: Path, fed: Mapping[str, Any], stored: Stored | None, batch: int) -> dict[str, Any]:
    """Return the counted fields of a candidate."""
    if path.suffix == PANOPTIC:
        return {
            "parts_ms": parts_ms(path, fed_inputs(fed, stored, batch)),
            "why_not_counted": "what it computes depends on what is found; its parts are counted",
        }
    if path.suffix not in RUNTIMES:
        return {"why_not_counted": f"nothing counts files {path.suffix}"}
    cost = count(path, fed_inputs(fed, stored, batch))
    return {
        "macs": cost.macs,
        "flops": cost.flops,
        "num_params": cost.num_params,
        "weights_bytes": cost.weights_bytes,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "layers": list(cost.layers),
        "uncounted": list(cost.uncounted),
    }
