"""Weights from any file that holds tensors, fitted to a network; no code in a file ever runs."""

from compactmtl.weights.fit import FitReport, fit_weights
from compactmtl.weights.load import State, conversion_lines, load_torch, load_weights

__all__ = ["FitReport", "State", "conversion_lines", "fit_weights", "load_torch", "load_weights"]
