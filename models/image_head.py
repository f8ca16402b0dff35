"""A head with one output per image."""

from typing import ClassVar

from torch import Tensor, nn


class ImageHead(nn.Module):
    """Convolution 3x3, pooling, mean over the image, and two linear layers.

    Shape:
        (N, num_in, h, w) -> (N, num_out), for h and w of at least 2.

    Source: as published code of paper B has it, but for the sigmoid at its end: logits.
    """

    reads: ClassVar[tuple[str, ...]] = ("conv",)

    def __init__(self, num_in: int, num_out: int, width: int = 64) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_in, width, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.classify = nn.Sequential(
            nn.Dropout(0.6),
            nn.Linear(width, width // 2),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(width // 2, num_out),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return one row of logits per image."""
        pooled = self.pool(self.relu(self.conv(features)))
        logits: Tensor = self.classify(pooled.mean(dim=(2, 3)))
        return logits
