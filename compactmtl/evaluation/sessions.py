"""Load an exported file where it can run: in this process, in another Python, or on a board."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from compactmtl.board.artefact import sidecar_path
from compactmtl.board.tensors import Array, InputInfo
from compactmtl.errors import CompactMTLError, NotPossibleHereError
from compactmtl.export import TARGETS
from compactmtl.export.elsewhere import Elsewhere
from compactmtl.export.on_board import PYTHON, as_ours, on_board
from compactmtl.export.pt2_program import Pt2Exporter, Pt2Session
from compactmtl.export.session import open_session
from compactmtl.export.sidecar import read_sidecar
from compactmtl.export.worker_target import WorkerExporter
from compactmtl.remote.application import NAME
from compactmtl.remote.ssh import UNREACHABLE, Host, RemoteCommandError


class Session(Protocol):
    """A loaded artefact; the part of ``compactmtl.board.sessions.Session`` that scoring needs."""

    @property
    def inputs(self) -> tuple[InputInfo, ...]:
        """What it takes."""

    @property
    def runtime(self) -> str:
        """Name and version of the runtime, and where that is."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; returns the outputs by name."""


@contextmanager
def opened(path: Path, *, threads: int, host: Host | None) -> Iterator[Session]:
    """Load an artefact for as long as the block lasts.

    Args:
        path: The artefact; its sidecar and its further files lie beside it.
        threads: Threads of a runtime on a CPU.
        host: Where it runs; None: here. Programs of torch run here in any case.

    Raises:
        UsageError: Nothing runs files of this suffix.
        MissingExtraError: Its runtime is not installed.
        NotPossibleHereError: Its runtime cannot run on that machine, or the host does not answer.
        CorruptFileError: The runtime cannot read it.
    """
    if path.name.endswith(Pt2Exporter.suffix):
        yield Pt2Session(path)
    elif host is not None:
        with _on_host(host, path, threads) as session:
            yield session
    elif (worker := _worker(path)) is not None:
        session = worker.open(path, threads=threads)
        try:
            yield session
        finally:
            session.close()
    else:
        yield open_session(path, threads=threads)


def _worker(path: Path) -> WorkerExporter | None:
    """Return the target that has an environment for such files, where there is one."""
    for make in TARGETS.values():
        target = make()
        if isinstance(target, WorkerExporter) and target.suffix == path.suffix:
            return target
    return None


@contextmanager
def _on_host(host: Host, path: Path, threads: int) -> Iterator[Elsewhere]:
    """Copy an artefact to a host and load it there; nothing of it stays."""
    with on_board(host, {each.name: each for each in _files(path)}) as folder:
        command = [PYTHON, NAME, "stream", path.name, "--threads", str(threads)]

        def failed(code: int, lines: list[str]) -> CompactMTLError:
            if code == UNREACHABLE:
                last = lines[-1] if lines else "no reason given"
                return NotPossibleHereError(
                    f"`{host.address}` does not answer any more: {last}",
                    hint=f"does this work: ssh {host.address} true",
                )
            return as_ours(host, RemoteCommandError(code, lines))

        session = Elsewhere(
            host.line(folder.command(command)), place=f"on {host.address}", failed=failed
        )
        try:
            yield session
        finally:
            session.close()


def _files(path: Path) -> Iterator[Path]:
    """Yield the artefact, its sidecar, and what else belongs to it."""
    yield path
    if sidecar_path(path).is_file():
        yield sidecar_path(path)
        yield from (path.with_name(Path(name).name) for name in read_sidecar(path).parts)
    elif (weights := path.with_suffix(".bin")).is_file():
        yield weights
