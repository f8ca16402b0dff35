import pytest
import torch
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import UsageError


def network() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    op.expand(net, tasks=("a", "b"), layers="0")
    return net


def test_groups_hold_every_parameter_once_with_its_own_settings():
    net = network()
    rest, shared, own = op.param_groups(net, 1e-3, 1e-2, 0.05)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    prefix = "0.parametrizations.weight.0"
    assert [names[id(p)] for p in shared["params"]] == [f"{prefix}.U", f"{prefix}.V"]
    assert [names[id(p)] for p in own["params"]] == [f"{prefix}.m_a", f"{prefix}.m_b"]
    together = [*rest["params"], *shared["params"], *own["params"]]
    assert sorted(map(id, together)) == sorted(names)
    assert [g["weight_decay"] for g in (rest, shared, own)] == [0.05, 0.0, 0.0]
    assert [g["lr"] for g in (rest, shared, own)] == [1e-3, 1e-3, 1e-2]
    torch.optim.AdamW([rest, shared, own])


def test_m_has_the_common_learning_rate_unless_told_otherwise():
    assert [group["lr"] for group in op.param_groups(network(), 0.5)] == [0.5, 0.5, 0.5]


def test_a_dense_network_gives_one_group():
    net = nn.Linear(2, 2)
    (group,) = op.param_groups(net, 0.1, weight_decay=0.2)
    assert group["params"] == list(net.parameters())


def test_task_parameters_are_that_tasks_vectors():
    net = network()
    factors = net[0].parametrizations.weight[0]
    assert [id(p) for p in op.task_parameters(net, "b")] == [id(factors.m_b)]


def test_an_unknown_task_or_a_dense_network_is_an_error():
    with pytest.raises(UsageError, match="without task `aa`; did you mean `a`"):
        op.task_parameters(network(), "aa")
    with pytest.raises(UsageError, match="is not expanded"):
        op.task_parameters(nn.Linear(2, 2), "a")
    with pytest.raises(UsageError, match="is not expanded"):
        op.expansion_spec(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="is not expanded"):
        op.frobenius(nn.Linear(2, 2), 1e-4)


def test_reach_is_the_largest_distance_from_one():
    net = network()
    with torch.no_grad():
        net[0].parametrizations.weight[0].m_b[3] = 0.25
        net[0].parametrizations.weight[0].m_b[1] = 1.5
    assert op.m_reach(net) == {"a": 0.0, "b": 0.75}
    assert op.m_reach(nn.Linear(2, 2)) == {}
