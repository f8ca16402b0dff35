"""From a compact model or its folder to an artefact with sidecar and reference outputs."""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from compactmtl.compact import CompactModel, Manifest, load, load_folder
from compactmtl.errors import MissingFileError, UsageError
from compactmtl.export.base import Exporter, Job, Progress, Which, make_job
from compactmtl.export.calibration import find_calibration
from compactmtl.export.cases import random_inputs, stored_cases
from compactmtl.export.labelled import find_labelled
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.options import Dialect, Options
from compactmtl.export.reference import Reference
from compactmtl.export.sidecar import Parent, Sidecar
from compactmtl.export.stored import INPUTS, Array, Stored, read_inputs
from compactmtl.files import atomic_write, sha256
from compactmtl.lineage import MODEL, is_network, model_path
from compactmtl.recipe import DataSection

DENSE = "dense.pt2"
REFERENCE = "reference.npz"
ONNX_SUFFIXES: dict[Dialect, str] = {"onnx": ".onnx", "tensorrt": ".trt.onnx"}
"""Suffix of an ONNX file by whose operators it holds; both can lie beside each other."""


def write(
    exporter: Exporter,
    source: CompactModel | str | Path,
    path: Path,
    *,
    which: Which,
    options: Options,
    inputs: Mapping[str, Array] | Stored | None,
    progress: Progress | None,
) -> Sidecar:
    """Export; see ``compactmtl.export.export``."""
    options.check_taken(exporter.target, exporter.takes, exporter.precisions)
    exporter.check_reachable(options)
    parent = Parent(file=MODEL, sha256=None)
    if inputs is None or isinstance(inputs, Stored):
        stored = inputs
    else:
        stored = Stored(arrays=inputs, source="given by the caller")
    if isinstance(source, CompactModel):
        compact = source
    else:
        folder = Path(source)
        compact = _load(folder, which)
        parent = Parent(file=MODEL, sha256=sha256(folder / MODEL))
        if stored is None and (folder / INPUTS).is_file():
            stored = read_inputs(folder / INPUTS)
    options.check_tasks(compact.manifest.output_names)
    program = compact.exported_program(which)
    stored = stored or random_inputs(program, compact.manifest)

    calibration, labelled = None, None
    if options.precision != "fp32":
        recipe = compact.manifest.recipe or {}
        data = DataSection.model_validate(recipe["data"]) if "data" in recipe else None
        labelled = find_labelled(options.calibration, program, compact.manifest, data)
        if options.precision == "int8":
            calibration = find_calibration(
                options.calibration, program, compact.manifest, stored, data
            )
    job = make_job(
        program,
        compact.manifest,
        path,
        stored=stored,
        parent=parent,
        which=which,
        options=options,
        calibration=calibration,
        labelled=labelled,
        progress=progress,
    )
    if which == "dense":
        return _export(exporter, job)
    content = reference_bytes(program, compact.manifest, stored)
    with atomic_write(path.with_name(REFERENCE)) as temporary:  # replaced with the artefact or not
        temporary.write_bytes(content)
        return _export(exporter, job)


def _export(exporter: Exporter, job: Job) -> Sidecar:
    """Export, by way of a checked ONNX file where the target is built from one."""
    if exporter.dialect is None:
        return exporter.export(job)
    source = job.path.with_name(
        job.path.name.removesuffix(exporter.suffix) + ONNX_SUFFIXES[exporter.dialect]
    )
    written = OnnxExporter(exporter.dialect).export(replace(job, path=source))
    parent = Parent(file=source.name, sha256=written.sha256)
    return exporter.export(replace(job, source=source, parent=parent))


def reference_bytes(program: ExportedProgram, manifest: Manifest, stored: Stored) -> bytes:
    """Return, as ``.npz``, the samples of a check and what torch computes for them in fp64."""
    reference = Reference(program)
    cases = stored_cases(program, manifest, stored)
    runs = [reference.run(case.tensors(), torch.float64).outputs for case in cases]
    arrays: dict[str, Any] = {
        f"input.{name}": np.concatenate([case.inputs[name] for case in cases])
        for name in manifest.input_names
    }
    for name, parts in zip(manifest.output_names, zip(*runs, strict=True), strict=True):
        value = torch.cat(parts)
        arrays[f"output.{name}"] = (value.float() if value.is_floating_point() else value).numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _load(folder: Path, which: Which) -> CompactModel:
    model = model_path(folder)
    if is_network(folder):
        raise UsageError(
            f"`{folder}` holds a network in parts",
            hint="export them one by one, as `compactmtl export` does",
        )
    if which == "compact":
        return load(model)
    if not (folder / DENSE).is_file():
        raise MissingFileError(
            f"`{folder}` holds no {DENSE}, the dense twin",
            hint="give --no-dense, or run `compactmtl compress` again",
        )
    return load_folder(folder)
