"""Who reads each channel: the nearest layers, outputs and opaque ops behind it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from compactmtl.compiler.analysis import reads_size_only
from compactmtl.compiler.explain import layer_nodes
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.grouped import Grouped
from compactmtl.compiler.rules.norms import GroupNorm, InstanceNorm
from compactmtl.compiler.value import source_line


@dataclass(frozen=True)
class Reader:
    """What a channel is kept for.

    Attributes:
        name: Of the layer, the output, or the op's node.
        kind: "layer", "output" or "opaque"; "size" where only the size is asked for, "group" and
            "one" where a layer does not read the channel but wants it there: to fill a group up,
            to have something to read.
        op: Name of the op; empty for an output.
        why: Why an opaque op keeps its channels.
        source: Line of the user's code of an opaque op.
    """

    name: str
    kind: str
    op: str = ""
    why: str = ""
    source: str = ""

    @property
    def reads(self) -> bool:
        """Whether the content of the channel matters to it."""
        return self.kind in ("layer", "output", "opaque")


@dataclass
class Reach:
    """Which channels of a value a reader reads, and the ops between the two, each named once."""

    channels: Tensor
    via: tuple[str, ...] = ()


Reaches = dict[Reader, Reach]


def layer_names(facts: Facts) -> dict[fx.Node, str]:
    """Return the name of every convolution and linear layer; later calls are numbered."""
    names: dict[fx.Node, str] = {}
    calls: dict[str, int] = {}
    for name, node in layer_nodes(facts):
        calls[name] = calls.get(name, 0) + 1
        names[node] = name if calls[name] == 1 else f"{name} (call {calls[name]})"
    return names


def find_readers(facts: Facts, output_names: Sequence[str]) -> Iterator[tuple[fx.Node, Reaches]]:
    """Yield every value with its readers, from the outputs backwards.

    A layer, a norm over several channels, an output and an opaque op is a reader; through all other
    ops the channels are followed: what the op reads for a channel, its reader reads.
    """
    names = layer_names(facts)
    found: dict[fx.Node, Reaches] = {}
    for node in reversed(facts.module.graph.nodes):
        own = found.pop(node, {})
        if node in facts.values:
            yield node, own
        for source, reader, reach in _hand_on(node, own, facts, names, output_names):
            if source in facts.values and reach.channels.any():
                before = found.setdefault(source, {}).get(reader)
                if before is None:
                    found[source][reader] = reach
                else:
                    before.channels = before.channels | reach.channels


def _hand_on(
    node: fx.Node,
    own: Reaches,
    facts: Facts,
    names: dict[fx.Node, str],
    output_names: Sequence[str],
) -> Iterator[tuple[fx.Node, Reader, Reach]]:
    """Yield for the inputs of ``node`` who reads which of their channels."""
    if node.op == "output":
        for source, name in output_labels(node, output_names).items():
            if source in facts.values:
                yield source, Reader(name, "output"), _all(source, facts)
        return
    rule = facts.rules.get(node)
    if rule is None:
        for source in node.all_input_nodes:
            if source in facts.values:
                yield source, _without_rule(node, facts, names), _all(source, facts)
    elif node in names or (isinstance(rule, GroupNorm) and not isinstance(rule, InstanceNorm)):
        if facts.live[node].any():
            yield from _terminal(node, facts, names.get(node) or _parameter_owner(node))
    else:
        reads = rule.reads(node, facts)
        for reader, reach in own.items():
            via = tuple(dict.fromkeys((op_name(node), *reach.via)))
            for source, channels in rule.needs(node, reach.channels, facts).items():
                if reader.reads:
                    channels = channels & reads.get(source, torch.zeros_like(channels))
                yield source, reader, Reach(channels, via)


def _terminal(node: fx.Node, facts: Facts, name: str) -> Iterator[tuple[fx.Node, Reader, Reach]]:
    """Yield what a layer reads, and what its rewrite wants stored besides."""
    rule = facts.rules[node]
    needs = rule.needs(node, rule.pad_rows(node, facts.live[node], facts), facts)
    kind = "group" if isinstance(rule, (Grouped, GroupNorm)) else "one"
    for source, read in rule.reads(node, facts).items():
        yield source, Reader(name, "layer", op_name(node)), Reach(read)
        yield source, Reader(name, kind, op_name(node)), Reach(needs[source] & ~read)


def _without_rule(node: fx.Node, facts: Facts, names: dict[fx.Node, str]) -> Reader:
    name = names.get(node, node.name)
    if reads_size_only(node, facts):
        return Reader(name, "size", op_name(node))
    why = facts.refusals.get(node) or "its result has no channels"
    return Reader(name, "opaque", op_name(node), why, source_line(node))


def _all(source: fx.Node, facts: Facts) -> Reach:
    return Reach(torch.ones(facts.num_channels(source), dtype=torch.bool))


def output_labels(node: fx.Node, names: Sequence[str]) -> dict[fx.Node, str]:
    """Return for each value that is an output its name; one that is several has several."""
    labels: dict[fx.Node, list[str]] = {}
    for value, name in zip(tree_leaves(node.args), names, strict=True):
        if isinstance(value, fx.Node):
            labels.setdefault(value, []).append(name)
    return {value: ", ".join(label) for value, label in labels.items()}


def _parameter_owner(node: fx.Node) -> str:
    """Return the name of the module whose parameters a norm uses."""
    targets = (str(source.target) for source in node.all_input_nodes if source.op == "get_attr")
    return next(targets, node.name).rpartition(".")[0] or node.name
