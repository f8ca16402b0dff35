"""Where a calibration is measured: here, or on a board."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from compactmtl.board.bench.blocks import find_blocks
from compactmtl.board.bench.chains import Layers, chains_bytes
from compactmtl.board.bench.time_chains import Progress, time_chains
from compactmtl.environment import environment
from compactmtl.errors import CorruptFileError
from compactmtl.export.board_errors import translated
from compactmtl.export.on_board import call, on_board, send
from compactmtl.remote.folder import RemoteFolder
from compactmtl.remote.ssh import Host

CHAINS = "chains.json"
DONE = re.compile(r"(\d{1,6}) of (\d{1,6}) chains")


class Machine(Protocol):
    """Something that times chains of layers in ONNX Runtime.

    Attributes:
        align: By which number channels must divide for blocked kernels.
        block: How many channels a block has; 1 without blocks.
        environment: Machine and software.
    """

    align: int
    block: int
    environment: dict[str, Any]

    def time(
        self, chains: Sequence[Layers], *, threads: int, rounds: int, progress: Progress | None
    ) -> list[float]:
        """Return the least nanoseconds of one run of each chain."""


@contextmanager
def machine(host: Host | None) -> Iterator[Machine]:
    """Yield a host, or this machine where there is none."""
    if host is None:
        with translated():
            yield Here(*find_blocks(), environment())
        return
    with on_board(host, {}) as folder:
        found = call(folder, ["calibrate"])
        try:
            there = There(folder, int(found["align"]), int(found["block"]), found["environment"])
        except (KeyError, TypeError, ValueError) as error:
            raise _strange(host, error) from error
        yield there


@dataclass
class Here:
    """This machine."""

    align: int
    block: int
    environment: dict[str, Any]

    def time(
        self, chains: Sequence[Layers], *, threads: int, rounds: int, progress: Progress | None
    ) -> list[float]:
        """Time them in this process."""
        return time_chains(chains, threads=threads, rounds=rounds, progress=progress)


@dataclass
class There:
    """A board: shapes go there, which makes the graphs of them; times come back."""

    folder: RemoteFolder
    align: int
    block: int
    environment: dict[str, Any]

    def time(
        self, chains: Sequence[Layers], *, threads: int, rounds: int, progress: Progress | None
    ) -> list[float]:
        """Time them there."""

        def heard(line: str) -> bool:
            done = DONE.search(line)
            if done and progress is not None:
                progress(int(done[1]), int(done[2]))
            return done is not None

        send(self.folder, {CHAINS: chains_bytes(chains)})
        options = ["--threads", str(threads), "--rounds", str(rounds)]
        found = call(self.folder, ["calibrate", CHAINS, *options], on_line=heard)
        try:
            times = [float(each) for each in found["times_ns"]]
            if len(times) != len(chains) or not all(0 < each < float("inf") for each in times):
                raise ValueError(f"{len(times)} times of {len(chains)} chains")
        except (KeyError, TypeError, ValueError) as error:
            raise _strange(self.folder.host, error) from error
        return times


def _strange(host: Host, error: Exception) -> CorruptFileError:
    return CorruptFileError(f"`{host.address}` sent no calibration: {error!r}", hint="try again")
