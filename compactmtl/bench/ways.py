"""In which ways each file is run: one file in several runtimes is several candidates."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compactmtl.bench.cost import PROGRAM
from compactmtl.bench.elsewhere import SERVED, open_served
from compactmtl.board.bench.items import Item, check_graph, items_of
from compactmtl.board.errors import AskedError
from compactmtl.board.onnx_session import PROVIDERS

if TYPE_CHECKING:
    from compactmtl.bench.torch_session import TorchSession

MODES = ("eager", "compile")


@dataclass(frozen=True)
class Ways:
    """How files are run that can be run in more than one way.

    Attributes:
        providers: ONNX files: ONNX Runtime's execution providers.
        torch: Programs of torch: ``eager``, ``compile``; none: they are left out.
        device: Where torch computes: ``cpu`` or ``cuda``.
        cuda_graph: Whether what computes on a GPU is launched as CUDA graphs.

    Raises:
        AskedError: There is no such provider or mode, or one is named twice.
    """

    providers: tuple[str, ...] = ("cpu",)
    torch: tuple[str, ...] = ()
    device: str = "cpu"
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        for option, given, known in (
            ("--provider", self.providers, tuple(PROVIDERS)),
            ("--torch", self.torch, MODES),
        ):
            for name in given:
                if name not in known:
                    raise AskedError(f"{option} {name!r}: expected one of {', '.join(known)}")
            if len(set(given)) < len(given):
                raise AskedError(f"{option}: one is named twice among {', '.join(given)}")


def make_items(files: Mapping[str, Path], ways: Ways, *, threads: int) -> dict[str, Item]:
    """Return what to measure: each file in each of the ways that are wanted for its kind.

    A name says the way where it is not the usual one: ``compact``, ``compact.cuda``,
    ``compact.eager``.

    Raises:
        AskedError: A program of torch, and no way to run it is given; or CUDA graphs are asked for
            where nothing computes on a GPU.
    """
    items: dict[str, Item] = {}
    for name, path in files.items():
        if path.suffix == PROGRAM:
            if not ways.torch:
                raise AskedError(
                    f"`{path.name}` is a program of torch", hint="give --torch eager, or compile"
                )
            for mode in ways.torch:
                on_gpu = ways.device != "cpu"
                items[f"{name.removesuffix(PROGRAM)}.{mode}"] = Item(
                    path,
                    partial(
                        _open_torch,
                        path,
                        threads=threads,
                        mode=mode,
                        device=ways.device,
                        cuda_graph=ways.cuda_graph and on_gpu,
                    ),
                    on_gpu=on_gpu,
                )
        elif path.suffix in SERVED:
            items[name] = Item(path, partial(open_served, path, threads=threads))
        else:
            items |= items_of(
                {name: path},
                threads=threads,
                providers=ways.providers,
                cuda_graph=ways.cuda_graph,
            )
    if ways.cuda_graph:
        check_graph(items)
    return items


def _open_torch(path: Path, **settings: Any) -> "TorchSession":
    from compactmtl.bench.torch_session import TorchSession  # importing torch takes seconds

    return TorchSession(path, **settings)
