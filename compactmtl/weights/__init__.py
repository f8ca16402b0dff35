"""Weights from any file that holds tensors, fitted to a network; no code in a file ever runs."""

from compactmtl.weights.fit import FitReport, fit_weights
from compactmtl.weights.load import State, conversion_lines, load_torch, load_weights
from compactmtl.weights.pretrained import PretrainedReport, load_pretrained

__all__ = [
    "FitReport",
    "PretrainedReport",
    "State",
    "conversion_lines",
    "fit_weights",
    "load_pretrained",
    "load_torch",
    "load_weights",
]
