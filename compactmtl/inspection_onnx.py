"""What an ONNX file is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from compactmtl.board.onnx_file import read_onnx
from compactmtl.errors import CorruptFileError
from compactmtl.export.board_errors import translated
from compactmtl.files import read_error, read_json, sha256
from compactmtl.inspection import Inspection, Layer, layer_of
from compactmtl.lineage import sidecar_path

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_AGAIN = "run `compactmtl export` again"


def inspect_onnx(path: Path) -> Inspection:
    """Open an ONNX file.

    Raises:
        CorruptFileError: It is not one, or its sizes contradict each other.
        MissingFileError: There is no such file, or one that its weights lie in is missing.
        UnsafeFileError: It reaches outside its folder.
    """
    with translated():
        read_onnx(path)  # its weights lie in its folder, its sizes can be
    try:
        model = onnx.load(path)
        weights = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    except OSError as error:
        raise read_error(path, error) from error
    except Exception as error:  # protobuf's, onnx's and numpy's, whatever the bytes make of them
        reason = " ".join(str(error).split())
        raise CorruptFileError(
            f"`{path}` is not an intact ONNX file: {reason}", hint=_AGAIN
        ) from error
    if not model.graph.node:
        raise CorruptFileError(f"`{path}` is not an ONNX file, or an empty one", hint=_AGAIN)
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    facts: dict[str, Any] = {
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        "opset": opsets[0] if opsets else None,
        "nodes": len(model.graph.node),
        "written by": f"{model.producer_name} {model.producer_version}".strip() or None,
    }
    tasks: dict[str, dict[str, Any]] = {}
    notes: tuple[str, ...] = ()
    if sidecar_path(path).is_file():
        sidecar = read_json(sidecar_path(path))
        if not isinstance(sidecar, dict):
            raise CorruptFileError(f"`{sidecar_path(path)}` is not a sidecar", hint=_AGAIN)
        parent = sidecar.get("parent") or {}
        facts["exported from"] = parent.get("file")
        facts["its sha256"] = parent.get("sha256")
        facts["verified"] = (sidecar.get("verified") or {}).get("runtime")
        tasks = {o["name"]: o["task"] for o in sidecar.get("outputs", ()) if o.get("task")}
        if sidecar.get("sha256") != sha256(path):
            notes = (f"The file is not the one {sidecar_path(path).name} describes.",)
    return Inspection(
        file=str(path),
        what="an ONNX model",
        num_params=sum(
            int(v.size) for v in weights.values() if np.issubdtype(v.dtype, np.floating)
        ),
        layers=tuple(_layers(model, weights)),
        tasks=tasks,
        facts=facts,
        notes=notes,
    )


def _layers(model: onnx.ModelProto, weights: dict[str, Any]) -> Iterator[Layer]:
    for node in model.graph.node:
        if node.op_type not in LAYERS or len(node.input) < 2 or node.input[1] not in weights:
            continue
        values = weights[node.input[1]]
        # Filters come first in Conv; ConvTranspose, MatMul and plain Gemm hold them second.
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        if node.op_type != "Conv" and not transposed:
            values = values.swapaxes(0, 1)
        yield layer_of(node.input[1].removesuffix(".weight"), node.op_type, values)


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
