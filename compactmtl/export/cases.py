"""The inputs an artefact is checked on: the stored ones, another batch size, another image size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from compactmtl.errors import ExportError
from compactmtl.export.interface import Interface
from compactmtl.export.reference import Reference
from compactmtl.export.stored import Array, Arrays, Stored

NUM_STORED = 8
"""Samples a compact folder keeps to check artefacts with."""
BATCHES = (1, 3, 2, 5)
"""Batch sizes to try beside the stored one; the first that the program takes is used."""
STEPS = (-32, 32, -64, 64, -16, 16)
"""Changes of size to try; encoders halve the size up to five times, hence 32."""


@dataclass(frozen=True)
class Case:
    """One call of the artefact.

    Attributes:
        inputs: Input name to array.
        source: Where the values come from.
    """

    inputs: Arrays
    source: str

    def tensors(self) -> list[Tensor]:
        """Return the inputs as tensors, in order."""
        return [torch.from_numpy(array) for array in self.inputs.values()]

    def describe(self) -> dict[str, Any]:
        """Return the shapes and the source as JSON data."""
        return {
            "shapes": {name: list(array.shape) for name, array in self.inputs.items()},
            "source": self.source,
        }


def sizes_text(sizes: Sequence[int | str]) -> str:
    """Return dimensions for a message: torch's symbols of free ones say nothing to a reader."""
    return ", ".join(str(size) if isinstance(size, int) else "any" for size in sizes)


def input_shapes(program: ExportedProgram, interface: Interface) -> dict[str, list[int | str]]:
    """Return each input's dimensions as captured: sizes, and torch's own symbols as text.

    Raises:
        ExportError: The program has not the inputs the manifest names, or one is no tensor.
    """
    names = [
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.USER_INPUT
    ]
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    if len(names) != len(interface.input_names):
        raise ExportError(
            f"the program has {len(names)} inputs, its manifest names "
            f"{len(interface.input_names)}: {', '.join(interface.input_names)}"
        )
    shapes: dict[str, list[int | str]] = {}
    for name, public in zip(names, interface.input_names, strict=True):
        value = nodes[name].meta["val"]
        if not isinstance(value, Tensor):
            raise ExportError(f"input `{public}` is a {type(value).__name__}, expected a tensor")
        shapes[public] = [
            int(size) if isinstance(size, int) else str(size.node.expr) for size in value.shape
        ]
    return shapes


def random_inputs(program: ExportedProgram, interface: Interface) -> Stored:
    """Return eight uniform random samples in [0, 1) of the size the program was captured at.

    Raises:
        ExportError: The program keeps no example inputs to take sizes from.
    """
    if program.example_inputs is None:
        raise ExportError("the program keeps no example inputs", hint="pass `inputs`")
    generator = torch.Generator().manual_seed(0)
    arrays: dict[str, Array] = {}
    for name, example in zip(interface.input_names, program.example_inputs[0], strict=True):
        if not example.is_floating_point():
            raise ExportError(
                f"input `{name}` is {example.dtype}: random values may mean nothing to it",
                hint="pass `inputs`: eight samples per input",
            )
        size = (NUM_STORED, *example.shape[1:])
        arrays[name] = torch.rand(size, generator=generator).to(example.dtype).numpy()
    return Stored(arrays=arrays, source="uniform random in [0, 1), seed 0")


def check_stored(stored: Stored, program: ExportedProgram, interface: Interface) -> None:
    """Check that stored inputs are what the program takes, but for the batch size.

    Raises:
        ExportError: An input is missing, has another rank or type, or a wrong fixed dimension.
    """
    shapes = input_shapes(program, interface)
    for (name, shape), example in zip(
        shapes.items(), program.example_inputs[0] if program.example_inputs else (), strict=True
    ):
        array = stored.arrays.get(name)
        if array is None:
            got = ", ".join(stored.arrays) or "none"
            raise ExportError(f"the stored inputs lack `{name}`; there are: {got}")
        fits = len(shape) == array.ndim and all(
            isinstance(want, str) or axis == 0 or want == have
            for axis, (want, have) in enumerate(zip(shape, array.shape, strict=True))
        )
        dtype = str(example.dtype).removeprefix("torch.")
        if not fits or str(array.dtype) != dtype:
            raise ExportError(
                f"stored input `{name}` is {array.dtype} {list(array.shape)}, "
                f"the program takes {dtype} {shape}"
            )


def stored_cases(program: ExportedProgram, interface: Interface, stored: Stored) -> list[Case]:
    """Return the stored samples as one call, or as several where the batch size is fixed."""
    shapes = input_shapes(program, interface)
    arrays = {name: stored.arrays[name] for name in shapes}
    num = stored.num_samples
    batch = num if _has_batch(shapes) else max(int(shape[0]) for shape in shapes.values())
    return [
        Case(
            _sized({n: np.roll(a, -start, axis=0) for n, a in arrays.items()}, shapes, batch, 0),
            stored.source,
        )
        for start in range(0, max(num - batch, 0) + 1, batch)
    ]


def make_cases(
    program: ExportedProgram, interface: Interface, stored: Stored, reference: Reference
) -> list[Case]:
    """Return the cases: stored inputs, another batch size, another size of what is dynamic.

    A dimension the program fixed keeps its size. Other sizes repeat or crop the stored samples.

    Raises:
        ExportError: The program does not take the stored inputs.
    """
    shapes = input_shapes(program, interface)
    arrays = {name: stored.arrays[name] for name in shapes}
    cases = stored_cases(program, interface, stored)
    if not _takes(reference, cases[0]):
        raise ExportError(
            f"the program does not take the stored inputs: {cases[0].describe()['shapes']}"
        )
    batches = [other for other in BATCHES if other != stored.num_samples]
    if _has_batch(shapes):
        source = f"{stored.source}; another batch size"
        cases += _first(reference, (Case(_sized(arrays, shapes, n, 0), source) for n in batches))
    if any(isinstance(size, str) for shape in shapes.values() for size in shape[1:]):
        source = f"{stored.source}; cropped or repeated"
        cases += _first(reference, (Case(_sized(arrays, shapes, 2, n), source) for n in STEPS))
    return cases


def _has_batch(shapes: dict[str, list[int | str]]) -> bool:
    return all(isinstance(shape[0], str) for shape in shapes.values())


def _sized(
    arrays: Arrays, shapes: dict[str, list[int | str]], batch: int, step: int
) -> dict[str, Array]:
    """Return the arrays with this batch size and every other dynamic dimension ``step`` longer."""
    result: dict[str, Array] = {}
    for name, array in arrays.items():
        for axis, size in enumerate(shapes[name]):
            wanted = int(size) if isinstance(size, int) else array.shape[axis] + step
            wanted = batch if axis == 0 and isinstance(size, str) else wanted
            array = np.take(array, np.arange(max(wanted, 1)) % array.shape[axis], axis=axis)
        result[name] = np.ascontiguousarray(array)
    return result


def _first(reference: Reference, candidates: Iterator[Case]) -> list[Case]:
    """Return the first candidate the program takes, or none."""
    for case in candidates:
        if _takes(reference, case):
            return [case]
    return []


def _takes(reference: Reference, case: Case) -> bool:
    """Tell whether the program's own guards accept these shapes."""
    try:
        reference.run(case.tensors(), torch.float32)
    except (AssertionError, RuntimeError):  # a violated guard, or an operation that cannot
        return False
    return True
