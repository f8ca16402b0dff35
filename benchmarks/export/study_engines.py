"""Part 2: engines of TensorRT-RTX by precision, built and not run."""

import tempfile
from pathlib import Path
from typing import Any

from conversion import WHICH, convert, label
from subjects import Subject

from compactmtl.export import find_target

TARGET = "tensorrt-rtx"


def measure(subject: Subject) -> dict[str, Any]:
    """Build the engines of one network, each without what another build has timed."""
    exporter = find_target(TARGET)
    here = exporter.availability()
    rows = []
    if here.version is not None:
        with tempfile.TemporaryDirectory() as name:
            for precision in exporter.precisions:
                for which in WHICH:
                    path = (
                        Path(name) / f"{precision}-{which}" / exporter.file_name(which, precision)
                    )
                    row = convert(subject, exporter, path, which, precision)
                    source = path.with_name(path.name.removesuffix(exporter.suffix) + ".trt.onnx")
                    if source.is_file():
                        row["onnx_bytes"] = source.stat().st_size
                    rows.append(row)
    result = {
        "network": subject.name,
        "title": subject.title,
        "size": subject.size,
        "builder": here.version,
        "artefacts": rows,
        "not_here": {} if here.version else {TARGET: here.why_not},
    }
    show(result)
    return result


def show(result: dict[str, Any]) -> None:
    """Print the table of one network."""
    print(f"\n{result['title']}, {result['size']}x{result['size']}: engines, built and not run")
    print(f"{'':26} {'build s':>8} {'export s':>8} {'ONNX MB':>8} {'engine MB':>10} {'layers':>7}")
    for row in result["artefacts"]:
        if row["status"] == "failed":
            print(f"{label(row)} {row['error'][:120]}")
            continue
        print(
            f"{label(row)} {row['build']['seconds']:8.1f} {row['seconds']:8.1f} "
            f"{row['onnx_bytes'] / 1e6:8.2f} {row['size_bytes'] / 1e6:10.2f} "
            f"{row['build']['num_layers']:7}"
        )
    for target, why in result["not_here"].items():
        print(f"{target:26} not here: {why}")
