"""What a model file is: its kind, where it comes from, its tasks and its layers."""

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compactmtl.errors import MissingFileError, RefusedError, WeightsError

KINDS_BY_DIM = {2: "linear", 3: "conv1d", 4: "conv2d", 5: "conv3d"}
NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")
Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One convolution or linear layer, as stored.

    A group is the weights that read one input channel, a filter those that make one output
    channel; zero means exactly 0.0 everywhere.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_params: int
    zero_groups: int
    num_groups: int
    zero_filters: int
    num_filters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What is in a model file."""

    file: str
    what: str
    """One line: what kind of file it is."""
    num_params: int
    """Elements of all weights, without the statistics of batch norm."""
    layers: tuple[Layer, ...]
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from and what else is known, in the order to show it."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, with totals."""
        totals = {
            name: sum(getattr(layer, name) for layer in self.layers)
            for name in ("zero_groups", "num_groups", "zero_filters", "num_filters")
        }
        return {**asdict(self), "totals": {"num_params": self.num_params, **totals}}


def inspect_file(path: Path) -> Inspection:
    """Open a checkpoint, a compact model or folder, an ONNX file or a file of weights.

    Runs no code from the file.

    Raises:
        MissingFileError: There is no such file, or the folder holds no compact model.
        CorruptFileError: Truncated, damaged, or of another format.
        UnsafeFileError: It wants to run code while it loads.
        WeightsError: It holds no weights.
    """
    if path.is_dir():
        inside = [path / name for name in ("model.pt2", "ckpt.pt") if (path / name).is_file()]
        if not inside:
            raise MissingFileError(
                f"`{path}` is a folder with neither model.pt2 nor ckpt.pt",
                hint="give a compact folder, a run folder or a file",
            )
        path = inside[0]
    elif not path.is_file():
        raise MissingFileError(f"no such file: `{path}`", hint="check the path")
    if path.suffix == ".onnx":
        from compactmtl.inspection_onnx import inspect_onnx  # onnx is not needed otherwise

        return inspect_onnx(path)
    if path.suffix == ".pt2":
        return _compact(path)
    return _checkpoint(path) if _is_checkpoint(path) else _weights(path)


def layers_of(weights: Iterable[tuple[str, Array]]) -> tuple[Layer, ...]:
    """Return a row for each weight of a convolution or linear layer, filters first.

    Args:
        weights: Name (``encoder.conv1.weight``) and values (O, I, ...).
    """
    return tuple(
        layer_of(name.removesuffix(".weight"), KINDS_BY_DIM[values.ndim], values)
        for name, values in weights
        if name.endswith("weight") and values.ndim in KINDS_BY_DIM
    )


def layer_of(name: str, kind: str, values: Array) -> Layer:
    """Return the row of one weight (O, I, ...)."""
    nonzero = values != 0
    groups = nonzero.any(axis=tuple(axis for axis in range(values.ndim) if axis != 1))
    filters = nonzero.any(axis=tuple(range(1, values.ndim)))
    return Layer(
        name=name,
        kind=kind,
        shape=tuple(values.shape),
        num_params=int(values.size),
        zero_groups=int((~groups).sum()),
        num_groups=int(groups.size),
        zero_filters=int((~filters).sum()),
        num_filters=int(filters.size),
    )


def _is_checkpoint(path: Path) -> bool:
    """Tell from the names in a torch file whether ``compactmtl train`` wrote it."""
    from compactmtl.weights.archive import ZIP, check_archive, read_head

    if not read_head(path).startswith(ZIP):
        return False
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        text = archive.read(pickles[0]) if pickles else b""
    return all(word in text for word in (b"format_version", b"expansion", b"recipe"))


