"""The rule by which an artefact computes what the program computes.

It is for fp32. In lower precision nothing tells beforehand how large an error may be, and maxima
of windows move legitimately: there, outputs alone are compared, and the figures are reported.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from compactmtl.errors import ExportError, NonFiniteError
from compactmtl.export.cases import Case
from compactmtl.export.merged_pools import pair_pools
from compactmtl.export.reference import NEAR_TIE, Reference, Run
from compactmtl.export.sidecar import Lowering, TaskParity
from compactmtl.export.stored import Array, Arrays
from compactmtl.rounding import DRAWS

FACTOR = 4.0
"""How much larger than torch's own fp32 error a runtime's may be: it sums in another order."""
FLOOR = float(torch.finfo(torch.float32).eps)
"""Torch's error counts as at least one fp32 unit of the largest output. A small network may round
to exactly the right value in one order of summation and one unit off in another."""


class Probed(Protocol):
    """Runs an artefact and tells what its max-poolings selected."""

    def __call__(self, inputs: Arrays) -> tuple[dict[str, Array], list[Array]]:
        """Return the outputs by name, and one array of plane indices per pool, in order.

        Pools that compute the same may be one; see ``merged_pools.py``.
        """


@dataclass
class Parity:
    """What a comparison found, over all cases.

    Attributes:
        per_task: Output name to its largest error and the bound that went with it.
        num_selections: Positions at which the program selects an index.
        num_flips: Positions at which the runtime selects another one than torch in fp64.
        max_gap: Largest gap between the two choices at those positions; a near-tie.
        lowering: How it came to a lower precision.
    """

    per_task: dict[str, TaskParity] = field(default_factory=dict)
    num_selections: int = 0
    num_flips: int = 0
    max_gap: float = 0.0
    lowering: Lowering | None = None

    def selections(self) -> dict[str, Any] | None:
        """Return the figures about selections as JSON data; None where the program has none."""
        if not self.num_selections:
            return None
        return {"num": self.num_selections, "flips": self.num_flips, "max_gap": self.max_gap}


def check_parity(
    probed: Probed,
    reference: Reference,
    cases: Sequence[Case],
    output_names: Sequence[str],
    *,
    factor: float = FACTOR,
) -> Parity:
    """Compare an artefact with torch, per output, on every case.

    With ``e(x)`` the largest deviation of x from torch in fp64, divided by the largest fp64
    magnitude: e(runtime) <= factor * max(e(torch in fp32), one fp32 unit).

    One run of torch is one draw of how an output rounds, and small by chance where all error comes
    from one spot at which large values cancel. An error beyond the bound is therefore compared once
    more, with the largest error of ``DRAWS`` fp32 runs in which inputs and parameters are off by up
    to one unit: a runtime that folds batch norm into weights rounds them all anew.

    Where the program selects indices, the runtime's own selections are imposed on torch in both
    precisions, and every one that differs from fp64's must be a near-tie there. Outputs of integers
    must be equal.

    Raises:
        ExportError: The rule does not hold; the message names the output, the error and the bound.
        NonFiniteError: An output holds NaN or Inf.
    """
    parity = Parity()
    for case in cases:
        outputs, pools = probed(case.inputs)
        where = f"on {case.describe()['shapes']}"
        got = [torch.from_numpy(outputs[name]) for name in output_names]
        chosen = [torch.from_numpy(pool) for pool in pools]
        if len(chosen) != reference.num_pools:
            chosen = pair_pools(reference, case.tensors(), chosen, got)
        imposed = reference.arrange(chosen, got)
        exact = reference.run(case.tensors(), torch.float64, imposed)
        single = reference.run(case.tensors(), torch.float32, imposed)
        drawn = _Drawn(
            reference, case, imposed, dict(zip(output_names, exact.outputs, strict=True))
        )
        _note_selections(parity, exact, imposed, where)
        for name, value, want, own in zip(
            output_names, got, exact.outputs, single.outputs, strict=True
        ):
            found = _compare(name, value, want, own, where, factor, drawn)
            before = parity.per_task.get(name)
            # Keep the case that came closest to its bound.
            if before is None or _share_of_bound(found) > _share_of_bound(before):
                parity.per_task[name] = found
    return parity


class _Drawn:
    """How large errors become where everything is rounded in other ways; run when asked."""

    def __init__(
        self,
        reference: Reference,
        case: Case,
        imposed: Sequence[Tensor],
        exact: Mapping[str, Tensor],
    ) -> None:
        self._reference, self._case, self._imposed = reference, case, imposed
        self._exact = exact

    @cached_property
    def errors(self) -> dict[str, float]:
        """The largest error of each output."""
        inputs, largest = self._case.tensors(), dict.fromkeys(self._exact, 0.0)
        for draw in range(DRAWS):
            run = self._reference.run(inputs, torch.float32, self._imposed, draw=draw)
            for (name, want), got in zip(self._exact.items(), run.outputs, strict=True):
                largest[name] = max(largest[name], _deviation(got, want)[0])
        return largest


class Drift:
    """How far outputs in lower precision are from torch in fp64, per output.

    Nothing is imposed and nothing bounds the figures: a selection that another precision makes
    otherwise is part of what that precision costs.
    """

    def __init__(
        self, reference: Reference, cases: Sequence[Case], output_names: Sequence[str]
    ) -> None:
        self.cases, self.output_names = cases, output_names
        self.exact = [reference.run(case.tensors(), torch.float64).outputs for case in cases]

    def measure(self, run: Callable[[Arrays], dict[str, Array]]) -> dict[str, TaskParity]:
        """Run an artefact; return the figures of each output, over the values of all cases.

        So the stored samples weigh most; crops of them, which may be tiny, hardly count.

        Raises:
            ExportError: An output has another shape or kind of number.
            NonFiniteError: An output holds NaN or Inf.
        """
        pairs: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.output_names}
        for case, exact in zip(self.cases, self.exact, strict=True):
            outputs = run(case.inputs)
            for name, want in zip(self.output_names, exact, strict=True):
                got = torch.from_numpy(outputs[name])
                _check_comparable(name, got, want, f"on {case.describe()['shapes']}")
                pairs[name].append((got.flatten(), want.flatten()))
        measured = {}
        for name, each in pairs.items():
            error, rms = _deviation(*(torch.cat(parts) for parts in zip(*each, strict=True)))
            measured[name] = TaskParity(max_rel_error=error, rel_rms=rms)
        return measured


def _share_of_bound(found: TaskParity) -> float:
    assert found.bound is not None
    return found.max_rel_error / found.bound


def _note_selections(parity: Parity, exact: Run, imposed: Sequence[Tensor], where: str) -> None:
    for index, (own, other, gap) in enumerate(
        zip(exact.selections, imposed, exact.gaps, strict=True)
    ):
        flips = own != other
        parity.num_selections += own.numel()
        parity.num_flips += int(flips.sum())
        largest = float(gap.max()) if gap.numel() else 0.0
        parity.max_gap = max(parity.max_gap, largest)
        if largest > NEAR_TIE:
            raise ExportError(
                f"selection {index} differs from torch {where} at {int((gap > NEAR_TIE).sum())} "
                f"positions that are no near-tie: gap {largest:.3g}, expected at most "
                f"{NEAR_TIE:.0e}; nothing was written"
            )


def _compare(
    name: str,
    got: Tensor,
    want: Tensor,
    own: Tensor,
    where: str,
    factor: float,
    drawn: _Drawn,
) -> TaskParity:
    _check_comparable(name, got, want, where)
    if not want.is_floating_point():
        wrong = int((got != want).sum())
        if wrong:
            raise ExportError(
                f"output `{name}` ({want.dtype}) {where} differs from torch at {wrong} of "
                f"{want.numel()} positions; nothing was written"
            )
    elif not torch.isfinite(own).all():
        raise _not_finite(name, "torch in float32", where)
    error, rms = _deviation(got, want)
    reference_error, _ = _deviation(own, want)
    bound = factor * max(reference_error, FLOOR)
    if error > bound and want.is_floating_point():
        reference_error = max(reference_error, drawn.errors[name])
        bound = factor * max(reference_error, FLOOR)
    if error > bound:
        raise ExportError(
            f"output `{name}` {where} differs from torch: relative error {error:.3g}, at most "
            f"{bound:.3g} expected ({factor:g} x torch's own fp32 error); nothing was written",
            hint="please report this with the model; `--opset` may avoid it",
        )
    return TaskParity(
        max_rel_error=error, rel_rms=rms, bound=bound, torch_fp32_error=reference_error
    )


def _check_comparable(name: str, got: Tensor, want: Tensor, where: str) -> None:
    if got.shape != want.shape:
        raise ExportError(
            f"output `{name}` {where} has shape {list(got.shape)}, expected {list(want.shape)}; "
            "nothing was written"
        )
    if got.is_floating_point() != want.is_floating_point():
        kind = "floating-point numbers" if want.is_floating_point() else "integers"
        raise ExportError(
            f"output `{name}` {where} is {got.dtype}, expected {kind}; nothing was written"
        )
    for who, value in (("torch in float64", want), ("the artefact", got)):
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise _not_finite(name, who, where)


def _not_finite(name: str, who: str, where: str) -> NonFiniteError:
    return NonFiniteError(
        f"output `{name}` of {who} {where} holds NaN or Inf; nothing was written",
        hint="check the range of the input, and the weights: did the training diverge?",
    )


def _deviation(got: Tensor, want: Tensor) -> tuple[float, float]:
    """Return the largest deviation and its RMS, relative; of integers the share that differs."""
    if not want.numel():
        return 0.0, 0.0
    if not want.is_floating_point():
        share = float((got != want).double().mean())
        return share, share
    off, size = got.double() - want, want.double()
    # An output that is zero everywhere is compared absolutely.
    largest = float(size.abs().max()) or 1.0
    norm = float(size.norm()) or math.sqrt(size.numel())
    return float(off.abs().max()) / largest, float(off.norm()) / norm
