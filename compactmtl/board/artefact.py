"""From an ONNX file on disk to an engine and its sidecar beside it."""

from pathlib import Path
from typing import Any

from compactmtl.board.bindings import Bindings
from compactmtl.board.build import Built, build
from compactmtl.board.errors import BuildError, DamagedError
from compactmtl.board.files import read_json, sha256, to_json, write_together
from compactmtl.board.gpus import find_gpus
from compactmtl.board.header import parse_header
from compactmtl.board.onnx_file import OnnxFile, read_onnx
from compactmtl.board.profile import Profile, make_profile
from compactmtl.board.recipe import BuildRecipe

FORMAT_VERSION = 1
TARGETS = {"tensorrt": "tensorrt", "rtx": "tensorrt-rtx"}
SUFFIXES = {"tensorrt": ".engine", "rtx": ".rtx.engine"}
ONNX_SUFFIX = ".trt.onnx"
TIMING_CACHE = "tensorrt.timing"
"""Kept in the engine's folder; a second build of a like network takes a fraction of the time."""


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of a file lies."""
    return path.with_name(path.name + ".json")


def engine_path(source: Path, flavour: str) -> Path:
    """Return where the engine of an ONNX file goes: ``model.trt.onnx`` -> ``model.engine``."""
    stem = source.name.removesuffix(".onnx").removesuffix(".trt")
    return source.with_name(stem + SUFFIXES[flavour])


def describe_source(source: OnnxFile) -> dict[str, Any]:
    """Return the sidecar of an ONNX file; empty where it has none.

    Raises:
        DamagedError: It describes another file, or is no sidecar.
    """
    path = sidecar_path(source.path)
    if not path.is_file():
        return {}
    document = read_json(path)
    if document.get("sha256") != source.sha256:
        raise DamagedError(
            f"`{path}` describes another file than `{source.path.name}`", hint="export again"
        )
    return document


def plan_build(path: Path, recipe: BuildRecipe) -> tuple[OnnxFile, dict[str, Any], Profile]:
    """Look at an ONNX file and choose the shapes of its engine, without TensorRT.

    Raises:
        BoardError: The file is not one to build from, or the settings do not fit it.
    """
    source = read_onnx(path)
    described = describe_source(source)
    profile = make_profile(
        source.inputs, batch=recipe.batch, size=recipe.size, example=_stored_shapes(described, path)
    )
    return source, described, profile


def write_engine(
    bindings: Bindings, source: Path, path: Path, recipe: BuildRecipe
) -> dict[str, Any]:
    """Build an engine and write it with its sidecar; both or none.

    Args:
        bindings: The TensorRT that builds.
        source: The ONNX file.
        path: Where the engine goes.
        recipe: Settings.

    Returns:
        The sidecar.

    Raises:
        BoardError: The file is not one to build from, TensorRT refuses it, or the disk is full.
    """
    recipe.check_taken(bindings.flavour)
    file, described, profile = plan_build(source, recipe)
    cache_path = path.with_name(TIMING_CACHE)
    cache = cache_path.read_bytes() if cache_path.is_file() else b""
    built = build(bindings, file, recipe, profile, cache)
    header = parse_header(built.plan, path.name)
    if header.flavour != bindings.flavour:
        raise BuildError(f"{bindings.name} built an engine of {header}")
    sidecar = _describe(bindings, file, described, path, recipe, profile, built)
    contents = {sidecar_path(path): to_json(sidecar), path: built.plan}
    if built.timing_cache:
        contents[cache_path] = built.timing_cache
    write_together(contents)
    return sidecar


def _describe(
    bindings: Bindings,
    source: OnnxFile,
    described: dict[str, Any],
    path: Path,
    recipe: BuildRecipe,
    profile: Profile,
    built: Built,
) -> dict[str, Any]:
    target = TARGETS[bindings.flavour]
    return {
        "format_version": FORMAT_VERSION,
        "inputs": [
            {"name": name, "shape": [size or f"dim{axis}" for axis, size in enumerate(shape)]}
            for name, shape in source.inputs.items()
        ],
        **described,  # inputs, outputs, tasks, precision are those of the ONNX file
        "artefact": path.name,
        "kind": target,
        "sha256": sha256(built.plan),
        "size_bytes": len(built.plan),
        "parts": {},
        "parent": {"file": source.path.name, "sha256": source.sha256},
        "verified": {
            "status": "built only",
            "runtime": bindings.name,
            "per_task": {},
            "cases": [],
        },
        "build": {
            "builder": bindings.name,
            "compute_capabilities": _built_for(bindings, recipe),
            "profile": {name: [list(shape) for shape in each] for name, each in profile.items()},
            "workspace_bytes": recipe.workspace_bytes,
            "strongly_typed": recipe.weak_typing is None,
            "flags": list(built.flags),
            "num_layers": built.num_layers,
            "seconds": round(built.seconds, 3),
            "warnings": list(built.warnings),
        },
        "versions": {**described.get("versions", {}), target: bindings.module.__version__},
    }


def _built_for(bindings: Bindings, recipe: BuildRecipe) -> list[str]:
    """Return the compute capabilities that an engine is for; empty where that is not known.

    TensorRT builds for the GPU it runs on. With several of different kinds it is not known which.
    """
    if bindings.flavour == "rtx":
        return list(recipe.compute_capabilities)
    found = {gpu.compute_capability for gpu in find_gpus()}
    return list(found) if len(found) == 1 else []


def _stored_shapes(described: dict[str, Any], path: Path) -> dict[str, list[int]]:
    """Return the shapes of the samples that an ONNX file was checked on."""
    if not described:
        return {}
    try:
        shapes = described["verified"]["cases"][0]["shapes"]
        return {str(name): [int(size) for size in shape] for name, shape in shapes.items()}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(
            f"`{sidecar_path(path)}` does not say what the file was checked on", hint="export again"
        ) from error
