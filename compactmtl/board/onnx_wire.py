"""The wire format of ONNX files: numbered fields, read without protobuf.

A board has no onnx package, and what a file says of itself has to be known before TensorRT parses
it.
"""

from collections.abc import Iterator

from compactmtl.board.errors import DamagedError

Field = tuple[int, "int | memoryview"]
"""Number and value of a field: an integer, or the bytes of a string or of a message."""


def fields(data: memoryview) -> Iterator[Field]:
    """Yield the fields of a message, in order.

    Raises:
        DamagedError: It ends within a field, or holds what no protobuf file holds.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == 2:
            length, position = _varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise DamagedError(f"field {key >> 3} is of wire type {kind}, which ONNX has not")
        if length > len(data) - position:
            raise DamagedError(
                f"field {key >> 3} takes {length} bytes, {len(data) - position} are left"
            )
        yield key >> 3, data[position : position + length]
        position += length


def message(value: "int | memoryview") -> memoryview:
    """Return the bytes of a field that must be a message or a string.

    Raises:
        DamagedError: It is a number.
    """
    if isinstance(value, int):
        raise DamagedError("a number stands where a message is expected")
    return value


def text(value: "int | memoryview") -> str:
    """Return a field that must be a string.

    Raises:
        DamagedError: It is a number, no UTF-8, or holds control characters.
    """
    try:
        name = bytes(message(value)).decode()
    except UnicodeDecodeError as error:
        raise DamagedError("a name is no UTF-8 text") from error
    if not name.isprintable():  # it may end up in a message, and so in a terminal
        raise DamagedError("a name holds characters that do not print")
    return name


def integers(value: "int | memoryview") -> list[int]:
    """Return the signed numbers of a repeated field, packed or not.

    Raises:
        DamagedError: A number is cut off.
    """
    if isinstance(value, int):
        return [_signed(value)]
    found, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        found.append(_signed(number))
    return found


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise DamagedError("a number is cut off")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (2**64 - 1), position
    raise DamagedError("a number takes more than ten bytes")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
