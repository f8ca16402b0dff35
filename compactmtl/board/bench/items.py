"""What is to be measured, not loaded yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compactmtl.board.sessions import Session, open_session, parts


@dataclass(frozen=True)
class Item:
    """Something to measure.

    Attributes:
        path: Its file.
        open: Loads it.
        parts: Further files that belong to it.
    """

    path: Path
    open: Callable[[], Session]
    parts: tuple[Path, ...] = ()


def items_of(
    files: Mapping[str, Path],
    *,
    threads: int,
    providers: Sequence[str] = ("cpu",),
    cuda_graph: bool = False,
) -> dict[str, Item]:
    """Return files by name as what is to be measured.

    An ONNX file is a candidate in each of several providers; a name says the provider where that
    is not the CPU: ``model``, ``model.cuda``.

    Args:
        files: Name to file.
        threads: Threads of each runtime on a CPU.
        providers: ONNX Runtime's execution providers.
        cuda_graph: Whether engines are launched as CUDA graphs.
    """
    items = {}
    for name, path in files.items():
        for provider in providers if path.suffix == ".onnx" else ("cpu",):
            items[name if provider == "cpu" else f"{name}.{provider}"] = Item(
                path,
                partial(
                    open_session,
                    path,
                    threads=threads,
                    provider=provider,
                    cuda_graph=cuda_graph,
                ),
                parts(path),
            )
    return items
