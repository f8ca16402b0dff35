"""The command line answers before torch is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "torchmetrics", "lightning_fabric", "plotly")


def imported(*arguments: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import compactmtl"),
        ("-c", "import compactmtl.cli.app"),
        ("-m", "compactmtl", "--help"),
        ("-m", "compactmtl", "train", "--help"),
        ("-m", "compactmtl", "export", "--help"),
        ("-m", "compactmtl.board", "--help"),
    ],
    ids=["library", "app", "help", "help-of-train", "help-of-export", "board"],
)
def test_heavy_packages_are_not_imported(arguments):
    modules = imported(*arguments)
    assert "compactmtl" in modules
    assert not modules & set(HEAVY)


def test_heavy_import_would_be_seen():
    assert "numpy" in imported("-c", "import numpy")
