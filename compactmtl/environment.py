"""What a measurement was made on: software versions, processor, load. Nothing that names anyone."""

from typing import Any

from compactmtl.board.machine import (
    cpu_model,
    describe,
    load_average,
    memory_gib,
    usable_cores,
    version,
)

__all__ = ["cpu_model", "environment", "load_average", "memory_gib", "usable_cores", "version"]

PACKAGES = (
    "compactmtl",
    "torch",
    "torchvision",
    "numpy",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "safetensors",
    "lightning-fabric",
)
"""Distributions whose versions may change a result."""


def environment() -> dict[str, Any]:
    """Describe this machine and its software as JSON data.

    Holds no host name, no user name and no paths, so a record can be published as it is.
    """
    return describe(PACKAGES)
