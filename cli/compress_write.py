"""Write what `compress` compiled, and print it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compactmtl.cli.compress_options import check_one_graph
from compactmtl.cli.compress_table import show
from compactmtl.cli.network_table import show_network

if TYPE_CHECKING:
    from compactmtl.compact import CompactModel
    from compactmtl.compact_network import CompactNetwork
    from compactmtl.compiler.source import Source


def write(
    compact: "CompactModel | CompactNetwork",
    others: "Mapping[str, CompactModel]",
    source: "Source",
    out: Path,
    *,
    part: str | None,
    further: "Callable[[CompactModel], CompactModel] | None",
) -> None:
    """Train further where that is asked for, write the folder, print the report.

    Args:
        compact: What was compiled.
        others: The same by other plans, by name.
        source: What it was compiled from.
        out: The folder.
        part: Dotted name of the part that was compiled; None: all.
        further: Trains a compact model further; None: it stays as it was compiled.
    """
    from compactmtl.compact import CompactModel
    from compactmtl.compiler.folder import write_folder
    from compactmtl.compiler.network_folder import write_network

    where: dict[str, Any] = {"origin": source.origin, "run": source.run_from(out)}
    if not isinstance(compact, CompactModel):
        check_one_graph(finetune=further is not None)
        show_network(write_network(compact, out, images=source.images, **where), out, source.how)
        return
    if further is not None:
        compact = further(compact)
    images = source.images_of(part)
    show(write_folder(compact, out, images=images, variants=others, **where), out, source.how)
