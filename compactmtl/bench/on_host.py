"""A bench on another machine: files go there, are measured there, and the record comes back."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compactmtl.bench.baseline import compare, read_baseline
from compactmtl.bench.candidates import Chosen, choose
from compactmtl.bench.record import BenchRecord
from compactmtl.bench.run import complete, pairs_of_variants
from compactmtl.board.artefact import sidecar_path
from compactmtl.board.bench.items import ENGINE, Item, check_graph, items_of
from compactmtl.board.bench.job import JOB, job_bytes
from compactmtl.board.bench.paced_run import PacedPlan, the_one
from compactmtl.board.bench.progress import Heard
from compactmtl.board.engine_gpu import why_not_fit
from compactmtl.board.nvml import Gpu
from compactmtl.board.sessions import parts
from compactmtl.errors import CorruptFileError
from compactmtl.export.board_errors import translated
from compactmtl.export.on_board import call, on_board, send
from compactmtl.export.stored import INPUTS, Stored
from compactmtl.files import sha256, write_bytes
from compactmtl.remote.ssh import Host

RECORDING = "recording.jsonl"
CAPABILITY = re.compile(r"\d{1,2}\.\d")
BESIDE = "beside"
"""Folder of the file that runs alongside a paced run."""
PACKAGES = {
    ".onnx": ("onnxruntime", "onnxruntime-gpu"),
    ".xml": ("openvino",),
    ".rtx.engine": ("tensorrt_rtx",),
    ".engine": ("tensorrt",),
    ".tflite": ("ai-edge-litert",),
    ".pte": ("executorch",),
}
"""End of a file's name, the first that fits, to packages of which one must be on the board."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the board is asked for.

    Attributes:
        device: ``cpu``, ``cuda`` or ``jetson``.
        providers: ONNX Runtime's execution providers for ONNX files.
        cuda_graph: Launch what computes on a GPU as CUDA graphs.
        threads: Threads of each runtime on the CPU.
        batch: Batch size.
        size: Height and width; None: those of the stored inputs.
        seconds: Least time of the timing in turns.
        rounds: Least number of its rounds.
        time_limit: Longest that one call may take, in seconds; None: any time.
        lock_clocks: Set the board's clocks to their maximum meanwhile.
        record_to: Where a recording of all that was seen goes; None: nowhere.
        paced: Then run the one artefact at a camera's pace; None: not.
    """

    device: str = "cpu"
    providers: tuple[str, ...] = ("cpu",)
    cuda_graph: bool = False
    threads: int = 1
    batch: int = 1
    size: tuple[int, int] | None = None
    seconds: float = 10.0
    rounds: int = 50
    time_limit: float | None = None
    lock_clocks: bool = False
    record_to: Path | None = None
    paced: PacedPlan | None = None

    def options(self) -> list[str]:
        """Return them as the options of the board's own command."""
        options = ["--device", self.device, "--threads", str(self.threads)]
        options += ["--batch", str(self.batch), "--seconds", str(self.seconds)]
        options += ["--rounds", str(self.rounds)]
        options += [word for name in self.providers for word in ("--provider", name)]
        if self.cuda_graph:
            options.append("--cuda-graph")
        if self.size is not None:
            options += ["--size", f"{self.size[0]}x{self.size[1]}"]
        if self.time_limit is not None:
            options += ["--time-limit", str(self.time_limit)]
        if self.lock_clocks:
            options.append("--lock-clocks")
        if self.record_to is not None:
            options += ["--record-tegrastats", RECORDING]
        if self.paced is not None:
            pace = self.paced.pace
            options += ["--rate", str(pace.rate), "--deadline-ms", str(pace.deadline_ms)]
            options += ["--duration", f"{pace.seconds:.6f}s"]
            if self.paced.other is not None:
                options += ["--alongside", f"{BESIDE}/{self.paced.other.name}"]
        return options


