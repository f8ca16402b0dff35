"""MTAN."""

import pytest
import torch
from torch import nn

from compactmtl.models import MODELS

TASKS = {"seg": 13, "depth": 1, "normals": 3}


@pytest.fixture(params=["mtan_segnet", "mtan_deeplab"])
def network(request):
    torch.manual_seed(0)
    tiny = {"widths": (4, 6, 8)} if request.param == "mtan_segnet" else {"width": 0.0625}
    return MODELS[request.param](TASKS, **tiny)


def test_number_of_parameters_is_the_published_multiple_of_a_split_segnet():
    # 1.77 in the table of Liu et al., over one SegNet with a head of 13 classes.
    with torch.device("meta"):
        full = MODELS["mtan_segnet"](TASKS)
    num_params = sum(p.numel() for p in full.parameters())
    assert round(num_params / 24_981_069, 2) == 1.77


def test_a_task_trains_what_is_shared_and_its_own_attention_and_head(network):
    image = torch.rand(2, 3, 32, 48)
    for task in TASKS:
        network.zero_grad()
        network(image)[task].square().sum().backward()
        for name, parameter in network.named_parameters():
            own = name.startswith(("encoder.", f"attention.{task}.", f"heads.{task}."))
            assert (parameter.grad is not None and bool(parameter.grad.any())) == own, name


@pytest.mark.parametrize("level", [0, 1])
def test_what_a_mask_closes_is_not_taken(network, level):
    """With a mask of zeros, features of a stage no longer reach a task through it."""
    network.eval()
    masks = network.attention["seg"]
    masks = masks if isinstance(masks, nn.ModuleList) else masks.down
    own, other = [], []
    image, changed = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        masks[level][-2].weight.zero_()
        masks[level][-2].bias.fill_(-1e4)  # behind the sigmoid: exactly 0
    handle = masks[level].register_forward_hook(lambda *call: own.append(call[2]))
    with torch.no_grad():
        other = [network(x)["depth"] for x in (image, changed)]
    assert not own[0].any()
    assert not torch.equal(*other)  # other tasks see what they saw
    handle.remove()


def test_the_encoder_is_every_shared_layer(network):
    shared = {n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    shared -= {n for n in shared if n.startswith(("attention.", "heads."))}
    assert shared == {n for n in shared if n.startswith("encoder.")}
