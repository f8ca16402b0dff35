"""Parameters as operands: as they are, or brought to the channel axis by ``p[:, None, None]``."""

from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts

VIEWS = frozenset({"unsqueeze", "view", "reshape"})


def is_parameter(argument: object) -> bool:
    """Tell whether an argument is a parameter or buffer, perhaps through views of its own."""
    if not isinstance(argument, fx.Node):
        return False
    if argument.op == "get_attr":
        return True
    if not _is_view(argument) or len(argument.users) > 1:
        return False
    return is_parameter(argument.args[0])


def _is_view(node: fx.Node) -> bool:
    packet = getattr(node.target, "overloadpacket", None)
    if node.op != "call_function" or getattr(packet, "__name__", "") not in VIEWS:
        return False
    sizes = node.args[1]
    return not isinstance(sizes, (list, tuple)) or all(isinstance(size, int) for size in sizes)


def held(argument: object, facts: Facts) -> Tensor:
    """Return the numbers of a parameter in the shape in which it is an operand, as float64."""
    assert isinstance(argument, fx.Node)
    if argument.op == "get_attr":
        return facts.tensor(argument).double()
    shape, origin = argument.meta["val"].shape, argument
    while origin.op != "get_attr":
        origin = origin.args[0]  # type: ignore[assignment]
    return facts.tensor(origin).double().reshape(shape)


def reader_of(node: fx.Node, position: int) -> tuple[fx.Node, int]:
    """Return who reads the parameter itself, and at which argument: ``node``, or its first view."""
    argument = node.args[position]
    assert isinstance(argument, fx.Node)
    if argument.op == "get_attr":
        return node, position
    return reader_of(argument, 0)


def adapt_views(argument: object) -> None:
    """Let views of a vector take one of another length: the axis that is not 1 is inferred."""
    assert isinstance(argument, fx.Node)
    if argument.op == "get_attr":
        return
    if isinstance(argument.args[1], (list, tuple)):
        sizes = [1 if size == 1 else -1 for size in argument.args[1]]
        argument.args = (argument.args[0], sizes)
    adapt_views(argument.args[0])
