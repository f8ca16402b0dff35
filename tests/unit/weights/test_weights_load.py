"""Weights are found in every kind of file; hostile and broken files are refused."""

import contextlib
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
    CompactMTLError,
    CorruptFileError,
    MissingFileError,
    UnsafeFileError,
    WeightsError,
)
from compactmtl.weights import conversion_lines, load_weights


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


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_never_raises_anything_else(tmp_path_factory, zipped, data):
    path = tmp_path_factory.mktemp("noise") / "w.pt"
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(CompactMTLError):
        assert load_weights(path)[0]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_never_loads_as_another_weight(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "w.pt"
    state = network().state_dict()
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with contextlib.suppress(CorruptFileError, UnsafeFileError):
        assert same(load_weights(path)[0], state)


def test_the_state_of_an_optimiser_is_no_set_of_weights(tmp_path):
    state = network().state_dict()
    torch.save({"net_a": state, "optimizer": {"main": {"moments": state}}}, tmp_path / "w.pt")
    assert load_weights(tmp_path / "w.pt")[1] == "container `net_a`"


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file", bytes(64)])
def test_other_content_is_corrupt(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(CorruptFileError):
        load_weights(tmp_path / "w.pt")


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere"):
        load_weights(tmp_path / "nowhere.pt")
