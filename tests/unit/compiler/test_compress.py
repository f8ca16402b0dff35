import copy
import random

import pytest
import torch
from random_grouped_nets import RandomGroupedNet, randomise_grouped
from random_nets import SIZE, RandomNet, randomise
from torch import Tensor, nn

from compactmtl.compact import load
from compactmtl.compiler import compress
from compactmtl.compiler.cost import (
    ConvShape,
    MacsCost,
    ParamsCost,
    WithoutGathers,
    cost_model,
)
from compactmtl.compiler.table import default_table
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
    pruned = compress(segnet, IMAGE).report
    assert pruned.notes == []
    assert (
        f"channels could be removed: MACs {pruned.before.macs:,} -> {pruned.after.macs:,}"
        in (compact.report.notes[0])
    )
    assert compact.report.notes[0].endswith("add --prune-zero-channels to do it")
    assert compact.report.group_norms == []


@pytest.mark.parametrize("prune", [True, False])
def test_where_nothing_is_zero_it_says_so_with_the_norms_and_the_cause(
    compile_static, prune
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def report(**options):
        return compile_static(net, prune_zero_channels=prune, **options).report

    found = report()
    assert found.notes[0] == "nothing can be removed: none of 7 input groups is exactly zero"
    assert found.notes[1] == "likely cause: it was trained without group sparsity"
    assert "cm.ProximalAdamW(" in found.notes[2]
    assert found.before.num_params == found.after.num_params
    norms = torch.linalg.vector_norm(net[2].weight.flatten(2), dim=(0, 2))
    assert found.group_norms[1] == {
        "layer": "2", "num_groups": 4, "min": pytest.approx(norms.min().item()),
        "median": pytest.approx(norms.median().item()),
    }  # fmt: skip
    trained = report(recipe={"sparsity": {"lam": 0.5}}).notes
    assert "(lam 0.5) was too weak" in trained[1]
    assert "--init RUN/ckpt.pt --set sparsity.target=0.5" in trained[2]
    with torch.no_grad():
        net[2].weight[:, 1] *= 1e-6
    assert "1 groups are nearly zero, none exactly" in report().notes[1]


def test_where_another_reader_keeps_every_zero_group_it_says_so(compile_static) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(i, 4, 1) for i in (3, 4, 4))

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            x = self.a(image).relu()
            return self.b(x), self.c(x)

    torch.manual_seed(0)
    net = Shared()
    with torch.no_grad():
        net.b.weight[:, 2] = 0
    kept = compile_static(net).report
    assert kept.notes[0].startswith("nothing can be removed: 1 of 11 input groups are zero, but")
    assert "--objective macs" in kept.notes[1]
    assert compile_static(net, objective="macs").report.notes == []


def test_every_step_is_announced_and_counted_down(segnet) -> None:
    steps: list[tuple[str, int]] = []
    images = torch.rand(8, 1, 3, 16, 16)
    compress(segnet, IMAGE, images=images, progress=lambda *step: steps.append(step))
    names = ["capture", "analyse", "lower", "verify"]
    names += [f"verify, input {i} of 10" for i in range(1, 11)]
    assert [name for name, _ in steps] == [*names, "count"]
    assert [left for _, left in steps] == list(range(15, 0, -1))


def test_images_that_do_not_fit_are_refused(segnet) -> None:
    with pytest.raises(
        UsageError, match=r"shape \(1, 3, 8, 8\), input `image` takes \(2, 3, 16, 16\)"
    ):
        compress(segnet, IMAGE, images=[torch.rand(1, 3, 8, 8)], dynamic=False)
    with pytest.raises(UsageError, match="has 2 tensors, the network takes 1"):
        compress(segnet, IMAGE, images=[(IMAGE, IMAGE)])
    single = compress(segnet, IMAGE, images=[IMAGE[:1]], dynamic=False)  # repeated to the batch
    assert single.report.verification["num_inputs"] == 2


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
    with pytest.raises(CaptureError, match=r"inputs \(2, 4, 16, 16\).*expects 3 channels"):
        compress(segnet, torch.rand(2, 4, 16, 16))
    with pytest.raises(UsageError, match="example input 0 is a str"):
        compress(segnet, ["image"])


def test_the_number_of_names_is_checked(segnet) -> None:
    with pytest.raises(UsageError, match=r"1 output names given \(seg\), the network has 2"):
        compress(segnet, IMAGE, output_names=["seg"])
    with pytest.raises(UsageError, match="task `normals` is not one of the outputs"):
        compress(segnet, IMAGE, tasks={"normals": {}})


def test_objectives_are_listed() -> None:
    with pytest.raises(UsageError, match="expected one of latency, macs, params"):
        cost_model("speed")
    assert cost_model("latency") == default_table()
    assert cost_model("macs") == MacsCost()
    assert cost_model("params") == ParamsCost()
    assert cost_model("macs", gather=False) == WithoutGathers(MacsCost())


class Dice:
    """A cost model that knows nothing."""

    name, device = "dice", ""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.unifies = seed % 2 == 0

    def conv(self, shape: ConvShape) -> float:
        return self.rng.random()

    def gather(self, *, stored: int, read: int, positions: int) -> float:
        return self.rng.random() - 0.5


def test_any_cost_model_gives_exact_outputs(segnet) -> None:
    for seed in range(4):
        compact = compress(segnet, IMAGE, objective=Dice(seed), dynamic=False)
        torch.testing.assert_close(compact.module(IMAGE), segnet(IMAGE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_any_cost_model_is_exact_on_random_nets(seed: int) -> None:
    """`compress` verifies itself, in float64."""
    for make, finish in ((RandomNet, randomise), (RandomGroupedNet, randomise_grouped)):
        model = finish(make(seed), seed)
        image = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
        compress(model, image, objective=Dice(seed), dynamic=False)
