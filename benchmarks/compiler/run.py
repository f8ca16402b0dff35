"""How small, how fast, at what price? See README.md."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # CPU seconds are those of one thread

import study_compile
import study_families
import study_latency
import torch

from compactmtl.environment import environment, version
from compactmtl.files import read_json, write_json

PARTS = ("families", "latency", "compile")


def main() -> None:
    """Run the parts and write their figures beside those of parts that did not run.

    Each network's row of the latency part has the environment it was measured in.
    """
    options = parse()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "format_version": 1,
        "question": "How small, how fast, at what price does the compiler make sparse networks?",
    }
    if options.output.is_file():
        document |= read_json(options.output)
    for part in options.only or PARTS:
        measured = run_part(part, options)
        if part == "latency":  # of networks that were not asked for, the earlier rows stay
            asked = {row["network"] for row in measured["results"]}
            kept = document.get(part, {}).get("results", [])
            measured["results"] += [row for row in kept if row["network"] not in asked]
        document[part] = {
            "environment": environment() | {"torch-pruning": version("torch-pruning")},
            **measured,
        }
        write_json(options.output, document)


def run_part(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one part."""
    if part == "families":
        rows = study_families.measure(options.families)
        exact = study_families.summary(rows)
        print("exact, of the eight: " + ", ".join(f"{tool} {n}" for tool, n in exact.items()))
        return {"exact": exact, "results": rows}
    if part == "compile":
        return {"results": study_compile.measure()}
    settings = {"seconds": options.seconds, "rounds": options.rounds, "threads": options.threads}
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        rows = study_latency.measure(
            options.networks, work, checkpoint=options.checkpoint, **settings
        )
    return {"settings": settings, "results": rows}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given twice")
    parser.add_argument("--families", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--networks", nargs="+", default=list(study_latency.SUBJECTS),
                        choices=list(study_latency.SUBJECTS))  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, metavar="RUN", help="a trained one, timed too")
    parser.add_argument("--seconds", type=float, default=60.0, help="per network")
    parser.add_argument("--rounds", type=int, default=50, help="at least so many")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the ONNX files there")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("record.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
