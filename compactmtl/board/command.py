"""The command ``python -m compactmtl.board``, which needs Python, numpy and a runtime alone."""

import argparse
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from compactmtl.board.artefact import engine_path, write_engine
from compactmtl.board.bench.calibrate_verb import add_calibrate
from compactmtl.board.bench.paced_words import missed
from compactmtl.board.bench.verb import add_bench
from compactmtl.board.bindings import FLAVOURS, load_bindings
from compactmtl.board.errors import AskedError, BoardError, MissingPackageError
from compactmtl.board.jetson.verbs import add_verbs
from compactmtl.board.link import INTERRUPTED, Link
from compactmtl.board.prepared import build_prepared
from compactmtl.board.recipe import BuildRecipe
from compactmtl.board.words import parse_batch, parse_bytes, parse_capability, parse_size

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""A polite kill, and a terminal that goes away: both clean up as Ctrl-C does."""
DIE_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG``."""
Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors are one line and a hint."""
    for each in SIGNALS:
        signal.signal(each, _interrupt)
    asked = _parser().parse_args(arguments)
    with Link(asked.linked) if asked.linked else nullcontext():
        return _run(asked)


def _run(asked: argparse.Namespace) -> int:
    stream = sys.stderr if asked.json else sys.stdout
    try:
        document = asked.call(asked, lambda line: _say(line, stream))
        if asked.json:
            _say(json.dumps(document, indent=2), sys.stdout)
        if error := missed(document.get("paced")):
            raise error
    except KeyboardInterrupt:
        _say("error: interrupted", sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        _say("error: numpy is not installed", sys.stderr)
        _say("hint: sudo apt install python3-numpy, or pip install numpy", sys.stderr)
        return MissingPackageError.exit_code
    except BoardError as error:
        _say(f"error: {error.message}", sys.stderr)
        if error.hint:
            _say(f"hint: {error.hint}", sys.stderr)
        return error.exit_code
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in SIGNALS:  # a second one must not cut short what is undone
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _build_verb(asked: argparse.Namespace, say: Say) -> dict[str, Any]:
    written = []
    for path, sidecar in _build(asked):
        written.append(sidecar)
        build = sidecar["build"]
        size = f"{sidecar['size_bytes'] / 1e6:.2f} MB, {build['num_layers']} layers"
        say(f"{path}: {size}, built by {build['builder']} in {build['seconds']:.1f} s, not run")
    return {"artefacts": written}


def _verify_verb(asked: argparse.Namespace, say: Say) -> dict[str, Any]:
    from compactmtl.board.verify import verify  # brings numpy

    found = []
    for path in asked.files:
        result = verify(path, threads=asked.threads)
        found.append(asdict(result))
        for name, output in result.outputs.items():
            figures = f"relative error {output.error:.1e}, relative RMS {output.rel_rms:.1e}"
            say(f"{path}: {name} in {result.runtime}: {figures}, at most {output.bound:.1e}")
    return {"verified": found}


def _stream_verb(asked: argparse.Namespace, _: Say) -> dict[str, Any]:
    from compactmtl.board.sessions import open_session  # brings numpy
    from compactmtl.board.stream import serve

    if sys.platform == "linux":  # a call that hangs would outlive the one who asked for it
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    # Runtimes print; what they say goes to stderr, and messages alone to what was stdout.
    with os.fdopen(os.dup(1), "wb") as sink:
        os.dup2(2, 1)
        session = open_session(asked.file, threads=asked.threads)
        return {"calls": serve(session, sys.stdin.buffer, sink)}


def _say(line: str, stream: TextIO) -> None:
    stream.write(f"{line}\n")
    stream.flush()


def _build(asked: argparse.Namespace) -> Iterator[tuple[Path, dict[str, Any]]]:
    recipe = BuildRecipe(
        batch=asked.batch and parse_batch(asked.batch),
        size=asked.size and parse_size(asked.size),
        compute_capabilities=tuple(map(parse_capability, asked.compute_capability)),
        version_compatible=asked.version_compatible,
        hardware_compatible=asked.hardware_compatible,
        weak_typing=asked.weak_typing,
        **({"workspace_bytes": parse_bytes(asked.workspace)} if asked.workspace else {}),
    )
    if asked.file.suffix == ".json":
        if recipe != BuildRecipe() or asked.out:
            raise AskedError(
                f"`{asked.file}` says how its engines are built; options would say it again",
                hint="give the ONNX file in its place to build with options",
            )
        yield from build_prepared(load_bindings(asked.flavour), asked.file)
        return
    path = asked.out or engine_path(asked.file, asked.flavour)
    recipe.check_taken(asked.flavour)
    yield path, write_engine(load_bindings(asked.flavour), asked.file, path, recipe)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compactmtl.board", description=__doc__)
    parser.add_argument(
        "--linked",
        type=Path,
        metavar="FOLDER",
        help="End when standard input ends or is silent for a minute, and remove this folder.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    build = verbs.add_parser("build", help="Build an engine and its sidecar.")
    build.set_defaults(call=_build_verb)
    add = build.add_argument
    add("file", type=Path, metavar="FILE", help="An ONNX file, or tensorrt.json.")
    add("--flavour", choices=FLAVOURS, default=FLAVOURS[0], help="Which TensorRT builds.")
    add("-o", "--out", type=Path, metavar="PATH", help="Where the engine goes.")
    add("--batch", metavar="MIN:OPT:MAX", help="Batch sizes, as in 4 or 1:4:16.")
    add("--size", metavar="HxW", help="Image size, as in 384x640, or min:opt:max.")
    add("--workspace", metavar="SIZE", help="Memory beside the tensors (default: 1GiB).")
    add("--compute-capability", metavar="N.N", action="append", default=[], help="GPU (rtx).")
    add("--version-compatible", action="store_true", help="Later TensorRT can run it, too.")
    add("--hardware-compatible", action="store_true", help="Other GPUs from Ampere on, too.")
    add(
        "--weak-typing",
        choices=("fp16", "int8"),
        help="Before TensorRT 10.12: the builder chooses kernels of this type. Never run.",
    )
    add("--json", action="store_true", help="Print the sidecars as one JSON document.")
    add_bench(verbs)
    add_calibrate(verbs)
    check = verbs.add_parser("verify", help="Run files on stored inputs, compare the outputs.")
    check.set_defaults(call=_verify_verb)
    check.add_argument("files", type=Path, nargs="+", metavar="FILE", help="Exported files.")
    check.add_argument("--threads", type=int, default=1, metavar="N", help="On a CPU.")
    check.add_argument("--json", action="store_true", help="Print one JSON document.")
    add_verbs(verbs)
    run = verbs.add_parser("stream", help="Run a file when another program says so.")
    run.set_defaults(call=_stream_verb, json=False)
    run.add_argument("file", type=Path, metavar="FILE", help="An exported file.")
    run.add_argument("--threads", type=int, default=1, metavar="N", help="On a CPU.")
    return parser
