"""Bring a captured graph into the form the rules expect: no guards, no writes in place."""

import torch
from torch import fx
from torch._ops import OpOverload

from compactmtl.compiler.canonicalise import canonicalise

# Ops whose result may share memory with their first argument.
ALIASING = {
    "alias", "chunk", "contiguous", "detach", "dropout", "expand", "expand_as", "flatten",
    "getitem", "narrow", "permute", "reshape", "reshape_as", "select", "slice", "split",
    "split_with_sizes", "squeeze", "t", "to", "transpose", "unbind", "unflatten", "unsqueeze",
    "view", "view_as",
}  # fmt: skip


def op_name(node: fx.Node) -> str:
    """Return the op's name: ``conv2d`` for ``aten.conv2d.default``, else with its namespace.

    An op of somebody's own that is called like one of ATen's, as ``mylib::relu``, is another op.
    """
    if isinstance(node.target, OpOverload):
        name = str(node.target.overloadpacket.__name__)
        return name if node.target.namespace == "aten" else f"{node.target.namespace}::{name}"
    return str(getattr(node.target, "__name__", node.target))


def functional_overload(target: OpOverload) -> OpOverload | None:
    """Return the op that computes the same without writing in place, if there is one."""
    name = target.overloadpacket.__name__
    packet = getattr(torch.ops.aten, name.rstrip("_"), None)
    if packet is None or target.namespace != "aten" or not name.endswith("_"):
        return None
    overload = getattr(packet, target._overloadname, None)
    return overload if isinstance(overload, OpOverload) else None


def is_mutating(node: fx.Node) -> bool:
    """Tell whether a node writes into one of its arguments."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def has_effect(node: fx.Node) -> bool:
    """Tell whether a node matters although nobody reads it: it writes, checks, or is the result.

    Drawing random numbers is no such effect here: dropout that nobody reads may go.
    """
    is_random = (
        isinstance(node.target, OpOverload)
        and torch.Tag.nondeterministic_seeded in node.target.tags
    )
    return bool(node.is_impure()) and (is_mutating(node) or not is_random)


def _made_from(node: fx.Node) -> list[fx.Node]:
    """Return the users whose result may share memory with ``node``, their first argument."""
    return [
        user for user in node.users
        if user.args and user.args[0] is node and (op_name(user) in ALIASING or is_mutating(user))
    ]  # fmt: skip


def aliases(node: fx.Node) -> set[fx.Node]:
    """Return every node that may share memory with ``node``, itself included."""
    found, queue = {node}, [node]
    while queue:
        current = queue.pop()
        related = _made_from(current)
        if (op_name(current) in ALIASING or is_mutating(current)) and current.args:
            related += [arg for arg in current.args[:1] if isinstance(arg, fx.Node)]
        for other in related:
            if other not in found and other.op == "call_function":
                found.add(other)
                queue.append(other)
    return found


def written_arguments(node: fx.Node) -> list[fx.Node]:
    """Return the arguments whose memory a node writes."""
    if not isinstance(node.target, OpOverload):
        return []
    written = []
    for position, argument in enumerate(node.target._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
        values = value if isinstance(value, (list, tuple)) else [value]
        written += [v for v in values if isinstance(v, fx.Node)]
    return written


def normalise(module: fx.GraphModule) -> None:
    """Rewrite the graph of ``module`` in place.

    Rewrites:
        1. The shape guards that ``torch.export`` adds go.
        2. ``op_(x)`` becomes ``op(x)``, and who reads x afterwards reads the result, when no other
           name of x's memory is read later. ``y = relu_(x)`` is ``y = relu(x)`` then.
        3. Channel splits and shuffles become slices and selections, see ``canonicalise``.

    Leaves alone:
        Writes into memory that is read under another name later. They keep their order, and the
        analysis treats every name of that memory as opaque.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            graph.erase_node(node)
    position = {node: index for index, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if node.op != "call_function" or not is_mutating(node):
            continue
        overload = functional_overload(node.target)
        base = node.args[0]
        if overload is None or not isinstance(base, fx.Node) or base.op != "call_function":
            continue
        others = aliases(base) - {base} - _aliases_through(node)
        if any(position[user] > position[node] for other in others for user in other.users):
            continue
        node.target = overload
        for user in [user for user in base.users if position[user] > position[node]]:
            user.replace_input_with(base, node)
    canonicalise(module, written_in_place(graph))
    graph.eliminate_dead_code(has_effect)
    module.recompile()


def _aliases_through(node: fx.Node) -> set[fx.Node]:
    """Return the aliases that are made from the result of ``node``: they read the new value."""
    found, queue = {node}, [node]
    while queue:
        for user in _made_from(queue.pop()):
            if user not in found:
                found.add(user)
                queue.append(user)
    return found


def written_in_place(graph: fx.Graph) -> set[fx.Node]:
    """Return every node whose memory is still written by some op after normalisation."""
    tainted: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "call_function" and is_mutating(node):
            for argument in written_arguments(node):
                tainted |= aliases(argument)
            tainted.add(node)
    return tainted
