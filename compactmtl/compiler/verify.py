"""Prove that two graphs compute the same, on given inputs, by the rule below.

1. float64: relative error per output at most 1e-11.
2. float32: the compact graph's error against the float64 reference is at most 4 times the original
   float32 graph's own error against it. One run is one way of rounding: before a graph is refused,
   further ones are tried, of the original with inputs and parameters off by up to a unit.
3. Where the graph holds selections (positions of maxima), rounding alone can flip one: each flip
   must be a near-tie, flips are counted, and 1 and 2 are checked with the float64 reference's
   selections imposed on all.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from compactmtl.compiler.blame import Blame
from compactmtl.compiler.memory import is_out_of_memory
from compactmtl.compiler.nonfinite import first_nonfinite, is_finite
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.selection import SelectingRunner, Selections, has_selections
from compactmtl.errors import CaptureError, NonFiniteError, VerificationError
from compactmtl.rounding import DRAWS, nudged

FP64_TOLERANCE = 1e-11
FP32_FACTOR = 4.0
# Two units in the last place of the output's magnitude: where the original happens to be exact,
# any other order of summation still rounds.
FP32_FLOOR = 2 * 2.0**-23
NEAR_TIE = 1e-5
BUG = "this is a bug in a compiler rule, yours if it is a foreign one; please report the network"


@dataclass
class OutputCheck:
    """Worst errors of one output over all inputs, relative to its largest magnitude.

    That of the original counts further ways of rounding where one was too small a measure.
    """

    fp64_error: float = 0.0
    fp32_error: float = 0.0
    fp32_error_of_original: float = 0.0


@dataclass
class Verification:
    """What was checked and how close it was.

    Attributes:
        outputs: Per output the worst errors.
        num_inputs: Number of input sets that were run.
        shapes: Their shapes.
        flips: Selections that rounding flipped, all of them near-ties.
        widest_gap: The widest of these near-ties, relative.
    """

    outputs: dict[str, OutputCheck] = field(default_factory=dict)
    num_inputs: int = 0
    shapes: list[list[int]] = field(default_factory=list)
    flips: int = 0
    widest_gap: float = 0.0

    @property
    def max_rel_error(self) -> float:
        """Return the largest float32 error against the float64 reference over all outputs."""
        return max((check.fp32_error for check in self.outputs.values()), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "fp64_tolerance": FP64_TOLERANCE,
            "fp32_factor": FP32_FACTOR,
            "num_inputs": self.num_inputs,
            "shapes": self.shapes,
            "selection_flips": self.flips,
            "selection_widest_gap": self.widest_gap,
            "outputs": {name: vars(check) for name, check in self.outputs.items()},
        }


@dataclass
class Quartet:
    """The four graphs that are compared: original and compact, in float64 and as delivered."""

    original64: fx.GraphModule
    compact64: fx.GraphModule
    original: fx.GraphModule
    compact: fx.GraphModule


@dataclass(frozen=True)
class StoredPool:
    """A pool of the compact graph: the original channels it stores, and which of them matter."""

    channels: tuple[int, ...]
    live: Tensor


def run(
    module: fx.GraphModule,
    inputs: Sequence[Tensor],
    imposed: Mapping[str, Tensor] | None,
    live: Mapping[str, Tensor] | None = None,
) -> tuple[list[Tensor], Selections]:
    """Run a graph; return its flattened outputs and its selections."""
    selections = Selections()
    inputs = [value.clone() for value in inputs]  # a network may write into what it is given
    if not has_selections(module):
        return tree_leaves(module(*inputs)), selections
    with fx.traceback.preserve_node_meta(False):
        result = SelectingRunner(module, selections, imposed, live).run(*inputs)
    return tree_leaves(result), selections


@torch.no_grad()
def verify(
    quartet: Quartet,
    input_sets: Iterable[Sequence[Tensor]],
    output_names: Sequence[str],
    pools: Mapping[str, StoredPool],
    blame: Blame | None = None,
) -> Verification:
    """Compare the graphs on every input set.

    Args:
        quartet: The graphs.
        input_sets: Inputs in the original precision, any shapes the graphs take.
        output_names: Names of the flattened outputs.
        pools: The pools of the compact graph whose selections are compared, by name.
        blame: Says which value is the first that differs; asked where the comparison fails.

    Raises:
        VerificationError: The compact graph does not run, an output differs by more than rounding,
            or a selection flipped without a near-tie.
        NonFiniteError: The original network yields NaN or Inf.
        CaptureError: The original network does not take an input.
    """
    report = Verification(outputs={name: OutputCheck() for name in output_names})
    for inputs in input_sets:
        report.num_inputs += 1
        report.shapes.append(list(inputs[0].shape))
        wide = [to_double(value) for value in inputs]
        reference, chosen = _run_original(quartet.original64, wide)
        _check_finite(reference, output_names, quartet.original64, wide)
        full = chosen.chosen
        kept = {name: full[name][:, list(pool.channels)] for name, pool in pools.items()}
        live = {name: pool.live for name, pool in pools.items()}
        try:
            for module, values, imposed, matters, key in (
                (quartet.compact64, wide, kept, live, "fp64_error"),
                (quartet.original, inputs, full, None, "fp32_error_of_original"),
                (quartet.compact, inputs, kept, live, "fp32_error"),
            ):
                outputs, selections = _run(quartet, module, values, imposed, matters)
                if module is quartet.original:
                    _check_finite(outputs, output_names, module, values)
                report.flips += selections.flips
                report.widest_gap = max(report.widest_gap, selections.widest_gap)
                for name, expected, got in zip(output_names, reference, outputs, strict=True):
                    check, error = report.outputs[name], relative_error(got, expected, name)
                    setattr(check, key, max(getattr(check, key), error))
            others = partial(_drawn_errors, quartet.original, inputs, full, reference, output_names)
            _judge(report, cache(others))
        except VerificationError as error:
            why = _first_difference(blame, inputs, full, kept)
            raise VerificationError(
                f"{error.message}{f'; {why}' if why else ''}; nothing was written",
                hint=error.hint or BUG,
            ) from error
    return report


def _run(
    quartet: Quartet,
    module: fx.GraphModule,
    values: Sequence[Tensor],
    imposed: Mapping[str, Tensor],
    matters: Mapping[str, Tensor] | None,
) -> tuple[list[Tensor], Selections]:
    """Run one of the graphs that must agree with the reference."""
    try:
        outputs, selections = run(module, values, imposed, matters)
    except RuntimeError as error:
        if module is quartet.original or is_out_of_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise VerificationError(f"the compact graph does not run: {reason}") from error
    if selections.widest_gap > NEAR_TIE:
        raise VerificationError(
            f"a max pool chose another position without a near-tie (relative gap "
            f"{selections.widest_gap:.1e}, allowed {NEAR_TIE:.0e})"
        )
    return outputs, selections


def _first_difference(
    blame: Blame | None,
    inputs: Sequence[Tensor],
    full: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
) -> str:
    """Ask for the first value that differs; where that takes too much memory, say so."""
    try:
        return "" if blame is None else blame(inputs, full, kept)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return "not enough memory to look for the first value that differs"


def _run_original(
    module: fx.GraphModule, inputs: Sequence[Tensor]
) -> tuple[list[Tensor], Selections]:
    try:
        return run(module, inputs, None)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        shapes = [tuple(value.shape) for value in inputs]
        reason = str(error).strip().partition("\n")[0]
        raise CaptureError(
            f"the captured network does not run on inputs {shapes}: {reason}",
            hint="it takes one size only: compress with --static (dynamic=False)",
        ) from error


def relative_error(got: Tensor, expected: Tensor, name: str) -> float:
    """Return max abs difference over max abs expected, in float64; infinite for NaN."""
    if got.shape != expected.shape:
        raise VerificationError(
            f"output `{name}` has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
        )
    if not got.numel():
        return 0.0
    error = (got.double() - expected.double()).abs().max().item()
    scale = expected.abs().max().item()
    if math.isnan(error):  # which every comparison would pass over
        return math.inf
    return float(error / scale) if scale else float(error)


def _check_finite(
    outputs: Sequence[Tensor],
    names: Sequence[str],
    module: fx.GraphModule,
    inputs: Sequence[Tensor],
) -> None:
    for name, value in zip(names, outputs, strict=True):
        if not is_finite(value):
            dtype = str(value.dtype).removeprefix("torch.")
            raise NonFiniteError(
                f"output `{name}` of the original network is NaN or Inf in {dtype} on an input of "
                f"shape {tuple(inputs[0].shape)}; the first is {first_nonfinite(module, inputs)}; "
                "nothing was written",
                hint="check the range of the input, and the weights: did the training diverge?",
            )


def _drawn_errors(
    original: fx.GraphModule,
    inputs: Sequence[Tensor],
    imposed: Mapping[str, Tensor],
    reference: Sequence[Tensor],
    names: Sequence[str],
) -> dict[str, float]:
    """Return the largest finite error of each output where everything is rounded in other ways."""
    largest = dict.fromkeys(names, 0.0)
    moved = copy.deepcopy(original)
    pairs = list(zip(_tensors(moved), _tensors(original), strict=True))
    for draw in range(DRAWS):
        noise = torch.Generator().manual_seed(draw)
        for own, value in pairs:
            own.copy_(nudged(value, noise))
        outputs, _ = run(moved, [nudged(value, noise) for value in inputs], imposed)
        for name, expected, got in zip(names, reference, outputs, strict=True):
            error = relative_error(got, expected, name)
            if math.isfinite(error):
                largest[name] = max(largest[name], error)
    return largest


def _tensors(module: fx.GraphModule) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _judge(report: Verification, drawn: Callable[[], dict[str, float]]) -> None:
    for name, check in report.outputs.items():
        if not check.fp64_error <= FP64_TOLERANCE:
            raise VerificationError(
                f"output `{name}`: float64 relative error {check.fp64_error:.1e}, allowed "
                f"{FP64_TOLERANCE:.0e}"
            )
        if not check.fp32_error <= _bound(check):
            check.fp32_error_of_original = max(check.fp32_error_of_original, drawn()[name])
        if not check.fp32_error <= _bound(check):
            raise VerificationError(
                f"output `{name}`: float32 relative error {check.fp32_error:.1e}, allowed "
                f"{_bound(check):.1e} ({FP32_FACTOR:g} times the original's "
                f"{check.fp32_error_of_original:.1e})"
            )


def _bound(check: OutputCheck) -> float:
    return FP32_FACTOR * check.fp32_error_of_original + FP32_FLOOR
