"""Networks and named recipes."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

if __name__ != "compactmtl.models":
    raise ImportError("import compactmtl.models, not models: a second copy would break isinstance")

__all__ = ["MODELS", "PIPELINES"]

# Each factory imports its network when called: listing recipes must not wait for torch.


def segnet(
    tasks: Mapping[str, int], *, widths: tuple[int, ...] = (64, 128, 256, 512, 512)
) -> "nn.Module":
    """Build SegNet with one head per task; see ``SegNet``."""
    from compactmtl.models.segnet import SegNet

    return SegNet(tasks, widths)


def segnet_s(
    tasks: Mapping[str, int], *, widths: tuple[int, ...] = (32, 64, 128, 256, 256)
) -> "nn.Module":
    """Build SegNet-S, SegNet with half the channels; see ``SegNet``."""
    from compactmtl.models.segnet import SegNet

    return SegNet(tasks, widths)


def deeplab_resnet18(
    tasks: Mapping[str, int],
    *,
    width: float = 1.0,
    head_channels: int = 256,
    rates: tuple[int, ...] = (12, 24, 36),
    dropout: float = 0.1,
    stem: Literal["plain", "deep"] = "plain",
    image_tasks: tuple[str, ...] = (),
) -> "nn.Module":
    """Build DeepLabV3 heads on a dilated ResNet-18; see ``DeepLab``."""
    from compactmtl.models.deeplab import DeepLab

    return DeepLab(
        tasks,
        depth=18,
        width=width,
        head_channels=head_channels,
        rates=rates,
        dropout=dropout,
        stem=stem,
        image_tasks=image_tasks,
    )


def deeplab_resnet50(
    tasks: Mapping[str, int],
    *,
    width: float = 1.0,
    head_channels: int = 256,
    rates: tuple[int, ...] = (12, 24, 36),
    dropout: float = 0.1,
    stem: Literal["plain", "deep"] = "plain",
    image_tasks: tuple[str, ...] = (),
) -> "nn.Module":
    """Build DeepLabV3 heads on a dilated ResNet-50; see ``DeepLab``."""
    from compactmtl.models.deeplab import DeepLab

    return DeepLab(
        tasks,
        depth=50,
        width=width,
        head_channels=head_channels,
        rates=rates,
        dropout=dropout,
        stem=stem,
        image_tasks=image_tasks,
    )


def mtan_segnet(
    tasks: Mapping[str, int], *, widths: tuple[int, ...] = (64, 128, 256, 512, 512)
) -> "nn.Module":
    """Build MTAN on SegNet; see ``MtanSegNet``."""
    from compactmtl.models.mtan_segnet import MtanSegNet

    return MtanSegNet(tasks, widths)


def mtan_deeplab(
    tasks: Mapping[str, int],
    *,
    depth: Literal[18, 50] = 50,
    width: float = 1.0,
    head_channels: int = 256,
    rates: tuple[int, ...] = (12, 24, 36),
    dropout: float = 0.1,
) -> "nn.Module":
    """Build MTAN on a dilated ResNet with DeepLabV3 heads; see ``MtanDeepLab``."""
    from compactmtl.models.mtan_deeplab import MtanDeepLab

    return MtanDeepLab(
        tasks, depth=depth, width=width, head_channels=head_channels, rates=rates, dropout=dropout
    )


def cross_stitch(
    tasks: Mapping[str, int],
    *,
    widths: tuple[int, ...] = (64, 128, 256, 512, 512),
    unit: Literal["scalar", "channel", "shared"] = "scalar",
) -> "nn.Module":
    """Build cross-stitched SegNets, one per task; see ``CrossStitchSegNet``."""
    from compactmtl.models.cross_stitch import CrossStitchSegNet

    return CrossStitchSegNet(tasks, widths=widths, unit=unit)


def resnet_classifier(
    tasks: Mapping[str, int], *, depth: Literal[18, 50] = 50, width: float = 1.0
) -> "nn.Module":
    """Build a ResNet for small images with a linear head per task; see ``Classifier``."""
    from compactmtl.models.classifier import Classifier

    return Classifier(tasks, depth=depth, width=width)


def panoptic_fpn(
    tasks: Mapping[str, int],
    *,
    depth: Literal[18, 50] = 50,
    width: float = 1.0,
    fpn_channels: int = 256,
    semantic_channels: int = 128,
    box_channels: int = 1024,
    mask_channels: int = 256,
    anchor_sizes: tuple[int, int, int, int, int] = (32, 64, 128, 256, 512),
    proposals: int = 1000,
    roi_batch: int = 512,
    detections: int = 100,
    stuff_area: int = 4096,
) -> "nn.Module":
    """Build Panoptic FPN for the tasks instances, semantic and panoptic; see ``PanopticFPN``."""
    from compactmtl.models.panoptic_fpn import PanopticFPN
    from compactmtl.models.panoptic_fpn_detect import DetectorSettings

    return PanopticFPN(
        tasks,
        depth=depth,
        width=width,
        fpn_channels=fpn_channels,
        semantic_channels=semantic_channels,
        box_channels=box_channels,
        mask_channels=mask_channels,
        detector=DetectorSettings(anchor_sizes, proposals, roi_batch, detections),
        stuff_area=stuff_area,
    )


def panoptic_fpn_of_parts(
    processing: Mapping[str, Any], parts: Mapping[str, "nn.Module"]
) -> "nn.Module":
    """Build Panoptic FPN around its static parts; see ``PanopticPipeline``."""
    from compactmtl.models.panoptic_fpn_pipeline import PanopticPipeline

    return PanopticPipeline.of_parts(processing, parts)


MODELS: dict[str, Callable[..., "nn.Module"]] = {
    "segnet": segnet,
    "segnet_s": segnet_s,
    "deeplab_resnet18": deeplab_resnet18,
    "deeplab_resnet50": deeplab_resnet50,
    "mtan_segnet": mtan_segnet,
    "mtan_deeplab": mtan_deeplab,
    "cross_stitch": cross_stitch,
    "resnet_classifier": resnet_classifier,
    "panoptic_fpn": panoptic_fpn,
}
"""The built-in networks by the name a recipe uses."""

PIPELINES: dict[str, Callable[[Mapping[str, Any], Mapping[str, "nn.Module"]], "nn.Module"]] = {
    "panoptic_fpn": panoptic_fpn_of_parts,
}
"""What makes a network of its static parts, by the ``kind`` of its ``processing()``."""
