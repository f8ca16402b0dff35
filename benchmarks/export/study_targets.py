"""Part 1: every target that runs here, dense and compact: conversion, size, parity, CPU time."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from conversion import WHICH, convert, label, parity
from speed import Artefact, Protocol, add_times, time_files, time_programs, timed, verdicts
from subjects import Subject

from compactmtl.bench.cost import why_not_run
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
IN_TORCH = "pt2"


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
        records = time_all(subject, artefacts, protocol)
    result = {
        "network": subject.name,
        "title": subject.title,
        "size": subject.size,
        "artefacts": [row for row, _ in artefacts],
        "not_here": not_here,
        "timings": records,
    }
    show(result)
    return result


def time_all(subject: Subject, artefacts: list[Artefact], protocol: Protocol) -> dict[str, Any]:
    """Add the CPU times to the rows of what can be timed; return the records."""
    ran = [(row, path) for row, path in artefacts if row["status"] == "ran"]
    in_torch = [(row, path) for row, path in ran if row["target"] == IN_TORCH]
    in_bench = [(row, path) for row, path in ran if not why_not_run(path)]
    for row, path in ran:
        if row["target"] != IN_TORCH and (why := why_not_run(path)):
            row["not_timed"] = why  # workers: their CPU time is that of other processes
    sample = {key: array[:1] for key, array in subject.checked.arrays.items()}
    files = [path for _, path in in_bench]
    load = find_target(IN_TORCH).load
    return {
        "bench": add_times(in_bench, partial(time_files, files, protocol)),
        IN_TORCH: add_times(
            in_torch,
            lambda: time_programs(
                {path.name: partial(load(path), sample) for _, path in in_torch}, protocol
            ),
        ),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table of one network."""
    size = result["size"]
    print(f"\n{result['title']}, {size}x{size}; {verdicts(result['timings'])}")
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
