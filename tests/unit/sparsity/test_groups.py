import json
import math

import pytest
import torch
from torch import nn

from compactmtl.errors import PatternError, UsageError
from compactmtl.overparam import contract, expand
from compactmtl.sparsity import census, group_norms, group_sparsity, groups, skipped_layers


class Net(nn.Module):
    encoder_layers = ("encoder.*",)
    head_reads = ("heads.*.0",)

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 4, (5, 3)), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 3, groups=2)
        )
        head = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
        self.heads = nn.ModuleDict({"a": head})


def test_groups_are_input_channels_of_the_encoder_and_of_the_heads_reads():
    net = Net()
    found = groups(net)
    assert [(g.name, g.dim, g.num_groups) for g in found] == [
        ("encoder.0", 1, 3),
        ("encoder.2", 1, 4),
        ("heads.a.0", 1, 6),
    ]
    assert [g.scale**2 for g in found] == pytest.approx([4 * 5 * 3, 6, 5])
    assert found[0].parameter is net.encoder[0].weight


def test_skipped_layers_have_a_reason():
    net = Net()
    net.heads["b"] = nn.Sequential(nn.Linear(6, 5))
    net.heads["b"][0].weight = net.heads["a"][0].weight
    assert skipped_layers(net, keep="encoder.0") == {
        "encoder.0": "kept",
        "encoder.3": "grouped convolution (groups=2)",
        "heads.b.0": "shares its weight with `heads.a.0`",
    }
    assert [g.name for g in groups(net, keep="encoder.0")] == ["encoder.2", "heads.a.0"]


def test_patterns_override_what_the_network_declares():
    found = groups(Net(), layers="*.2", reads=())
    assert [g.name for g in found] == ["encoder.2", "heads.a.2"]


def test_wrong_patterns_are_errors():
    with pytest.raises(PatternError, match="`encodr"):
        groups(Net(), layers="encodr.*")
    with pytest.raises(PatternError, match="`stem`"):
        groups(Net(), keep="stem")
    with pytest.raises(UsageError, match="has no `head_reads`"):
        groups(nn.Sequential(nn.Linear(2, 2)), layers="*")
    with pytest.raises(UsageError, match="no layer of Net"):
        groups(Net(), keep="*")


@pytest.mark.parametrize("method", ["uvshare", "doconv"])
def test_networks_expanded_otherwise_than_by_two_matrices_must_be_contracted_first(method):
    net = Net()
    expand(net, tasks=("a",), method=method)
    with pytest.raises(UsageError, match="parametrised weight"):
        groups(net)
    assert len(groups(contract(net))) == 3


def test_groups_of_a_factored_kernel_are_columns_of_v():
    net = Net()
    expand(net, tasks=("a",))
    found = groups(net)
    assert [(g.name, g.num_groups, g.factors is None) for g in found] == [
        ("encoder.0", 3, False),
        ("encoder.2", 4, False),
        ("heads.a.0", 6, True),
    ]
    assert [g.scale**2 for g in found] == pytest.approx([4 * 5 * 3, 6, 5])
    kernel = net.encoder[0].weight.detach()
    torch.testing.assert_close(found[0].norms(), kernel.movedim(1, 0).flatten(1).norm(dim=1))
    found[0].clear(torch.tensor([False, True, False]))
    assert (net.encoder[0].weight[:, 1] == 0).all()
    assert (net.encoder[0].weight[:, 0] != 0).all()
    torch.testing.assert_close(net.encoder[0].weight[:, 2].detach(), kernel[:, 2])
    rows = found[0].rows(found[0].parameter.detach()).clone()
    assert rows.shape[0] == 3
    found[0].write(2 * rows)
    torch.testing.assert_close(net.encoder[0].weight[:, 2].detach(), 2 * kernel[:, 2])
    assert census(net, found).zero_groups == 1
    with pytest.raises(UsageError, match="by input alone"):
        groups(net, by="weight")


