"""Part 3: max-unpooling as ONNX Runtime's operator, and as masks that TensorRT takes."""

import tempfile
from pathlib import Path
from typing import Any

from conversion import WHICH, convert, parity
from speed import Artefact, Protocol, add_times, timed, verdict
from subjects import Subject

from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.options import Dialect

FORMS: dict[str, tuple[Dialect, str]] = {
    "MaxUnpool": ("onnx", ".onnx"),
    "masks": ("tensorrt", ".trt.onnx"),
}


def measure(subject: Subject, protocol: Protocol) -> dict[str, Any]:
    """Write both forms and time them against each other, dense and compact."""
    rows, records = [], {}
    for which in WHICH:
        with tempfile.TemporaryDirectory() as name:
            artefacts: list[Artefact] = []
            for form, (operators, suffix) in FORMS.items():
                path = Path(name) / f"{which}{suffix}"
                row = convert(subject, OnnxExporter(operators), path, which)
                artefacts.append(({"form": form} | row, path))
            ran = [(row, path) for row, path in artefacts if row["status"] == "ran"]
            records[which] = add_times(ran, protocol)
        rows += [row for row, _ in artefacts]
    result = {
        "network": subject.name,
        "title": subject.title,
        "size": subject.size,
        "artefacts": rows,
        "timings": records,
    }
    show(result)
    return result


def show(result: dict[str, Any]) -> None:
    """Print the table of one network."""
    size = result["size"]
    print(f"\n{result['title']}, {size}x{size}: unpooling")
    for which, record in result["timings"].items():
        print(f"{which}: {verdict(record)}")
    print(
        f"{'':26} {'export s':>8} {'MB':>8} {'CPU ms':>8} {'speed-up':>9} {'95 %':>13}  "
        "relative error and relative RMS per task"
    )
    for row in result["artefacts"]:
        name = f"{row['form']} {row['which']}"
        if row["status"] == "failed":
            print(f"{name:26} {row['error'][:120]}")
            continue
        print(
            f"{name:26} {row['seconds']:8.1f} {row['size_bytes'] / 1e6:8.2f} {timed(row)}  "
            f"{parity(row)}"
        )
