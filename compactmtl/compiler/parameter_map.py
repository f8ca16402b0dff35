"""Map every parameter of the compact model to the channels of the original that it holds."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from compactmtl.compiler.lower import Layout
from compactmtl.compiler.normalise import op_name
from compactmtl.compiler.plan import Plan
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.conv import Conv
from compactmtl.compiler.rules.parameters import VIEWS
from compactmtl.compiler.rules.split import Split
from compactmtl.compiler.rules.ungrouped import Ungrouped
from compactmtl.compiler.rules.weights import TRANSPOSED, num_groups
from compactmtl.compiler.value import attribute
from compactmtl.parameter_map import Axis, compact_shape

CONVS = Conv.ops | TRANSPOSED
NORMS = frozenset({"batch_norm", "instance_norm", "group_norm", "layer_norm", "prelu"})


def parameter_map(
    facts: Facts, compact: fx.GraphModule, plan: Plan, layouts: Mapping[str, Layout]
) -> dict[str, dict[str, Any]]:
    """Return, per parameter and buffer of the compact graph, where it comes from, as JSON data.

    Args:
        facts: Of the captured graph.
        compact: The lowered graph.
        plan: What was carried out.
        layouts: The channels that each value stores, by node name.

    Returns:
        Per name: ``shape`` in the original, ``axes`` (per axis the original positions, None for
        all of them; a grouped convolution's columns as one list per group; None instead of a list
        of axes where a foreign rule cut it), and ``new``: whether the original has no such
        parameter. A dense convolution in the place of a grouped one has ``groups``, how many the
        original has: its columns are input channels, and only those of a row's group are weights
        of the original. Of a layer that is written as several each parameter has ``part_of``: the
        name of the layer's, which is put together from all its parts.
        The index of a gather has the channels it takes as its only axis, and no shape.
    """
    cut = _Cut(facts, plan, layouts)
    module = facts.module
    names = {  # tied ones under all their names
        name
        for named in (module.named_parameters, module.named_buffers)
        for name, _ in named(remove_duplicate=False)
    }
    result: dict[str, dict[str, Any]] = {}
    for node in compact.graph.nodes:
        name = str(node.target)
        if node.op != "get_attr" or name in result or not node.users:
            continue
        reader, position = _reader(node)
        whole = plan.parts.get(name, name)
        entry: dict[str, Any] = {"shape": None, "axes": None, "new": whole not in names}
        result[name] = entry
        if name in plan.parts:
            entry["part_of"] = whole
        if whole in names:
            entry["shape"] = list(attribute(facts.module, whole).shape)
            entry["axes"] = cut.axes(reader, position, entry["shape"])
            if position == 1 and cut.is_ungrouped(reader):
                entry["groups"] = num_groups(cut.originals[reader.name])
        elif op_name(reader) in CONVS:
            original = cut.original(reader)
            assert original is not None
            rows = facts.num_channels(original)
            entry["shape"] = [rows]
            entry["axes"] = [_ids(layouts[reader.name], rows)]
        elif reader.name in layouts:
            entry["axes"] = [list(layouts[reader.name])]
        if entry["shape"] is not None and not _fits(entry, attribute(compact, name)):
            entry["axes"] = None
    return result


def _reader(node: fx.Node) -> tuple[fx.Node, int]:
    """Return who reads a parameter, and at which argument; -1 through views of it."""
    reader = next(iter(node.users))
    if op_name(reader) in VIEWS and reader.args[0] is node and reader.users:
        return _reader(reader)[0], -1
    return reader, next((i for i, a in enumerate(reader.args) if a is node), -1)


class _Cut:
    """How the parameters of one network were cut."""

    def __init__(self, facts: Facts, plan: Plan, layouts: Mapping[str, Layout]) -> None:
        self.facts, self.plan, self.layouts = facts, plan, layouts
        self.originals = {node.name: node for node in facts.module.graph.nodes}

    def axes(self, reader: fx.Node, position: int, shape: list[int]) -> list[Axis]:
        """Return the original positions along each axis of a parameter that the original has."""
        original = self.original(reader)
        whole: list[Axis] = [None] * len(shape)
        if original not in self.facts.rules or reader.name not in self.layouts:
            return whole  # opaque: nothing is cut
        layout, name = self.layouts[reader.name], op_name(reader)
        if name in CONVS and position == 1:
            return self._weight_axes(reader, original, shape)
        value = self.facts.values[original]
        if name in CONVS or name in NORMS:
            is_cut = shape[:1] == [value.num_channels]
            return [_ids(layout, shape[0]), *whole[1:]] if is_cut else whole
        axis = value.axis - (original.meta["val"].ndim - len(shape))
        if position < 0:
            axis = 0  # a view brings the vector to the channel axis
        if 0 <= axis < len(shape) and shape[axis] == value.num_channels:
            whole[axis] = _ids(layout, shape[axis])
        return whole

    def original(self, reader: fx.Node) -> fx.Node | None:
        """Return the captured op behind a node of the compact graph; of a part that it is of."""
        found = self.originals.get(reader.name)
        if found is None and op_name(reader) in CONVS:
            weight = self.plan.parts.get(str(reader.args[1].target))  # type: ignore[union-attr]
            found = self.facts.readers[weight][0] if weight else None
        return found

    def is_ungrouped(self, node: fx.Node) -> bool:
        """Tell whether a node is a dense convolution in the place of a grouped one."""
        original = self.originals.get(node.name)
        return (
            original is not None
            and isinstance(self.facts.rules.get(original), Ungrouped)
            and num_groups(node) == 1
        )

    def _weight_axes(self, node: fx.Node, original: fx.Node, shape: list[int]) -> list[Axis]:
        """Return the axes of a convolution's or linear layer's weight."""
        rows, taps = self.layouts[node.name], [None] * (len(shape) - 2)
        source = original.args[0]
        assert isinstance(source, fx.Node)
        rule = self.facts.rules[original]
        if isinstance(rule, Split):
            return [_ids(rows, shape[0]), self._columns_by_group(original, rule, rows), *taps]
        columns = self.plan.gathers.get(node.name, self.layouts[source.name])
        if op_name(node) in TRANSPOSED:
            return [_ids(columns, shape[0]), _ids(rows, shape[1]), *taps]
        groups = num_groups(node)
        if num_groups(original) == 1 or self.is_ungrouped(node):
            num_columns = shape[1] * num_groups(original)
            return [_ids(rows, shape[0]), _ids(columns, num_columns), *taps]
        size = len(columns) // groups
        parts = [
            [column % shape[1] for column in columns[first : first + size]]
            for first in range(0, len(columns), size)
        ]
        axis: Axis = None if all(part == list(range(shape[1])) for part in parts) else parts
        return [_ids(rows, shape[0]), axis, *taps]

    def _columns_by_group(self, original: fx.Node, rule: Split, rows: Layout) -> Axis:
        """Return the columns that some rows of a split layer read, one list per group."""
        size = self.facts.num_channels(original) // num_groups(original)
        made = torch.zeros(self.facts.num_channels(original), dtype=torch.bool)
        made[list(self.layouts[original.name])] = True
        read = rule.columns(original, made, self.facts)
        return [
            read[group].nonzero().flatten().tolist() for group in sorted({r // size for r in rows})
        ]


def _ids(layout: Layout, size: int) -> list[int] | None:
    """Return a layout as JSON, None where it is every channel in its natural order."""
    return None if layout == tuple(range(size)) else list(layout)


def _fits(entry: dict[str, Any], tensor: Tensor) -> bool:
    return entry["axes"] is not None and compact_shape(entry) == list(tensor.shape)
