"""Find out which channels are constant and which are live: a pass forward, a pass backward."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from compactmtl.compiler.normalise import op_name, written_in_place
from compactmtl.compiler.rules import Facts, Rule, find_rule
from compactmtl.compiler.rules.base import none_constant
from compactmtl.compiler.rules.constant import constant_rule
from compactmtl.compiler.rules.layer import Layer
from compactmtl.compiler.rules.sharing import calls, layers_to_keep
from compactmtl.compiler.value import fake_tensor, symbolic_shape, value_of
from compactmtl.errors import CompilerError


def analyse(module: fx.GraphModule, *, rules: Sequence[Rule] = ()) -> Facts:
    """Return the facts of a normalised graph.

    One pass each way reaches the fixpoint: whether a channel is constant does not depend on who
    reads it, and a live channel that varies already marks everything it reads. Only layers that are
    called several times make a pass repeat. Forward: where a call turns out to be opaque. Backward:
    what a call reads depends on what is live in the others, and these may come before it. So each
    pass starts with what the last one found that the calls have in common, at first nothing. That
    only grows (rows and columns from absent to present, constants from present to absent), so the
    passes end; in the last one nothing was new, so every call knew of all that are live. Starting
    from nothing, no two dead calls keep each other.

    Args:
        module: The graph.
        rules: Foreign rules, asked before ours.
    """
    whole: dict[str, str] = {}
    tainted = written_in_place(module.graph)
    while True:
        facts = Facts(module, whole=whole)
        for node in module.graph.nodes:
            _forward(node, facts, tainted, rules)
        found = layers_to_keep(facts)
        if not found:
            break
        whole = {**whole, **found}
    own = dict(facts.rules)
    while _any_news(facts):
        facts.rules.update(own)
        for live in facts.live.values():
            live.zero_()
    return facts


def _forward(node: fx.Node, facts: Facts, tainted: set[fx.Node], rules: Sequence[Rule]) -> None:
    if node.op == "get_attr":
        return
    rule, why = None, ""
    if node in tainted:
        why = "its memory is written in place under several names"
    elif node.op == "call_function" and fake_tensor(node) is not None:
        rule, why = find_rule(op_name(node), node, facts, rules)
    if why:
        facts.refusals[node] = why
    value = value_of(node) if rule is None else value_of(node, rule.axis(node, facts))
    if value is None:
        return
    facts.values[node] = value
    facts.live[node] = torch.zeros(value.num_channels, dtype=torch.bool)
    facts.constants[node] = none_constant(value.num_channels)
    for axis, size in enumerate(symbolic_shape(node)):
        if not isinstance(size, int):
            facts.sizes.setdefault(size, (node, axis))
    if rule is not None:
        facts.rules[node] = rule
        facts.constants[node] = rule.constants(node, facts)
        _check_size(facts.constants[node], node, node, facts)


def _any_news(facts: Facts) -> bool:
    """Go backward once; tell whether more is live in the calls of a layer than it knew."""
    news = [_backward(node, facts) for node in reversed(facts.module.graph.nodes)]
    return any(news)


def _backward(node: fx.Node, facts: Facts) -> bool:
    rule = facts.rules.get(node)
    if rule is not None:
        rule = constant_rule(node, facts) or rule.settled(node, facts)
        facts.rules[node] = rule
        news = False
        if facts.live[node].any():
            if isinstance(rule, Layer) and len(calls(node, facts)) > 1:
                news = rule.join(node, facts)
            for source, channels in rule.reads(node, facts).items():
                _check_size(channels, source, node, facts)
                facts.live[source] |= channels
        return news
    if reads_size_only(node, facts):
        return False
    for source in node.all_input_nodes:  # opaque, the output, or a op on numbers: needs all
        if source in facts.live:
            facts.live[source][:] = True
    return False


def _check_size(channels: Tensor, value: fx.Node, node: fx.Node, facts: Facts) -> None:
    """Refuse what a rule says of another number of channels than the value has."""
    expected = (facts.num_channels(value),)
    if channels.shape != expected:
        raise CompilerError(
            f"rule {type(facts.rules[node]).__name__} at `{node.name}` speaks of "
            f"{tuple(channels.shape)} channels of `{value.name}`, expected {expected}",
            hint="`constants` and `reads` of a rule have one entry per channel",
        )


def reads_size_only(node: fx.Node, facts: Facts) -> bool:
    """Tell whether a node asks for the size of its input along another axis than the channels'."""
    if node.op != "call_function" or op_name(node) != "sym_size" or len(node.args) < 2:
        return False
    source, axis = node.args[:2]
    return source not in facts.values or facts.values[source].axis != axis  # type: ignore[index]


def opaque_nodes(facts: Facts) -> list[fx.Node]:
    """Return the ops that keep all channels of their inputs, in graph order.

    A part of what an opaque op returns is no second one.
    """
    return [
        node
        for node in facts.module.graph.nodes
        if node in facts.refusals
        and any(source in facts.values for source in node.all_input_nodes)
        and not (op_name(node) == "getitem" and node.args[0] in facts.refusals)
    ]


def live_count(facts: Facts, node: fx.Node) -> int:
    """Return how many channels of a node are live."""
    channels: Tensor = facts.live[node]
    return int(channels.sum())
