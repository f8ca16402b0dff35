"""The limits of a machine and what was measured below them, as a record keeps them."""

from dataclasses import dataclass, field

OTHER = "other"
BETWEEN = "between kernels"
DISTURBED = 1.25
"""Kernels that take longer than so many whole runs were held up by something else."""


@dataclass(frozen=True)
class Machine:
    """The limits of a machine at a number of threads.

    Attributes:
        peak_gmacs: 1e9 multiply-accumulates per second in float32; FLOPs are twice as many.
        integer_gmacs: The same in 8-bit integers; None where nothing runs in them.
        bandwidths: Working set in bytes and 1e9 bytes per second, read and written together.
    """

    peak_gmacs: float
    integer_gmacs: float | None
    bandwidths: tuple[tuple[int, float], ...]

    def limit_us(self, macs: int, num_bytes: int, *, is_integer: bool = False) -> tuple[float, str]:
        """Return the least time of some work in microseconds, and what limits it.

        Bytes are taken at the bandwidth of the smallest measured working set that holds them, so
        that data which fit into a cache are not judged by the memory.

        Args:
            macs: Multiply-accumulates.
            num_bytes: Bytes read and written.
            is_integer: In 8-bit integers.
        """
        peak = (self.integer_gmacs if is_integer else None) or self.peak_gmacs
        rate = next((r for size, r in self.bandwidths if num_bytes <= size), self.bandwidths[-1][1])
        computing, moving = macs / peak / 1e3, num_bytes / rate / 1e3
        return (computing, "compute") if computing > moving else (moving, "memory")


@dataclass(frozen=True)
class Row:
    """A layer, or operations of one kind, against its limit.

    Attributes:
        name: Of the layer; ``Slice x 20`` for other operations of the file, ``other: Cast x 3`` for
            kernels that cannot be traced to it, ``between kernels`` for the rest of a run.
        kind: ``layer``, ``operations``, ``other`` or ``between kernels``.
        op: Operation of the kernel.
        macs: Multiply-accumulates.
        num_bytes: Bytes read and written, weights included.
        limit_us: The least time the machine's peak and bandwidth allow, in microseconds.
        bound: What sets the limit: ``compute``, ``memory``, or ``""`` where there is none.
        measured_us: Time in a run.
    """

    name: str
    kind: str
    op: str
    macs: int
    num_bytes: int
    limit_us: float
    bound: str
    measured_us: float

    @property
    def share(self) -> float | None:
        """Return the part of the limit that is attained; near 1 is as fast as it gets here.

        More than 1 where kernels skip padding, which MACs count as if it were data.
        """
        return self.limit_us / self.measured_us if self.bound and self.measured_us else None

    @property
    def lost_us(self) -> float:
        """Return the time above the limit."""
        return self.measured_us - self.limit_us


@dataclass(frozen=True)
class Roofline:
    """One artefact: its layers in their order, then everything else.

    Attributes:
        rows: What its time goes to.
        run_us: Median time of a whole run without a profiler, in microseconds: CPU time on one
            thread, else wall time.
    """

    rows: tuple[Row, ...]
    run_us: float

    @property
    def remark(self) -> str:
        """Say so where kernels took much longer under the profiler than whole runs without it."""
        kernels_us = sum(row.measured_us for row in self.rows if row.kind != BETWEEN)
        if kernels_us <= DISTURBED * self.run_us:
            return ""
        return (
            f"kernels took {kernels_us:.0f} us under the profiler, a run {self.run_us:.0f} us: "
            "the machine was busy, repeat when it is quiet"
        )


@dataclass(frozen=True)
class Rooflines:
    """A bench under the roof.

    Attributes:
        machine: The limits.
        artefacts: By the candidate's name.
        left_out: Candidates without per-layer times, and why.
    """

    machine: Machine
    artefacts: dict[str, Roofline]
    left_out: dict[str, str] = field(default_factory=dict)
