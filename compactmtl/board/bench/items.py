"""What is to be measured, not loaded yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compactmtl.board.errors import AskedError
from compactmtl.board.onnx_session import CPU
from compactmtl.board.sessions import Session, open_session, parts

ENGINE = ".engine"


@dataclass(frozen=True)
class Item:
    """Something to measure.

    Attributes:
        path: Its file.
        open: Loads it.
        parts: Further files that belong to it.
        on_gpu: Whether it computes on a GPU, and so can be a CUDA graph.
    """

    path: Path
    open: Callable[[], Session]
    parts: tuple[Path, ...] = ()
    on_gpu: bool = False


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
        cuda_graph: Whether what computes on a GPU is launched as CUDA graphs.
    """
    items = {}
    for name, path in files.items():
        for provider in providers if path.suffix == ".onnx" else (CPU,):
            on_gpu = path.suffix == ENGINE or provider != CPU
            items[name if provider == CPU else f"{name}.{provider}"] = Item(
                path,
                partial(
                    open_session,
                    path,
                    threads=threads,
                    provider=provider,
                    cuda_graph=cuda_graph and on_gpu,
                ),
                parts(path),
                on_gpu,
            )
    return items


def check_graph(items: Mapping[str, Item]) -> None:
    """Check that CUDA graphs are asked for where something can be one.

    Raises:
        AskedError: Nothing computes on a GPU.
    """
    if not any(item.on_gpu for item in items.values()):
        raise AskedError(
            f"--cuda-graph: none of {', '.join(items)} computes on a GPU",
            hint="it is for engines, --provider cuda or tensorrt, and --torch with --device cuda",
        )
