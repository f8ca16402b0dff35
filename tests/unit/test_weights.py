"""Weights from every kind of file, fitted to a network; hostile files are refused."""

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from compactmtl.errors import (
    CorruptFileError,
    MissingFileError,
    NonFiniteError,
    UnsafeFileError,
    WeightsError,
)
from compactmtl.weights import conversion_lines, fit_weights, load_weights


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.ModuleDict({"encoder": encoder, "seg_head": nn.Conv2d(4, 2, 1)})


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


# --- finding the weights -------------------------------------------------------------------------


def test_safetensors_is_found_by_content(tmp_path):
    state = network().state_dict()
    save_file(state, tmp_path / "anything.bin")
    loaded, how = load_weights(tmp_path / "anything.bin")
    assert same(loaded, state)
    assert how == "safetensors"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_plain_state_dict_is_read(tmp_path, zipped):
    state = network().state_dict()
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    loaded, how = load_weights(tmp_path / "w.pt")
    assert same(loaded, state)
    assert how == "state dict"


@pytest.mark.parametrize(
    ("document", "how"),
    [
        (lambda s: {"state_dict": s, "pytorch-lightning_version": "2.5", "epoch": 3}, "Lightning"),
        (lambda s: {"model_state_dict": s, "optimizer": {"state": {}}}, "`model_state_dict`"),
        (
            lambda s: {"format_version": 1, "recipe": {"name": "x"}, "model": s, "epoch": 2},
            "`model`",
        ),
        (lambda s: {"model": {"net": s}, "step": 1}, "`model.net`"),
        (lambda s: {"unheard_of": s, "step": 1}, "`unheard_of`"),
        (lambda s: {"ema": s, "step": 1}, "`ema`"),
        (lambda s: {"ema": {"a": torch.ones(1)}, "net": s}, "`net` (also there: ema)"),
    ],
    ids=[
        "lightning",
        "plain-loop",
        "ours",
        "nested",
        "only-one",
        "only-average",
        "not-the-average",
    ],
)
def test_container_is_found_and_reported(tmp_path, document, how):
    state = network().state_dict()
    torch.save(document(state), tmp_path / "w.pt")
    loaded, found = load_weights(tmp_path / "w.pt")
    assert same(loaded, state)
    assert how in found


def test_average_is_taken_when_asked_for(tmp_path):
    state = network().state_dict()
    torch.save({"ema": state, "model": network(1).state_dict()}, tmp_path / "w.pt")
    loaded, how = load_weights(tmp_path / "w.pt", container="ema")
    assert same(loaded, state)
    assert how == "container `ema`"


def test_wrong_container_names_the_nearest(tmp_path):
    torch.save({"ema_model": network().state_dict()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="did you mean `ema_model`") as caught:
        load_weights(tmp_path / "w.pt", container="ema")
    assert "ema_model" in caught.value.hint


def test_two_unknown_containers_are_not_guessed(tmp_path):
    state = network().state_dict()
    torch.save({"generator": state, "critic": state}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="generator, critic"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1, 2], "holds a list"),
        ({}, "it is empty"),
        ({"a": torch.ones(1), "epoch": 3}, "`epoch` is a int"),
    ],
    ids=["list", "empty", "mixed"],
)
def test_file_without_weights_is_refused(tmp_path, document, message):
    torch.save(document, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message):
        load_weights(tmp_path / "w.pt")


# --- hostile and broken files --------------------------------------------------------------------


@pytest.mark.parametrize("write", [torch.save, None], ids=["torch", "pickle"])
def test_pickled_code_never_runs(tmp_path, write):
    bomb = {"model": network().state_dict(), "callback": Bomb(tmp_path / "pwned")}
    path = tmp_path / "w.pt"
    torch.save(bomb, path) if write else path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(UnsafeFileError) as caught:
        load_weights(path)
    assert not (tmp_path / "pwned").exists()
    assert len(caught.value.hint.splitlines()) == 4
    with path.open("rb") as handle:  # the oracle: the payload does work where code is allowed
        torch.load(handle, weights_only=False) if write else pickle.load(handle)
    assert (tmp_path / "pwned").exists()


def test_conversion_lines_work(tmp_path):
    model = network()
    torch.save({"state_dict": model, "where": tmp_path}, tmp_path / "w.pt")
    with pytest.raises(UnsafeFileError) as caught:
        load_weights(tmp_path / "w.pt")
    lines = conversion_lines(tmp_path / "w.pt")
    assert caught.value.hint.splitlines()[1:] == list(lines)
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
    loaded, how = load_weights(tmp_path / "w.safetensors")
    assert same(loaded, model.state_dict())
    assert how == "safetensors"


def test_torchscript_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/constants.pkl", b"")
        archive.writestr("w/data.pkl", b"")
    with pytest.raises(UnsafeFileError, match="TorchScript"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_truncated_file_is_reported(tmp_path_factory, kind, share):
    path = tmp_path_factory.mktemp("cut") / "w.pt"
    state = network().state_dict()
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises((CorruptFileError, UnsafeFileError), match=r"w\.pt"):
        load_weights(path)


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file", bytes(64)])
def test_other_content_is_corrupt(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(CorruptFileError):
        load_weights(tmp_path / "w.pt")


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere"):
        load_weights(tmp_path / "nowhere.pt")


# --- fitting -------------------------------------------------------------------------------------


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
