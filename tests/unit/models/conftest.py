"""Tiny versions of every network."""

import pytest
import torch

from compactmtl.models import MODELS

TASKS = {"seg": 5, "depth": 1, "normals": 3}
TINY = {
    "segnet": {"widths": (4, 6, 8, 8, 8)},
    "segnet_s": {"widths": (4, 5)},
    "deeplab_resnet18": {"width": 0.0625, "head_channels": 6},
    "deeplab_resnet50": {"width": 0.0625, "head_channels": 6},
    "mtan_segnet": {"widths": (4, 6, 8)},
    "mtan_deeplab": {"width": 0.0625, "head_channels": 6},
    "cross_stitch": {"widths": (4, 6)},
}


@pytest.fixture(params=list(TINY))
def name(request):
    return request.param


@pytest.fixture
def tiny():
    """Build the tiny version of a network by its name."""

    def make(name):
        torch.manual_seed(0)
        return MODELS[name](TASKS, **TINY[name])

    return make


@pytest.fixture
def network(name, tiny):
    return tiny(name)
