"""How far can the bench be trusted? See README.md."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # CPU seconds are those of one thread

import study_coverage
import study_overhead
import study_peers
from subjects import LAYERS, LONGER, chain, network

from compactmtl.environment import environment, version
from compactmtl.files import read_json, sha256, write_json

PARTS = ("same", "slower", "one_load", "overhead", "peers")


def main() -> None:
    """Run the parts and write their figures beside those of parts that did not run."""
    options = parse()
    document: dict[str, Any] = {
        "format_version": 1,
        "question": "How far can the bench be trusted?",
    }
    if options.output.is_file():
        document |= read_json(options.output)
    for part in options.only or PARTS:
        document[part] = {
            "environment": environment() | {"polygraphy": version("polygraphy")},
            **run_part(part, options),
        }
        write_json(options.output, document)


def run_part(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one part."""
    if part == "overhead":
        return study_overhead.measure(rounds=20_000)
    model, longer, chained = (
        network(options.file, options.size), chain(LONGER), chain(LAYERS)
    )  # fmt: skip
    settings = {
        "file": options.file.name,
        "sha256": sha256(options.file),
        "size": options.size,
        "nice": os.nice(0),
        "seconds": options.seconds,
    }
    if part == "peers":
        pairs = {
            "a file with itself": (model, model, 1.0),
            "42 layers with 40": (longer, chained, LONGER / LAYERS),
        }
        rows = study_peers.measure(pairs, repeats=options.repeats, seconds=options.seconds)
        return {"settings": settings, "results": rows}
    slower, faster = (longer, chained) if part == "slower" else (model, model)
    study: Callable[..., list[dict[str, Any]]] = study_coverage.measure
    if part == "one_load":
        study = study_coverage.measure_one_load
    rows = study(slower, faster, comparisons=options.comparisons, seconds=options.seconds)
    found = study_coverage.summary(rows, LONGER / LAYERS if part == "slower" else 1.0)
    print(part, found)
    return {"settings": settings, "summary": found, "results": rows}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="an ONNX file of one image as input")
    parser.add_argument("--size", type=parse_size, default=(96, 128), metavar="HxW")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given twice")
    parser.add_argument("--comparisons", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0, help="per comparison")
    parser.add_argument("--repeats", type=int, default=5, help="of each method beside ours")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("record.json"))
    return parser.parse_args()


def parse_size(text: str) -> tuple[int, int]:
    """Read a size as in 96x128."""
    height, width = text.split("x")
    return int(height), int(width)


if __name__ == "__main__":
    main()
