"""Capture a network as an ATen graph, without decompositions, with dynamic batch and size."""

import contextlib
import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim
from torch.utils._pytree import tree_flatten_with_path

from compactmtl.compiler.call import (
    Call,
    ExampleInputs,
    Inputs,
    as_call,
    free_axes,
    path_name,
    take_flat_inputs,
)
from compactmtl.compiler.memory import is_out_of_memory
from compactmtl.compiler.misfit import noting_misfits
from compactmtl.errors import CaptureError, CompactMTLError, NonFiniteError


@dataclass
class Captured:
    """A network as a graph.

    Attributes:
        module: The unlifted ATen graph; parameters keep their names and are the caller's tensors.
            It takes tensors, one by one, also where the network takes them in a dict or by name.
        inputs: Example inputs, batch at least 2 where the batch is dynamic.
        input_names: Names of the inputs, in order.
        output_names: Names of the flattened outputs: dict keys, or ``output``, ``output_1``, ...
        dynamic: Per input the names of its dynamic axes.
    """

    module: fx.GraphModule
    inputs: Inputs
    input_names: list[str]
    output_names: list[str]
    dynamic: list[dict[int, str]]


AXIS_NAMES = {0: "batch", 2: "height", 3: "width"}


def as_inputs(example_inputs: ExampleInputs) -> Inputs:
    """Return all tensors of example inputs, in order.

    Raises:
        UsageError: Something in there is not a tensor.
    """
    return as_call(example_inputs).inputs


def dynamic_shapes(inputs: Inputs, *, sizes: bool = True) -> tuple[dict[int, Any], ...]:
    """Return the shape specification: batch free and, with ``sizes``, those of images too."""
    return tuple(
        {
            axis: Dim.AUTO
            for axis in AXIS_NAMES
            if axis < value.ndim and (axis == 0 or (sizes and value.ndim == 4))
        }
        for value in inputs
    )


