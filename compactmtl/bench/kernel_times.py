"""How long each kernel of ONNX Runtime takes, from its own profile of runs apart from the timed."""

import json
import statistics
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from compactmtl.board.onnx_session import session_options
from compactmtl.errors import BenchError
from compactmtl.export.stored import Arrays

Event = Mapping[str, Any]
WARMUP, MIN_RUNS, MAX_RUNS = 3, 20, 200
KERNEL = "_kernel_time"
BRANCHES = ("If", "Loop", "Scan")


@dataclass(frozen=True)
class Kernel:
    """One kernel of an optimised graph.

    Attributes:
        name: As ONNX Runtime names its node.
        op: Operation; fused ones have names of ONNX Runtime's own.
        num_bytes: Bytes of what it reads, weights included, and of what it writes.
        is_integer: Its first input is quantised.
        us: Microseconds in each run.
    """

    name: str
    op: str
    num_bytes: int
    is_integer: bool
    us: tuple[float, ...]

    @property
    def typical_us(self) -> float:
        """Return the mean of the faster half: other load on the machine only ever adds.

        A mean, because it is finer than the profile's microseconds.
        """
        return statistics.fmean(sorted(self.us)[: (len(self.us) + 1) // 2])


def profile(
    model: Path | onnx.ModelProto, inputs: Arrays, *, threads: int, seconds: float = 1.0
) -> list[Kernel]:
    """Run a model with ONNX Runtime's profiler on; return its kernels in the order they first ran.

    The profiler slows whole runs down, not kernels.

    Args:
        model: A file, or a model made here.
        inputs: What it is run with.
        threads: Threads of the runtime.
        seconds: Least total time, within ``MIN_RUNS`` and ``MAX_RUNS`` runs.

    Raises:
        BenchError: It does not run, or the profile is not one that can be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        source = str(model) if isinstance(model, Path) else model.SerializeToString()
        try:
            session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            started, runs = time.perf_counter(), 0
            while runs < WARMUP + MIN_RUNS or (
                runs < MAX_RUNS and time.perf_counter() - started < seconds
            ):
                session.run(None, dict(inputs))
                runs += 1
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            raise BenchError(f"cannot profile: {' '.join(str(error).split())}") from error
    return read_profile(events)


def read_profile(events: Sequence[Event]) -> list[Kernel]:
    """Read the events of a profile; the first ``WARMUP`` runs do not count.

    Raises:
        BenchError: No run is in it.
    """
    timed = [e for e in events if e.get("cat") == "Node" and e["name"].endswith(KERNEL)]
    branches = _outermost(e for e in timed if e["args"]["op_name"] in BRANCHES)
    starts = sorted(e["ts"] for e in events if e.get("name") == "model_run")[WARMUP:]
    if not starts:
        raise BenchError("ONNX Runtime's profile holds no runs")
    first: dict[str, Event] = {}
    spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * len(starts))
    for event in timed:
        run = bisect_right(starts, event["ts"]) - 1
        if run < 0 or _is_inside(event, branches):
            continue
        name = event["name"].removesuffix(KERNEL)
        first.setdefault(name, event["args"])
        spent[name][run] += event["dur"]
    return [
        Kernel(name, str(args["op_name"]), _bytes(args), _is_integer(args), tuple(spent[name]))
        for name, args in first.items()
    ]


def _outermost(events: Iterable[Event]) -> list[Event]:
    """Return branches and loops that are in no other one, in order."""
    found: list[Event] = []
    for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        if not found or event["ts"] >= found[-1]["ts"] + found[-1]["dur"]:
            found.append(event)
    return found


def _is_inside(event: Event, branches: Sequence[Event]) -> bool:
    """Tell whether a kernel ran in a branch or a loop, whose own time holds its."""
    index = bisect_right(branches, event["ts"], key=lambda e: e["ts"]) - 1
    if index < 0 or branches[index] is event:
        return False
    return bool(event["ts"] < branches[index]["ts"] + branches[index]["dur"])


def _bytes(args: Event) -> int:
    return sum(
        int(args.get(key, 0)) for key in ("activation_size", "parameter_size", "output_size")
    )


def _is_integer(args: Event) -> bool:
    inputs = args.get("input_type_shape") or [{}]
    return any(kind in ("int8", "uint8") for kind in inputs[0])
