"""``tensorrt.json``: the engines of a folder that are still to be built, where TensorRT is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compactmtl.board.artefact import FORMAT_VERSION, TARGETS, plan_build, write_engine
from compactmtl.board.bindings import NAMES, Bindings
from compactmtl.board.errors import DamagedError
from compactmtl.board.files import read_bytes, read_json, sha256, to_json, write_together
from compactmtl.board.recipe import BuildRecipe, from_dict

PREPARED = "tensorrt.json"
FLAVOUR = "tensorrt"
COMMAND = f"python -m compactmtl.board build {PREPARED}"
"""What is typed on the board, in the folder."""


def write_prepared(source: Path, path: Path, recipe: BuildRecipe) -> dict[str, Any]:
    """Check all that can be checked without TensorRT, and add an engine to ``tensorrt.json``.

    Entries of the file whose ONNX file is still the same stay.

    Args:
        source: The ONNX file, in the engine's folder.
        path: Where the engine is to go.
        recipe: Settings.

    Returns:
        The sidecar of ``tensorrt.json``, with status ``prepared``.

    Raises:
        BoardError: The file is not one to build from, the settings do not fit, or the disk is full.
    """
    recipe.check_taken(FLAVOUR)
    file, described, profile = plan_build(source, recipe)
    prepared = path.with_name(PREPARED)
    entry = {path.name: {"onnx": source.name, "sha256": file.sha256, "recipe": recipe.to_dict()}}
    content = prepared_bytes(dict(_standing(prepared)) | entry)
    write_together({prepared: content})
    return {
        **described,
        "artefact": prepared.name,
        "kind": TARGETS[FLAVOUR],
        "sha256": sha256(content),
        "size_bytes": len(content),
        "parts": {},
        "parent": {"file": source.name, "sha256": file.sha256},
        "verified": {
            "status": "prepared",
            "runtime": f"{NAMES[FLAVOUR]} is not installed",
            "per_task": {},
            "cases": [],
        },
        "build": {
            "engine": path.name,
            "recipe": recipe.to_dict(),
            "profile": {name: [list(shape) for shape in each] for name, each in profile.items()},
            "command": COMMAND,
        },
    }


def prepared_bytes(engines: dict[str, Any]) -> bytes:
    """Return the content of ``tensorrt.json``.

    Args:
        engines: Engine name to its ONNX file, the SHA-256 of that, and the recipe.
    """
    return to_json({"format_version": FORMAT_VERSION, "status": "prepared", "engines": engines})


def build_prepared(bindings: Bindings, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Build what ``tensorrt.json`` lists; yields each engine with its sidecar.

    Raises:
        DamagedError: It is none, or an ONNX file is not the one that it was written for.
        BoardError: An engine cannot be built.
    """
    for name, (source, recipe) in _entries(path).items():
        engine = path.with_name(name)
        yield engine, write_engine(bindings, source, engine, recipe)


def _entries(path: Path) -> dict[str, tuple[Path, BuildRecipe]]:
    """Return, by engine name, the ONNX file, which must be the stated one, and the recipe."""
    found = {}
    for name, entry in _engines(path).items():
        try:
            onnx, stated, recipe = entry["onnx"], entry["sha256"], entry["recipe"]
            names = (Path(onnx).name == onnx, Path(name).name == name)
            recipe = from_dict(recipe, str(path))
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"`{path}` does not say how to build `{name}`") from error
        if not all(names):
            raise DamagedError(f"`{path}` names files outside its folder: `{name}`, `{onnx}`")
        source = path.with_name(onnx)
        if sha256(read_bytes(source)) != stated:
            raise DamagedError(
                f"`{source}` is not the file that `{path.name}` was written for",
                hint="export again, and copy both",
            )
        found[name] = (source, recipe)
    return found


def _engines(path: Path) -> dict[str, Any]:
    document = read_json(path)
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise DamagedError(f"`{path}` has format version {version}, expected {FORMAT_VERSION}")
    engines = document.get("engines")
    if not isinstance(engines, dict):
        raise DamagedError(f"`{path}` lists no engines", hint="delete it and export again")
    return engines


def _standing(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the entries whose ONNX file is still the one they were made for."""
    if not path.is_file():
        return
    for name, entry in _engines(path).items():
        source = path.with_name(str(entry.get("onnx")) if isinstance(entry, dict) else name)
        if source.is_file() and sha256(read_bytes(source)) == entry.get("sha256"):
            yield name, entry
