"""Weights are fitted to a network by name, shape, dtype and value, or not at all."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compactmtl.errors import (
    NonFiniteError,
    WeightsError,
)
from compactmtl.weights import fit_weights


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.ModuleDict({"encoder": encoder, "seg_head": nn.Conv2d(4, 2, 1)})


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


@pytest.mark.parametrize(
    ("rename", "expected"),
    [
        (lambda n: n, ("", "", False)),
        (lambda n: "module." + n, ("module.", "", False)),
        (lambda n: "_orig_mod.module." + n, ("_orig_mod.module.", "", False)),
        (lambda n: "backbone." + n, ("backbone.", "", False)),
        (lambda n: n.replace("encoder.", "encoder._orig_mod."), ("", "", True)),
    ],
    ids=["none", "ddp", "compiled-ddp", "own", "compiled-part"],
)
def test_prefix_is_found(rename, expected):
    source, model = network(1), network(2)
    report = fit_weights(model, {rename(n): t for n, t in source.state_dict().items()}, source="w")
    assert (report.stripped, report.added, report.unwrapped) == expected
    assert same(model.state_dict(), source.state_dict())
    assert report.num_matched == len(source.state_dict())


@given(depth=st.integers(0, 3), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_any_prefix_to_strip_or_add_is_undone(depth, seed):
    source, model = network(seed), network(seed + 1)
    prefix = "".join(f"part{i}." for i in range(depth))
    fit_weights(model, {prefix + n: t for n, t in source.state_dict().items()}, source="w")
    assert same(model.state_dict(), source.state_dict())
    outer = nn.ModuleDict({"inner": network(seed + 2)})
    report = fit_weights(outer, source.state_dict(), source="w")
    assert report.added == "inner."
    assert same(outer["inner"].state_dict(), source.state_dict())


def test_neutral_prefix_is_exchanged_but_a_telling_one_is_not():
    model = nn.ModuleDict({"seg": nn.Conv2d(4, 2, 1)})
    state = nn.Conv2d(4, 2, 1).state_dict()
    report = fit_weights(model, {"module." + n: t for n, t in state.items()}, source="w")
    assert (report.stripped, report.added) == ("module.", "seg.")
    with pytest.raises(WeightsError, match=r"seg\.weight"):
        fit_weights(model, {"depth." + n: t for n, t in state.items()}, source="w")


def test_missing_and_unexpected_names_have_their_nearest():
    state = network().state_dict()
    state["sec_head.weight"] = state.pop("seg_head.weight")
    with pytest.raises(WeightsError) as caught:
        fit_weights(network(), state, source="w.pt")
    assert "missing 1 of the network's 9 weights" in caught.value.message
    assert "did you mean `sec_head.weight`" in caught.value.message
    assert "did you mean `seg_head.weight`" in caught.value.message


def test_not_strict_reports_what_is_missing():
    model, source = network(1), network(2)
    state = {n: t for n, t in source.state_dict().items() if not n.startswith("seg_head")}
    report = fit_weights(model, state | {"loss.weight": torch.ones(1)}, source="w", strict=False)
    assert report.missing == ("seg_head.weight", "seg_head.bias")
    assert report.unexpected == ("loss.weight",)
    assert "2 missing, 1 unused" in report.summary()
    assert torch.equal(model["encoder"][0].weight, source["encoder"][0].weight)


def test_nothing_in_common_is_an_error_even_if_not_strict():
    with pytest.raises(WeightsError, match="missing 8 of the network's 9"):
        fit_weights(network(), {"a": torch.ones(1)}, source="w", strict=False)


def test_wrong_shape_names_key_got_and_expected():
    state = network().state_dict() | {"seg_head.weight": torch.zeros(5, 4, 1, 1)}
    with pytest.raises(WeightsError, match=r"seg_head.weight.*\(5, 4, 1, 1\).*\(2, 4, 1, 1\)"):
        fit_weights(network(), state, source="w", strict=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weight_is_named_and_nothing_is_loaded(value):
    model, state = network(1), network(2).state_dict()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    state["seg_head.weight"][1, 2] = value
    with pytest.raises(NonFiniteError, match=r"seg_head.weight.* 1 NaN or Inf among 8"):
        fit_weights(model, state, source="w")
    assert same(model.state_dict(), before)


def test_overflow_in_the_cast_is_non_finite():
    state = network().double().state_dict()
    state["seg_head.bias"][0] = 1e300
    with pytest.raises(NonFiniteError, match=r"seg_head\.bias"):
        fit_weights(network(), state, source="w")


def test_floating_cast_is_reported_and_integer_refused():
    state = network(1).state_dict()
    half = state | {"seg_head.bias": state["seg_head.bias"].half()}
    assert fit_weights(network(), half, source="w").cast == ("seg_head.bias",)
    with pytest.raises(WeightsError, match="int64"):
        fit_weights(network(), state | {"seg_head.bias": torch.zeros(2).long()}, source="w")


def test_batch_counter_and_tied_names_may_be_absent():
    model = network()
    model["twin"] = model["seg_head"]
    state = network(1).state_dict()
    del state["encoder.1.num_batches_tracked"]
    report = fit_weights(model, state, source="w")
    assert set(report.tolerated) == {"encoder.1.num_batches_tracked", "twin.weight", "twin.bias"}
    assert report.missing == ()


@pytest.mark.parametrize("odd", [torch.zeros(2, device="meta"), torch.zeros(2).to_sparse()])
def test_tensor_without_plain_data_is_refused(odd):
    with pytest.raises(WeightsError, match="plain tensor"):
        fit_weights(network(), network().state_dict() | {"seg_head.bias": odd}, source="w")


def test_expanded_weights_hint_at_contraction():
    model = network()
    nn.utils.parametrizations.weight_norm(model["seg_head"])
    with pytest.raises(WeightsError) as caught:
        fit_weights(network(), model.state_dict(), source="w")
    assert "contract" in caught.value.hint
