"""The tensors of a stored program: what is declared about them must be what is there."""

import math
import re
from typing import Any, TypeAlias

from compactmtl.errors import CorruptFileError, UnsafeFileError

_ITEM_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2}
"""Bytes per element by torch.export's number of the dtype (schema.ScalarType)."""
_NAMES = {str(number) for number in _ITEM_SIZE}
_STRIDED = 7
_KEYS = {"dtype", "sizes", "requires_grad", "device", "strides", "storage_offset", "layout"}

Declared: TypeAlias = dict[str, tuple[int, list[int]]]
"""Name -> (dtype, shape)."""


def check_payloads(config: Any, entries: dict[str, bytes], folder: str, name: str) -> Declared:
    """Check one table of weights or constants against the bytes stored in ``folder``.

    Raises:
        UnsafeFileError: A tensor that needs pickle, or points outside its bytes.
        CorruptFileError: Sizes, dtypes or files that do not agree.
    """
    declared: Declared = {}
    used: dict[str, tuple[int, int]] = {}  # file -> (dtype, number of elements reached)
    for tensor, payload in _table(config, name).items():
        place = f"`{name}`: tensor `{tensor}`"
        if not re.fullmatch(r"\w+(\.\w+)*", tensor):
            raise UnsafeFileError(f"{place} has a name that is no attribute")
        file = payload.get("path_name")
        if payload.get("use_pickle") is not False or payload.get("tensor_meta") is None:
            raise UnsafeFileError(f"{place} is pickled, expected raw bytes")
        if not isinstance(file, str) or folder + file not in entries:
            raise CorruptFileError(f"{place}: no entry {str(file)[:80]!r}")
        dtype, shape, reach = _extent(payload["tensor_meta"], place)
        declared[tensor] = (dtype, shape)
        first_dtype, first_reach = used.get(file, (dtype, 0))
        if first_dtype != dtype:
            raise CorruptFileError(f"{place}: `{file}` is shared by tensors of two dtypes")
        used[file] = (dtype, max(first_reach, reach))
    for file, (dtype, reach) in used.items():
        expected, got = reach * _ITEM_SIZE[dtype], len(entries[folder + file])
        if expected != got:
            raise CorruptFileError(
                f"`{name}`: `{file}` has {got} bytes, its tensors declare {expected}"
            )
    return declared


def _table(config: Any, name: str) -> dict[str, dict[str, Any]]:
    table = config.get("config") if isinstance(config, dict) and len(config) == 1 else None
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise CorruptFileError(f"`{name}`: a table of tensors is not of the expected form")
    return table


def _extent(meta: Any, place: str) -> tuple[int, list[int], int]:
    """Return dtype, shape and the number of elements up to the last one used."""
    if not isinstance(meta, dict) or set(meta) != _KEYS or str(meta["dtype"]) not in _NAMES:
        raise CorruptFileError(f"{place}: a dtype or a description that is not known here")
    if meta["layout"] != _STRIDED or meta["device"] != {"type": "cpu", "index": None}:
        raise CorruptFileError(f"{place}: expected a dense tensor on the CPU")
    if not isinstance(meta["requires_grad"], bool):
        raise CorruptFileError(f"{place}: requires_grad is not a truth value")
    shape, strides = (_numbers(meta[key], place) for key in ("sizes", "strides"))
    (offset,) = _numbers([meta["storage_offset"]], place)
    if len(shape) != len(strides):
        raise CorruptFileError(f"{place}: {len(shape)} sizes, {len(strides)} strides")
    if 0 in shape:
        return meta["dtype"], shape, 0
    reach = offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if math.prod(shape) > reach:
        raise CorruptFileError(f"{place}: {math.prod(shape)} elements in {reach} places")
    return meta["dtype"], shape, reach


def _numbers(values: Any, place: str) -> list[int]:
    """Return the integers of a list of {"as_int": n}."""
    numbers = []
    for value in values:
        number = value.get("as_int") if isinstance(value, dict) and len(value) == 1 else None
        if type(number) is not int or not 0 <= number < 2**48:
            raise CorruptFileError(f"{place}: sizes must be known numbers")
        numbers.append(number)
    return numbers
