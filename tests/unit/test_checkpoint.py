"""Checkpoints: read back unchanged, and refused with the right word when they are not whole."""

import io
import os
import pickle
import random
import resource
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from compactmtl.checkpoint import (
    FORMAT_VERSION,
    Checkpoint,
    build_model,
    load_checkpoint,
    save_checkpoint,
)
from compactmtl.errors import (
    CorruptFileError,
    MissingFileError,
    RefusedError,
    UnsafeFileError,
    WeightsError,
    WriteError,
)
from compactmtl.models import MODELS
from compactmtl.overparam import expand, expansion_spec

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "segnet", "args": {"widths": [4, 6]}},
    "data": {"name": "rooms"},
    "tasks": {"seg": {}},
}


def small_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS["segnet"]({"seg": 3}, widths=(4, 6))


def checkpoint_of(model: torch.nn.Module, **fields: Any) -> Checkpoint:
    document: dict[str, Any] = {
        "recipe": RECIPE,
        "tasks": {"seg": {"kind": "segmentation", "num_channels": 3, "num_classes": 3}},
        "model": dict(model.state_dict()),
        "expansion": None,
        "epoch": 2,
        "phase": "dense",
        "optimizer": {"main": torch.optim.AdamW(model.parameters()).state_dict()},
        "schedule": {},
        "history": [{"epoch": 1, "loss": {"seg": float("inf")}}],
        "seed": 5,
    }
    return Checkpoint(**document | fields)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "ckpt.pt"
    save_checkpoint(path, checkpoint_of(small_model()))
    return path


def test_a_checkpoint_reads_back_unchanged_and_rebuilds_its_network(saved: Path):
    model = small_model()
    expected, got = checkpoint_of(model), load_checkpoint(saved)
    assert got.recipe == expected.recipe
    assert got.history == expected.history
    assert (got.epoch, got.phase, got.seed) == (2, "dense", 5)
    rebuilt = build_model(got)
    for name, tensor in model.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[name], tensor)


def test_an_expanded_network_is_rebuilt_expanded(tmp_path: Path):
    model = small_model()
    expand(model, tasks=["seg"])
    path = tmp_path / "ckpt.pt"
    save_checkpoint(path, checkpoint_of(model, expansion=expansion_spec(model)))
    rebuilt = build_model(load_checkpoint(path))
    image = torch.rand(2, 3, 16, 16)
    assert torch.equal(rebuilt.eval()(image)["seg"], model.eval()(image)["seg"])


