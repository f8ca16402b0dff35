"""After a failed verification: which value is the first that differs, and whose rule made it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.precision import to_double
from compactmtl.compiler.rules import Facts, Rule, find_rule
from compactmtl.compiler.selection import SelectingRunner, Selections
from compactmtl.compiler.value import source_line

TOLERANCE = 1e-10
"""Relative; float64 rounding stays far below it, what a wrong rule does far above."""

Blame = Callable[[Sequence[Tensor], Mapping[str, Tensor], Mapping[str, Tensor]], str]
"""Say in words what went wrong first: on inputs, with selections imposed on the original and on
the compact graph."""


class _Recorder(SelectingRunner):
    """Keeps what each node yields, up to one that fails."""

    def __init__(self, module: fx.GraphModule, imposed: Mapping[str, Tensor] | None) -> None:
        super().__init__(module, Selections(), imposed or None)
        self.values: dict[str, Any] = {}
        self.failed: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        self.failed = n
        self.values[n.name] = super().run_node(n)
        self.failed = None
        return self.values[n.name]


def blame_of(
    facts: Facts,
    original64: fx.GraphModule,
    compact64: fx.GraphModule,
    layouts: Mapping[str, Sequence[int]],
    rules: Sequence[Rule] = (),
) -> Blame:
    """Return a function that compares two float64 graphs value by value.

    Nodes keep their names when the graph is rewritten, so each value of the compact graph has its
    counterpart: its stored channels are ``layouts``, and those of them that are live must agree.
    What a rule says of constants is checked, too: others relied on it.

    Args:
        facts: Of the original.
        original64: The original, in float64.
        compact64: The compact graph, in float64.
        layouts: By node name the channels that the compact graph stores.
        rules: The foreign rules that were asked.
    """

    @torch.no_grad()
    def blame(
        inputs: Sequence[Tensor], full: Mapping[str, Tensor], kept: Mapping[str, Tensor]
    ) -> str:
        wide = [to_double(value) for value in inputs]
        with fx.traceback.preserve_node_meta(False):
            before, after = _Recorder(original64, full), _Recorder(compact64, kept)
            before.run(*wide)
            with contextlib.suppress(RuntimeError):  # it is what this explains: the caller has it
                after.run(*wide)
        nodes = {node.name: node for node in facts.module.graph.nodes}
        for node in facts.values:
            expected = _tensor(before.values[node.name])
            if _breaks_its_constants(node, facts, expected):
                return _words(node, facts, rules, "is said to be constant and is not")
            got = _tensor(after.values.get(node.name))
            if got is not None and _differs(node, facts, layouts, expected, got):
                return _words(node, facts, rules, "differs")
        if after.failed is not None:
            origin = nodes.get(after.failed.name)
            return _words(origin, facts, rules, "cannot be computed") if origin is not None else ""
        return ""

    return blame


def _tensor(value: object) -> Tensor | None:
    leaves = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return leaves[0] if leaves else None


def _breaks_its_constants(node: fx.Node, facts: Facts, value: Tensor | None) -> bool:
    constants = facts.constants[node]
    if value is None or node not in facts.rules or not value.is_floating_point():
        return False
    claimed = ~constants.isnan()
    axis = facts.values[node].axis
    actual = value.movedim(axis, 0).flatten(1)[claimed]
    return _distance(actual, constants[claimed].unsqueeze(1)) > TOLERANCE


def _differs(
    node: fx.Node,
    facts: Facts,
    layouts: Mapping[str, Sequence[int]],
    expected: Tensor | None,
    got: Tensor,
) -> bool:
    assert expected is not None
    axis, live = facts.values[node].axis, facts.live[node]
    layout = layouts[node.name]
    if got.ndim != expected.ndim or got.shape[axis] != len(layout):
        return True
    places = [place for place, channel in enumerate(layout) if live[channel]]
    channels = [layout[place] for place in places]
    got, expected = got.movedim(axis, 0)[places], expected.movedim(axis, 0)[channels]
    return got.shape != expected.shape or _distance(got, expected) > TOLERANCE


def _distance(got: Tensor, expected: Tensor) -> float:
    if not got.numel():
        return 0.0
    error = (got.double() - expected.double()).abs().max()
    scale = expected.double().abs().max().clamp_min(1e-3)
    return (error / scale).nan_to_num(float("inf")).item()


def _words(node: fx.Node, facts: Facts, rules: Sequence[Rule], what: str) -> str:
    """Return where a value is made, and by whose rule, in words."""
    stack = node.meta.get("nn_module_stack") or {}
    layer = next((path for path, _ in reversed(stack.values()) if path), "")
    place = ", ".join(
        part
        for part in (f"layer `{layer}`" if layer else "", f"op `{op_name(node)}`",
                     source_line(node))
        if part
    )  # fmt: skip
    by = "no rule, it is opaque"
    if node in facts.rules:
        # Once its live channels were known, a cheaper rule may have taken the place of the first.
        first, last = find_rule(op_name(node), node, facts, rules)[0], facts.rules[node]
        names = dict.fromkeys(type(rule).__name__ for rule in (first, last))
        by = f"rule {', then '.join(names)}"
    return f"the first value that {what} is `{node.name}` ({place}; {by})"
