"""What each target costs and keeps, for dense and compact networks. See README.md."""

import argparse
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # CPU seconds are those of one thread
sys.path.append(str(Path(__file__).resolve().parents[1] / "compiler"))  # the sparse networks

import study_engines
import study_masks
import study_targets
import torch
from speed import Protocol
from subjects import NETWORKS, UNPOOLING, prepare

from compactmtl.environment import environment, version
from compactmtl.files import read_json, write_json

PARTS = ("targets", "engines", "masks")
RUNTIMES = ("openvino", "tensorrt_rtx_cu13")
QUICK_SIZE = 64


def main() -> None:
    """Run the parts and write their figures beside those of parts that did not run."""
    options = parse()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "format_version": 1,
        "question": "What does each export target cost, and how far are its outputs from torch?",
    }
    if options.output and options.output.is_file():
        document |= read_json(options.output)
    for part in options.only or PARTS:
        document[part] = {
            "environment": environment() | {name: version(name) for name in RUNTIMES},
            **run_part(part, options),
        }
        if options.output:
            write_json(options.output, document)


def run_part(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one part over its networks."""
    protocol, size = Protocol(options.seconds, options.rounds, options.threads, options.core), None
    if options.quick:
        protocol, size = replace(protocol, seconds=1.0, rounds=3), QUICK_SIZE
    names = [n for n in options.networks if part != "masks" or n in UNPOOLING]
    results = []
    for name in names:
        subject = prepare(name, size)
        if part == "engines":
            results.append(study_engines.measure(subject))
        elif part == "masks":
            results.append(study_masks.measure(subject, protocol))
        else:
            results.append(study_targets.measure(subject, protocol))
    settings = {} if part == "engines" else {"settings": asdict(protocol)}
    return {**settings, "results": results}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given twice")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), metavar="NAME",
                        help=f"of {', '.join(NETWORKS)}")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="64x64, one network, 3 rounds: does it run? No record")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=60.0, help="per interleaved measurement")
    parser.add_argument("--rounds", type=int, default=30, help="at least so many")
    parser.add_argument("--threads", type=int, default=1, help="of each runtime")
    parser.add_argument("--core", type=int, metavar="N",
                        help="time on this core alone, by the real-time class; root")  # fmt: skip
    parser.add_argument("--output", type=Path, help="default: record.json, with --quick nowhere")
    options = parser.parse_args()
    every = list(NETWORKS)
    options.networks = options.networks or (every[:1] if options.quick else every)
    if options.output is None and not options.quick:
        options.output = Path(__file__).with_name("record.json")
    return options


if __name__ == "__main__":
    main()
