"""The verb `bench`."""

from compactmtl.cli import bench_paced as pace
from compactmtl.cli.bench_board import HostOption, LockClocks, RecordTo, Replay, report_replayed
from compactmtl.cli.bench_options import (
    Baseline,
    Batch,
    CudaGraph,
    Device,
    MaxRegression,
    Provider,
    Roofline,
    Rounds,
    Seconds,
    Size,
    Targets,
    Threads,
    TimeLimit,
    Torch,
    parse_size,
)
from compactmtl.cli.bench_table import exit_code, show
from compactmtl.cli.console import console
from compactmtl.cli.options import DEFAULT_FOLDER, Debug, Json, Out, Quiet


def bench(
    targets: Targets = None,
    *,
    device: Device = "cpu",
    provider: Provider = None,
    torch: Torch = None,
    cuda_graph: CudaGraph = False,
    host: HostOption = None,
    threads: Threads = 1,
    batch: Batch = 1,
    size: Size = None,
    seconds: Seconds = 10.0,
    rounds: Rounds = 50,
    roofline: Roofline = False,
    time_limit: TimeLimit = None,
    baseline: Baseline = None,
    max_regression: MaxRegression = "5%",
    rate: pace.Rate = None,
    deadline_ms: pace.Deadline = None,
    duration: pace.Duration = None,
    alongside: pace.Alongside = None,
    max_misses: pace.MaxMisses = None,
    lock_clocks: LockClocks = False,
    record_to: RecordTo = None,
    replay: Replay = None,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Measure the compact model against its dense twin.

    Runs every exported file of the folder that descends from its model.pt2, or the files that are
    named (then the first is the baseline of the ratios), in turns: A B C, C A B, ..., so that what
    disturbs the machine hits all alike; loaded anew several times. Then each, for its throughput.

    A ratio counts by CPU time with one thread on a CPU, else by wall time. `no difference shown`:
    its 95 % interval holds 1.00. `noisy`: the machine was too busy for the figures to mean much.

    Variants that `compress --variants` wrote and `export` exported run in the same turns; it says
    which plan is fastest here, and how to take it. Timed calls take arrays and give arrays: pre-
    and postprocessing are not included. Writes bench.json into the folder; for files, into the
    file that --out names.

    --roofline then profiles each ONNX file in runs of their own, measures what this machine attains
    in the same runtime, and prints which layers lose most time above their limit.

    Examples:
      compactmtl bench
      compactmtl bench compact/ --threads 2 --batch 4 --size 192x256
      compactmtl bench a.onnx b.xml --size 96x128 --seconds 5 --out ab.json
      compactmtl bench --torch eager --torch compile
      compactmtl bench --device jetson --host user@board
      compactmtl bench model.onnx --rate 30 --deadline-ms 12 --duration 10m --host user@board
      compactmtl bench --baseline good.json --max-regression 5%
    """
    from compactmtl.bench import bench as run
    from compactmtl.bench.baseline import parse_share, regression
    from compactmtl.bench.record import RECORD, write_record

    if replay is not None:
        report_replayed(replay, out)
        return 0
    chosen = targets or [DEFAULT_FOLDER]
    limit = parse_share(max_regression)
    plan = pace.paced_plan(rate, deadline_ms, duration, alongside, max_misses)
    with console.progress("round", None) as advance:
        record = run(
            chosen,
            threads=threads,
            batch=batch,
            size=parse_size(size),
            seconds=seconds,
            rounds=rounds,
            device=device,
            providers=provider or (),
            torch=torch or (),
            cuda_graph=cuda_graph,
            roofline=roofline,
            time_limit=time_limit,
            baseline=baseline,
            max_regression=limit,
            paced=plan,
            host=host,
            lock_clocks=lock_clocks,
            record_to=record_to,
            on_round=advance,
            on_frame=pace.frames(plan),
        )
    if path := out or (chosen[0] / RECORD if chosen[0].is_dir() else None):
        write_record(path, record)
    show(record, path)
    return exit_code(regression(record, limit), pace.missed(record))
