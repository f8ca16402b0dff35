"""The program itself (``models/model.json``): every field is checked before torch reads any.

torch turns names into generated source, targets into any callable below ``torch``, and strings
into ``eval``, ``exec`` and imports (see ``expressions``). So the document is walked whole: each
key must be known, and its value must be of the one harmless form that key can have.
"""

import re
from collections.abc import Callable
from typing import Any

from compactmtl.errors import CorruptFileError, UnsafeFileError
from compactmtl.pt2.expressions import MAX_INT, check_guard, check_size, check_tree, is_plain
from compactmtl.pt2.ops import is_allowed
from compactmtl.pt2.payloads import Declared

_NODE_KEYS = """
arg as_complex as_device as_expr as_optional_tensor as_optional_tensors as_sym_bool as_sym_bools
as_sym_float as_sym_floats as_sym_int as_sym_ints as_tensor as_tensors as_nested_tensors buffer
buffer_mutation constant_input device graph graph_module hint input_specs inputs loss_output
module_call_graph nodes output_specs outputs parameter parameter_mutation schema_version
signature sizes storage_offset strides tensor_constant user_input user_input_mutation
user_output value
"""
_NUMBER_KEYS = """
as_bool as_bools as_float as_float_lists as_floats as_int as_int_lists as_ints as_layout
as_memory_format as_none as_scalar_type dtype imag index is_hop_single_tensor_return
is_single_tensor_return kind layout major max_val min_val minor persistent real requires_grad
"""
_NODES = frozenset(_NODE_KEYS.split())
_NUMBERS = frozenset(_NUMBER_KEYS.split())
_MAPS = frozenset(["sym_bool_values", "sym_float_values", "sym_int_values", "tensor_values"])
_EMPTY = frozenset(["custom_obj_values", "treespec_namedtuple_fields"])
_NAMES = frozenset(["as_name", "name"])
_DOTTED = frozenset(
    ["buffer_name", "fqn", "parameter_name", "tensor_constant_name", "user_input_name"]
)
_KEPT_METADATA = frozenset(["nn_module_stack", "torch_fn"])


def checked_program(document: Any, weights: Declared, constants: Declared, name: str) -> Any:
    """Return the document with free-form metadata (stack traces, ...) taken out.

    Raises:
        UnsafeFileError: An operator, a key or a string that is not on the list.
        CorruptFileError: A form that torch.export does not write, or weights that do not agree.
    """
    try:
        clean = _walk(document, "", name)
    except RecursionError as error:
        raise CorruptFileError(f"`{name}`: the program is nested too deeply") from error
    try:
        _check_weights(clean["graph_module"], weights, constants, name)
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"`{name}`: the program is incomplete: {error!r}") from error
    return clean


def _walk(value: Any, place: str, name: str) -> Any:
    if isinstance(value, list):
        return [_walk(item, place, name) for item in value]
    if isinstance(value, dict):
        return {key: _field(key, item, f"{place}.{key}", name) for key, item in value.items()}
    if value is None:
        return value
    raise _unexpected(value, place, name)


def _field(key: str, value: Any, place: str, name: str) -> Any:
    if key in _NODES:
        return _walk(value, place, name)
    if key == "metadata":
        return _metadata(value, place, name)
    if key in _MAPS:
        return {
            _identifier(k, place, name): _walk(v, place, name) for k, v in _dict(value, place, name)
        }
    if key == "range_constraints":
        return {
            _symbol(k, place, name): _walk(v, place, name) for k, v in _dict(value, place, name)
        }
    check = _CHECKS.get(key)
    if check is None:
        raise UnsafeFileError(
            f"`{name}`: the program has {key[:80]!r} (at {place[1:80]}), which is not on the list "
            "of what a stored program may hold",
            hint="submodules of higher order, script objects and custom operators are refused",
        )
    check(value, place, name)
    return value


def _metadata(value: Any, place: str, name: str) -> dict[str, str]:
    kept = ((k, v) for k, v in _dict(value, place, name) if k in _KEPT_METADATA)
    return {key: text for key, text in kept if is_plain(text)}


