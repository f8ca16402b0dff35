"""Cross-stitched networks."""

import pytest
import torch
from torch import nn

from compactmtl.errors import RecipeError
from compactmtl.models import MODELS

TASKS = {"seg": 4, "depth": 1, "normals": 3}
UNITS = ("scalar", "channel", "shared")


def make(unit="scalar", tasks=TASKS):
    torch.manual_seed(0)
    return MODELS["cross_stitch"](tasks, widths=(4, 6), unit=unit).eval()


def matrix(unit) -> torch.Tensor:
    return torch.stack([torch.stack([a.mean() for a in row]) for row in unit.mix])


def test_units_start_as_published():
    for unit in make("scalar").down_units:
        assert torch.allclose(matrix(unit), torch.eye(3) * 0.85 + 0.05)
    for unit in make("shared").up_units:
        assert torch.equal(matrix(unit), torch.ones(1, 3))
    assert make("channel").down_units[1].mix[0][0].shape == (6, 1, 1)


@pytest.mark.parametrize("unit", UNITS)
def test_one_unit_behind_every_stage(unit):
    network = make(unit)
    assert len(network.down_units) == len(network.up_units) == 2


@pytest.mark.parametrize("unit", ["scalar", "channel"])
def test_without_mixing_tasks_are_networks_of_their_own(unit):
    network, image = make(unit), torch.rand(2, 3, 16, 20)
    with torch.no_grad():
        for each in (*network.down_units, *network.up_units):
            for t, row in enumerate(each.mix):
                for s, a in enumerate(row):
                    a.fill_(float(s == t))
        got = network(image)
        for task, encoder in network.encoders.items():
            torch.testing.assert_close(got[task], network.heads[task](encoder(image)))


def test_a_mixture_is_the_published_sum():
    network = make("channel")
    unit = network.down_units[0]
    features = [torch.rand(1, 4, 3, 3) for _ in TASKS]
    with torch.no_grad():
        for row in unit.mix:
            for a in row:
                a.uniform_()
        for t, got in enumerate(unit(features)):
            expected = sum(unit.mix[t][s] * features[s] for s in range(3))
            torch.testing.assert_close(got, expected)


def test_a_shared_row_makes_all_tasks_alike_behind_the_last_stage():
    network, seen = make("shared"), []
    network.up_units[0].register_forward_hook(lambda *call: seen.append(call[2]))
    network(torch.rand(1, 3, 16, 16))
    assert all(torch.equal(seen[0][0], other) for other in seen[0][1:])


@pytest.mark.parametrize("unit", UNITS)
def test_every_loss_trains_every_encoder_and_its_own_head(unit):
    network = make(unit).train()
    for task in TASKS:
        network.zero_grad()
        network(torch.rand(2, 3, 16, 16))[task].square().sum().backward()
        for name, parameter in network.named_parameters():
            reached = parameter.grad is not None and bool(parameter.grad.any())
            if name.startswith("encoders."):
                assert reached, name
            if name.startswith("heads."):
                assert reached == name.startswith(f"heads.{task}."), name


def test_one_task_alone_is_one_network():
    network, image = make(tasks={"seg": 4}), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        expected = network.heads["seg"](network.encoders["seg"](image))
        torch.testing.assert_close(network(image)["seg"], expected)


def test_an_unknown_unit_is_refused():
    with pytest.raises(RecipeError, match="expected scalar, channel or shared"):
        make("matrix")


def test_declared_encoder_layers_are_all_of_them():
    convs = [n for n, m in make().named_modules() if isinstance(m, nn.Conv2d)]
    assert {n.partition(".")[0] for n in convs} == {"encoders", "heads"}
