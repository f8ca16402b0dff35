import copy
import random

import pytest
import torch
from random_nets import randomise
from torch import Tensor, nn

from compactmtl.compact import load
from compactmtl.compiler import compress
from compactmtl.compiler.cost import LatencyCost, MacsCost, NoGatherCost, cost_model
from compactmtl.errors import CaptureError, NonFiniteError, UsageError
from compactmtl.overparam import expand

IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_outputs_names_and_sizes_are_kept_at_another_size(segnet) -> None:
    compact = compress(segnet, IMAGE)
    assert compact.manifest.output_names == ["seg", "depth"]
    assert compact.manifest.inputs[0].dynamic == {0: "batch", 2: "height", 3: "width"}
    other = torch.rand(3, 3, 24, 40)
    for name, value in segnet(other).items():
        torch.testing.assert_close(compact.module(other)[name], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(compact.dense(other)[name], value, rtol=0, atol=0)
    assert compact.report.after.num_params < 0.7 * compact.report.before.num_params
    assert compact.report.max_rel_error < 1e-5


def test_the_callers_network_is_untouched(segnet) -> None:
    segnet.train()
    before = copy.deepcopy(segnet.state_dict())
    compact = compress(segnet, IMAGE)
    with torch.no_grad():
        for parameter in [*compact.module.parameters(), *compact.dense.parameters()]:
            parameter.fill_(7.0)
    assert segnet.training
    for name, value in segnet.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_compiling_twice_changes_nothing(segnet) -> None:
    once = compress(segnet, IMAGE, objective="macs")
    twice = compress(once.module, IMAGE, objective="macs")
    assert not twice.report.opaque
    assert twice.report.after == once.report.after
    torch.testing.assert_close(twice.module(IMAGE), once.module(IMAGE), rtol=0, atol=0)


def test_a_saved_model_reloads_to_the_bit_and_trains(segnet, tmp_path) -> None:
    compact = compress(segnet, IMAGE, tasks={"seg": {"kind": "segmentation", "num_channels": 5}})
    compact.save(tmp_path / "model.pt2")
    loaded = load(tmp_path / "model.pt2")
    assert loaded.manifest == compact.manifest
    assert loaded.report.to_dict() == compact.report.to_dict()
    assert loaded.plan == compact.plan
    torch.testing.assert_close(loaded.module(IMAGE), compact.module(IMAGE), rtol=0, atol=0)
    assert list(loaded.module.state_dict()) == list(compact.module.state_dict())
    statistics = loaded.module.get_buffer("encoder.0.1.running_mean").clone()
    loaded.module.train()
    sum(value.square().mean() for value in loaded.module(IMAGE).values()).backward()
    assert all(p.grad is not None for p in loaded.module.parameters())
    assert not torch.equal(statistics, loaded.module.get_buffer("encoder.0.1.running_mean"))
    loaded.module.eval()
    kept = loaded.module.get_buffer("encoder.0.1.running_mean").clone()
    loaded.module(IMAGE)
    assert torch.equal(kept, loaded.module.get_buffer("encoder.0.1.running_mean"))


def test_an_expanded_network_is_contracted_and_stays_expanded_itself(segnet) -> None:
    expected = segnet(IMAGE)
    expand(segnet, tasks=("seg", "depth"), layers=("encoder.*",))
    compact = compress(segnet, IMAGE, prune_zero_channels=False)
    names = set(compact.module.state_dict())
    assert "encoder.0.0.weight" in names
    assert not any("parametrizations" in name for name in names)
    assert any("parametrizations" in name for name in segnet.state_dict())
    for name, value in expected.items():
        torch.testing.assert_close(compact.module(IMAGE)[name], value, rtol=1e-4, atol=1e-4)


def test_without_pruning_it_says_what_could_go(segnet) -> None:
    compact = compress(segnet, IMAGE, prune_zero_channels=False)
    assert compact.report.before == compact.report.after
    assert "could be removed; add --prune-zero-channels" in compact.report.notes[0]


def test_where_nothing_is_zero_it_says_so_with_the_smallest_norm(compile_static) -> None:
    torch.manual_seed(0)
    compact = compile_static(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    assert compact.report.notes[0].startswith("nothing can be removed: no input group is exactly")
    assert compact.report.before.num_params == compact.report.after.num_params


def test_networks_with_two_inputs_and_plain_outputs_compile(compile_static) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(2, 4, 1)
            self.c = nn.Conv2d(4, 2, 1)

        def forward(self, image: Tensor, hint: Tensor) -> tuple[Tensor, Tensor]:
            x = self.a(image) + self.b(hint)
            return x.mean((2, 3)), self.c(x)

    net = randomise(Pair(), 1)
    inputs = (torch.rand(2, 3, 8, 8), torch.rand(2, 2, 8, 8))
    compact = compress(net, inputs, input_names=["rgb", "hint"])
    assert compact.manifest.input_names == ["rgb", "hint"]
    assert compact.manifest.output_names == ["output", "output_1"]
    torch.testing.assert_close(compact.module(*inputs), net(*inputs), rtol=1e-4, atol=1e-5)


def test_nan_weights_are_named_before_anything_else(segnet) -> None:
    with torch.no_grad():
        segnet.encoder[1][0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"`encoder\.1\.0\.weight` holds 1 NaN or Inf"):
        compress(segnet, IMAGE)


def test_a_branch_on_data_is_refused_with_its_line() -> None:
    class Branching(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image if image.sum() > 0 else -image  # the line

    with pytest.raises(CaptureError, match=r"torch\.export refuses.*test_compress\.py:\d+"):
        compress(Branching(), IMAGE)


def test_inputs_that_do_not_fit_are_a_capture_error_with_their_shape(segnet) -> None:
    with pytest.raises(CaptureError, match=r"does not run on inputs \[\(2, 4, 16, 16\)\]"):
        compress(segnet, torch.rand(2, 4, 16, 16))
    with pytest.raises(UsageError, match="example input 0 is a str"):
        compress(segnet, ["image"])


def test_the_number_of_names_is_checked(segnet) -> None:
    with pytest.raises(UsageError, match=r"1 output names given \(seg\), the network has 2"):
        compress(segnet, IMAGE, output_names=["seg"])


def test_objectives_are_listed() -> None:
    with pytest.raises(UsageError, match="expected one of latency, macs, params"):
        cost_model("speed")
    assert cost_model("latency") == LatencyCost()
    assert cost_model("macs") == MacsCost()
    assert cost_model("macs", gather=False) == NoGatherCost()


def test_any_cost_model_gives_exact_outputs(segnet) -> None:
    class Coin:
        name = "coin"

        def __init__(self, seed: int) -> None:
            self.rng = random.Random(seed)

        def gathers(self, **_: int) -> bool:
            return self.rng.random() < 0.5

    for seed in range(4):
        compact = compress(segnet, IMAGE, objective=Coin(seed), dynamic=False)
        torch.testing.assert_close(compact.module(IMAGE), segnet(IMAGE), rtol=1e-4, atol=1e-5)