@pytest.mark.parametrize(
    ("by", "numbers", "sizes"),
    [("filter", [4, 6, 5], [45, 4, 6]), ("weight", [180, 24, 30], [1, 1, 1])],
)
def test_groups_can_be_filters_or_single_weights(by, numbers, sizes):
    found = groups(Net(), by=by)
    assert [g.num_groups for g in found] == numbers
    assert [g.scale**2 for g in found] == pytest.approx(sizes)
    for group in found:
        rows = group.rows(group.parameter.detach()).clone()
        assert rows.shape == (group.num_groups, group.parameter.numel() // group.num_groups)
        group.write(2 * rows)
        assert torch.equal(group.rows(group.parameter.detach()), 2 * rows)
    with torch.no_grad():
        found[1].clear(torch.arange(found[1].num_groups) == 2)
    assert int(found[1].is_zero().sum()) == 1


def test_a_layer_matched_twice_is_an_error():
    with pytest.raises(UsageError, match=r"`heads\.a\.0` is matched twice"):
        groups(Net(), layers=("encoder.*", "heads.*"), reads="heads.*.0")
    assert len(groups(Net(), layers=("encoder.*", "heads.*"))) == 4  # what the network declares
    with pytest.raises(UsageError, match="groups by `channel`"):
        groups(Net(), by="channel")


@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (4, 3)])
def test_rows_hold_one_group_each_and_are_written_back(shape):
    net = nn.Linear(3, 4) if len(shape) == 2 else nn.Conv2d(3, 4, (5, 2))
    (group,) = groups(net, layers="*", reads=())
    rows = group.rows(group.parameter.detach()).clone()
    assert rows.shape == (3, math.prod(shape) // 3)
    assert torch.equal(rows[1], group.parameter[:, 1].detach().flatten())
    group.write(torch.stack([rows[0], 2 * rows[1], rows[2]]))
    assert torch.equal(group.rows(group.parameter.detach(), slice(1, 3))[0], 2 * rows[1])
    group.write(rows[1:2], slice(1, 2))
    assert torch.equal(group.rows(group.parameter.detach()), rows)


def test_norms_and_share():
    net = Net()
    with torch.no_grad():
        net.encoder[2].weight[:, 1] = 0.0
        net.encoder[2].weight[:, 3] = torch.tensor([3.0, 0, 4, 0, 0, 0])[:, None, None]
    found = groups(net)
    norms = group_norms(found)
    assert norms["encoder.2"][1] == 0.0
    assert norms["encoder.2"][3] == 5.0
    assert {name: tuple(value.shape) for name, value in norms.items()} == {
        "encoder.0": (3,), "encoder.2": (4,), "heads.a.0": (6,),
    }  # fmt: skip
    assert group_sparsity(found) == pytest.approx(1 / 13)


def test_a_tiny_weight_keeps_its_group_alive():
    net = Net()
    found = groups(net)
    with torch.no_grad():
        net.encoder[2].weight.zero_()[0, 0, 0, 0] = 1e-45  # the smallest float32
        net.heads["a"][0].weight[:, 2] = -0.0
    assert census(net, found).zero_groups == 3 + 1


def test_census_of_a_hand_built_network_has_different_numbers():
    net = Net()
    with torch.no_grad():
        net.encoder[0].weight[:, 2] = 0.0  # an input channel nobody reads
        net.encoder[2].weight[:, 0] = 0.0
        net.encoder[2].weight[:, 1] = 0.0
        net.encoder[2].weight[5] = 0.0  # a filter
        net.heads["a"][0].weight[:, 5] = 0.0  # the group that reads it
    counts = census(net, groups(net))
    assert (counts.num_groups, counts.zero_groups) == (13, 4)
    assert (counts.num_filters, counts.zero_filters) == (4 + 6 + 5, 1)
    assert [(layer.zero_groups, layer.zero_filters) for layer in counts.layers] == [
        (1, 0), (2, 1), (1, 0),
    ]  # fmt: skip
    assert counts.group_sparsity == pytest.approx(4 / 13)
    document = json.loads(json.dumps(counts.to_dict()))
    assert document["layers"][1] == {
        "name": "encoder.2", "num_groups": 4, "zero_groups": 2, "num_filters": 6, "zero_filters": 1,
        "num_weights": 24, "zero_weights": 14,
    }  # fmt: skip


def test_census_counts_in_the_given_network():
    net, other = Net(), Net()
    with torch.no_grad():
        other.encoder[0].weight.zero_()
    assert census(net, groups(net)).zero_groups == 0
    assert census(other, groups(net)).zero_groups == 3
