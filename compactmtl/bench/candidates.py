"""Which files a bench measures, under which names, and with which inputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compactmtl.bench.cost import why_not_run
from compactmtl.board.tensors import InputInfo
from compactmtl.errors import MissingFileError, UsageError
from compactmtl.export.stored import INPUTS, Array, Stored, read_inputs
from compactmtl.lineage import VARIANTS, Artefact, read_lineage, read_variants

COMPACT = "compact"
ONNX = "onnx"
"""Target whose artefacts have the plain names."""
ORDER = ("dense", COMPACT)
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


def choose(target: str | Path | Sequence[str | Path]) -> Chosen:
    """Choose what to measure: a compact folder's artefacts, or the files that are named.

    Raises:
        MissingFileError: The folder holds no model, or no artefact that descends from it.
        UsageError: Nothing is named, or a folder among files.
    """
    paths = [Path(p) for p in ([target] if isinstance(target, str | Path) else target)]
    if not paths:
        raise UsageError("nothing to bench: give a folder or files")
    if len(paths) == 1 and not paths[0].is_file():
        return _from_folder(paths[0])
    for path in paths:
        if path.is_dir():
            raise UsageError(f"`{path}` is a folder; give one folder, or files only")
        if not path.is_file():
            raise MissingFileError(f"no such file: `{path}`")
    return Chosen(files=dict(zip(_names(paths), paths, strict=True)), left_out={})


def _from_folder(folder: Path) -> Chosen:
    if not folder.exists():
        raise MissingFileError(
            f"no such file or folder: `{folder}`",
            hint="run `compactmtl compress` and `compactmtl export` first",
        )
    lineage = read_lineage(folder)
    left_out = dict(lineage.strangers)
    files: dict[str, Path] = {}
    for artefact in lineage.artefacts:
        if why := why_not_run(artefact.path):
            left_out[artefact.path.name] = why
        else:
            name = str(artefact.sidecar.get("which", artefact.path.stem)) + _form(artefact)
            files[name if name not in files else artefact.path.name] = artefact.path
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


def _rank(name: str) -> tuple[str, int]:
    """Sort by form, the plain one first, and within it what is expected to be slower first."""
    which, _, form = name.partition(".")
    return form, ORDER.index(which) if which in ORDER else len(ORDER)


def make_inputs(
    infos: Iterable[InputInfo], chosen: Chosen, *, batch: int, size: tuple[int, int] | None
) -> tuple[dict[str, Array], str]:
    """Return what an artefact is run with, and where it comes from.

    Stored samples are used where they have the wanted size, repeated to the batch size; else
    uniform random values in [0, 1).

    Args:
        infos: The artefact's inputs.
        chosen: Has the stored samples.
        batch: Batch size.
        size: Height and width; None: what is fixed in the artefact, else that of the samples.

    Raises:
        UsageError: The artefact is fixed to another batch or size, or a size is not known.
    """
    inputs: dict[str, Array] = {}
    source = "" if chosen.stored is None else f"{INPUTS} ({chosen.stored.source})"
    generator = np.random.default_rng(0)
    for info in infos:
        stored = chosen.stored.arrays.get(info.name) if chosen.stored else None
        shape = _shape(info, None if stored is None else stored.shape, batch, size)
        if stored is not None and stored.shape[1:] == shape[1:] and str(stored.dtype) == info.dtype:
            inputs[info.name] = np.ascontiguousarray(stored[np.arange(shape[0]) % len(stored)])
        elif not info.dtype.startswith("float"):
            raise UsageError(
                f"input `{info.name}` is {info.dtype}: random values may mean nothing to it",
                hint="bench the folder that holds inputs.npz",
            )
        else:
            source = "uniform random in [0, 1), seed 0"
            inputs[info.name] = generator.random(shape, dtype=np.float32).astype(info.dtype)
    return inputs, source


def _shape(
    info: InputInfo, stored: tuple[int, ...] | None, batch: int, size: tuple[int, int] | None
) -> tuple[int, ...]:
    asked = {0: batch}
    if size is not None and len(info.shape) == 4:
        asked |= {2: size[0], 3: size[1]}
    result = []
    for axis, dimension in enumerate(info.shape):
        if isinstance(dimension, int):
            if asked.get(axis, dimension) != dimension:
                raise UsageError(
                    f"input `{info.name}` is fixed to {list(info.shape)}, "
                    f"axis {axis} cannot be {asked[axis]}"
                )
            result.append(dimension)
        elif axis in asked:
            result.append(asked[axis])
        elif stored is not None and len(stored) == len(info.shape):
            result.append(stored[axis])
        else:
            raise UsageError(
                f"input `{info.name}` has a free dimension `{dimension}` (axis {axis})",
                hint="give --size HEIGHTxWIDTH",
            )
    return tuple(result)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return short names that tell the files apart."""
    for names in (
        [p.stem for p in paths],
        [p.name for p in paths],
        [f"{p.parent.name}/{p.stem}" for p in paths],
        [f"{p.parent.name}/{p.name}" for p in paths],
    ):
        if len(set(names)) == len(names):
            return names
    return [f"{path.stem}#{number}" for number, path in enumerate(paths, start=1)]
