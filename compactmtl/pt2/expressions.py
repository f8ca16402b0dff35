"""The three small languages inside a stored program that torch evaluates as Python.

``torch.export.load`` hands size expressions to ``sympy.sympify`` (which calls ``eval``), input
guards to ``exec``, and tree specs to a decoder that imports modules they name. So each is parsed
here first, and only a fixed grammar passes.
"""

import ast
import json
import re

from compactmtl.errors import UnsafeFileError

MAX_LENGTH = 20_000
MAX_INT = 2**63
_SIZE_FUNCTIONS = """
Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan
Gt Identity IntTrueDiv Integer Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or PythonMod
Rational RoundToInt StrictGreaterThan StrictLessThan ToFloat TruncToFloat TruncToInt Unequality
Where
"""
_FUNCTIONS = frozenset(_SIZE_FUNCTIONS.split())
_SIZE_METHODS = frozenset(["size", "stride", "storage_offset", "dim", "numel"])
_TREES = frozenset(["builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"])
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def check_size(text: str, place: str) -> None:
    """Check one size expression, such as ``Mul(Integer(8), Symbol('s0', integer=True))``.

    Raises:
        UnsafeFileError: It is anything but arithmetic on symbols and small integers.
    """
    if not _size(_parse(text, place)):
        raise _refused(text, place, "a size expression")


def check_guard(text: str, place: str) -> None:
    """Check one guard on the inputs, such as ``L['x'].size()[3] % 32 == 0``.

    Raises:
        UnsafeFileError: It is anything but a comparison of input sizes.
    """
    if not _guard(_parse(text, place)):
        raise _refused(text, place, "a guard")


def check_tree(text: str, place: str) -> None:
    """Check one tree spec: nested tuples, lists and dicts with plain keys.

    Raises:
        UnsafeFileError: It names any other type, or a context that imports something.
    """
    try:
        protocol, tree = json.loads(text)
        fine = protocol == 1 and _tree(tree)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _refused(text, place, "a tree spec") from error
    if not fine:
        raise _refused(text, place, "a tree spec of tuples, lists and dicts")


def is_plain(text: object) -> bool:
    """Tell whether a string can be pasted into generated code without leaving its quotes."""
    return (
        isinstance(text, str) and re.fullmatch(r"[\w .,:;<>()\[\]@/+*=-]{0,4000}", text) is not None
    )


def _refused(text: str, place: str, expected: str) -> UnsafeFileError:
    return UnsafeFileError(f"{place}: {text[:80]!r} is not {expected}; torch would run it as code")


def _parse(text: str, place: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise _refused(text, place, f"shorter than {MAX_LENGTH} characters")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(text, place, "an expression") from error


def _number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return (
        isinstance(node, ast.Constant)
        and type(node.value) in (int, float, bool)
        and abs(node.value) <= MAX_INT  # type: ignore[arg-type]
    )


def _small_power(base: ast.expr, exponent: ast.expr) -> bool:
    """Tell whether a power stays harmless: exponent at most 8, no power within a power."""
    if isinstance(exponent, ast.Call) and len(exponent.args) == 1:  # Integer(2)
        exponent = exponent.args[0]
    inside = (n for n in ast.walk(base) if isinstance(n, ast.Pow) or getattr(n, "id", "") == "Pow")
    return (
        isinstance(exponent, ast.Constant)
        and type(exponent.value) is int
        and exponent.value <= 8
        and next(inside, None) is None
    )


def _operation(node: ast.BinOp) -> bool:
    power = isinstance(node.op, ast.Pow) and _small_power(node.left, node.right)
    return power or isinstance(node.op, _OPERATORS)


def _size(node: ast.expr) -> bool:
    if _number(node):
        return True
    if isinstance(node, ast.Name):  # a bare symbol, or true / false
        return re.fullmatch(r"[suz]f?\d{1,6}|true|false|oo|int_oo", node.id) is not None
    if isinstance(node, ast.BinOp):
        return _operation(node) and _size(node.left) and _size(node.right)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    name = node.func.id
    if name == "Symbol":
        return (
            len(node.args) == 1
            and isinstance(node.args[0], ast.Constant)
            and re.fullmatch(r"[A-Za-z_]\w{0,63}", str(node.args[0].value)) is not None
            and all(isinstance(word.value, ast.Constant) for word in node.keywords)
        )
    if name == "Pow" and not (len(node.args) == 2 and _small_power(*node.args)):
        return False
    return (
        (name in _FUNCTIONS or name == "Pow")
        and not node.keywords
        and all(_size(argument) for argument in node.args)
    )


def _guard(node: ast.expr) -> bool:
    if _number(node):
        return True
    if isinstance(node, ast.BoolOp):
        return all(_guard(value) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, (ast.Not, ast.USub)) and _guard(node.operand)
    if isinstance(node, ast.BinOp):
        return _operation(node) and _guard(node.left) and _guard(node.right)
    if isinstance(node, ast.Compare):
        known = all(isinstance(op, _COMPARISONS) for op in node.ops)
        return known and _guard(node.left) and all(_guard(value) for value in node.comparators)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        known = (
            re.fullmatch(
                r"torch\.sym_(max|min|float|int|ite|not|sqrt)|math\.(ceil|floor|trunc)|"
                r"max|min|abs|int|float",
                called,
            )
            is not None
        )
        if known:
            return not node.keywords and all(_guard(argument) for argument in node.args)
    return _input(node)


def _input(node: ast.expr) -> bool:
    """Tell whether a node reads an input: ``L['x'][0].size()[1]``."""
    if isinstance(node, ast.Subscript):
        index = node.slice
        plain = isinstance(index, ast.Constant) and (
            type(index.value) is int or is_plain(index.value)
        )
        return plain and _input(node.value)
    if isinstance(node, ast.Call):
        return (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in _SIZE_METHODS
            and not node.args
            and not node.keywords
            and _input(node.func.value)
        )
    return isinstance(node, ast.Name) and node.id == "L"


def _tree(tree: dict[str, object]) -> bool:
    kind, context, children = tree["type"], tree["context"], tree["children_spec"]
    if not isinstance(children, list):
        return False
    if kind is None:
        return context is None and not children
    keys = json.loads(str(context))
    plain = keys is None or (
        isinstance(keys, list) and all(type(key) is int or is_plain(key) for key in keys)
    )
    return kind in _TREES and plain and all(_tree(child) for child in children)
