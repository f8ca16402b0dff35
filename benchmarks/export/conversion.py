"""One conversion: how long it took, what it wrote, how far its outputs are from torch."""

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from subjects import Subject

from compactmtl.export.base import Exporter, Which
from compactmtl.export.options import Options, Precision
from compactmtl.export.write import write

WHICH: tuple[Which, ...] = ("dense", "compact")


def convert(
    subject: Subject, exporter: Exporter, path: Path, which: Which, precision: Precision = "fp32"
) -> dict[str, Any]:
    """Export and return a row; of a target that fails, with its error in one line.

    The folder of ``path`` should be new: TensorRT keeps there what it has timed, and a second build
    is faster. Seconds are those of the whole export, its ONNX file and its check among them;
    CPU seconds are of all threads and of converters in processes of their own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    row: dict[str, Any] = {"target": exporter.target, "precision": precision, "which": which}
    options = Options(
        precision=precision, calibration=subject.calibration if precision == "int8" else None
    )
    started, cpu_started = time.perf_counter(), cpu_seconds()
    try:
        sidecar = write(
            exporter, subject.compact, path,
            which=which, options=options, inputs=subject.checked, progress=None,
        )  # fmt: skip
    except Exception as failure:  # noqa: BLE001 - whatever a target raises is its result
        return row | {"status": "failed", "error": one_line(failure)}
    seconds = time.perf_counter() - started
    print(f"{subject.name}: {label(row).strip()}, {seconds:.1f} s", file=sys.stderr, flush=True)
    return row | {
        "status": sidecar.verified.status,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - cpu_started,
        "size_bytes": sidecar.size_bytes,
        "per_task": {
            name: found.model_dump(include={"max_rel_error", "rel_rms", "bound"})
            for name, found in sidecar.verified.per_task.items()
        },
        "build": sidecar.build,
    }


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def one_line(failure: Exception) -> str:
    """Return what went wrong, without temporary folders, which name a machine."""
    folders = re.escape(tempfile.gettempdir()) + r"/(?:[^\s/`'\"]+/)*"
    return f"{type(failure).__name__}: {re.sub(folders, '', ' '.join(str(failure).split()))}"


def parity(row: dict[str, Any]) -> str:
    """Return each task's relative error and relative RMS for a table."""
    return "  ".join(
        f"{task} {found['max_rel_error']:.1e} {found['rel_rms']:.1e}"
        for task, found in row["per_task"].items()
    )


def label(row: dict[str, Any]) -> str:
    """Return what a line of a table begins with."""
    return f"{row['target'] + ' ' + row['precision'] + ' ' + row['which']:26}"
