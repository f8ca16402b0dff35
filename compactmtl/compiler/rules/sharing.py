"""Layers that are called several times: one set of parameters, so one decision for all calls.

The calls of a layer are the ops that use its first parameter. They are cut together if all of them
are the same op with the parameters at the same places: then every call computes the same rows of
the same columns. Facts about values stay per call; a column counts as constant where it is the same
constant in all calls in which a live row uses it (see ``joint``), and as read where any call reads
it. A call that nobody reads, or only constants of, has no say.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from compactmtl.compiler.cost import ConvShape
from compactmtl.compiler.rules.base import Facts, Rule, channelwise

if TYPE_CHECKING:
    from compactmtl.compiler.lower import Lowering


def calls(node: fx.Node, facts: Facts) -> list[fx.Node]:
    """Return every call of the layer that ``node`` calls, in graph order; itself is one of them."""
    name = _first_parameter(node)
    return facts.readers[name] if name else [node]


def cut_calls(node: fx.Node, facts: Facts) -> list[fx.Node]:
    """Return the calls of a layer that stay calls, once liveness is known.

    Those of which only constants matter, or nothing, have got another rule.
    """
    return [call for call in calls(node, facts) if facts.rules[call].cuts]


def is_shared(node: fx.Node, facts: Facts) -> bool:
    """Tell whether several calls of a layer stay, once liveness is known."""
    return len(cut_calls(node, facts)) > 1


def refuses_sharing(node: fx.Node, facts: Facts) -> str:
    """Return why the calls of a layer cannot be cut together, or ""; one call alone can."""
    layer = calls(node, facts)
    if len(layer) == 1 and _is_alone(node, facts):
        return ""
    name = _first_parameter(node)
    if name in facts.whole:
        return facts.whole[name]
    members = set(layer)
    places: dict[str, list[int]] = {}
    for call in (node, *layer):
        for name in _parameters(call):
            places.setdefault(name, _places(call, name))
    for name, place in places.items():
        for reader in facts.readers[name]:
            if reader.target != node.target or _places(reader, name) != place or len(place) != 1:
                return f"`{name}` is used by several kinds of op (`{reader.name}` is another)"
            if reader not in members:
                return f"`{name}` is used by layers with different weights (`{reader.name}`)"
    return ""


def layers_to_keep(facts: Facts) -> dict[str, str]:
    """Return the layers with calls that cannot all be cut, and why: by their first parameter.

    Whether an op can be rewritten shows only once its inputs are known, so this comes after the
    pass forward.
    """
    found = {}
    for node, rule in facts.rules.items():
        if not rule.cuts:
            continue
        for call in calls(node, facts):
            name = _first_parameter(node)
            if facts.rules.get(call) is not rule:
                why = facts.refusals.get(call, "it has no known channel axis")
                found[name] = f"`{name}` is used by `{call.name}` too, which stays whole: {why}"
            elif _widths(call, facts) != _widths(node, facts):
                found[name] = f"`{name}` is used on other numbers of channels (`{call.name}`)"
    return found


def read_anywhere(rule: Rule, node: fx.Node, facts: Facts) -> Tensor:
    """Return the input channels that any call of a layer reads, once liveness is known."""
    layer = cut_calls(node, facts)
    return once(
        f"read by {type(rule).__name__}",
        node,
        facts,
        lambda: torch.stack([rule.reads(call, facts)[channelwise(call)] for call in layer]).any(0),
    )


def live_input(node: fx.Node, facts: Facts) -> Tensor:
    """Return the input channels of a layer that are live in any call, once liveness is known."""
    layer = cut_calls(node, facts)
    return once(
        "live input",
        node,
        facts,
        lambda: torch.stack([facts.live[channelwise(call)] for call in layer]).any(0),
    )


def once(question: str, node: fx.Node, facts: Facts, answer: Callable[[], Tensor]) -> Tensor:
    """Return an answer that is the same for all calls of a layer; it is worked out once.

    Without this, the work would grow with the square of the number of calls.
    """
    answers = facts.memo.setdefault(calls(node, facts)[0], {})
    if question not in answers:
        answers[question] = answer()
    return answers[question]


def lowered_calls(old: fx.Node, lowering: "Lowering") -> list[fx.Node]:
    """Return the captured calls of a layer that stay calls in the plan, in graph order."""
    return [c for c in cut_calls(old, lowering.facts) if lowering.plan.stored[c.name]]


def read_together(
    old: fx.Node, lowering: "Lowering", read: Tensor, shape: Callable[[int], ConvShape]
) -> tuple[int, ...]:
    """Let all calls of a layer read the same channels of their inputs; return which.

    Where they can read the same without a gather, the cost model decides about one, once for all.

    Args:
        old: One of the captured calls; all calls that stay are in the new graph.
        lowering: The rewriting.
        read: Input channels with a column that is not zero; every input stores them.
        shape: The layer as it would run on that many input channels.
    """
    nodes = [lowering.copy_of(call) for call in lowered_calls(old, lowering)]
    nodes.sort(key=lambda node: lowering.is_selection(channelwise(node)))  # those gather anyway
    layouts = [lowering.available(channelwise(node)) for node in nodes]
    least = set.intersection(*map(set, layouts))
    whole = [node for node, layout in zip(nodes, layouts, strict=True) if set(layout) == least]
    if whole:
        alike = None if len(nodes) == 1 else lowering.available(channelwise(whole[0]))
        columns = lowering.read(whole[0], read, shape, stored=alike)
    else:
        columns = tuple(read.nonzero().flatten().tolist())
    for node in nodes:
        if node not in whole[:1]:  # that one reads them already
            lowering.gather(node, columns)
    return columns


def layout_of_all_calls(
    node: fx.Node, lowering: "Lowering", *, position: int = 0
) -> tuple[int, ...]:
    """Let ``node`` read what the plan stores of it, if its layer is called several times.

    For ops that pass the layout of an input on: inputs of two calls may store different channels.
    """
    old, source = lowering.original(node), node.args[position]
    assert isinstance(source, fx.Node)
    if len(lowered_calls(old, lowering)) == 1:
        return lowering.layout(source)
    wanted = lowering.plan.stored[old.name]
    node.update_arg(position, lowering.select(source, wanted))
    return wanted


def _first_parameter(node: fx.Node) -> str:
    """Return the name of the first parameter or buffer among a node's arguments, or ""."""
    attributes = (x for x in node.args if isinstance(x, fx.Node) and x.op == "get_attr")
    return next((str(attribute.target) for attribute in attributes), "")


def _is_alone(node: fx.Node, facts: Facts) -> bool:
    """Tell whether nobody else uses any parameter of a node."""
    return all(facts.readers[name] == [node] for name in _parameters(node))


def _parameters(node: fx.Node) -> list[str]:
    """Return the names of all parameters and buffers that a node takes."""
    return [str(source.target) for source in node.all_input_nodes if source.op == "get_attr"]


def _widths(node: fx.Node, facts: Facts) -> list[int]:
    """Return the numbers of channels of a node and of its inputs."""
    values = [node, *(source for source in node.all_input_nodes if source in facts.values)]
    return [facts.num_channels(value) for value in values]


def _places(node: fx.Node, name: str) -> list[int]:
    """Return the positions of a parameter among a node's arguments."""
    return [
        position
        for position, x in enumerate(node.args)
        if isinstance(x, fx.Node) and x.op == "get_attr" and x.target == name
    ]
