import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from compactmtl.compact import CompactModel, load_folder
from compactmtl.compiler import compress, folder
from compactmtl.compiler.folder import FILES, write_folder
from compactmtl.compiler.replay import recorded
from compactmtl.errors import DiskFullError, UsageError, WriteError

IMAGES = list(torch.rand(8, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def made_from(source: str) -> CompactModel:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1))
    with torch.no_grad():
        net[2].weight[:, :3] = 0
    parent = {"file": "ckpt.pt", "sha256": source}
    return compress(net, IMAGES[0], images=IMAGES[:1], parent=parent, dynamic=False)


@pytest.fixture(scope="module")
def first() -> CompactModel:
    return made_from("a" * 64)


@pytest.fixture(scope="module")
def other() -> CompactModel:
    return made_from("b" * 64)


def content(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def write(compact: CompactModel, path: Path, **options) -> dict:
    return write_folder(compact, path, images=IMAGES, origin="eight images", **options)


def test_everything_to_rebuild_the_model_lies_there(first, tmp_path) -> None:
    document = write(first, tmp_path / "compact", run="../runs/x")
    out = tmp_path / "compact"
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert [p.name for p in tmp_path.iterdir()] == ["compact"]  # no temporary folder stays
    assert json.loads((out / "report.json").read_text()) == document
    assert document["source"] == {"file": "ckpt.pt", "sha256": "a" * 64, "run": "../runs/x"}
    weights = load_file(out / "weights.safetensors")
    state = first.module.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)
    plan = json.loads((out / "plan.json").read_text())
    assert plan == recorded(first)
    dense = first.dense.state_dict()
    rows = next(iter(plan["rows"].values()))
    assert rows == [3, 4, 5]  # with the dense weights these numbers give the compact ones
    assert torch.equal(weights["0.weight"], dense["0.weight"][rows])
    assert torch.equal(weights["2.weight"], dense["2.weight"][:, rows])
    with np.load(out / "inputs.npz") as stored:
        assert stored["source"] == "eight images"
        np.testing.assert_array_equal(stored["input"], torch.cat(IMAGES).numpy())
    loaded = load_folder(out)
    assert torch.equal(loaded.module(IMAGES[0]), first.module(IMAGES[0]))
    assert torch.equal(loaded.dense(IMAGES[0]), first.dense(IMAGES[0]))


def test_the_same_source_is_updated_in_place_with_its_artefacts(first, tmp_path) -> None:
    write(first, tmp_path / "compact")
    (tmp_path / "compact" / "model.onnx").write_bytes(b"exported")
    (tmp_path / "compact" / "plan.json").write_text("{}")
    write(first, tmp_path / "compact")
    assert (tmp_path / "compact" / "model.onnx").read_bytes() == b"exported"
    assert json.loads((tmp_path / "compact" / "plan.json").read_text()) == recorded(first)
    assert not (tmp_path / "compact.previous").exists()


def test_another_source_moves_the_old_folder_with_its_artefacts(first, other, tmp_path) -> None:
    out, previous = tmp_path / "compact", tmp_path / "compact.previous"
    write(first, out)
    (out / "model.onnx").write_bytes(b"exported")
    old = content(out)
    write(other, out)
    assert content(previous) == old
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    middle = content(out)
    write(first, out)  # only the last one is kept
    assert content(previous) == middle
    assert sorted(p.name for p in tmp_path.iterdir()) == ["compact", "compact.previous"]


@pytest.mark.parametrize("source", ["first", "other"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), DiskFullError),
        (OSError(13, "Permission denied"), WriteError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["disk-full", "permission", "ctrl-c"],
)
def test_a_failure_while_filling_leaves_the_old_folder_to_the_byte(
    source, error, expected, first, request, tmp_path, monkeypatch
) -> None:
    write(first, tmp_path / "compact")
    (tmp_path / "compact" / "model.onnx").write_bytes(b"exported")
    before = content(tmp_path)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(folder, "write_inputs", fail)  # the last file
    with pytest.raises(expected):
        write(request.getfixturevalue(source), tmp_path / "compact")
    assert content(tmp_path) == before
    with pytest.raises(expected):
        write(first, tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["compact"]


def test_a_folder_of_other_files_is_refused_and_untouched(first, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \(`notes.txt`\)"):
        write(first, tmp_path)
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        write(first, tmp_path / "notes.txt")
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_the_current_folder_can_be_written(first, tmp_path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(first, Path())
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == sorted(FILES)
