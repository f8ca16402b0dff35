"""``--simplify``: onnxsim in a process of its own, its result kept only if equal and smaller."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx

from compactmtl.environment import version
from compactmtl.errors import ExportError, MissingExtraError, NonFiniteError
from compactmtl.export.parity import Parity
from compactmtl.export.sidecar import Simplified

TIME_LIMIT_S = 300.0
COMMAND = (sys.executable, "-m", "onnxsim")
"""Takes the file to read and the file to write."""


def check_installed() -> None:
    """Find out before any work whether models can be simplified here.

    Raises:
        MissingExtraError: onnxsim is not installed.
    """
    if importlib.util.find_spec("onnxsim") is None:
        raise MissingExtraError(
            "simplifying needs onnxsim, which is not installed",
            hint='pip install "compactmtl[simplify]"',
        )


def simplify(
    model: onnx.ModelProto, parity: Parity, check: Callable[[onnx.ModelProto], Parity]
) -> tuple[onnx.ModelProto, Parity, Simplified]:
    """Return the simplified model where it is equal and smaller, else the model itself.

    Inputs, outputs and metadata stay those of the model: onnxsim may rename dynamic dimensions.

    Args:
        model: The model.
        parity: What the check found of it.
        check: The check, for the simplified model; raises where it is not equal.
    """
    simplified, why = _run(model)
    if simplified is None:
        return model, parity, _described(model, None, why)
    after = _described(model, simplified, "")
    if after.nodes[1] > after.nodes[0] or after.size_bytes[1] > after.size_bytes[0]:
        return model, parity, after.model_copy(update={"not_kept": "it is larger"})
    if after.nodes[1] == after.nodes[0] and after.size_bytes[1] == after.size_bytes[0]:
        return model, parity, after.model_copy(update={"not_kept": "nothing was gained"})
    try:
        onnx.checker.check_model(simplified, full_check=True)
        return simplified, check(simplified), after
    except (ExportError, NonFiniteError) as error:
        why = error.message
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        why = " ".join(str(error).split())
    return model, parity, after.model_copy(update={"not_kept": why})


def _run(model: onnx.ModelProto) -> tuple[onnx.ModelProto | None, str]:
    """Return what onnxsim makes of a model; None and why, where it fails: it may well crash."""
    with tempfile.TemporaryDirectory() as name:
        before, after = Path(name) / "before.onnx", Path(name) / "after.onnx"
        before.write_bytes(model.SerializeToString())
        try:
            done = subprocess.run(
                [*COMMAND, str(before), str(after)],
                cwd=name,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIME_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, f"onnxsim took longer than {TIME_LIMIT_S:.0f} s"
        if done.returncode != 0 or not after.is_file():
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            return None, f"onnxsim ended with {done.returncode}: {(lines or ['no reason'])[-1]}"
        simplified = onnx.load(after)
    graph, own = simplified.graph, model.graph
    if [value.name for value in (*graph.input, *graph.output)] != [
        value.name for value in (*own.input, *own.output)
    ]:
        return None, "onnxsim changed the names of inputs or outputs"
    for field in ("input", "output"):
        graph.ClearField(field)
        getattr(graph, field).extend(getattr(own, field))
    simplified.ClearField("metadata_props")
    simplified.metadata_props.extend(model.metadata_props)
    return simplified, ""


def _described(before: onnx.ModelProto, after: onnx.ModelProto | None, not_kept: str) -> Simplified:
    after = before if after is None else after
    return Simplified(
        tool=f"onnxsim {version('onnxsim')}",
        nodes=(len(before.graph.node), len(after.graph.node)),
        size_bytes=(before.ByteSize(), after.ByteSize()),
        not_kept=not_kept or None,
    )
