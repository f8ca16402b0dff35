"""Which artefacts in a compact folder descend from the model that lies there now."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactmtl.errors import CompactMTLError, CorruptFileError, MissingFileError
from compactmtl.files import fingerprint, read_json, sha256

MODEL = "model.pt2"
"""The compact model, from which everything else in its folder must descend."""

PARTS = "parts.json"
"""What names the parts of a compact network that is no single graph; it has no ``model.pt2``."""

VARIANTS = "variants"
"""Folder in a compact folder that holds the same network by other plans, one folder each."""

REPORT = "report.json"

RUNTIME_SUFFIXES = (".onnx", ".xml")
"""Files that are artefacts even when no sidecar stands beside them."""


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One exported file that descends from the present model.

    Attributes:
        path: The file.
        sha256: Its fingerprint, equal to the one its sidecar states.
        sidecar: The sidecar's content.
    """

    path: Path
    sha256: str
    sidecar: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The artefacts of a folder.

    Attributes:
        artefacts: Those that descend from the present ``model.pt2``, sorted by name.
        strangers: File name to the reason why it is not one of them.
    """

    artefacts: tuple[Artefact, ...]
    strangers: Mapping[str, str]


def sidecar_path(artefact: Path) -> Path:
    """Return where the sidecar of an artefact lies: ``model.onnx`` -> ``model.onnx.json``."""
    return artefact.with_name(artefact.name + ".json")


def is_network(folder: Path) -> bool:
    """Tell whether a folder holds a compact network in parts."""
    return (folder / PARTS).is_file()


def model_path(folder: Path) -> Path:
    """Return where the compact model of a folder lies, or what says which parts a network has.

    Raises:
        MissingFileError: The folder holds none of the two.
    """
    path = folder / (PARTS if is_network(folder) else MODEL)
    if not path.is_file():
        raise MissingFileError(
            f"`{folder}` holds no {MODEL}",
            hint="run `compactmtl compress CHECKPOINT` first, or name another folder",
        )
    return path


def read_lineage(folder: Path) -> Lineage:
    """Sort a compact folder's artefacts into descendants of its model and strangers.

    The model is ``model.pt2``, or ``parts.json`` of a network in parts.

    An artefact descends when its bytes are those its sidecar names, and the parent the sidecar
    names is the present model or another descendant (an engine built from an ONNX file).

    Raises:
        MissingFileError: The folder holds none of the two.
    """
    model = model_path(folder)
    candidates: dict[str, Artefact] = {}
    strangers: dict[str, str] = {}
    for path in _artefact_files(folder):
        try:
            candidates[path.name] = _read(path)
        except CompactMTLError as error:
            strangers[path.name] = error.message
            continue
        if other := _other_than_stated(candidates[path.name]):
            del candidates[path.name]
            strangers[path.name] = (
                f"{other} bytes are not those {sidecar_path(path).name} describes"
            )

    known = {sha256(model)}
    descendants: dict[str, Artefact] = {}
    while found := [
        name
        for name, artefact in candidates.items()
        if name not in descendants and _parent(artefact).get("sha256") in known
    ]:
        for name in found:
            descendants[name] = candidates[name]
            known.add(candidates[name].sha256)
    for name, artefact in candidates.items():
        if name not in descendants:
            parent = _parent(artefact)
            strangers[name] = (
                f"was made from another {parent.get('file', 'file')} "
                f"({str(parent.get('sha256'))[:12]}) than the present {model.name}"
            )
    return Lineage(
        artefacts=tuple(descendants[name] for name in sorted(descendants)),
        strangers=dict(sorted(strangers.items())),
    )


def read_variants(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Sort the folders under ``variants/`` by whether ``compress`` wrote them with the model there.

    Returns:
        The variants by name, each with its folder, in the order of ``report.json``; and for each
        stranger ``variants/<name>`` and the reason.

    Raises:
        MissingFileError: There are variants, but no ``report.json``.
        CorruptFileError: ``report.json`` is none.
    """
    names = [path.name for path in sorted((folder / VARIANTS).glob("*/")) if path.is_dir()]
    if not names:
        return {}, {}
    report = read_json(folder / REPORT)
    try:
        is_present = report["model"]["sha256"] == sha256(folder / MODEL)
        stated = {name: each["sha256"] for name, each in report["variants"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(
            f"`{folder / REPORT}` does not say which variants belong to {MODEL}",
            hint="run `compactmtl compress --variants` again",
        ) from error
    found = {}
    for name, digest in stated.items():
        model = folder / VARIANTS / name / MODEL
        if is_present and name in names and model.is_file() and sha256(model) == digest:
            found[name] = model.parent
    why = f"is not what {REPORT} says was compiled together with {MODEL}"
    return found, {f"{VARIANTS}/{name}": why for name in names if name not in found}


def _artefact_files(folder: Path) -> list[Path]:
    """Return the files that have a sidecar, or whose suffix says that they should have one."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")  # an unfinished atomic write
        and (sidecar_path(path).is_file() or (path.is_file() and path.suffix in RUNTIME_SUFFIXES))
    )


def _read(path: Path) -> Artefact:
    try:
        sidecar = read_json(sidecar_path(path))
    except MissingFileError as error:
        raise MissingFileError(f"has no sidecar {sidecar_path(path).name}") from error
    return Artefact(
        path=path,
        sha256=fingerprint(path),
        sidecar=sidecar if isinstance(sidecar, dict) else {},
    )


def _other_than_stated(artefact: Artefact) -> str:
    """Return whose bytes are not those the sidecar describes, the artefact's or a part's; or ""."""
    if artefact.sidecar.get("sha256") != artefact.sha256:
        return "its"
    parts = artefact.sidecar.get("parts")
    for name, stated in (parts if isinstance(parts, dict) else {}).items():
        part = artefact.path.with_name(Path(name).name)  # never outside the folder
        if not part.is_file() or sha256(part) != stated:
            return f"its part {part.name}'s"
    return ""


def _parent(artefact: Artefact) -> Mapping[str, Any]:
    parent = artefact.sidecar.get("parent")
    return parent if isinstance(parent, dict) else {}
