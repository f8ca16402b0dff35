"""What a board is, and what it can do. Looks only: it changes nothing, and needs no numpy."""

import importlib.util
import os
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compactmtl.board.bindings import HINTS, installed_version
from compactmtl.board.driver import num_gpus
from compactmtl.board.errors import MissingPackageError
from compactmtl.board.gpus import find_gpus
from compactmtl.board.jetson.clocks import all_locked, read_clocks
from compactmtl.board.jetson.detect import Jetson, why_not
from compactmtl.board.jetson.evidence import evidence
from compactmtl.board.jetson.power_mode import read_power_mode
from compactmtl.board.jetson.sampler import PROGRAM
from compactmtl.board.jetson.throttle import read_over_current
from compactmtl.board.jetson.watch import board_root, look
from compactmtl.board.machine import cpu_model, memory_gib, version

PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt_rtx",
    "ai-edge-litert",
    "executorch",
)
LEAST_SPACE_MIB = 512
"""For an application, artefacts and an engine of the sizes that this library makes."""


def examine(folder: Path) -> dict[str, Any]:
    """Return the board and what it can do, as JSON data.

    Args:
        folder: Where files would go.
    """
    jetson, root = look(), board_root()
    board = jetson.to_dict()
    clocks = read_clocks(root)
    mode = read_power_mode()
    space = shutil.disk_usage(folder).free / 2**20
    versions = {name: _version(name) for name in PACKAGES}
    tensorrt, why = _tensorrt()
    findings = [
        _finding("Jetson", jetson.is_jetson, _named(jetson), "other boards have no tegrastats"),
        _finding("numpy", versions["numpy"] is not None, versions["numpy"], "sudo apt install "
                 "python3-numpy"),
        _finding("TensorRT", tensorrt is not None, tensorrt or why, HINTS["tensorrt"]),
        _finding("ONNX Runtime", any(versions[n] for n in PACKAGES if "onnx" in n),
                 versions["onnxruntime"] or versions["onnxruntime-gpu"], "pip install onnxruntime"),
        _finding("space", space >= LEAST_SPACE_MIB, f"{space:.0f} MiB in {folder}",
                 f"at least {LEAST_SPACE_MIB} MiB; TMPDIR names another place"),
        _finding("power mode", mode.name is not None, mode.name or mode.why, "only a Jetson has "
                 "power modes"),
        _finding("tegrastats", shutil.which(PROGRAM) is not None, shutil.which(PROGRAM),
                 "without it there is no power, no temperature and no energy"),
    ]  # fmt: skip
    return {
        "evidence": evidence(board, simulated=root != Path("/")),
        "simulated": root != Path("/"),
        "board": board,
        "probes": jetson.probes,
        "power_mode": asdict(mode),
        "clocks": {name: clock.to_dict() for name, clock in clocks.items()},
        "clocks_locked": all_locked(clocks),
        "over_current": read_over_current(root),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": memory_gib(),
        "space_mib": round(space),
        "gpus": num_gpus(),
        "gpu_kinds": [asdict(gpu) for gpu in find_gpus()],
        "packages": {**versions, "tensorrt": tensorrt},
        "findings": findings,
    }


def _named(jetson: Jetson) -> str:
    if not jetson.is_jetson:
        return why_not(jetson)
    jetpack = f"JetPack {jetson.release.jetpack}" if jetson.release else "JetPack unknown"
    name = jetson.module or jetson.model or "module unknown"
    return f"{name}, L4T {jetson.l4t or 'unknown'}, {jetpack}"


def _finding(what: str, ok: bool, detail: str | None, hint: str) -> dict[str, Any]:
    return {
        "area": "board",
        "what": what,
        "ok": ok,
        "detail": detail or "not there",
        "hint": "" if ok else hint,
    }


def _version(distribution: str) -> str | None:
    found = version(distribution)
    if found is None and importlib.util.find_spec(distribution.replace("-", "_")) is not None:
        return "of unknown version"  # not all of apt's packages bring metadata
    return found


def _tensorrt() -> tuple[str | None, str]:
    try:
        return installed_version("tensorrt"), ""
    except MissingPackageError as error:
        return None, error.message
