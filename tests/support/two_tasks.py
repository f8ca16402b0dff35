"""The smallest network of two tasks: one layer, two heads."""

from torch import nn


class TwoTasks(nn.Module):
    """An encoder of one convolution; `seg` of five classes and `depth`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.heads = nn.ModuleDict({"seg": nn.Conv2d(8, 5, 1), "depth": nn.Conv2d(8, 1, 1)})

    def forward(self, image):
        x = self.encoder(image).relu()
        return {name: head(x) for name, head in self.heads.items()}
