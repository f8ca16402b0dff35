from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from no_blocks import NoBlocks
from torch import Tensor, nn

from compactmtl.compact import CompactModel
from compactmtl.compiler import compress


@pytest.fixture
def compile_static() -> Callable[..., CompactModel]:
    """Compile at one fixed size: capture takes a tenth of a second then."""

    def run(model: nn.Module, *shape: int, **options: object) -> CompactModel:
        example = torch.rand(shape or (2, 3, 8, 8), generator=torch.Generator().manual_seed(3))
        settings = {"dynamic": False, "objective": NoBlocks(), **options}
        return compress(model.eval(), example, **settings)

    return run


class SmallSegNet(nn.Module):
    """Two pooling stages with unpooling, two heads."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(True))

        self.encoder = nn.ModuleList([block(3, 8), block(8, 12), block(12, 8), block(8, 8)])
        self.heads = nn.ModuleDict(
            {"seg": nn.Conv2d(8, 5, 1), "depth": nn.Conv2d(8, 1, 3, padding=1)}
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        a = self.encoder[0](image)
        x, i = F.max_pool2d(a, 2, 2, return_indices=True)
        b = self.encoder[1](x)
        x, j = F.max_pool2d(b, 2, 2, return_indices=True)
        x = self.encoder[2](F.max_unpool2d(x, j, 2, 2, output_size=b.shape[-2:]))
        x = self.encoder[3](F.max_unpool2d(x, i, 2, 2, output_size=a.shape[-2:]))
        return {name: head(x) for name, head in self.heads.items()}


@pytest.fixture
def segnet() -> nn.Module:
    """Return a small SegNet with zero groups."""
    from random_nets import randomise

    return randomise(SmallSegNet(), 5)
