"""The rooms data set and its cache on disk."""

import logging
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from compactmtl.data.rooms import Rooms
from compactmtl.data.rooms_cache import PART, RoomsKey, cache_folder, quantise
from compactmtl.data.rooms_render import render
from compactmtl.errors import UsageError, WriteError

SMALL = {"height": 6, "width": 8}


def part_files(root):
    return sorted(path for path in root.rglob("*.npy") if not path.name.startswith("."))


def assert_equal_samples(a, b, indices):
    for index in indices:
        (image, targets), (other, others) = a[index], b[index]
        assert torch.equal(image, other)
        assert all(torch.equal(targets[name], others[name]) for name in targets)


def test_sample_has_the_documented_form(tmp_path):
    data = Rooms("train", num_images=2, height=9, width=14, cache=tmp_path)
    image, targets = data[1]
    assert (image.dtype, image.shape) == (torch.float32, (3, 9, 14))
    assert list(targets) == list(Rooms.declared_tasks()) == ["seg", "depth", "normals"]
    assert (targets["seg"].dtype, targets["seg"].shape) == (torch.int64, (9, 14))
    assert (targets["depth"].dtype, targets["depth"].shape) == (torch.float32, (1, 9, 14))
    assert (targets["normals"].dtype, targets["normals"].shape) == (torch.float32, (3, 9, 14))
    assert image.min() >= 0
    assert image.max() <= 1


