import pytest
import torch

from compactmtl.models import MODELS
from compactmtl.overparam import expand

TASKS = {"fine": 100, "coarse": 20}


@pytest.mark.parametrize("depth", [18, 50])
def test_logits_are_one_vector_per_image(depth):
    network = MODELS["resnet_classifier"](TASKS, depth=depth, width=0.0625).eval()
    for size in ((32, 32), (33, 40)):
        outputs = network(torch.rand(2, 3, *size))
        assert {name: tuple(v.shape) for name, v in outputs.items()} == {
            "fine": (2, 100),
            "coarse": (2, 20),
        }


def test_full_size_is_the_customary_network():
    with torch.device("meta"):
        network = MODELS["resnet_classifier"]({"fine": 100})
    # 23,705,252 parameters: ResNet-50 with a 3x3 stem and 100 classes, as customary on CIFAR-100.
    assert sum(p.numel() for p in network.parameters()) == 23_705_252
    assert network.encoder(torch.empty(1, 3, 32, 32, device="meta")).shape == (1, 2048, 4, 4)


def test_the_first_convolution_of_each_bottleneck_is_a_pattern():
    network = MODELS["resnet_classifier"]({"fine": 10}, width=0.0625)
    report = expand(network, tasks=("fine",), layers="encoder.layer*.conv1")
    assert len(report.layers) == 16  # what the paper overparameterises in a ResNet-50
    assert all(name.endswith(".conv1") for name in report.layers)
