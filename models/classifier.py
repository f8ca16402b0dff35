"""Classification of small images: one ResNet, one linear head per task."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from compactmtl.models.heads import one_per_task
from compactmtl.models.resnet import SmallImageResNet


class Classifier(nn.Module):
    """A shared ResNet for small images with a linear layer per task behind the mean over the image.

    The stem is a 3x3 convolution without pooling, as usual for images of 32x32.

    Args:
        tasks: Number of classes by task name.
        depth: 18 (basic blocks) or 50 (bottlenecks).
        width: Factor on all numbers of channels.

    Shape:
        (N, 3, H, W) -> {task: (N, classes)}, any H and W.

    Raises:
        RecipeError: A width that leaves no channel, or a task name that cannot be used.

    Source:
        He et al. (2016), Deep Residual Learning, with the stem that is customary on CIFAR.
    """

    encoder_layers: ClassVar[tuple[str, ...]] = ("encoder.*",)
    pretrained_part: ClassVar[str] = "encoder"
    head_reads: ClassVar[tuple[str, ...]] = ("heads.*",)

    def __init__(
        self, tasks: Mapping[str, int], *, depth: Literal[18, 50] = 50, width: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder = SmallImageResNet(depth, width)
        self.heads = one_per_task(
            tasks, lambda num_classes: nn.Linear(self.encoder.num_channels, num_classes)
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of each task, in the order of the tasks."""
        features = self.encoder(image).mean(dim=(2, 3))
        return {name: head(features) for name, head in self.heads.items()}
