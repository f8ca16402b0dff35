"""What widths and re-layouts cost on the target; it decides speed, never correctness."""

from dataclasses import dataclass
from typing import Protocol

from compactmtl.errors import UsageError


class CostModel(Protocol):
    """Chooses between exact alternatives."""

    @property
    def name(self) -> str:
        """Where its numbers come from, for the report."""

    def gathers(self, *, read: int, stored: int, rows: int, taps: int) -> bool:
        """Tell whether a conv should gather the ``read`` of its ``stored`` input channels.

        Args:
            read: Input channels with a column that is not zero.
            stored: Input channels that are there; ``read <= stored``.
            rows: Output channels of the conv.
            taps: Kernel positions.
        """


@dataclass(frozen=True)
class LatencyCost:
    """Weigh the multiplications a gather saves against the numbers it moves.

    Moving one number costs as much as ``macs_per_move`` multiplications. For a conv that reads
    R of S channels with ``rows`` outputs and ``taps`` kernel positions, per output position:
    dense S*rows*taps, gathered R*rows*taps + R*macs_per_move.

    Source of the default: break-even of gathers in ONNX Runtime on one x86-64 core, R/S of 0.25,
    0.65 and 0.8 at 16, 64 and 256 outputs of a 1x1 conv, which is 48, 34 and 64 multiplications.
    """

    name: str = "ONNX Runtime, x86-64, 1 thread"
    macs_per_move: float = 45.0

    def gathers(self, *, read: int, stored: int, rows: int, taps: int) -> bool:
        """Gather when the saved multiplications outweigh the moves."""
        return (stored - read) * rows * taps > read * self.macs_per_move


@dataclass(frozen=True)
class MacsCost:
    """Count multiplications alone: gather whenever a single one is saved."""

    name: str = "multiplications"

    def gathers(self, *, read: int, stored: int, rows: int, taps: int) -> bool:
        """Gather whenever that reads fewer channels."""
        return read < stored


@dataclass(frozen=True)
class ParamsCost:
    """Count parameters alone: an index is none, so a gather pays whenever it saves a column."""

    name: str = "parameters"

    def gathers(self, *, read: int, stored: int, rows: int, taps: int) -> bool:
        """Gather whenever that reads fewer channels."""
        return read < stored


@dataclass(frozen=True)
class NoGatherCost:
    """Never gather: read what is stored, with zero columns."""

    name: str = "no gathers"

    def gathers(self, *, read: int, stored: int, rows: int, taps: int) -> bool:
        """Never."""
        return False


OBJECTIVES: dict[str, CostModel] = {
    "latency": LatencyCost(),
    "macs": MacsCost(),
    "params": ParamsCost(),
}


def cost_model(objective: str | CostModel, *, gather: bool = True) -> CostModel:
    """Return the cost model of an objective, or the object that was given as one.

    Args:
        objective: A name, or a cost model.
        gather: Whether gathers are allowed; without them there is nothing to choose.

    Raises:
        UsageError: No such objective.
    """
    if isinstance(objective, str):
        if objective not in OBJECTIVES:
            raise UsageError(
                f"objective `{objective}` is unknown, expected one of {', '.join(OBJECTIVES)}"
            )
        objective = OBJECTIVES[objective]
    return objective if gather else NoGatherCost()
