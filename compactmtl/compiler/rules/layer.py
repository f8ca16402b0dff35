"""What layers with weights have in common, called once or several times."""

from abc import abstractmethod

from torch import Tensor, fx

from compactmtl.compiler.rules.base import Facts, Rule, channelwise
from compactmtl.compiler.rules.joint import Joint
from compactmtl.compiler.rules.sharing import calls, once
from compactmtl.compiler.rules.weights import argument, is_padded


class Layer(Rule):
    """A layer that makes rows out of columns, by weights.

    What it says of constants and of live rows is said of the layer, in all calls that are at work:
    those with a live row that varies. The others are replaced by their constants, or go.
    """

    is_source = True
    cuts = True

    @abstractmethod
    def uses(self, node: fx.Node, rows: Tensor, facts: Facts) -> Tensor:
        """Return the columns with a weight that is not zero in any of ``rows``."""

    @abstractmethod
    def outgoing(self, node: fx.Node, facts: Facts, coming: Tensor, *, has_border: bool) -> Tensor:
        """Return the constants of the rows from those of the columns.

        Args:
            node: The call; its bias counts.
            facts: For the parameters.
            coming: Per column its constant, NaN where it varies.
            has_border: Whether it sees zeros around its input.
        """

    def has_border(self, node: fx.Node) -> bool:
        """Tell whether some positions of the output do not see all taps of the kernel."""
        return is_padded(node)

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """A row is constant if it reads nothing that varies, not even a constant's border."""
        coming = facts.constants[channelwise(node)]
        return self.outgoing(node, facts, coming, has_border=self.has_border(node))

    def join(self, node: fx.Node, facts: Facts) -> bool:
        """Add a call that is at work to what is known of its layer; tell whether that is news."""
        first = calls(node, facts)[0]
        before, rows = facts.joint.get(first), facts.live[node].clone()
        coming = facts.constants[channelwise(node)]
        own = Joint.of_call(
            rows, self.uses(node, rows, facts), coming, has_border=self.has_border(node)
        )
        after = own if before is None else before.with_call(own)
        if before is not None and after.equals(before):
            return False
        facts.joint[first] = after
        facts.memo.pop(first, None)
        return True

    # Of the layer, in all its calls that are at work.

    def joint(self, node: fx.Node, facts: Facts) -> Joint | None:
        """Return what the calls have in common; None if there is but one, or none at work."""
        return facts.joint.get(calls(node, facts)[0])

    def incoming(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the constants that come in, NaN where a column varies or differs."""
        joint = self.joint(node, facts)
        return facts.constants[channelwise(node)] if joint is None else joint.constants

    def is_bordered(self, node: fx.Node, facts: Facts) -> bool:
        """Tell whether any call has a border."""
        joint = self.joint(node, facts)
        return self.has_border(node) if joint is None else joint.has_border

    def live_rows(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the rows that are live in any call."""
        joint = self.joint(node, facts)
        return facts.live[node] if joint is None else joint.rows

    def row_constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Return the constants of the live rows by what all calls have in common."""
        joint = self.joint(node, facts)
        if joint is None:
            return facts.constants[node]
        own = argument(node, 2, None)  # calls with one weight may have biases of their own
        return once(
            f"rows with {own}",
            node,
            facts,
            lambda: self.outgoing(node, facts, joint.constants, has_border=joint.has_border),
        )