def _dict(value: Any, place: str, name: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise _unexpected(value, place, name)
    return list(value.items())


def _unexpected(value: Any, place: str, name: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"`{name}`: {place[1:80]} is {str(value)[:80]!r}, which no program needs"
    )


def _identifier(value: Any, place: str, name: str) -> Any:
    if value not in ("", None) and not (isinstance(value, str) and value.isidentifier()):
        raise _unexpected(value, place, name)
    return value


def _symbol(value: str, place: str, name: str) -> str:
    """Pass a key of the ranges; ``u1`` makes torch count up to 1, so numbers are short."""
    if not re.fullmatch(r"[\w+*/ ()-]{1,200}", value) or re.match(r"z?u\D*\d{5}", value):
        raise _unexpected(value, place, name)
    return value


def _dotted(value: Any, place: str, name: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"(\w+(\.\w+)*)?(@\d+)?", value):
        raise _unexpected(value, place, name)


def _plain(value: Any, place: str, name: str) -> None:
    if not all(is_plain(item) for item in (value if isinstance(value, list) else [value])):
        raise _unexpected(value, place, name)


def _numbers(value: Any, place: str, name: str) -> None:
    if isinstance(value, list):
        for item in value:
            _numbers(item, place, name)
    elif value in ("Infinity", "-Infinity", "NaN") or value is None or isinstance(value, float):
        return
    elif not isinstance(value, int) or abs(value) > MAX_INT:
        raise _unexpected(value, place, name)


def _target(value: Any, place: str, name: str) -> None:
    if not isinstance(value, str) or not is_allowed(value):
        raise UnsafeFileError(
            f"`{name}`: operator {str(value)[:80]!r} is not on the list of what a stored program "
            "may call",
            hint="see compactmtl/pt2/ops.py",
        )


def _cpu(value: Any, place: str, name: str) -> None:
    if value != "cpu":
        raise CorruptFileError(
            f"`{name}`: the program was captured on {str(value)[:20]!r}, expected 'cpu'",
            hint="move network and inputs to the CPU before capturing",
        )


def _guards(value: Any, place: str, name: str) -> None:
    for text in value if isinstance(value, list) else [value]:
        check_guard(str(text), f"`{name}`: {place[1:]}")


def _empty(value: Any, place: str, name: str) -> None:
    if value != {}:
        raise _unexpected(value, place, name)


def _verifiers(value: Any, place: str, name: str) -> None:
    if not isinstance(value, list) or not set(map(str, value)) <= {"TRAINING", "ATEN", ""}:
        raise _unexpected(value, place, name)


def _arguments(value: Any, place: str, name: str) -> None:
    for item in value if isinstance(value, list) else [value]:
        _identifier(item, place, name)


def _opsets(value: Any, place: str, name: str) -> None:
    for key, version in _dict(value, place, name):
        _identifier(key, place, name)
        _numbers(version, place, name)


_CHECKS: dict[str, Callable[[Any, str, str], object]] = {
    **dict.fromkeys(_NUMBERS, _numbers),
    **dict.fromkeys(_EMPTY, _empty),
    **dict.fromkeys(_NAMES, _identifier),
    **dict.fromkeys(_DOTTED, _dotted),
    **dict.fromkeys(("as_string", "as_strings", "torch_version"), _plain),
    **dict.fromkeys(("in_spec", "out_spec"), lambda v, p, n: check_tree(str(v), f"`{n}`: {p[1:]}")),
    "expr_str": lambda v, p, n: check_size(str(v), f"`{n}`: {p[1:]}"),
    "forward_arg_names": _arguments,
    "guards_code": _guards,
    "opset_version": _opsets,
    "target": _target,
    "type": _cpu,
    "verifiers": _verifiers,
}


def _check_weights(module: Any, weights: Declared, constants: Declared, name: str) -> None:
    """Compare what the graph says of each parameter, buffer and constant with what is stored."""
    stored = {**constants, **weights}
    for spec in module["signature"]["input_specs"]:
        (kind, body), *_ = spec.items()
        key = {
            "parameter": "parameter_name",
            "buffer": "buffer_name",
            "tensor_constant": "tensor_constant_name",
        }.get(kind)
        if key is None:
            continue
        tensor = body[key]
        meta = module["graph"]["tensor_values"][body["arg"]["name"]]
        said = (meta["dtype"], [size.get("as_int") for size in meta["sizes"]])
        if stored.get(tensor) != said:
            raise CorruptFileError(
                f"`{name}`: `{tensor}` is used as (dtype, shape) {said}, "
                f"stored as {stored.get(tensor)}"
            )
