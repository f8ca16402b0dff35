"""A stored program computes the same after a round trip."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compactmtl.errors import (
    CorruptFileError,
    MissingFileError,
    UnsafeFileError,
    WriteError,
)
from compactmtl.pt2 import open_pt2, read_manifest, save_pt2

Entries = dict[str, bytes]


@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (1, 3, 32, 40)])
def test_opened_program_computes_the_same(program, saved, shape):
    image = torch.rand(shape)
    expected, got = program.module()(image), open_pt2(saved).module()(image)
    assert list(got) == ["seg", "mean"]
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_guards_survive(saved):
    with pytest.raises(AssertionError, match="Guard failed"):
        open_pt2(saved).module()(torch.rand(2, 3, 3, 24))


def test_saving_does_not_change_the_program(tmp_path, captured, network):
    model = network.to(memory_format=torch.channels_last)
    wide = torch.rand(4, 8, 1, 1)
    model.head.weight = nn.Parameter(wide[:2])  # a view: torch would store all of `wide`
    program = captured(model)
    before = dict(program.state_dict)
    save_pt2(program, tmp_path / "m.pt2", {})
    assert all(program.state_dict[name] is tensor for name, tensor in before.items())
    loaded = open_pt2(tmp_path / "m.pt2").state_dict
    assert all(torch.equal(loaded[name], tensor) for name, tensor in before.items())
    assert loaded["head.weight"].untyped_storage().nbytes() == 2 * 8 * 4


def test_tied_weights_are_stored_once(tmp_path, captured):
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    model[1].weight = model[0].weight
    save_pt2(captured(model), tmp_path / "m.pt2", {})
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        stored = [n for n in archive.namelist() if "/weight_" in n]
    assert len(stored) == 3
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(open_pt2(tmp_path / "m.pt2").module()(image), model(image))


def test_file_names_no_folder_of_this_machine(saved):
    content = saved.read_bytes()
    assert str(Path(__file__).parent).encode() not in content
    assert os.fsencode(Path(torch.__file__).parent) not in content


def test_same_program_gives_the_same_bytes(program, saved, tmp_path):
    save_pt2(program, tmp_path / "again.pt2", {"tasks": {"seg": {}}})
    assert (tmp_path / "again.pt2").read_bytes() == saved.read_bytes()


def test_file_of_torch_itself_opens_with_blank_samples(program, tmp_path):
    torch.export.save(program, tmp_path / "foreign.pt2")
    ((image,), keywords) = open_pt2(tmp_path / "foreign.pt2").example_inputs
    assert image.shape == (2, 3, 16, 24)
    assert image.dtype == torch.float32
    assert not image.any()
    assert keywords == {}


def test_manifest_is_read_back(saved):
    assert read_manifest(saved) == {"format_version": 1, "tasks": {"seg": {}}}


def test_manifest_missing_or_of_another_version(program, tmp_path):
    torch.export.save(program, tmp_path / "foreign.pt2")
    with pytest.raises(CorruptFileError, match="without a manifest"):
        read_manifest(tmp_path / "foreign.pt2")
    save_pt2(program, tmp_path / "new.pt2", {"format_version": 99})
    with pytest.raises(CorruptFileError, match="format_version 99"):
        read_manifest(tmp_path / "new.pt2")
    with pytest.raises(MissingFileError):
        read_manifest(tmp_path / "nowhere.pt2")


def test_failed_save_leaves_the_earlier_file(program, tmp_path):
    (tmp_path / "m.pt2").write_bytes(b"earlier")
    with pytest.raises(ValueError, match="JSON"):
        save_pt2(program, tmp_path / "m.pt2", {"loss": float("nan")})
    assert (tmp_path / "m.pt2").read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [tmp_path / "m.pt2"]
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        save_pt2(program, tmp_path / "file" / "m.pt2", {})


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x)


def test_save_refuses_what_open_would_refuse(tmp_path, captured):
    with pytest.raises(UnsafeFileError, match=r"linalg_svdvals"):
        save_pt2(captured(Random()), tmp_path / "m.pt2", {})
    assert list(tmp_path.iterdir()) == []
