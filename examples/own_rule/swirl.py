"""An op of one's own, a network with it, and the rule by which the compiler removes channels."""

import torch
from torch import Tensor, fx, nn

import compactmtl as cm
from compactmtl.compiler.rules import Facts, OneByOne, channelwise


@torch.library.custom_op("swirl::swirl", mutates_args=())
def swirl(x: Tensor) -> Tensor:
    """Scale every channel by its own mean, (N, C, H, W)."""
    return x * x.mean((2, 3), keepdim=True)


@swirl.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Swirl(OneByOne):
    """``y[:, c] = x[:, c] * mean(x[:, c])``: output channel c comes from input channel c alone.

    Rewrites: nothing; the op runs on the channels that are stored.
    Algebra: a constant channel k has the mean k, so it becomes k * k.
    """

    ops = frozenset({"swirl::swirl"})

    def constants(self, node: fx.Node, facts: Facts) -> Tensor:
        """Square the constants; NaN, which says "it varies", stays NaN."""
        return facts.constants[channelwise(node)].square()


class SwirlNet(nn.Module):
    """A convolution, the op, and a convolution that does not read half of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 4, 1)
        with torch.no_grad():
            self.head.weight[:, ::2] = 0

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return one map, (N, 4, H, W)."""
        return {"seg": self.head(swirl(self.body(image)))}


def main() -> None:
    """Compile without the rule and with it."""
    model, image = SwirlNet(), torch.rand(1, 3, 32, 32)
    for rules in ([], [Swirl()]):
        report = cm.compress(model, image, rules=rules, objective="macs").report
        opaque = ", ".join(row["op"] for row in report.opaque) or "none"
        print(f"rules: {report.rules or 'ours'}; opaque: {opaque}; "
              f"parameters {report.before.num_params} -> {report.after.num_params}")  # fmt: skip


if __name__ == "__main__":
    main()
