import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.errors import PartError, RecipeError
from compactmtl.multitask.weightings import WEIGHTINGS, make_weighting

FACTORS = {"seg": 2.0, "depth": 1.0, "normals": 0.5}
positive = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3)


def tensors(values, *, requires_grad=False):
    return {
        task: torch.tensor(v, dtype=torch.float64, requires_grad=requires_grad)
        for task, v in zip(FACTORS, values, strict=True)
    }


@settings(max_examples=50, deadline=None)
@given(losses=positive)
def test_totals_are_the_published_formulas(losses):
    given_losses = tensors(losses)
    weighted = [w * loss for w, loss in zip(FACTORS.values(), losses, strict=True)]
    expected = {
        "fixed": sum(weighted),
        "uncertainty": sum(loss / (2 * math.exp(-0.5)) - 0.25 for loss in weighted),
        "dwa": sum(weighted),  # the first epochs
        "uw_frozen": sum(math.exp(-1) * loss for loss in weighted),
        "gls": math.prod(weighted) ** (1 / 3),
    }
    for name, total in expected.items():
        got = make_weighting(name, FACTORS, {})(given_losses)
        assert got.item() == pytest.approx(total, rel=1e-6), name


@settings(max_examples=50, deadline=None)
@given(before=positive, last=positive, temperature=st.floats(0.5, 5))
def test_dynamic_weights_follow_the_last_two_epochs(before, last, temperature):
    weighting = make_weighting("dwa", FACTORS, {"temperature": temperature})
    weighting.epoch_finished(dict(zip(FACTORS, before, strict=True)))
    assert list(weighting.weights().values()) == pytest.approx(list(FACTORS.values()))
    weighting.epoch_finished(dict(zip(FACTORS, last, strict=True)))
    ratios = [b / a / temperature for a, b in zip(before, last, strict=True)]
    powers = [math.exp(ratio - max(ratios)) for ratio in ratios]
    shares = [weighting.weights()[task] / factor / 3 for task, factor in FACTORS.items()]
    # Ratios are kept in float32: one of r moves the share by a factor of up to exp(1e-7 r).
    expected = [power / sum(powers) for power in powers]
    assert shares == pytest.approx(expected, rel=1e-5 + 1e-6 * max(ratios), abs=1e-6)


def test_a_task_without_a_loss_keeps_its_weight():
    weighting = make_weighting("dwa", FACTORS, {})
    for means in ((1.0, 0.0, 4.0), (1.0, 0.0, 4.0)):
        weighting.epoch_finished(dict(zip(FACTORS, means, strict=True)))
    assert weighting.weights() == pytest.approx(FACTORS)


@settings(max_examples=30, deadline=None)
@given(losses=positive, factor=st.floats(0.1, 10))
def test_the_geometric_mean_pulls_relative_losses_alike(losses, factor):
    """The gradient of log L_t is the same for every task: the scale of a loss does not matter."""
    weighting = make_weighting("gls", FACTORS, {})
    leaves = tensors(losses, requires_grad=True)
    weighting(leaves).backward()
    pulls = [(leaf.grad * leaf).item() for leaf in leaves.values()]
    assert pulls == pytest.approx([pulls[0]] * 3, rel=1e-6)
    scaled = tensors([losses[0] * factor, *losses[1:]])
    ratio = (weighting(scaled) / weighting(tensors(losses))).item()
    assert ratio == pytest.approx(factor ** (1 / 3), rel=1e-6)


def test_the_geometric_mean_leaves_out_what_is_not_there():
    weighting = make_weighting("gls", FACTORS, {})
    got = weighting(tensors([2.0, 0.0, 8.0]))
    assert got.item() == pytest.approx(math.sqrt(4.0 * 4.0))
    leaves = tensors([0.0, 0.0, 0.0], requires_grad=True)
    weighting(leaves).backward()
    assert all(leaf.grad.isfinite() for leaf in leaves.values())


def test_uncertainty_is_smallest_where_s_is_the_log_of_the_loss():
    weighting = make_weighting("uncertainty", {"seg": 1.0}, {"start": math.log(3.0)}).double()
    weighting({"seg": torch.tensor(3.0, dtype=torch.float64)}).backward()
    assert weighting.log_variance.grad.item() == pytest.approx(0.0, abs=1e-7)
    weighting.zero_grad()
    weighting({"seg": torch.tensor(4.0, dtype=torch.float64)}).backward()
    assert weighting.log_variance.grad.item() < -1e-3  # a larger loss: more noise, less weight


def test_random_weights_add_up_differ_and_repeat():
    weighting, leaves = make_weighting("rlw", FACTORS, {}), tensors([1.0] * 3, requires_grad=True)
    torch.manual_seed(0)
    first = torch.autograd.grad(weighting(leaves), list(leaves.values()))
    second = torch.autograd.grad(weighting(leaves), list(leaves.values()))
    drawn = [g / w for g, w in zip(first, FACTORS.values(), strict=True)]
    assert sum(drawn).item() == pytest.approx(3)
    assert first != second
    torch.manual_seed(0)
    assert torch.autograd.grad(weighting(leaves), list(leaves.values())) == first


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_state_comes_back(name):
    if name == "torchjd":
        pytest.importorskip("quadprog")
    one, other = make_weighting(name, FACTORS, {}), make_weighting(name, FACTORS, {})
    for means in ((1.0, 2.0, 3.0), (0.5, 2.0, 2.0)):
        one.epoch_finished(dict(zip(FACTORS, means, strict=True)))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(0.3)
    other.load_state_dict(one.state_dict())
    assert other.weights() == pytest.approx(one.weights(), rel=0, abs=0, nan_ok=True)


def test_names_and_arguments_are_checked():
    with pytest.raises(PartError, match="did you mean `dwa`"):
        make_weighting("dwaa", FACTORS, {})
    with pytest.raises(RecipeError, match="unknown argument `temp`"):
        make_weighting("dwa", FACTORS, {"temp": 2})
    with pytest.raises(RecipeError, match="must be positive"):
        make_weighting("dwa", FACTORS, {"temperature": 0})
