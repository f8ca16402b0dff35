"""The cost table: what layers and gathers cost in ONNX Runtime, as ``calibrate`` measured it."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compactmtl.compiler.kernels import (
    TERMS,
    Layer,
    Work,
    addition,
    ceil_to,
    gather,
    kernel,
    reorder,
    work,
)
from compactmtl.compiler.tables import DEFAULT
from compactmtl.environment import cpu_model, version
from compactmtl.errors import CorruptFileError
from compactmtl.files import read_json, write_json

if TYPE_CHECKING:
    from compactmtl.compiler.cost import CostModel

ADDED = 0.5
"""Share of the values in the plain layout that are operands of an addition, as the outputs of the
widest convolutions of residual networks are; a layer's shape does not say which."""

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Accuracy(BaseModel):
    """How far predictions are off on shapes that were left out of the fit, relative to measured.

    Attributes:
        num: Measurements; each was left out once (five folds).
        median: Of the absolute relative error.
        p90: Its 90th percentile.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num: int
    median: float
    p90: float


class CostTable(BaseModel):
    """A cost model in nanoseconds that was measured on one machine.

    Times grow with every channel as long as the kernel stays the same. Changes between the blocked
    and the plain layout are charged to the layer that causes them: to the producer of a value whose
    channel count calls for the other layout than its own, and to a reader that cannot take what
    its count promises. So are additions that a blocked convolution would have done on the way. A
    value that is pooled calls for the blocked layout by whole blocks only, as poolings do.

    Attributes:
        runtime: Name and version of the runtime.
        cpu: The processor.
        threads: Threads of the runtime.
        clock: "cpu": CPU time of the process; "wall": elapsed time, with several threads.
        align: Divisor of the channel counts that take blocked kernels.
        block: Channels of a block; 1 where the runtime has no blocked kernels.
        rates: Nanoseconds per unit of work, by kernel and term (``compactmtl.compiler.kernels``).
        accuracy: How well it predicts, over all measurements.
        by_kernel: The same per kernel.
        environment: What it was measured on, in full.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    runtime: str
    cpu: str
    threads: int = Field(ge=1)
    clock: Literal["cpu", "wall"]
    align: int = Field(ge=1)
    block: int = Field(ge=1)
    rates: dict[str, dict[str, Rate]]
    accuracy: Accuracy
    by_kernel: dict[str, Accuracy] = {}
    environment: dict[str, Any] = {}

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for name, terms in TERMS.items():
            missing = set(terms) - set(self.rates.get(name, {}))
            if missing:
                raise ValueError(f"rates of `{name}` lack {', '.join(sorted(missing))}")
        return self

    @property
    def name(self) -> str:
        """Return the runtime whose times it predicts."""
        return self.runtime

    @property
    def device(self) -> str:
        """Return what it was measured on."""
        return f"{self.cpu}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    @property
    def unifies(self) -> bool:
        """Tell that slices of a residual stream cost more than they save."""
        return True

    def conv(self, shape: Layer) -> float:
        """Return the nanoseconds of one layer and of the changes of layout it causes."""
        if not shape.rows or not shape.columns:
            return 0.0
        name = kernel(shape, align=self.align, block=self.block)
        time = self.time(work(shape, align=self.align, block=self.block))
        if name == "linear" or self.block == 1:
            return time
        path = name.partition(".")[2]
        if path != "blocked" and self._promises_blocks(shape.columns):
            time += self._reorder(shape.columns, shape.in_positions, to="plain")
        stays_blocked = self._promises_blocks(shape.rows, pooled=shape.pooled)
        if path == "plain" and stays_blocked:
            time += self._reorder(shape.rows, shape.positions, to="blocked")
        if path != "plain" and not stays_blocked:
            time += self._reorder(shape.rows, shape.positions, to="plain")
        if not stays_blocked:
            time += ADDED * self.time(addition(shape.rows, shape.positions))
        return time

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        """Return the nanoseconds of a gather and of the changes of layout around it."""
        if not read:
            return 0.0
        time = self.time(gather(read, positions))
        if positions > 1 and self._promises_blocks(stored):
            time += self._reorder(stored, positions, to="plain")
        if positions > 1 and self._promises_blocks(read) and read >= self.block:
            time += self._reorder(read, positions, to="blocked")
        return time

    def fast_columns(self, count: int) -> int:
        """Return how many channels layers best read where they need ``count``: that, or a few more.

        From a block up a count that does not divide by ``align`` takes the plain kernel; where
        there are no blocked kernels, all counts do.
        """
        has_choice = self.block > 1 and count >= self.block
        return ceil_to(count, self.align) if has_choice else count

    def time(self, amount: Work) -> float:
        """Return the nanoseconds of some work."""
        return sum(self.rates[name][term] * much for (name, term), much in amount.items())

    def save(self, path: str | Path) -> None:
        """Write it as JSON, atomically.

        Raises:
            WriteError: The file cannot be written.
        """
        write_json(Path(path), self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a table that ``calibrate`` wrote.

        Raises:
            MissingFileError: There is no such file.
            CorruptFileError: It is not a cost table.
        """
        document = read_json(Path(path))
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise CorruptFileError(
                f"`{path}` is not a cost table: {_first(error.errors())}",
                hint="`compactmtl calibrate -o FILE` writes one",
            ) from error

    def _promises_blocks(self, channels: int, *, pooled: bool = False) -> bool:
        """Tell whether a value of so many channels is expected in the blocked layout."""
        return self.block > 1 and channels % (self.block if pooled else self.align) == 0

    def _reorder(self, channels: int, positions: int, *, to: str) -> float:
        return self.time(reorder(channels, positions, to=to, block=self.block))


@lru_cache
def default_table() -> CostTable:
    """Return the table that ships."""
    return CostTable.load(DEFAULT)


def not_measured_here(model: "CostModel") -> str:
    """Say that a cost model was measured on another processor or runtime; "" where it was not.

    A model that was not measured at all, as one that counts multiplications, is none of these.
    """
    runtime, cpu = f"onnxruntime {version('onnxruntime')}", cpu_model()
    if not model.device or (model.device.startswith(f"{cpu},") and runtime in model.name):
        return ""
    return f"tuned for {model.name} on {model.device}, not measured on {runtime}, {cpu}"


def _first(errors: list[Any]) -> str:
    found: Mapping[str, Any] = errors[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}" if where else str(found["msg"])
