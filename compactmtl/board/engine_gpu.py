"""Whether an engine is for a GPU of this machine, said before CUDA starts.

Its sidecar says for which it was built. What is not known is not held against it: then it is tried.
Never run on hardware: no machine with a GPU was at hand.
Source: NVIDIA's documentation of TensorRT-RTX, "CPU-Only AOT and TensorRT-RTX Engines", and of
TensorRT, "Engine Compatibility".
"""

import json
from collections.abc import Sequence
from pathlib import Path

from compactmtl.board.artefact import sidecar_path
from compactmtl.board.errors import NotHereError
from compactmtl.board.files import read_bytes, sha256
from compactmtl.board.gpus import find_gpus
from compactmtl.board.header import read_header
from compactmtl.board.nvml import Gpu

AMPERE = (8, 0)
RTX_BUILDS_FOR = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX 1.7 can be told; neither a Jetson's nor most of a data centre's."""


def check_fits(path: Path) -> None:
    """Check that a file, if it is an engine, is for a GPU of this machine.

    Raises:
        AbsentError: There is no such file.
        DamagedError: It is no engine.
        NotHereError: It is for others; the message says for which, and what is here.
    """
    if path.suffix != ".engine":
        return
    gpus = find_gpus()
    if why := why_not_fit(path, gpus):
        raise NotHereError(why, hint=_hint(path, gpus[0]))


def why_not_fit(path: Path, gpus: Sequence[Gpu], *, where: str = "here") -> str:
    """Say why an engine is for none of these GPUs; empty where it is for one, or nobody knows.

    Args:
        path: The engine.
        gpus: Those of a machine; empty: not known.
        where: What the reason calls the machine.

    Raises:
        AbsentError: There is no such file.
        DamagedError: It is no engine.
    """
    stated = _stated(path)
    if stated is None or not gpus:
        return ""
    flavour, (wanted, flags) = read_header(path).flavour, stated
    # Ampere and later is also what TensorRT-RTX builds for where it is told nothing.
    later = "AMPERE_PLUS" in flags or (flavour == "rtx" and not wanted)
    here = {gpu.compute_capability for gpu in gpus}
    if not (wanted or later) or here & set(wanted):
        return ""
    if later and any(_numbers(each) >= AMPERE for each in here):
        return ""
    for_what = "8.0 (Ampere) or later" if later else " or ".join(wanted)
    found = ", ".join(dict.fromkeys(f"{gpu.compute_capability} ({gpu.name})" for gpu in gpus))
    return (
        f"`{path.name}` is for GPUs of compute capability {for_what}; the one {where} has {found}"
    )


def _stated(path: Path) -> tuple[list[str], list[str]] | None:
    """Return for which GPUs, and with which flags, an engine was built.

    None where no sidecar of ours says it of this very file.
    """
    try:
        document = json.loads(sidecar_path(path).read_bytes())
        if document["sha256"] != sha256(read_bytes(path)):
            return None
        build = document["build"]
        return list(map(str, build["compute_capabilities"])), list(map(str, build["flags"]))
    except (OSError, ValueError, KeyError, TypeError):  # another program's file, or none
        return None


def _hint(path: Path, gpu: Gpu) -> str:
    if read_header(path).flavour == "rtx" and gpu.compute_capability in RTX_BUILDS_FOR:
        return (
            "build one for it: compactmtl export --target tensorrt-rtx --compute-capability "
            f"{gpu.compute_capability}"
        )
    return (
        "build one on that machine: compactmtl export --target tensorrt, from elsewhere with "
        "--host user@board; without the library: python3 -m compactmtl.board build FILE.onnx"
    )


def _numbers(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))
