"""TensorRT's Python bindings: the full TensorRT of a board or server, or TensorRT-RTX."""

import importlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from compactmtl.board.errors import AskedError, MissingPackageError

FLAVOURS = ("tensorrt", "rtx")
MODULES = {"tensorrt": ("tensorrt",), "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""Modules to import, the first that is there."""
DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    "rtx": ("tensorrt_rtx", "tensorrt_rtx_cu13", "tensorrt_rtx_cu12"),
}
NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}
OLDEST = {"tensorrt": (10, 0), "rtx": (1, 0)}
"""Oldest version that has strongly typed networks and ``execute_async_v3``."""
HINTS = {
    "tensorrt": "on a Jetson: sudo apt install python3-libnvinfer, and a virtual environment with "
    'system packages; elsewhere: pip install "compactmtl[tensorrt]"',
    "rtx": 'pip install "compactmtl[rtx]"',
}


@dataclass(frozen=True)
class Bindings:
    """TensorRT in Python.

    Attributes:
        module: The imported module.
        flavour: One of ``FLAVOURS``.
    """

    module: Any
    flavour: str

    @property
    def name(self) -> str:
        """What users call it, with its version: ``TensorRT 10.3.0``."""
        return f"{NAMES[self.flavour]} {self.module.__version__}"

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor, *_ = (int(part) for part in self.module.__version__.split(".")[:2])
        return major, minor


def check_flavour(flavour: str) -> None:
    """Refuse a flavour that does not exist.

    Raises:
        AskedError: There is no such flavour.
    """
    if flavour not in FLAVOURS:
        raise AskedError(
            f"no flavour of TensorRT called `{flavour}`", hint=f"there are: {', '.join(FLAVOURS)}"
        )


def installed_version(flavour: str) -> str | None:
    """Return the version of the bindings, not imported where that can be; None without any.

    Raises:
        MissingPackageError: They are there and do not load.
    """
    if not any(importlib.util.find_spec(name) for name in MODULES[flavour]):
        return None
    for name in DISTRIBUTIONS[flavour]:
        for distribution in metadata.distributions(name=name):
            return distribution.version
    return str(_import(flavour).__version__)  # installed without metadata


def load_bindings(flavour: str) -> Bindings:
    """Import TensorRT.

    Raises:
        AskedError: There is no such flavour.
        MissingPackageError: It is not installed, is broken, or older than what we can use.
    """
    check_flavour(flavour)
    bindings = Bindings(_import(flavour), flavour)
    if bindings.version < OLDEST[flavour]:
        oldest = ".".join(map(str, OLDEST[flavour]))
        raise MissingPackageError(
            f"{bindings.name} is too old, expected {oldest} or later",
            hint="JetPack 6.1 and later bring TensorRT 10",
        )
    return bindings


def _import(flavour: str) -> Any:
    for name in MODULES[flavour]:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # its libraries come in another wheel
            reason = " ".join(str(error).split())
            raise MissingPackageError(
                f"{NAMES[flavour]} is installed but does not load: {reason}", hint=HINTS[flavour]
            ) from error
    raise MissingPackageError(f"{NAMES[flavour]} is not installed", hint=HINTS[flavour])