def bench_on_host(
    host: Host,
    target: str | Path | Sequence[str | Path],
    asked: Asked,
    *,
    baseline: Path | None = None,
    max_regression: float = 0.05,
    on_round: Callable[[], None] | None = None,
    on_frame: Callable[[], None] | None = None,
) -> BenchRecord:
    """Measure a folder's artefacts, or files, on a host; see ``compactmtl.bench.bench``.

    Args:
        host: The machine to measure on; it needs Python 3.10, numpy and the files' runtimes.
        target: A folder, or files, on this machine.
        asked: How.
        baseline: See ``compactmtl.bench.bench``; of that host.
        max_regression: See there.
        on_round: See there.
        on_frame: See there.

    Raises:
        NotPossibleHereError: The host does not answer, went away, or is not the device.
        DiskFullError: It has no room for the files.
        CorruptFileError: A file did not arrive as it was sent, or what came back is no record of
            these files.
        CompactMTLError: What the bench says there.
    """
    with on_board(host, {}) as folder:
        found = call(folder, ["doctor"])
        earlier = None
        if baseline is not None:
            earlier = read_baseline(
                baseline,
                device=asked.device,
                threads=asked.threads,
                batch=asked.batch,
                cpu=str(found.get("cpu")),
            )
        packages = found.get("packages", {})
        gpus = _gpus(host, found)
        chosen = choose(target, why_not=partial(_why_not, packages, gpus, host.address))
        places = {
            name: f"{number}/{path.name}"
            for number, (name, path) in enumerate(chosen.files.items())
        }
        items = _items(chosen, asked)
        pairs = pairs_of_variants(chosen, items)
        job = {JOB: job_bytes(places, pairs, chosen.left_out)}
        send(folder, {**job, **_files(chosen, places), **_beside(asked.paced)})
        heard = Heard({"rounds": on_round, "frames": on_frame})
        document = call(folder, ["bench", JOB, *asked.options()], on_line=heard)
        if asked.record_to is not None:
            write_bytes(asked.record_to, folder.fetch([RECORDING])[RECORDING])
    measured = {name: item.path for name, item in items.items()}
    _check(host, document, measured)
    record = complete(document, chosen, measured)
    if asked.paced is not None:
        record = _judged(host, record, asked.paced)
    if earlier is None:
        return record
    comparison = compare(record, earlier, max_regression=max_regression)
    return record.model_copy(update={"baseline": comparison})


def _items(chosen: Chosen, asked: Asked) -> dict[str, Item]:
    with translated():
        items = items_of(chosen.files, threads=asked.threads, providers=asked.providers)
        if asked.cuda_graph:
            check_graph(items)
        if asked.paced is not None:
            the_one(items)
    return items


def _beside(plan: PacedPlan | None) -> dict[str, Path | bytes]:
    """Return the files of what is to run alongside, by where they go."""
    if plan is None or plan.other is None:
        return {}
    return {f"{BESIDE}/{each.name}": each for each in (plan.other, *parts(plan.other))}


def _judged(host: Host, record: BenchRecord, plan: PacedPlan) -> BenchRecord:
    """Judge the misses here: there it would be an error, which has no record."""
    if record.paced is None:
        raise CorruptFileError(
            f"`{host.address}` sent a record without the paced run", hint="try again"
        )
    return record.model_copy(update={"paced": record.paced.judged(plan.max_misses)})


def _files(chosen: Chosen, places: Mapping[str, str]) -> dict[str, Path | bytes]:
    files: dict[str, Path | bytes] = {}
    if chosen.stored is not None:
        files[INPUTS] = _npz(chosen.stored)
    for name, path in chosen.files.items():
        folder = places[name].partition("/")[0]
        sent = [path, *parts(path), sidecar_path(path)]  # it says which GPU an engine is for
        files |= {f"{folder}/{each.name}": each for each in sent if each.is_file()}
    return files


def _npz(stored: Stored) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, source=np.array(stored.source), **stored.arrays)
    return buffer.getvalue()


def _gpus(host: Host, found: Mapping[str, Any]) -> list[Gpu]:
    try:
        gpus = [Gpu(str(each["name"]), each["compute_capability"]) for each in found["gpu_kinds"]]
        if not all(CAPABILITY.fullmatch(gpu.compute_capability) for gpu in gpus):
            raise ValueError(gpus)
        return gpus
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"`{host.address}` does not say which GPUs it has") from error


def _why_not(packages: Mapping[str, Any], gpus: Sequence[Gpu], address: str, path: Path) -> str:
    """Say why a file cannot be measured on the board; empty where it can."""
    wanted = next((found for end, found in PACKAGES.items() if path.name.endswith(end)), None)
    if wanted is None:
        return "nothing on a board runs it"
    if not any(packages.get(name) for name in wanted):
        return f"{wanted[0]} is not installed on `{address}`"
    with translated():
        return why_not_fit(path, gpus, where=f"on `{address}`") if path.suffix == ENGINE else ""


def _check(host: Host, document: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Check that a record is one of the files that were sent."""
    candidates = document.get("candidates")
    stated: dict[str, Any] = {}
    with suppress(AttributeError, TypeError):
        stated = {name: each.get("sha256") for name, each in (candidates or {}).items()}
    sent = {name: sha256(path) for name, path in files.items()}
    if stated != sent:
        raise CorruptFileError(
            f"`{host.address}` sent a record of other files than it was given", hint="try again"
        )