def test_building_draws_no_global_random_number(saved: Path):
    checkpoint = load_checkpoint(saved)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build_model(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_of_the_users_own_is_never_imported_from_a_file(saved: Path):
    checkpoint = load_checkpoint(saved)
    checkpoint.recipe = RECIPE | {"model": {"name": "antigravity:fly"}}
    with pytest.raises(RefusedError, match="antigravity:fly") as caught:
        build_model(checkpoint)
    assert "--model antigravity:fly" in caught.value.hint
    factory = MODELS["segnet"]
    rebuilt = build_model(checkpoint, factory=lambda tasks: factory(tasks, widths=(4, 6)))
    assert sum(p.numel() for p in rebuilt.parameters()) > 0


def test_weights_that_do_not_fit_are_named(saved: Path):
    checkpoint = load_checkpoint(saved)
    del checkpoint.model["heads.seg.0.weight"]
    with pytest.raises(WeightsError, match=r"heads\.seg\.0\.weight"):
        build_model(checkpoint)


def test_missing_and_folder(tmp_path: Path, saved: Path):
    with pytest.raises(MissingFileError, match="no such file"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(MissingFileError, match="is a folder") as caught:
        load_checkpoint(tmp_path)
    assert "ckpt.pt" in caught.value.hint


def test_an_empty_file_is_called_empty(tmp_path: Path):
    path = tmp_path / "empty.pt"
    path.touch()
    with pytest.raises(CorruptFileError, match="is empty"):
        load_checkpoint(path)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_called_truncated(saved: Path, share: float):
    content = saved.read_bytes()
    saved.write_bytes(content[: max(2, int(share * len(content)))])
    with pytest.raises(CorruptFileError, match="truncated"):
        load_checkpoint(saved)


def test_random_bytes_are_no_checkpoint(tmp_path: Path):
    path = tmp_path / "noise.pt"
    path.write_bytes(b"\x01" + random.Random(0).randbytes(5000))
    with pytest.raises(CorruptFileError, match="not a checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("seed", range(40))
def test_no_flipped_byte_goes_unnoticed_where_content_stands(saved: Path, seed: int):
    # torch's reader checks no checksum: without ours most of these would load as other weights.
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        entries = [entry for entry in archive.infolist() if entry.file_size > 3]
    chosen = random.Random(seed)
    entry = chosen.choice(entries)
    name_size = int.from_bytes(content[entry.header_offset + 26 :][:2], "little")
    extra_size = int.from_bytes(content[entry.header_offset + 28 :][:2], "little")
    start = entry.header_offset + 30 + name_size + extra_size
    content[start + chosen.randrange(entry.file_size)] ^= 1 << chosen.randrange(8)
    saved.write_bytes(content)
    with pytest.raises(CorruptFileError, match="checksum"):
        load_checkpoint(saved)


@pytest.mark.parametrize("seed", range(60))
def test_any_damage_ends_in_one_of_our_errors_or_in_the_same_content(saved: Path, seed: int):
    chosen = random.Random(seed)
    content = bytearray(saved.read_bytes())
    for _ in range(chosen.randrange(1, 6)):
        content[chosen.randrange(len(content))] = chosen.randrange(256)
    saved.write_bytes(content)
    try:
        got = load_checkpoint(saved)
    except (CorruptFileError, UnsafeFileError):
        return
    for name, tensor in small_model().state_dict().items():
        assert torch.equal(got.model[name], tensor)


def test_a_zip_without_a_pickle_is_no_checkpoint(tmp_path: Path):
    path = tmp_path / "archive.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CorruptFileError, match=r"no data\.pkl"):
        load_checkpoint(path)


class _RunsCode:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("container", ["torch", "bare", "inside"])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path: Path, container: str):
    proof, path = tmp_path / "it-ran", tmp_path / "ckpt.pt"
    payload = _RunsCode(f"touch {proof}")
    if container == "torch":
        torch.save(payload, path)
    elif container == "bare":
        path.write_bytes(pickle.dumps(payload))
    else:
        save_checkpoint(path, checkpoint_of(small_model(), metrics={"a": payload}))
    with pytest.raises(UnsafeFileError, match="code while it loads"):
        load_checkpoint(path)
    assert not proof.exists()
    if container == "torch":  # the oracle: the same file does run code where pickle is trusted
        torch.load(path, weights_only=False)
        assert proof.exists()


def test_another_format_version_and_other_files_are_told_apart(tmp_path: Path, saved: Path):
    document = torch.load(saved, weights_only=True)
    path = tmp_path / "other.pt"
    torch.save(document | {"format_version": FORMAT_VERSION + 1}, path)
    with pytest.raises(CorruptFileError, match=f"format {FORMAT_VERSION + 1}.*reads"):
        load_checkpoint(path)
    torch.save({"state_dict": document["model"]}, path)
    with pytest.raises(CorruptFileError, match="not a checkpoint of compactmtl") as caught:
        load_checkpoint(path)
    assert "--model" in caught.value.hint
    torch.save([1, 2], path)
    with pytest.raises(CorruptFileError, match="not a checkpoint of compactmtl"):
        load_checkpoint(path)
    torch.save({k: v for k, v in document.items() if k != "epoch"}, path)
    with pytest.raises(CorruptFileError, match="lacks `epoch`"):
        load_checkpoint(path)
    torch.save(document | {"epoch": "two"}, path)
    with pytest.raises(CorruptFileError, match="`epoch` is a str"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_earlier_checkpoint(saved: Path):
    before = saved.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):  # a lambda cannot be saved
        save_checkpoint(saved, checkpoint_of(small_model(), metrics={"f": lambda: 0}))
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_an_unwritable_folder_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "ckpt.pt", checkpoint_of(small_model()))


def test_a_disk_that_takes_no_more_is_one_line_and_the_earlier_checkpoint_stays(saved: Path):
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(WriteError, match="cannot write"):
            save_checkpoint(saved, checkpoint_of(small_model()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_is_by_content_alone():
    first, second = io.BytesIO(), io.BytesIO()
    torch.save(checkpoint_of(small_model()).model, first)
    torch.save(checkpoint_of(small_model()).model, second)
    assert first.getvalue() == second.getvalue()
