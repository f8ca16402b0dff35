"""Cost models for tests: runtimes that compute any number of channels equally well."""

from dataclasses import dataclass

from compactmtl.compiler.cost import ConvShape


@dataclass(frozen=True)
class NoBlocks:
    """Weigh multiplications against the numbers a gather moves: no width is worth rounding up."""

    name: str = "no blocks"
    device: str = ""
    unifies: bool = True
    macs_per_move: float = 45.0

    def conv(self, shape: ConvShape) -> float:
        """Count multiplications."""
        return shape.macs

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Count the numbers that are moved."""
        return read * positions * self.macs_per_move


@dataclass(frozen=True)
class NoGroups(NoBlocks):
    """Of a runtime that is bad at grouped convolutions."""

    def conv(self, shape: ConvShape) -> float:
        """Count multiplications as if there were no groups, twice where there are."""
        return shape.macs * (2 * shape.groups if shape.groups > 1 else 1)
