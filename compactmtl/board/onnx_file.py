"""An ONNX file looked at before a parser gets it: inputs, operators, and nothing hostile.

Refused are files over protobuf's 2 GB, weights outside the file's folder, weights that are not the
size their shape says, and shapes that no TensorRT tensor can have.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

from compactmtl.board.errors import AbsentError, DamagedError, UnsafeError
from compactmtl.board.files import read_bytes, sha256
from compactmtl.board.onnx_wire import fields, integers, message, text

MAX_BYTES = 2**31 - 1
"""Protobuf's limit for one file."""
MAX_ELEMENTS = 2**31 - 1
"""TensorRT's limit for one tensor."""
MAX_DEPTH = 16
"""Of graphs within graphs (branches, loops)."""
BITS = {
    kind: bits
    for bits, kinds in {
        4: (21, 22, 23),
        8: (2, 3, 9, 17, 18, 19, 20, 24),
        16: (4, 5, 10, 16),
        32: (1, 6, 12),
        64: (7, 11, 13, 14),
        128: (15,),
    }.items()
    for kind in kinds
}
"""Bits per element by ``TensorProto.DataType``; strings (8) are not stored as raw bytes."""


@dataclass
class OnnxFile:
    """What an ONNX file says of itself.

    Attributes:
        path: Where it lies.
        sha256: Fingerprint of its bytes.
        inputs: Input name to its dimensions, None for dynamic ones.
        nodes: Operator to the names of its nodes, in order.
    """

    path: Path
    sha256: str
    inputs: dict[str, list[int | None]] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)


def read_onnx(path: Path) -> OnnxFile:
    """Look at an ONNX file without running or parsing it in full.

    Raises:
        AbsentError: There is no such file, or one that its weights lie in is missing.
        DamagedError: It is no ONNX file, is cut off, too large, or its sizes contradict each other.
        UnsafeError: Its weights lie outside its folder.
    """
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise DamagedError(
            f"`{path}` takes {path.stat().st_size / 2**30:.2f} GiB, an ONNX file at most 2 GiB",
            hint="keep the weights in a file beside it (external data)",
        )
    content = read_bytes(path)
    found = OnnxFile(path=path, sha256=sha256(content))
    try:
        graphs = [message(value) for number, value in fields(memoryview(content)) if number == 7]
        if len(graphs) != 1:
            raise DamagedError(f"holds {len(graphs)} graphs, expected one")
        _read_graph(graphs[0], found, depth=0)
    except DamagedError as error:
        raise DamagedError(
            f"`{path}` is not an intact ONNX file: {error.message}", hint=error.hint
        ) from error
    return found


def _read_graph(graph: memoryview, found: OnnxFile, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DamagedError(f"graphs lie more than {MAX_DEPTH} deep within each other")
    inputs: dict[str, list[int | None]] = {}
    weights = set()
    for number, value in fields(graph):
        if number == 1:
            _read_node(message(value), found, depth)
        elif number == 5:
            weights.add(_check_tensor(message(value), found.path))
        elif number == 11:
            name, shape = _read_value(message(value))
            inputs[name] = shape
    if depth == 0:
        found.inputs = {name: shape for name, shape in inputs.items() if name not in weights}


def _read_node(node: memoryview, found: OnnxFile, depth: int) -> None:
    name = operator = ""
    for number, value in fields(node):
        if number == 3:
            name = text(value)
        elif number == 4:
            operator = text(value)
        elif number == 5:
            for kind, held in fields(message(value)):
                if kind in (5, 10):  # a tensor, tensors
                    _check_tensor(message(held), found.path)
                elif kind in (6, 11):  # a graph, graphs
                    _read_graph(message(held), found, depth + 1)
    found.nodes.setdefault(operator, []).append(name)


def _read_value(value: memoryview) -> tuple[str, list[int | None]]:
    """Return the name and dimensions of an input."""
    name, shape = "", list[int | None]()
    for number, held in fields(value):
        if number == 1:
            name = text(held)
        elif number == 2:
            for dimension in _dimensions(message(held)):
                sizes = [integers(v)[0] for n, v in fields(dimension) if n == 1]
                shape.append(sizes[0] if sizes else None)
    if any(size is not None and size < 1 for size in shape):
        raise DamagedError(f"input `{name}` has the shape {shape}")
    _check_count(name, [size or 1 for size in shape])
    return name, shape


def _dimensions(kind: memoryview) -> Iterator[memoryview]:
    """Yield the dimensions in a ``TypeProto`` of a tensor."""
    for number, tensor in fields(kind):
        for inner, shape in fields(message(tensor)) if number == 1 else ():
            for _, dimension in fields(message(shape)) if inner == 2 else ():
                yield message(dimension)


def _check_tensor(tensor: memoryview, path: Path) -> str:
    """Check the size and the place of a stored tensor; return its name."""
    shape, kind, name, raw, is_external = list[int](), 0, "", None, False
    external: dict[str, str] = {}
    for number, value in fields(tensor):
        if number == 1:
            shape += integers(value)
        elif number == 2:
            kind = integers(value)[0]
        elif number == 8:
            name = text(value)
        elif number == 9:
            raw = len(message(value))
        elif number == 13:
            entry = {n: text(v) for n, v in fields(message(value))}
            external[entry.get(1, "")] = entry.get(2, "")
        elif number == 14:
            is_external = value == 1
    _check_count(name, shape)
    num_bytes = -(-prod(shape) * BITS.get(kind, 0) // 8)
    if is_external:
        raw = _external_bytes(name, external, path)
    if raw is not None and raw != num_bytes:
        raise DamagedError(f"weight `{name}` has {raw} bytes, its shape {shape} takes {num_bytes}")
    return name


def _check_count(name: str, shape: list[int]) -> None:
    if any(size < 0 for size in shape) or prod(shape) > MAX_ELEMENTS:
        raise DamagedError(
            f"`{name}` has the shape {shape}, a tensor holds 2^31 - 1 elements at most"
        )


def _external_bytes(name: str, external: dict[str, str], path: Path) -> int:
    """Return how many bytes a weight takes in the file beside; only its own folder is allowed."""
    location = external.get("location", "")
    parts = PurePosixPath(location).parts
    file = path.parent / location
    if (
        not location
        or ".." in parts
        or PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).drive
        or "\\" in location
        or not file.resolve().is_relative_to(path.parent.resolve())
    ):
        raise UnsafeError(
            f"`{path}` keeps weight `{name}` in `{location}`, outside its own folder",
            hint="do not use the file, or put its weights beside it",
        )
    if not file.is_file():
        raise AbsentError(f"`{path}` keeps weight `{name}` in `{file}`, which is not there")
    try:
        offset, length = int(external.get("offset", 0)), int(external.get("length", -1))
    except ValueError as error:
        raise DamagedError(f"weight `{name}` lies at no number: {external}") from error
    available = file.stat().st_size - offset
    if offset < 0 or available < max(length, 0):
        raise DamagedError(
            f"weight `{name}` takes {length} bytes at {offset} of `{file.name}`, which holds "
            f"{file.stat().st_size}"
        )
    return available if length < 0 else length
