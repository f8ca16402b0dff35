"""Say in words whether driver, TensorRT and this image fit together, then become the program.

``start.py PROGRAM ARGUMENT...`` says on stderr what does not fit, and runs the program unless it is
certain that it would fail in the driver. ``start.py --check`` says all it knows and exits 0 or 2.
An image on a plain base has no TensorRT, and nothing to fit. Standard library, Python 3.10.
Control flow is tested with made-up boards; it was never run on hardware.
"""

import ctypes
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

RANGE = "COMPACTMTL_L4T"
"""Variable with the label's releases of Jetson Linux, as in 36.4-36.5; empty: not for a Jetson."""
RELEASE = Path("/etc/nv_tegra_release")
"""NVIDIA's container runtime shows the host's in the container."""
RUNTIMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
NO_FIT = 2
"""Exit code: not possible on this machine."""
LIMIT_S = 60
Load = Callable[[str], Any]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        grade: ``ok``; ``unknown``; ``note``, engines cannot run now; ``error``, they never can.
        text: In words.
        hint: What to do.
    """

    grade: str
    text: str
    hint: str = ""


def examine(
    *,
    wanted: str,
    has_tensorrt: bool,
    release: Path = RELEASE,
    load: Load = ctypes.CDLL,
    tensorrt: Callable[[], tuple[str, str]] | None = None,
) -> list[Finding]:
    """Look at the board and the image.

    Args:
        wanted: Releases of Jetson Linux that this image is for; empty where it is for none.
        has_tensorrt: Whether TensorRT's bindings lie in the image.
        release: File that names the host's release.
        load: Opens a shared library, or raises OSError.
        tensorrt: Returns the version of TensorRT's bindings, and why there is none.
    """
    version, told = read_release(release)
    if not wanted and not has_tensorrt:
        return [_without_tensorrt(version)]
    found = [_board(version, told, wanted)] if wanted else []
    found += _driver(load)
    if not any(finding.grade in ("note", "error") for finding in found):
        found.append(
            _bindings(*(tensorrt or import_tensorrt)())
        )  # loads the driver, takes a second
    return found


def read_release(path: Path) -> tuple[tuple[int, int] | None, str]:
    """Return major and minor release of Jetson Linux and how it is written; None where unknown."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, ""
    found = re.search(r"R(\d+) \(release\), REVISION: (\d+)((?:\.\d+)*)", text)
    if found is None:
        return None, " ".join(text.split())[:60]
    major, minor, rest = found.groups()
    return (int(major), int(minor)), f"{major}.{minor}{rest}"


def read_range(text: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Read ``36.4-36.5`` or ``36.4``; None where it is neither."""
    found = re.fullmatch(r"(\d+)\.(\d+)(?:-(\d+)\.(\d+))?", text)
    if found is None:
        return None
    first = int(found[1]), int(found[2])
    return first, (int(found[3]), int(found[4])) if found[3] else first


def import_tensorrt() -> tuple[str, str]:
    """Import TensorRT's bindings in a process of their own, which may end in any way."""
    code = "import tensorrt; print(tensorrt.__version__)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {LIMIT_S} s"
    if done.returncode < 0:
        return "", f"ended by signal {-done.returncode}"
    if done.returncode:
        return "", (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return done.stdout.strip(), ""


def _without_tensorrt(version: tuple[int, int] | None) -> Finding:
    if version is None:
        return Finding("ok", "this image has no TensorRT: ONNX Runtime on the CPU")
    return Finding(
        "note",
        "this is a Jetson, and this image was built without TensorRT: its GPU is not used",
        "build the image on a base with TensorRT, see docker/README.md",
    )


def _board(version: tuple[int, int] | None, told: str, wanted: str) -> Finding:
    span = read_range(wanted)
    if span is None:
        return Finding("error", f"{RANGE} is `{wanted}`", "expected releases, as in 36.4-36.5")
    if version is None:
        why = f"{RELEASE} says `{told}`" if told else f"no {RELEASE} in this container"
        return Finding("unknown", f"which Jetson Linux this board runs: {why}")
    if span[0] <= version <= span[1]:
        return Finding("ok", f"Jetson Linux {told}, this image is for {wanted}")
    return Finding(
        "error",
        f"this board runs Jetson Linux {told}, this image is for {wanted}: TensorRT in it does not "
        "fit the board's driver",
        f"build the image on the base for this board; if you know that it fits: -e {RANGE}="
        f"{version[0]}.{version[1]}",
    )


def _driver(load: Load) -> list[Finding]:
    """Ask the driver for a GPU, and whether it is as new as the CUDA of the image."""
    try:
        cuda = load("libcuda.so.1")
    except OSError:
        return [
            Finding(
                "note",
                "no NVIDIA driver in this container (libcuda.so.1): engines cannot run",
                "on a Jetson: docker run --runtime nvidia; elsewhere: --gpus all",
            )
        ]
    code = cuda.cuInit(0)
    newest = ctypes.c_int(0)
    if code or cuda.cuDriverGetVersion(ctypes.byref(newest)):
        return [
            Finding(
                "note",
                f"the NVIDIA driver does not start (cuInit gives {code}): engines cannot run",
                "give the user the device files: --group-add video, and the host's group `render`",
            )
        ]
    found = [Finding("ok", f"the driver takes CUDA up to {_words(newest.value)}")]
    built = _runtime(load)
    if built is not None and built // 1000 > newest.value // 1000:
        text = f"this image has CUDA {_words(built)}, the driver takes up to {_words(newest.value)}"
        found.append(Finding("error", text, "take the base for the board's JetPack"))
    return found


def _runtime(load: Load) -> int | None:
    """Return the version of the image's CUDA runtime; None without one."""
    for name in RUNTIMES:
        try:
            runtime = load(name)
        except OSError:
            continue
        version = ctypes.c_int(0)
        if runtime.cudaRuntimeGetVersion(ctypes.byref(version)) == 0:
            return version.value
    return None


def _bindings(version: str, why: str) -> Finding:
    if version:
        return Finding("ok", f"TensorRT {version}")
    return Finding(
        "error",
        f"TensorRT's Python bindings do not import: {why}",
        "build the image on a base whose python3 has them (python3-libnvinfer)",
    )


def _words(version: int) -> str:
    """Write 12060 as 12.6."""
    return f"{version // 1000}.{version % 1000 // 10}"


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Check; then, without ``--check``, become the program."""
    only_check = list(arguments) == ["--check"]
    findings = examine(
        wanted=environment.get(RANGE, ""),
        has_tensorrt=importlib.util.find_spec("tensorrt") is not None,
    )
    for finding in findings:
        if only_check or finding.grade in ("note", "error"):
            sys.stderr.write(f"{finding.grade}: {finding.text}\n")
            if finding.hint:
                sys.stderr.write(f"hint: {finding.hint}\n")
    if any(finding.grade == "error" for finding in findings):
        return NO_FIT
    return 0 if only_check else _become(arguments)


def _become(arguments: Sequence[str]) -> NoReturn:
    sys.stderr.flush()
    try:
        os.execvp(arguments[0], list(arguments))
    except (OSError, IndexError) as error:
        what = arguments[0] if arguments else "a program"
        sys.stderr.write(f"error: cannot start {what}: {error}\n")
        sys.exit(127)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
