"""What this machine can train, export and bench. Looks only; changes nothing."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compactmtl.environment import environment, load_average, usable_cores, version

EXTRAS = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb", "lightning"),
    "mlflow": ("mlflow", "lightning"),
    "tensorrt": ("tensorrt",),
    "rtx": ("tensorrt_rtx",),
    "openvino": ("openvino",),
    "coco": ("faster_coco_eval",),
    "cluster": ("ray",),
    "nyuv2": ("h5py", "scipy"),
    "torchjd": ("torchjd",),
    "simplify": ("onnxsim",),
}
"""Optional extras of this package and the modules each brings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing this machine can do, or lacks."""

    area: str
    """train, export, bench, data, extra."""
    what: str
    ok: bool
    detail: str
    hint: str = ""
    """What to do where it is not ok."""


def examine() -> dict[str, Any]:
    """Return the machine and what it can do, as JSON data."""
    findings = [*_train(), *_onnx(), *_bench(), *_data(), *_extras()]
    return {"environment": environment(), "findings": [asdict(finding) for finding in findings]}


def _train() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:  # a runtime installation
        yield Finding(
            area="train",
            what="torch",
            ok=False,
            detail="not installed",
            hint="not needed to bench and verify exported files",
        )
        return
    import torch

    from compactmtl.training.device import available_devices

    for device in available_devices():
        detail = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
        if device.startswith("cuda"):
            properties = torch.cuda.get_device_properties(device)
            detail = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        yield Finding(area="train", what=device, ok=True, detail=detail)
    if not torch.cuda.is_available():
        built = torch.version.cuda
        detail = f"torch is built for CUDA {built}, no GPU answers" if built else "torch for CPUs"
        hint = "check the driver with nvidia-smi" if built else "not needed for the demo"
        yield Finding(area="train", what="cuda", ok=False, detail=detail, hint=hint)


def _onnx() -> Iterator[Finding]:
    for package in ("onnx", "onnxscript"):
        yield _package("export", package)


def _bench() -> Iterator[Finding]:
    finding = _package("bench", "onnxruntime")
    if finding.ok:
        runtime = importlib.import_module("onnxruntime")
        providers = ", ".join(runtime.get_available_providers())
        finding = Finding(
            area="bench", what="onnxruntime", ok=True, detail=f"{finding.detail}: {providers}"
        )
    yield finding
    load, cores = load_average(), usable_cores() or 1
    if load is not None:
        yield Finding(
            area="bench",
            what="quiet machine",
            ok=load < 0.5 * cores,
            detail=f"load {load:g} on {cores} cores",
            hint="latencies need a quiet machine; wait, or stop other work",
        )


def _data() -> Iterator[Finding]:
    from compactmtl.data import DATASETS
    from compactmtl.data.folder import VARIABLE
    from compactmtl.data.rooms_cache import cache_folder

    cache = cache_folder()
    standing = next(path for path in (cache, *cache.parents) if path.exists())
    yield Finding(
        area="data",
        what="cache",
        ok=standing.is_dir() and os.access(standing, os.W_OK),
        detail=str(cache),
        hint="set COMPACTMTL_CACHE to a folder you may write",
    )
    yield Finding(area="data", what="rooms", ok=True, detail="built in, rendered")
    root = os.environ.get(VARIABLE)
    for name, entry in DATASETS.items():
        if name == "rooms":
            continue
        folder = entry.folder or name
        pack = Path(root).expanduser() / folder if root else None
        yield Finding(
            area="data",
            what=name,
            ok=pack is not None and pack.is_dir(),
            detail=f"{VARIABLE} is not set" if pack is None else str(pack),
            hint=f"set {VARIABLE} to the folder that holds {folder}/",
        )


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        absent = [name for name in modules if importlib.util.find_spec(name) is None]
        yield Finding(
            area="extra",
            what=extra,
            ok=not absent,
            detail=f"lacks {', '.join(absent)}" if absent else "installed",
            hint=f'pip install "compactmtl[{extra}]"',
        )


def _package(area: str, name: str) -> Finding:
    installed = version(name)
    return Finding(
        area=area,
        what=name,
        ok=installed is not None,
        detail=installed or "not installed",
        hint=f"pip install {name}",
    )
