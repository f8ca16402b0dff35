"""What an artefact is compared with: the program in torch, on the inputs of the check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.export import ExportedProgram

from compactmtl.export.cases import Case, check_stored, make_cases
from compactmtl.export.interface import Interface
from compactmtl.export.parity import FACTOR, Drift, Parity, Probed, check_parity
from compactmtl.export.reference import Reference
from compactmtl.export.stored import Array, Arrays, Stored


@dataclass(frozen=True)
class Check:
    """A program and the inputs to compare artefacts with it on.

    Attributes:
        reference: The program in torch, in fp32 and fp64.
        cases: The calls: stored inputs, another batch size, another image size.
        output_names: Names of the flattened outputs, in order.
    """

    reference: Reference
    cases: Sequence[Case]
    output_names: Sequence[str]

    def parity(
        self, probed: Probed, cases: Sequence[Case] | None = None, *, factor: float = FACTOR
    ) -> Parity:
        """Compare an artefact with the program by the rule of ``parity.py``.

        Args:
            probed: Runs the artefact and tells its selections.
            cases: Calls in place of all of ``self.cases``, for what is fixed to a size.
            factor: How much larger than torch's own fp32 error the artefact's may be.

        Raises:
            ExportError: The rule does not hold.
            NonFiniteError: An output holds NaN or Inf.
        """
        chosen = self.cases if cases is None else cases
        return check_parity(probed, self.reference, chosen, self.output_names, factor=factor)

    def drift(
        self, run: Callable[[Arrays], dict[str, Array]], cases: Sequence[Case] | None = None
    ) -> Parity:
        """Measure how far an artefact in lower precision is from the program.

        Args:
            run: Runs the artefact.
            cases: Calls in place of all of ``self.cases``, for what is fixed to a size.

        Raises:
            ExportError: An output has another shape or kind of number.
            NonFiniteError: An output holds NaN or Inf.
        """
        chosen = self.cases if cases is None else cases
        return Parity(per_task=Drift(self.reference, chosen, self.output_names).measure(run))


def make_check(program: ExportedProgram, interface: Interface, stored: Stored) -> Check:
    """Prepare to compare artefacts with a program.

    Raises:
        ExportError: The stored inputs are not what the program takes.
    """
    check_stored(stored, program, interface)
    reference = Reference(program)
    return Check(
        reference=reference,
        cases=make_cases(program, interface, stored, reference),
        output_names=interface.output_names,
    )
