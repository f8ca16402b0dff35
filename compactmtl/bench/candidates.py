"""Which files a bench measures, and under which names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compactmtl.bench.cost import PROGRAM, why_not_run
from compactmtl.board.bench.names import short_names
from compactmtl.board.stored import stored_beside
from compactmtl.errors import MissingFileError, UsageError
from compactmtl.export.board_errors import translated
from compactmtl.export.stored import INPUTS, Stored, read_inputs
from compactmtl.lineage import MODEL, VARIANTS, Artefact, read_lineage, read_variants

COMPACT = "compact"
ONNX = "onnx"
"""Target whose artefacts have the plain names."""
MODELS = {"dense": "dense.pt2", COMPACT: MODEL}
"""What ``compress`` wrote, which torch itself runs."""
ORDER = tuple(MODELS)
"""The one that is expected to be slower first: a ratio is then a speed-up."""


@dataclass(frozen=True)
class Chosen:
    """What is to be measured.

    Attributes:
        files: Name to file; the first is the baseline of all ratios.
        left_out: File name to the reason why it is not measured.
        stored: The folder's samples; None without any.
        variants: Which of ``files`` are the compact model by another plan.
    """

    files: dict[str, Path]
    left_out: dict[str, str]
    stored: Stored | None = None
    variants: tuple[str, ...] = ()


def choose(
    target: str | Path | Sequence[str | Path],
    *,
    programs: bool = False,
    why_not: Callable[[Path], str] = why_not_run,
) -> Chosen:
    """Choose what to measure: a compact folder's artefacts, or the files that are named.

    Args:
        target: A folder, or files.
        programs: Whether torch's programs (``.pt2``) of a folder are measured, too.
        why_not: Says why an artefact of a folder cannot be measured; empty where it can.

    Raises:
        MissingFileError: The folder holds no model, or no artefact that descends from it.
        UsageError: Nothing is named, or a folder among files.
    """
    paths = [Path(p) for p in ([target] if isinstance(target, str | Path) else target)]
    if not paths:
        raise UsageError("nothing to bench: give a folder or files")
    if len(paths) == 1 and not paths[0].is_file():
        return _from_folder(paths[0], programs, why_not)
    for path in paths:
        if path.is_dir():
            raise UsageError(f"`{path}` is a folder; give one folder, or files only")
        if not path.is_file():
            raise MissingFileError(f"no such file: `{path}`")
    with translated():
        stored = stored_beside(paths)
    return Chosen(short_names(paths), left_out={}, stored=stored)


def _from_folder(folder: Path, programs: bool, why_not: Callable[[Path], str]) -> Chosen:
    if not folder.exists():
        raise MissingFileError(
            f"no such file or folder: `{folder}`",
            hint="run `compactmtl compress` and `compactmtl export` first",
        )
    lineage = read_lineage(folder)
    left_out = dict(lineage.strangers)
    files: dict[str, Path] = {}
    for artefact in lineage.artefacts:
        why = why_not(artefact.path)
        if why and not (programs and artefact.path.suffix == PROGRAM):
            left_out[artefact.path.name] = why
        else:
            name = str(artefact.sidecar.get("which", artefact.path.stem)) + _form(artefact)
            files[name if name not in files else artefact.path.name] = artefact.path
    if programs:
        models = {f"{which}{PROGRAM}": folder / name for which, name in MODELS.items()}
        files |= {name: path for name, path in models.items() if path.is_file()}
    variants, strangers = _variants(folder)
    left_out |= strangers
    if not files:
        listed = "; ".join(f"{name} {why}" for name, why in left_out.items())
        raise MissingFileError(
            f"`{folder}` holds no exported model that descends from its model.pt2"
            + (f": {listed}" if listed else ""),
            hint="run `compactmtl export` first",
        )
    ordered = sorted(files, key=_rank)
    return Chosen(
        files={name: files[name] for name in ordered} | variants,
        left_out=left_out,
        variants=tuple(variants),
        stored=read_inputs(folder / INPUTS) if (folder / INPUTS).is_file() else None,
    )


def _variants(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the exported variants by name, and what is left out of them."""
    known, left_out = read_variants(folder)
    files: dict[str, Path] = {}
    for name, place in known.items():
        lineage = read_lineage(place)
        runnable = [each.path for each in lineage.artefacts if not _form(each)]
        left_out |= {f"{VARIANTS}/{name}/{file}": why for file, why in lineage.strangers.items()}
        if runnable:
            files[name] = runnable[0]
        else:
            left_out[f"{VARIANTS}/{name}"] = "not exported; run `compactmtl export`"
    return files, left_out


def _form(artefact: Artefact) -> str:
    """Return what tells an artefact from the ONNX file of the same model: ``.fp16.openvino``.

    Empty for ``model.onnx``; made of what stands in the file's name between stem and suffix, and
    of the target where that is not ``onnx``.
    """
    words = artefact.path.name.split(".")[1:-1]
    kind = str(artefact.sidecar.get("kind", ONNX))
    words += [kind] if kind != ONNX else []
    return "".join(f".{word}" for word in words)


def _rank(name: str) -> tuple[bool, int, str, int]:
    """Sort by form, the plain one first and torch's last, within it what should be slower first."""
    which, _, form = name.partition(".")
    order = ORDER.index(which) if which in ORDER else len(ORDER)
    return name.endswith(PROGRAM), form.count("."), form, order
