"""Layers chosen by the papers' rules."""

import pytest
import torch
from torch import nn

from compactmtl.errors import PatternError
from compactmtl.models.build import build
from compactmtl.overparam.expand import expand
from compactmtl.overparam.kernel import LAYER_TYPES
from compactmtl.overparam.selection import RULES, chosen_layers

TASKS = {"seg": 3, "depth": 1}
NETWORKS = {  # arguments; what opens each bottleneck, as the recipes name it
    "segnet": ({"widths": [4, 4, 4, 4, 4]}, []),
    "deeplab_resnet50": ({"width": 0.125, "head_channels": 8}, ["encoder.layer*.conv1"]),
    "resnet_classifier": ({"depth": 50, "width": 0.125}, ["encoder.layer*.conv1"]),
}


def network(name):
    torch.manual_seed(0)
    return build(name, TASKS, NETWORKS[name][0]).eval()


def outputs_made_by(model, image):
    """Return the layers whose value is a task's output: the oracle runs the network."""
    made = {}

    def note(name):
        return lambda module, inputs, value: made.__setitem__(name, value)

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if isinstance(module, LAYER_TYPES)
    ]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    order = list(made)
    return {next(n for n in reversed(order) if n.startswith(f"heads.{task}")) for task in TASKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_but_final_leaves_each_tasks_last_layer_out(name):
    model = network(name)
    every = {n for n, m in model.named_modules() if isinstance(m, LAYER_TYPES)}
    left = every - set(chosen_layers(model, ("all_but_final",)))
    assert left == outputs_made_by(model, torch.rand(1, 3, 64, 64))
    assert len(left) == len(TASKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_bottleneck_first_is_the_1x1_that_opens_each_block(name):
    model, pattern = network(name), NETWORKS[name][1]
    if not pattern:
        with pytest.raises(PatternError, match="`bottleneck_first` finds no layer"):
            chosen_layers(model, ("bottleneck_first",))
        return
    chosen = chosen_layers(model, ("bottleneck_first",))
    assert chosen == chosen_layers(model, pattern)
    assert len(chosen) == 3 + 4 + 6 + 3
    assert all(layer.kernel_size == (1, 1) for layer in chosen.values())


def test_a_rule_stands_beside_patterns_and_keeps_the_function():
    model, image = network("segnet"), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)
        report = expand(model, tasks=tuple(TASKS), layers=("all_but_final", "!encoder.up.*"))
        after = model(image)
    assert report.layers
    assert not any(name.startswith("encoder.up.") for name in report.layers)
    for task, value in before.items():
        torch.testing.assert_close(after[task], value, rtol=1e-4, atol=1e-4)


def test_a_network_without_heads_ends_in_its_last_layer():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    assert RULES["all_but_final"](model) == ["0", "2"]
