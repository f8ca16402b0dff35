"""The two heads of Panoptic FPN that are functions of RoI features."""

from torch import Tensor, nn

from compactmtl.models.panoptic_fpn_narrow import Handed

BOX_SIDE, MASK_SIDE = 7, 14
"""Places along a side of what the heads see of a RoI."""


class BoxHead(nn.Module):
    """Class scores and box deltas of a RoI.

    Shape:
        (R, num_in, 7, 7) -> (R, num_classes + 1) and (R, 4 * (num_classes + 1)); class 0 is
        background.
    """

    def __init__(self, num_in: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.handed = Handed(num_in)
        self.fc1 = RoiLinear(num_in, width, BOX_SIDE)
        self.fc2 = nn.Linear(width, width)
        self.relu = nn.ReLU()
        self.scores = nn.Linear(width, num_classes + 1)
        self.deltas = nn.Linear(width, 4 * (num_classes + 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores before the softmax, and deltas."""
        x = self.relu(self.fc1(self.handed.widen(features).flatten(1)))
        x = self.relu(self.fc2(x))
        return self.scores(x), self.deltas(x)


class RoiLinear(nn.Linear):
    """A linear layer on a flattened RoI; what it reads of one channel is one channel group.

    Shape:
        (R, num_in * side * side) -> (R, num_out).
    """

    def __init__(self, num_in: int, num_out: int, side: int) -> None:
        super().__init__(num_in * side * side, num_out)
        self.places_per_channel = side * side


class MaskHead(nn.Module):
    """A mask of a RoI per class.

    Shape:
        (R, num_in, 14, 14) -> (R, num_classes + 1, 28, 28) before the sigmoid.
    """

    def __init__(self, num_in: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.handed = Handed(num_in)
        layers: list[nn.Module] = []
        for step in range(4):
            layers += [nn.Conv2d(num_in if step == 0 else width, width, 3, padding=1), nn.ReLU()]
        layers += [nn.ConvTranspose2d(width, width, 2, stride=2), nn.ReLU()]
        self.convs = nn.Sequential(*layers)
        self.predict = nn.Conv2d(width, num_classes + 1, 1)
        for layer in (*layers, self.predict):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Return the masks."""
        masks: Tensor = self.predict(self.convs(self.handed.widen(features)))
        return masks
