"""What a sidecar says of an artefact, for targets that are made from a program or an ONNX file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from compactmtl.environment import version
from compactmtl.export.base import Job
from compactmtl.export.cases import input_shapes
from compactmtl.export.onnx_names import AXIS_NAMES
from compactmtl.export.parity import Parity
from compactmtl.export.sidecar import InputSpec, OutputSpec, Sidecar, Verified, read_sidecar
from compactmtl.files import fingerprint, sha256


def describe(
    job: Job,
    kind: str,
    files: Sequence[Path],
    parity: Parity | None,
    *,
    runtime: str,
    versions: Mapping[str, str | None],
) -> Sidecar:
    """Return the sidecar of an artefact that lies in a temporary folder.

    Args:
        job: What was exported.
        kind: The target.
        files: The artefact, and what further files belong to it.
        parity: What the comparison found; None where the artefact cannot run here.
        runtime: What ran it, or built it.
        versions: Of the packages that had a part in it, beside those of this library.
    """
    artefact, *parts = files
    inputs, outputs, opset = _specs(job)
    lowering = None if parity is None else parity.lowering
    return Sidecar(
        artefact=artefact.name,
        kind=kind,
        precision=job.options.precision,
        lowering=lowering,
        which=job.which,
        sha256=fingerprint(artefact),
        size_bytes=sum(_size(file) for file in files),
        parts={part.name: sha256(part) for part in parts},
        parent=job.parent,
        opset=opset,
        inputs=inputs,
        outputs=outputs,
        verified=Verified(
            status="built only" if parity is None else "ran",
            runtime=runtime,
            per_task={} if parity is None else parity.per_task,
            cases=[] if parity is None else [case.describe() for case in job.check.cases],
            selections=None if parity is None else parity.selections(),
        ),
        versions={name: version(name) for name in ("compactmtl", "torch")} | dict(versions),
    )


def _size(artefact: Path) -> int:
    files = [artefact] if artefact.is_file() else artefact.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def _specs(job: Job) -> tuple[list[InputSpec], list[OutputSpec], int | None]:
    """Return the interface: of the ONNX file it was built from, or of the program."""
    if job.source is not None:
        source = read_sidecar(job.source)
        return source.inputs, source.outputs, source.opset
    shapes = input_shapes(job.program, job.interface)
    names = _dimension_names(shapes)
    inputs = [
        InputSpec.of(
            name,
            [_readable(size, names) for size in shape],
            str(job.stored.arrays[name].dtype),
            job.stored.arrays[name],
        )
        for name, shape in shapes.items()
    ]
    outputs = []
    node = next(node for node in job.program.graph.nodes if node.op == "output")
    for name, leaf in zip(job.interface.output_names, tree_leaves(node.args), strict=True):
        value = leaf.meta["val"]
        assert isinstance(value, Tensor)
        sizes: list[Any] = [
            size if isinstance(size, int) else str(size.node.expr) for size in value.shape
        ]
        outputs.append(
            OutputSpec(
                name=name,
                shape=[_readable(size, names) for size in sizes],
                dtype=str(value.dtype).removeprefix("torch."),
                task=job.interface.tasks.get(name),
            )
        )
    return inputs, outputs, None


def _dimension_names(shapes: Mapping[str, Sequence[int | str]]) -> dict[str, str]:
    """Return torch's symbols and how ONNX files call these dimensions."""
    names: dict[str, str] = {}
    for name, shape in shapes.items():
        for axis, size in enumerate(shape):
            match = re.fullmatch(r"(?:(\d+)\*)?(s\d+)", str(size))
            if match is None or match[2] in names:
                continue
            is_known = axis == 0 or (len(shape) == 4 and axis in AXIS_NAMES)
            called = AXIS_NAMES[axis] if is_known else f"{name}_dim{axis}"
            called = f"{name}_{called}" if called in names.values() else called
            # "32*s5" says that the dimension is a multiple.
            names[match[2]] = f"({called}//{match[1]})" if match[1] else called
    return names


def _readable(size: int | str, names: Mapping[str, str]) -> int | str:
    if isinstance(size, int):
        return size
    multiple = re.fullmatch(r"(\d+)\*(s\d+)", size)
    if multiple and names.get(multiple[2], "").endswith(f"//{multiple[1]})"):
        return names[multiple[2]][1:].rpartition("//")[0]
    return re.sub(r"\bs\d+\b", lambda match: names.get(match[0], match[0]), size)
