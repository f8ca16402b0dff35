"""Part 1: every target that runs here, dense and compact: conversion, size, parity, CPU time."""

import tempfile
from pathlib import Path
from typing import Any

from conversion import WHICH, convert, label, parity
from speed import Artefact, Protocol, add_times, timed, verdict
from subjects import Subject

from compactmtl.export import find_target
from compactmtl.export.options import Precision

CELLS: tuple[tuple[str, Precision], ...] = (
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("pt2", "fp32"),
    ("litert", "fp32"),
    ("executorch", "fp32"),
)
"""Of a runtime, fp32 first: its dense file is what the others are compared with."""


def measure(subject: Subject, protocol: Protocol) -> dict[str, Any]:
    """Convert and time everything of one network, and print its table."""
    artefacts: list[Artefact] = []
    not_here: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        for target, precision in CELLS:
            exporter = find_target(target)
            here = exporter.availability()
            if here.version is None:
                not_here[target] = here.why_not
                continue
            for which in WHICH:
                folder = Path(name) / f"{target}-{precision}-{which}"
                path = folder / exporter.file_name(which, precision)
                artefacts.append((convert(subject, exporter, path, which, precision), path))
        timing = time_all(artefacts, protocol)
    result = {
        "network": subject.name,
        "title": subject.title,
        "size": subject.size,
        "artefacts": [row for row, _ in artefacts],
        "not_here": not_here,
        "timing": timing,
    }
    show(result)
    return result


def time_all(artefacts: list[Artefact], protocol: Protocol) -> dict[str, Any]:
    """Add the CPU times to the rows of what ran; return what the bench says of the run."""
    return add_times([(row, path) for row, path in artefacts if row["status"] == "ran"], protocol)


def show(result: dict[str, Any]) -> None:
    """Print the table of one network."""
    size = result["size"]
    print(f"\n{result['title']}, {size}x{size}; {verdict(result['timing'])}")
    print(
        f"{'':26} {'export s':>8} {'MB':>8} {'CPU ms':>8} {'speed-up':>9} {'95 %':>13}  "
        "relative error and relative RMS per task"
    )
    for row in result["artefacts"]:
        if row["status"] == "failed":
            print(f"{label(row)} {row['error'][:120]}")
            continue
        print(
            f"{label(row)} {row['seconds']:8.1f} {row['size_bytes'] / 1e6:8.2f} {timed(row)}  "
            f"{parity(row)}"
        )
    for target, why in result["not_here"].items():
        print(f"{target:26} not here: {why}")
