"""Compile for some outputs only: the others go, and all that served only them."""

from collections.abc import Sequence

from torch import fx
from torch.utils._pytree import TreeSpec, tree_structure

from compactmtl.compiler.normalise import aliases, is_mutating, written_arguments
from compactmtl.errors import UsageError
from compactmtl.parts import nearest


def check_kept(kept: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the outputs to keep, in the network's order.

    Raises:
        UsageError: None is given, one twice, or one that the network does not have.
    """
    listed = f"the network has {', '.join(names)}"
    if not kept or len(set(kept)) < len(kept):
        raise UsageError(
            f"outputs to keep: expected at least one and none twice, got `{','.join(kept)}`",
            hint=listed,
        )
    for name in kept:
        if name not in names:
            raise UsageError(
                f"no output called `{name}`{nearest(name, names)}: {listed}",
                hint="--outputs seg,depth names outputs that have no names of their own",
            )
    return [name for name in names if name in kept]


def drop_outputs(module: fx.GraphModule, names: Sequence[str], kept: Sequence[str]) -> None:
    """Let a normalised graph return a dict of the ``kept`` outputs; change it in place.

    Always a dict, whatever the network returned: with some outputs gone, a position in a tuple
    would say nothing.

    Rewrites:
        The output node and the structure it returns; then everything goes that neither a kept
        output depends on, nor a write into memory that a kept output depends on. Checks on values
        of a dropped output go, too.

    Leaves alone:
        The inputs, even those that only a dropped output read: the call stays the same.
    """
    graph = module.graph
    output = graph.output_node()
    by_name = dict(zip(names, output.args[0], strict=True))  # type: ignore[arg-type]
    chosen = {name: by_name[name] for name in kept}
    output.args = (tuple(chosen.values()),)
    _return_dict(graph, tree_structure(dict.fromkeys(chosen, 0)))
    needed = _needed(graph)
    for node in reversed(list(graph.nodes)):
        if node not in needed and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    module.recompile()


def _return_dict(graph: fx.Graph, structure: TreeSpec) -> None:
    codegen = graph._codegen
    codegen.pytree_info = codegen.pytree_info._replace(out_spec=structure)  # type: ignore[attr-defined]


def _needed(graph: fx.Graph) -> set[fx.Node]:
    """Return what the output depends on, writes into its memory included."""
    needed: set[fx.Node] = set()
    queue = [graph.output_node()]
    writers = [node for node in graph.nodes if is_mutating(node)]
    while queue:
        node = queue.pop()
        if node not in needed:
            needed.add(node)
            queue += node.all_input_nodes
        if not queue:
            queue = [
                writer
                for writer in writers
                if writer not in needed
                and any(aliases(base) & needed for base in written_arguments(writer))
            ]
    return needed
