"""The verb ``bench`` of ``python -m compactmtl.board``."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compactmtl.board.bench.paced_verb import add_paced, plan_of
from compactmtl.board.bench.paced_words import paced_lines
from compactmtl.board.words import parse_size

if TYPE_CHECKING:
    from compactmtl.board.bench.watch import Watch

Say = Callable[[str], None]


def add_bench(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("bench", help="Time files in turns; print the record.")
    parser.set_defaults(call=bench_verb)
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FILE", help="Exported files, or bench-job.json.")
    add(
        "--device",
        choices=("cpu", "cuda", "jetson"),
        default="cpu",
        help="A Jetson is watched, too.",
    )
    add("--threads", type=int, default=1, metavar="N", help="Of each runtime on a CPU.")
    add("--batch", type=int, default=1, metavar="N", help="Batch size.")
    add("--size", metavar="HxW", help="Image size (default: that of inputs.npz beside the file).")
    add("--seconds", type=float, default=10.0, metavar="S", help="Least time of all in turns.")
    add("--rounds", type=int, default=50, metavar="N", help="Least number of rounds.")
    add(
        "--provider",
        action="append",
        choices=("cpu", "cuda", "tensorrt"),
        help="ONNX Runtime's execution provider for ONNX files; may be given again.",
    )
    add(
        "--cuda-graph",
        action="store_true",
        help="Record what computes on a GPU as CUDA graphs. Never run on hardware.",
    )
    add("--time-limit", type=float, metavar="S", help="Longest that one call may take.")
    add_paced(add)
    add("--lock-clocks", action="store_true", help="Jetson: clocks at their maximum; needs root.")
    add("--record-tegrastats", type=Path, metavar="FILE", help="Jetson: note all that was seen.")
    add("--json", action="store_true", help="Print the record as one JSON document.")


def bench_verb(asked: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Measure what is asked for and say the figures."""
    from compactmtl.board.bench.items import check_graph, items_of
    from compactmtl.board.bench.job import job_of
    from compactmtl.board.bench.limit import TimeLimit
    from compactmtl.board.bench.on_device import measure_on
    from compactmtl.board.bench.paced_run import measure_paced, the_one
    from compactmtl.board.bench.progress import Progress
    from compactmtl.board.bench.run import Settings, measure
    from compactmtl.board.bench.watch import Unwatched
    from compactmtl.board.engine_gpu import check_fits
    from compactmtl.board.machine import describe

    settings = Settings(
        device=asked.device,
        threads=asked.threads,
        batch=asked.batch,
        size=_one_size(asked.size),
        seconds=asked.seconds,
        rounds=asked.rounds,
    )
    job, stored = job_of(asked.files)
    with ExitStack() as stack:
        limit = None
        if asked.time_limit is not None:
            limit = stack.enter_context(TimeLimit(asked.time_limit))
        items = items_of(
            job.files,
            threads=asked.threads,
            providers=asked.provider or ("cpu",),
            cuda_graph=asked.cuda_graph,
        )
        if asked.cuda_graph:
            check_graph(items)
        for item in items.values():
            check_fits(item.path)  # before anything starts CUDA
        plan = plan_of(asked)
        if plan is not None:
            the_one(items)

        def run(watch: "Watch | None") -> dict[str, Any]:
            document = measure(
                items,
                settings,
                environment=describe(),
                stored=stored,
                also=job.also,
                left_out=job.left_out,
                watch=watch,
                limit=limit,
                on_round=Progress("rounds"),
            )
            if plan is not None:
                section = measure_paced(
                    items,
                    plan,
                    settings,
                    stored=stored,
                    thermometer=(watch or Unwatched()).thermometer,
                    limit=limit,
                    on_frame=Progress("frames", plan.pace.num_frames),
                )
                document["paced"] = asdict(section)
            return document

        document = measure_on(
            asked.device,
            run,
            lock_clocks=asked.lock_clocks,
            record_to=asked.record_tegrastats,
        )
    for line in [*lines_of(document), *paced_lines(document.get("paced"))]:
        say(line)
    return document


def lines_of(document: Mapping[str, Any]) -> list[str]:
    """Return what a person reads of a record."""
    from compactmtl.board.bench.gpu_words import lines_of_gpu
    from compactmtl.board.jetson.words import lines_of_device

    lines = []
    for name, each in document["candidates"].items():
        wall = each["latency_ms"]
        lines.append(
            f"{name}: p50 {wall['p50']:.3f} ms, p90 {wall['p90']:.3f}, p99 {wall['p99']:.3f}, "
            f"n {wall['n']}, {each['throughput']['samples_per_s']:.1f}/s, {each['runtime']}"
        )
    for pair, ratio in document["ratios"].items():
        low, high = ratio[f"{ratio['clock']}_interval"]
        shown = "" if ratio["verdict"] == "ok" else ": no difference shown"
        lines.append(
            f"{pair}: {ratio[ratio['clock']]:.3f} ({low:.3f} to {high:.3f}, {ratio['clock']})"
            + shown
        )
    lines += lines_of_device(document["device"]) + lines_of_gpu(document["device"])
    return [*lines, *document["why"], f"verdict: {document['verdict']}"]


def _one_size(text: str | None) -> tuple[int, int] | None:
    """Read one image size; a range is for building."""
    from compactmtl.board.errors import AskedError

    if text is None:
        return None
    low, _, high = parse_size(text)
    if low != high:
        raise AskedError(f"size (={text}) is a range", hint="write one size: 384x640")
    return low