def _takes_other_sizes(model: nn.Module, call: Call, inputs: Inputs) -> bool:
    """Tell whether the network runs on images of twice the size, one at a time.

    One that flattens images into a linear layer does not, and ``torch.export`` does not see it: the
    graph says any size, and fails at every other.
    """
    larger = tuple(
        value[:1].repeat(1, 1, 2, 2) if value.ndim == 4 else value[:1] if value.ndim else value
        for value in inputs
    )
    with evaluating(model), torch.no_grad(), _silent_torch(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of at its own size was seen then
        try:
            args, kwargs = call.arguments(larger)
            model(*args, **kwargs)
        except Exception as error:  # whatever the user's forward raises
            if is_out_of_memory(error):
                raise
            return False
    return True


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every submodule into eval mode, and each back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def _silent_torch() -> Iterator[None]:
    """Keep torch from logging what it raises, and from printing half a graph: one error, one line.

    The network itself has run before, outside: what it prints or warns of was seen then.
    """
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def check_finite(model: nn.Module) -> None:
    """Check all parameters and buffers.

    Raises:
        NonFiniteError: One holds NaN or Inf; the message names it.
    """
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise NonFiniteError(
                f"`{name}` holds {bad} NaN or Inf among {tensor.numel()} values, expected finite "
                "weights; nothing was written",
                hint="train with a lower learning rate, or take an earlier checkpoint",
            )


def _user_frame(error: BaseException) -> str:
    """Return ``file:line: code`` of the innermost frame outside torch."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename and not frame.filename.startswith("<")
    ]
    ours = [frame for frame in frames if not frame.filename.endswith("compiler/capture.py")]
    if not ours:
        return ""
    return f" at {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}"


def _names_of_inputs(model: nn.Module, call: Call, captured: list[str]) -> list[str]:
    """Return the parameters' names in ``forward``: a graph calls `input` something else."""
    names = call.names(model)
    return names if all(names) else captured


def names_of_outputs(outputs: Any) -> list[str]:
    """Return one name per tensor of a network's return value.

    Raises:
        CaptureError: It holds something else than tensors.
    """
    found = tree_flatten_with_path(outputs)[0]
    names = [path_name(path) for path, _ in found]
    for name, (_, value) in zip(names, found, strict=True):
        if not isinstance(value, Tensor):
            raise CaptureError(
                f"the network returns a {type(value).__name__} as output `{name}`, "
                "expected a tensor",
                hint="return tensors only, in any nesting of dicts, lists and tuples",
            )
    if all(name == "" or name.isdigit() for name in names):
        return ["output" if i == 0 else f"output_{i}" for i in range(len(names))]
    return names


def capture(model: nn.Module, example_inputs: ExampleInputs, *, dynamic: bool = True) -> Captured:
    """Capture ``model`` in eval mode; the model itself is unchanged.

    Args:
        model: The network; its parameters must be finite.
        example_inputs: One tensor or several, batched: in order, or in a dict by the names of
            ``forward``'s parameters. Where the network takes dicts or lists, these.
        dynamic: Leave batch, height and width free where the network allows it.

    Raises:
        CaptureError: ``torch.export`` refuses the network, or the inputs do not fit it.
        NonFiniteError: A weight is NaN or Inf.
    """
    check_finite(model)
    call = as_call(example_inputs)
    inputs = given = call.inputs
    if dynamic and all(value.ndim and value.shape[0] == 1 for value in inputs):
        # an example batch of 1 would be burnt into the graph
        inputs = tuple(value.repeat(2, *[1] * (value.ndim - 1)) for value in inputs)
    shapes = dynamic_shapes(inputs) if dynamic else None
    inputs = tuple(value.view_as(value) for value in inputs)  # given twice is still two inputs
    args, kwargs = call.arguments(inputs)
    outputs = run_network(model, call.on(inputs), given=given)
    if dynamic and not _takes_other_sizes(model, call, inputs):
        shapes = dynamic_shapes(inputs, sizes=False)
    with evaluating(model), torch.no_grad():
        try:
            with _silent_torch():
                free = free_axes(inputs, shapes) if shapes else None
                program = torch.export.export(
                    model, args, kwargs, dynamic_shapes=free, strict=False
                )
                module = program.module()
        except Exception as error:  # torch.export raises many types
            if is_out_of_memory(error):
                raise
            raise CaptureError(
                f"torch.export refuses the network: {_first_line(error)}{_user_frame(error)}",
                hint=_ways_out(model),
            ) from error
    names = names_of_outputs(outputs)
    assert isinstance(module, fx.GraphModule)
    take_flat_inputs(module, len(inputs))
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    return Captured(
        module=module,
        inputs=inputs,
        input_names=_names_of_inputs(model, call, [node.name for node in placeholders]),
        output_names=names,
        dynamic=[
            {
                axis: AXIS_NAMES[axis]
                for axis in (shapes[index] if shapes else {})
                if not isinstance(node.meta["val"].shape[axis], int)
            }
            for index, node in enumerate(placeholders)
        ],
    )


def run_network(model: nn.Module, call: Call, *, given: Inputs | None = None) -> Any:
    """Run the user's network in eval mode.

    Args:
        model: The network.
        call: How it is called.
        given: The inputs as the user gave them, for the message; None: the same.

    Raises:
        CaptureError: It does not run; the message has the layer that an input does not fit, or
            what the network raised, and the line of its code.
    """
    with evaluating(model), torch.no_grad(), noting_misfits(model) as misfits:
        try:
            args, kwargs = call.arguments(call.inputs)
            return model(*args, **kwargs)
        except CompactMTLError:
            raise
        except Exception as error:  # whatever the user's forward raises
            if is_out_of_memory(error):
                raise
            shapes = ", ".join(f"{tuple(v.shape)} {_word(v.dtype)}" for v in given or call.inputs)
            why = misfits[0] if misfits else _first_line(error)
            raise CaptureError(
                f"the network does not run on inputs {shapes}: {why}{_user_frame(error)}",
                hint="check shape and dtype of the example inputs "
                "(--input image=1x3x384x640, --input index=1x8:int64)",
            ) from error


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _ways_out(model: nn.Module) -> str:
    """Return what a user can do about a network that cannot be captured."""
    parts = [name for name, child in model.named_children() if next(child.children(), None)]
    parts = parts or [name for name, _ in model.named_children()]
    named = f" (parts of it: {', '.join(parts[:6])})" if parts else ""
    return (
        "replace a Python branch on tensor values by torch.where or torch.cond, or compile a part "
        f"without that line: --part NAME{named}; where only the size must be fixed: --static "
        "(dynamic=False)"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
