"""What a network would cost once it is compiled, without compiling it."""

import copy

from torch import Tensor, fx, nn

from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import capture
from compactmtl.compiler.cost import CostModel, MacsCost
from compactmtl.compiler.explain import layer_nodes, widths
from compactmtl.compiler.layer_cost import conv_shape
from compactmtl.compiler.lower import Lowering
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.plan import Plan, make_plan
from compactmtl.compiler.precision import double_copy, to_double
from compactmtl.compiler.regroup import regroup
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.weights import num_groups
from compactmtl.complexity import count
from compactmtl.overparam import contract, is_expanded


def macs_left(model: nn.Module, image: Tensor) -> float:
    """Return the multiplications of the compiled network over those of the dense one, 0 to 1.

    Args:
        model: The network, on the CPU; overparameterised layers count as what they contract to.
        image: One input with its batch axis, on the CPU.

    Raises:
        CaptureError: ``torch.export`` refuses the network.
        NonFiniteError: A weight is NaN or Inf.
    """
    captured, _, compact = _planned(model, image, MacsCost())
    inputs = [to_double(image)]
    return count(compact, inputs).macs / count(double_copy(captured), inputs).macs


def predicted_ms(model: nn.Module, image: Tensor, table: CostModel) -> float:
    """Return the milliseconds that a cost table predicts for all layers of the compiled network.

    What is no convolution or linear layer, such as activations, is not in it.

    Args:
        model: As for ``macs_left``.
        image: As for ``macs_left``.
        table: A cost model in nanoseconds.

    Raises:
        CompactMTLError: As ``macs_left``.
    """
    _, lowering, _ = _planned(model, image, table)
    facts, plan = lowering.facts, lowering.plan
    return sum(_layer(facts, node, plan, table) for _, node in layer_nodes(facts)) / 1e6


def _planned(
    model: nn.Module, image: Tensor, cost: CostModel
) -> tuple[fx.GraphModule, Lowering, fx.GraphModule]:
    """Return the captured graph, what was decided, and the compact graph in float64."""
    network = copy.deepcopy(model).eval()
    if is_expanded(network):
        contract(network)
    captured = capture(network, image, dynamic=False)
    normalise(captured.module)
    facts = regroup(analyse(captured.module), cost)
    lowering = Lowering(facts, make_plan(facts, cost), cost)
    return captured.module, lowering, lowering.run()


def _layer(facts: Facts, node: fx.Node, plan: Plan, cost: CostModel) -> float:
    """Return the cost of one layer and of its gather, as the plan has them."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    num_in, num_out = widths(node, facts.module)
    rows = len(plan.rows.get(node.name, range(num_out)))
    stored = len(plan.stored.get(source.name, range(num_in)))
    read = len(plan.gathers.get(node.name, range(stored)))
    shape = conv_shape(node, rows=rows, columns=read, groups=num_groups(node))
    total = cost.conv(shape)
    if node.name in plan.gathers:
        total += cost.gather(stored=stored, read=read, positions=shape.in_positions)
    return total
