"""Carry out a plan: cut weights, insert selects, drop what nobody reads."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.fx.node import Argument

from compactmtl.compiler.cost import ConvShape, CostModel
from compactmtl.compiler.layer_cost import cheapest_read
from compactmtl.compiler.normalise import has_effect
from compactmtl.compiler.plan import Plan, channel_ids
from compactmtl.compiler.precision import put, to_double
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.value import attribute

aten = torch.ops.aten
Layout = tuple[int, ...]


class Lowering:
    """A copy of the captured graph that is being rewritten, in float64.

    Nodes keep their names, so that original and rewritten values can be compared.
    """

    def __init__(self, facts: Facts, plan: Plan, cost: CostModel) -> None:
        self.facts = facts
        self.plan = plan
        self.cost = cost
        self.graph = fx.Graph()
        self.like: dict[str, Tensor] = {}
        """For each parameter that the original does not have: a tensor whose type it takes."""
        self._tensors: dict[str, Tensor] = {}
        self._indices: set[str] = set()
        self._names = {node.name for node in facts.module.graph.nodes}
        self._layouts: dict[fx.Node, Layout] = {}
        self._selected: dict[tuple[fx.Node, Layout], fx.Node] = {}
        self._views: dict[fx.Node, tuple[fx.Node, dict[int, int]]] = {}
        self._originals: dict[fx.Node, fx.Node] = {}
        self._copies: dict[fx.Node, fx.Node] = {}
        self._last_placeholder: fx.Node

    # What rules ask.

    def original(self, node: fx.Node) -> fx.Node:
        """Return the captured node behind a node of the new graph."""
        return self._originals[node]

    def copy_of(self, original: fx.Node) -> fx.Node:
        """Return the node of the new graph behind a captured one."""
        return self._copies[original]

    def layout(self, node: fx.Node) -> Layout:
        """Return the channels a value of the new graph stores."""
        return self._layouts[node]

    def layouts_by_name(self) -> dict[str, Layout]:
        """Return the layout of every value of the new graph by its node's name."""
        return {node.name: layout for node, layout in self._layouts.items()}

    def rows(self, original: fx.Node) -> Layout:
        """Return the output channels the plan gives to a source."""
        return self.plan.rows[original.name]

    def need(self, original: fx.Node) -> Tensor:
        """Return the channels of a captured value that the plan stores."""
        channels = torch.zeros(self.facts.num_channels(original), dtype=torch.bool)
        channels[list(self.plan.stored[original.name])] = True
        return channels

    def tensor(self, argument: object) -> Tensor:
        """Return the parameter or buffer behind an argument, floats as float64."""
        tensor = self.facts.tensor(argument)
        return to_double(tensor)

    # What rules do.

    def select(self, node: fx.Node, wanted: Layout) -> fx.Node:
        """Return ``node`` with exactly the ``wanted`` channels: itself, a slice, or a gather."""
        if node in self._views:
            base, channels = self._views[node]
            return self.select(base, tuple(channels[channel] for channel in wanted))
        stored = self.layout(node)
        if stored == wanted:
            return node
        key = (node, wanted)
        if key not in self._selected:
            position = {channel: i for i, channel in enumerate(stored)}
            places = [position[channel] for channel in wanted]
            if places == list(range(places[0], places[0] + len(places))):
                new = self._insert(node, aten.slice.Tensor, places[0], places[-1] + 1)
            else:
                new = self._insert(node, aten.index_select.default, self._index(node, places))
            self._originals[new] = self.original(node)
            self._layouts[new] = wanted
            self._selected[key] = new
        return self._selected[key]

    def _insert(self, node: fx.Node, op: OpOverload, *args: Argument) -> fx.Node:
        """Insert an op on the channels of ``node`` behind it, under a name that no other has."""
        name = self._new_name(f"{node.name}_{op.overloadpacket.__name__}")
        axis = self.facts.values[self.original(node)].axis
        place = self._last_placeholder if node.op == "placeholder" else node
        with self.graph.inserting_after(place):
            return self.graph.create_node("call_function", op, (node, axis, *args), name=name)

    def _new_name(self, name: str) -> str:
        """Return this name for an op, longer where another has it."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def _index(self, node: fx.Node, places: list[int]) -> fx.Node:
        """Insert an index under a name that neither the original nor this graph has."""
        name = f"{node.name}_channels_{len(self._indices)}"
        while name in self.facts.readers:
            name += "_"
        self._tensors[name] = torch.tensor(places)
        self._indices.add(name)
        with self.graph.inserting_before(self._last_placeholder):
            return self.graph.get_attr(name)

    def view(self, node: fx.Node, channels: dict[int, int], layout: Layout) -> Layout:
        """Let ``node``, channels of its first argument and nothing else, go for a selection of it.

        Args:
            node: The op; whoever selects of it will select of its argument instead.
            channels: For each output channel the channel of the argument.
            layout: The output channels that are stored.
        """
        source = node.args[0]
        assert isinstance(source, fx.Node)
        self._views[node] = (source, channels)
        return layout

    def stand_in(self, node: fx.Node, other: fx.Node, layout: Layout) -> Layout:
        """Let who reads ``node`` read ``other`` instead, which stores ``layout``."""
        self._layouts.setdefault(other, layout)
        self._originals.setdefault(other, self.original(node))
        node.args = (other,)
        return self.view(node, {channel: channel for channel in layout}, layout)

    def store(self, node: fx.Node, numbers: Tensor, *, like: fx.Node) -> fx.Node:
        """Store ``numbers`` as a new parameter that ``node`` can read.

        Args:
            node: A node of the new graph.
            numbers: One per channel, or one for all.
            like: The captured value that they take the place of: they lie along its channel axis.
        """
        value, shape = self.facts.values[like], [1] * like.meta["val"].ndim
        shape[value.axis] = numbers.numel()
        name = f"{like.name}_constant"
        while name in self.facts.readers or name in self._tensors:
            name += "_"
        self._tensors[name] = numbers.reshape(shape)
        self.like[name] = nn.Parameter(torch.empty(0, dtype=like.meta["val"].dtype))
        with self.graph.inserting_before(node):
            return self.graph.get_attr(name)

    def read(
        self,
        node: fx.Node,
        read: Tensor,
        shape: Callable[[int], ConvShape],
        *,
        widen: bool = True,
        stored: Layout | None = None,
    ) -> Layout:
        """Let ``node`` read its first argument: gathered, or all that is stored. Return which.

        Args:
            node: A node of the new graph.
            read: Channels that must be among those it reads.
            shape: The layer as it would run on that many input channels.
            widen: Whether it may gather more channels than it must, where a width suits better.
            stored: Channels it may read; None: all that are there.
        """
        source = node.args[0]
        assert isinstance(source, fx.Node)
        stored, wanted = stored or self.available(source), channel_ids(read)
        if wanted == stored:
            return self.gather(node, wanted)
        _, width = cheapest_read(
            self.cost,
            shape,
            read=len(wanted),
            stored=len(stored),
            widen=widen,
            base=len(self._base(source)) if self.is_selection(source) else None,
        )
        return self.gather(node, _widened(wanted, stored, width))

    def is_selection(self, node: fx.Node) -> bool:
        """Tell whether a value is a selection of another, so that reading it is a gather anyway."""
        return node in self._views

    def _base(self, node: fx.Node) -> Layout:
        """Return the layout of what a selection selects from, through all selections before it."""
        return self._base(self._views[node][0]) if node in self._views else self.layout(node)

    def available(self, node: fx.Node) -> Layout:
        """Return the channels that can be read of a value: of a selection all that are stored."""
        if node not in self._views:
            return self.layout(node)
        base, channels = self._views[node]
        stored = set(self.available(base))
        return tuple(channel for channel, source in channels.items() if source in stored)

    def gather(self, node: fx.Node, wanted: Layout) -> Layout:
        """Let ``node`` read exactly the ``wanted`` channels of its first argument."""
        source = node.args[0]
        assert isinstance(source, fx.Node)
        if self.layout(source) != wanted:
            self.plan.gathers[node.name] = wanted
            node.replace_input_with(source, self.select(source, wanted))
        return wanted

    def align(self, node: fx.Node, *, positions: Sequence[int]) -> Layout:
        """Bring the arguments at ``positions`` to one layout; return it."""
        arguments = [node.args[position] for position in positions]
        layouts = {self.layout(argument) for argument in arguments}  # type: ignore[arg-type]
        if len(layouts) == 1:
            return layouts.pop()
        wanted = self.plan.stored[self.original(node).name]
        new = list(node.args)
        for position, argument in zip(positions, arguments, strict=True):
            new[position] = self.select(argument, wanted)  # type: ignore[arg-type]
        node.args = tuple(new)
        self.plan.gathers[node.name] = wanted
        return wanted

    def replace_tensor(self, node: fx.Node, position: int, tensor: Tensor) -> None:
        """Put ``tensor`` in the place of the parameter or buffer at an argument's position."""
        argument = node.args[position]
        assert isinstance(argument, fx.Node)
        self._put(str(argument.target), tensor)

    def _put(self, name: str, tensor: Tensor) -> None:
        known = self._tensors.setdefault(name, tensor.contiguous())
        assert torch.equal(known, tensor), f"two calls of one layer disagree about `{name}`"

    def set_bias(self, node: fx.Node, tensor: Tensor | None) -> None:
        """Set the bias of a convolution or linear op; one that has none gets one if it must."""
        if tensor is None:
            return
        if len(node.args) > 2 and node.args[2] is not None:
            self.replace_tensor(node, 2, tensor)
            return
        weight = node.args[1]
        assert isinstance(weight, fx.Node)
        name = self._new_bias(str(weight.target))
        with self.graph.inserting_before(node):
            bias = self.graph.get_attr(name)
        node.args = (node.args[0], weight, bias, *node.args[3:])
        self.like[name] = attribute(self.facts.module, str(weight.target))
        self._put(name, tensor)

    def _new_bias(self, weight: str) -> str:
        """Return the name of a bias that the layer with this weight gets."""
        name = ".".join([*weight.split(".")[:-1], "bias"])
        while name in self.facts.readers:  # somebody else's
            name += "_"
        return name

    def part(
        self,
        node: fx.Node,
        number: int,
        tensors: tuple[Tensor, Tensor | None],
        columns: Layout,
        rows: Layout,
        groups: int,
    ) -> fx.Node:
        """Insert a convolution that computes a part of what ``node`` does, and return it.

        Its parameters have the names of those of ``node`` with a number before the last part:
        ``conv.0.weight``.

        Args:
            node: A grouped convolution of the new graph; inputs are selected of its first argument.
            number: The how manieth part.
            tensors: Weight and bias.
            columns: The input channels it reads, group by group.
            rows: The output channels it makes, group by group.
            groups: Their groups.
        """
        source, weight, bias = node.args[0], node.args[1], node.args[2]
        assert isinstance(source, fx.Node)
        assert isinstance(weight, fx.Node)
        whole = str(weight.target)
        names = [whole, bias.target if isinstance(bias, fx.Node) else self._new_bias(whole)]
        args: list[Argument] = [self.select(source, columns)]
        for name, tensor in zip(map(str, names), tensors, strict=True):
            args.append(None)
            if tensor is not None:
                own = self._part_name(name, number)
                with self.graph.inserting_before(node):
                    args[-1] = self.graph.get_attr(own)
                self.plan.parts[own] = name
                self.like[own] = attribute(self.facts.module, whole)
                self._put(own, tensor)
        args += [*node.args[3:6], groups]
        name = self._new_name(f"{node.name}_part{number}")
        with self.graph.inserting_before(node):
            new = self.graph.create_node("call_function", node.target, tuple(args), name=name)
        self._originals[new], self._layouts[new] = self.original(node), rows
        return new

    def join(self, node: fx.Node, parts: list[fx.Node], layout: Layout) -> Layout:
        """Put ``parts`` beside each other in the place of ``node``, which stores ``layout``."""
        stored = tuple(channel for part in parts for channel in self.layout(part))
        args = (parts, self.facts.values[self.original(node)].axis)
        if stored == layout:
            node.target, node.args = aten.cat.default, args
            return layout
        name = self._new_name(f"{node.name}_cat")
        with self.graph.inserting_before(node):
            cat = self.graph.create_node("call_function", aten.cat.default, args, name=name)
        self._layouts[cat] = stored
        return self.stand_in(node, cat, layout)

    def _part_name(self, whole: str, number: int) -> str:
        """Return ``conv.0.weight`` for ``conv.weight``, where nothing else is called ``conv.0``."""
        owner, _, leaf = whole.rpartition(".")
        place = ".".join(filter(None, [owner, str(number)]))
        while any(name == place or name.startswith(f"{place}.") for name in self.facts.readers):
            place += "_"
        return f"{place}.{leaf}"

    # The flow.

    def run(self) -> fx.GraphModule:
        """Rewrite the whole graph and return it as a module in float64."""
        for old in self.facts.module.graph.nodes:  # what is inserted must not take a copy's name
            self.graph._graph_namespace.create_name(old.name, None)
        for old in self.facts.module.graph.nodes:
            new = self.graph.node_copy(old, lambda node: self._copies[node])
            new.name = old.name
            self._copies[old] = new
            if old.op == "placeholder":
                self._last_placeholder = new
            self._originals[new] = old
            if old in self.facts.values:
                self._layouts[new] = self._lower(old, new)
            elif old.op != "get_attr":
                self._restore(new)
        for node in self._views:
            if node.users:
                node.replace_all_uses_with(self.select(node, self._layouts[node]))
        self.graph.set_codegen(copy.deepcopy(self.facts.module.graph._codegen))
        self.graph.eliminate_dead_code(has_effect)
        return self._assemble()

    def _lower(self, old: fx.Node, new: fx.Node) -> Layout:
        if not self.plan.stored[old.name] and old.op != "placeholder":
            return ()  # nobody reads it: dead code elimination takes it
        rule = self.facts.rules.get(old)
        if rule is not None:
            return rule.lower(new, self)
        self._restore(new)
        return tuple(range(self.facts.num_channels(old)))

    def _restore(self, node: fx.Node) -> None:
        """Give an op without a rule its inputs in natural order at full width."""
        for source in node.all_input_nodes:
            original = self._originals.get(source)
            if original in self.facts.values and len(self._layouts[source]) > 0:
                if len(self.plan.stored[original.name]) < self.facts.num_channels(original):
                    continue  # only its size is asked for
                wanted = tuple(range(self.facts.num_channels(original)))
                node.replace_input_with(source, self.select(source, wanted))

    def _assemble(self) -> fx.GraphModule:
        root = nn.Module()
        for name in dict.fromkeys(str(n.target) for n in self.graph.nodes if n.op == "get_attr"):
            if name in self._indices:
                put(root, name, self._tensors.pop(name), like=None)
                continue
            like, tensor = self.like.get(name), self._tensors.pop(name, None)
            if like is None:
                like = attribute(self.facts.module, name)
            if tensor is None:
                tensor = to_double(like.detach().clone())
            put(root, name, tensor, like=like)
        return fx.GraphModule(root, self.graph)


def _widened(wanted: Layout, stored: Layout, width: int) -> Layout:
    """Return ``width`` of the stored channels, the wanted ones among them, in stored order."""
    must = set(wanted)
    spare = [channel for channel in stored if channel not in must]
    chosen = must.union(spare[: width - len(wanted)])
    return tuple(channel for channel in stored if channel in chosen)
