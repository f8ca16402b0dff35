"""The networks, compiled, and the images that their artefacts are checked and calibrated on."""

from collections.abc import Callable
from dataclasses import dataclass

import study_latency
import torch
from sparse_families import nets
from sparse_families.profile import MIRRORED
from study_latency import picture, sparse
from torch import nn

from compactmtl.compact import REAL_IMAGES, CompactModel
from compactmtl.compiler import compress
from compactmtl.data.rooms import Rooms
from compactmtl.export.stored import Stored
from compactmtl.models import MODELS

NUM_CHECKED = 2
NUM_CALIBRATION = 16


@dataclass(frozen=True)
class Network:
    """A network on the 70 % profile, and the height and width that it is exported at."""

    title: str
    build: Callable[[], nn.Module]
    size: int


NETWORKS = {
    "segnet_s": Network(
        "SegNet-S, 2 heads", lambda: sparse(lambda: MODELS["segnet_s"](nets.TASKS), MIRRORED), 256
    ),
    "deeplab": Network(
        "DeepLabV3-ResNet-50, 3 heads", lambda: study_latency.deeplab().network, 256
    ),
    "mobilenet": Network("MobileNetV2, 2 heads of 1x1", lambda: sparse(nets.mobile), 224),
}
UNPOOLING = ("segnet_s",)
"""Those with max-unpooling."""


@dataclass(frozen=True)
class Subject:
    """A compact model, its dense twin in it, and samples; batch and size are fixed.

    Attributes:
        checked: What parity is measured on.
        calibration: What the ranges of int8 come from; no image of it is in ``checked``.
    """

    name: str
    title: str
    size: int
    compact: CompactModel
    checked: Stored
    calibration: Stored


def prepare(name: str, size: int | None) -> Subject:
    """Compile a network, at its own size where ``size`` is None."""
    network = NETWORKS[name]
    size = size or network.size
    compact = compress(network.build(), picture(size), dynamic=False)
    (input_name,) = compact.manifest.input_names

    def images(split: str, num: int, source: str) -> Stored:
        rooms = Rooms(split, num_images=num, num_eval_images=num, height=size, width=size)
        stacked = torch.stack([rooms[index][0] for index in range(num)])
        return Stored({input_name: stacked.numpy()}, source)

    return Subject(
        name=name,
        title=network.title,
        size=size,
        compact=compact,
        checked=images("val", NUM_CHECKED, f"{REAL_IMAGES}rooms"),
        calibration=images("train", NUM_CALIBRATION, "training images of rooms"),
    )