def test_cache_keeps_what_was_rendered_up_to_its_quantisation(tmp_path):
    image, targets = Rooms("val", num_images=15, cache=tmp_path, **SMALL)[2]
    frame = render("val", 0, 2, 6, 8)
    np.testing.assert_allclose(image.permute(1, 2, 0), frame.image, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(targets["seg"], frame.seg)
    np.testing.assert_allclose(targets["depth"][0], frame.depth, rtol=2**-11)
    cosine = (targets["normals"].permute(1, 2, 0).numpy() * frame.normals).sum(-1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5
    np.testing.assert_allclose(targets["normals"].norm(dim=0), 1.0, atol=1e-6)


def test_targets_are_valid_everywhere_for_their_tasks(tmp_path):
    _, targets = Rooms("train", num_images=1, cache=tmp_path, **SMALL)[0]
    for name, task in Rooms.declared_tasks(num_images=1).items():
        assert task.valid(targets[name][None]).all()


def test_second_opening_renders_nothing(tmp_path):
    calls = []
    args = {"num_images": PART + 3, "cache": tmp_path, **SMALL}
    first = Rooms("train", progress=lambda *a: calls.append(a), **args)
    assert calls == [(PART, PART + 3), (PART + 3, PART + 3)]
    stamps = [path.stat().st_mtime_ns for path in part_files(tmp_path)]
    second = Rooms("train", progress=lambda *_: pytest.fail("rendered again"), **args)
    assert [path.stat().st_mtime_ns for path in part_files(tmp_path)] == stamps
    assert_equal_samples(first, second, [0, PART - 1, PART, PART + 2])


def test_other_numbers_of_images_share_full_parts(tmp_path):
    few = Rooms("train", num_images=PART, cache=tmp_path, **SMALL)
    more = Rooms("train", num_images=PART + 1, cache=tmp_path, **SMALL)
    assert len(part_files(tmp_path)) == 2
    assert_equal_samples(few, more, [0, PART - 1])


def test_each_parameter_has_a_cache_of_its_own(tmp_path):
    Rooms("train", num_images=1, cache=tmp_path, **SMALL)
    Rooms("val", num_images=1, cache=tmp_path, **SMALL)
    Rooms("train", num_images=1, cache=tmp_path, seed=1, **SMALL)
    Rooms("train", num_images=1, cache=tmp_path, height=8, width=6)
    assert len({path.parent.name for path in part_files(tmp_path)}) == 4


def test_processes_write_the_same_bytes(tmp_path):
    args = {"num_images": PART + 2, **SMALL}
    Rooms("train", cache=tmp_path / "one", **args)
    Rooms("train", cache=tmp_path / "two", num_workers=2, **args)
    one, two = part_files(tmp_path / "one"), part_files(tmp_path / "two")
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "pickled"])
def test_damaged_part_is_rendered_again_with_one_line(tmp_path, caplog, damage):
    args = {"num_images": 3, "cache": tmp_path, **SMALL}
    Rooms("train", **args)
    (path,) = part_files(tmp_path)
    sound = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(sound[:-100])
    elif damage == "flipped":
        path.write_bytes(sound[:-100] + bytes([sound[-100] ^ 1]) + sound[-99:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        np.save(path, np.zeros((3, 4)))
    else:
        np.save(path, np.array([{}], object), allow_pickle=True)
    with caplog.at_level(logging.WARNING):
        Rooms("train", **args)
    assert path.read_bytes() == sound
    assert len(caplog.records) == 1
    assert path.name in caplog.text


def test_killed_render_goes_on_with_the_missing_parts(tmp_path):
    num_images = 6 * PART
    program = (
        "from compactmtl.data.rooms import Rooms;"
        f"Rooms('train', num_images={num_images}, height=6, width=8, cache={str(tmp_path)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 60
    while not part_files(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in part_files(tmp_path)}
    assert 0 < len(kept) < 6
    data = Rooms("train", num_images=num_images, cache=tmp_path, **SMALL)
    assert len(part_files(tmp_path)) == 6
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    expected = quantise(render("train", 0, num_images - 1, 6, 8), RoomsKey("train", 0, 6, 8).record)
    np.testing.assert_array_equal(data[-1][1]["seg"], expected["seg"][0])


def test_interrupted_render_leaves_no_part_file(tmp_path):
    def interrupt(ready, wanted):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Rooms("train", num_images=PART + 1, cache=tmp_path, progress=interrupt, **SMALL)
    assert [path.name for path in tmp_path.rglob("*.npy")] == [f"000000-{PART:06d}.npy"]


def test_leftovers_of_killed_renders_are_removed_once_old(tmp_path):
    folder = tmp_path / RoomsKey("train", 0, 6, 8).folder
    folder.mkdir()
    old, young = folder / ".000000-000050.npy.a.npy", folder / ".000000-000050.npy.b.npy"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (0, 0))
    Rooms("train", num_images=1, cache=tmp_path, **SMALL)
    assert not old.exists()
    assert young.exists()


def test_unwritable_cache_is_a_write_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file"):
        Rooms("train", num_images=1, cache=tmp_path / "file" / "cache", **SMALL)


def test_pickled_data_set_is_small_and_equal(tmp_path):
    data = Rooms("train", num_images=3, height=24, width=32, cache=tmp_path)
    packed = pickle.dumps(data)
    assert len(packed) < 2000
    assert_equal_samples(data, pickle.loads(packed), range(3))


def test_lengths_follow_the_train_split(tmp_path):
    args = {"num_images": 5, "cache": tmp_path, **SMALL}
    assert [len(Rooms(split, **args)) for split in ("train", "val", "test")] == [5, 1, 1]
    assert len(Rooms("val", num_eval_images=2, **args)) == 2


def test_index_beyond_the_end_ends_iteration(tmp_path):
    data = Rooms("train", num_images=2, cache=tmp_path, **SMALL)
    assert len(list(data)) == 2


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"num_images": 0}, "num_images"),
        ({"height": "96"}, "height"),
        ({"width": True}, "width"),
        ({"seed": -1}, "seed"),
        ({"num_workers": 1.5}, "num_workers"),
    ],
)
def test_bad_argument_is_a_usage_error_that_names_it(tmp_path, args, named):
    with pytest.raises(UsageError, match=named):
        Rooms("train", cache=tmp_path, **args)


def test_unknown_split_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="'trian'"):
        Rooms("trian", cache=tmp_path)


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPACTMTL_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("COMPACTMTL_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "compactmtl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "compactmtl"
