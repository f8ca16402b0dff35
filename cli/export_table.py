"""How `export` shows what it wrote and what was checked of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compactmtl.cli.console import console
from compactmtl.cli.export_lowered import show_lowered

if TYPE_CHECKING:
    from compactmtl.export.sidecar import Sidecar, Simplified

PREPARED = 3
"""Exit code where an engine could only be prepared."""


def show_artefacts(written: Sequence[tuple[Path, "Sidecar"]], folder: Path) -> None:
    """Print the parity of each file that was run, and of those that engines are built from.

    Args:
        written: Each artefact with its sidecar.
        folder: What names are shown relative to.
    """
    from compactmtl.export.sidecar import read_sidecar

    shown: dict[Path, Sidecar] = {}
    for engine, sidecar in written:
        path = engine.with_name(sidecar.artefact)  # tensorrt.json, where one is prepared
        if sidecar.verified.status != "ran":  # what it is built from was run in its stead
            source = path.with_name(sidecar.parent.file)
            shown[source] = read_sidecar(source)
        shown[path] = sidecar
    lowered = {
        path: sidecar
        for path, sidecar in shown.items()
        if sidecar.precision != "fp32" and sidecar.verified.per_task
    }
    rows = [
        row
        for path, sidecar in shown.items()
        if path not in lowered
        for row in _rows(path.relative_to(folder).as_posix(), sidecar)
    ]
    if rows:
        columns = ["file", "MB", "checked", "task", "relative error", "at most"]
        console.table("", columns, rows)
    show_lowered(lowered, folder)
    for path, sidecar in shown.items():
        selections = sidecar.verified.selections
        if selections and selections["flips"]:
            console.info(
                f"{path.name}: rounding flipped {selections['flips']} of "
                f"{selections['num']} pool indices, all of them near-ties"
            )
        if sidecar.simplified:
            console.info(_gain(path.name, sidecar.simplified))
        if sidecar.kind == "panoptic":
            case = sidecar.verified.cases[0]
            console.info(
                f"{path.name}: the whole, without torch: {case['num_things_again']} of "
                f"{case['num_things']} things and {case['num_pixels_again']} of "
                f"{case['num_pixels']} pixels of the map as torch finds them, "
                f"{case['num_images']} images"
            )


def say_prepared(written: Sequence[tuple[Path, "Sidecar"]]) -> int:
    """Say in one line what is prepared and not built, and what to do; return the exit code."""
    prepared = [sidecar for _, sidecar in written if sidecar.verified.status == "prepared"]
    if not prepared:
        return 0
    files = ", ".join(dict.fromkeys(f"{s.parent.file}, {s.parent.file}.json" for s in prepared))
    console.warn(
        f"prepared, not built: {prepared[0].verified.runtime} here; copy {files} and "
        f"{prepared[0].artefact} to the board and run there: {(prepared[0].build or {})['command']}"
        " (or let --host user@board do both)"
    )
    return PREPARED


def _gain(name: str, found: "Simplified") -> str:
    nodes, size = (
        f"{before} -> {after} {unit}"
        for (before, after), unit in ((found.nodes, "nodes"), (found.size_bytes, "bytes"))
    )
    outcome = f"not kept, {found.not_kept}" if found.not_kept else "kept"
    return f"{name}: {found.tool}: {nodes}, {size}; {outcome}"


def _rows(name: str, sidecar: "Sidecar") -> list[list[Any]]:
    size = f"{sidecar.size_bytes / 1e6:.2f}"
    verified = sidecar.verified
    if not verified.per_task:
        return [[name, size, f"{verified.status}: {verified.runtime}", "-", "-", "-"]]
    return [
        [
            *(name, size, f"{verified.status}: {verified.runtime}", task),
            f"{parity.max_rel_error:.1e}",
            f"{parity.bound:.1e}",
        ]
        for task, parity in verified.per_task.items()
    ]