def _checkpoint(path: Path) -> Inspection:
    from compactmtl.checkpoint import build_model, load_checkpoint
    from compactmtl.overparam import contracted_state_dict

    checkpoint = load_checkpoint(path)
    state: Mapping[str, Any] = checkpoint.model
    notes: tuple[str, ...] = ()
    if checkpoint.expansion is not None:
        try:
            state = contracted_state_dict(build_model(checkpoint).eval())
            notes = ("Layers are shown contracted; the file holds their factors.",)
        except RefusedError as error:
            notes = (f"Layers are shown as their factors: {error.message}.",)
    arrays = _arrays(state)
    return Inspection(
        file=str(path),
        what="a training checkpoint of compactmtl",
        num_params=_num_params(arrays),
        layers=layers_of(arrays.items()),
        tasks=checkpoint.tasks,
        facts={
            "recipe": checkpoint.recipe.get("name"),
            "network": checkpoint.recipe.get("model", {}).get("name"),
            "data": checkpoint.recipe.get("data", {}).get("name"),
            "seed": checkpoint.seed,
            "finished epochs": checkpoint.epoch,
            "steps of the next epoch": checkpoint.position.get("step", 0),
            "phase": checkpoint.phase,
            "overparameterised": checkpoint.expansion is not None,
        },
        notes=(*notes, *_nonfinite(arrays)),
    )


def _compact(path: Path) -> Inspection:
    from compactmtl.compact import load

    model = load(path)
    manifest, report = model.manifest, model.report
    arrays = _arrays(model.module.state_dict())
    return Inspection(
        file=str(path),
        what="a compact model"
        if manifest.which == "compact"
        else "the dense twin of a compact model",
        num_params=_num_params(arrays),
        layers=layers_of(arrays.items()),
        tasks=manifest.tasks,
        facts={
            "compiled from": manifest.parent.get("file"),
            "its sha256": manifest.parent.get("sha256"),
            "recipe": (manifest.recipe or {}).get("name"),
            "inputs": {spec.name: _free(spec.shape, spec.dynamic) for spec in manifest.inputs},
            "outputs": manifest.output_names,
            "MACs": {"before": report.before.macs, "after": report.after.macs},
            "parameters": {"before": report.before.num_params, "after": report.after.num_params},
            "objective": manifest.objective,
            "largest relative error": report.max_rel_error,
            "opaque ops": len(report.opaque),
            "captured by torch": manifest.torch,
        },
        notes=_nonfinite(arrays),
    )


def _weights(path: Path) -> Inspection:
    from compactmtl.weights import load_weights

    state, how = load_weights(path)
    arrays = _arrays(state)
    return Inspection(
        file=str(path),
        what=f"weights ({how})",
        num_params=_num_params(arrays),
        layers=layers_of(arrays.items()),
        facts={"tensors": len(arrays)},
        notes=_nonfinite(arrays),
    )


def _free(shape: tuple[int, ...], dynamic: Mapping[int, str]) -> list[int | str]:
    """Return a shape with the names of its free axes."""
    return [dynamic.get(axis, size) for axis, size in enumerate(shape)]


def _arrays(state: Mapping[str, Any]) -> dict[str, Array]:
    """Return tensors as arrays; types that numpy lacks are widened."""
    arrays = {}
    for name, value in state.items():
        try:
            arrays[name] = (value.float() if value.is_floating_point() else value).detach().numpy()
        except (TypeError, RuntimeError) as error:  # sparse, quantised, without data
            raise WeightsError(
                f"`{name}` is not a plain tensor with data ({value.layout}, {value.dtype})"
            ) from error
    return arrays


def _nonfinite(arrays: Mapping[str, Array]) -> tuple[str, ...]:
    """Return a sentence about NaN and Inf, if there are any."""
    bad = [
        name
        for name, values in arrays.items()
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all()
    ]
    if not bad:
        return ()
    return (f"{len(bad)} of {len(arrays)} tensors hold NaN or Inf, the first is {bad[0]}.",)


def _num_params(arrays: Mapping[str, Array]) -> int:
    return sum(
        values.size
        for name, values in arrays.items()
        if not name.endswith(NOT_PARAMETERS) and np.issubdtype(values.dtype, np.floating)
    )
