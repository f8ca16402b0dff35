"""The .npz packs: against their published figures, and damaged in every way."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from compactmtl.data.camvid import CamVid, label_edges
from compactmtl.data.nuclei import Nuclei
from compactmtl.data.nuclei_instances import NucleiInstances
from compactmtl.errors import CorruptFileError, DataError, MissingFileError, UnsafeFileError
from compactmtl.multitask.segments import class_of

real = pytest.mark.skipif(
    not os.environ.get("COMPACTMTL_DATA"), reason="COMPACTMTL_DATA does not name the data packs"
)


def jpeg(value=0, size=(160, 120)):
    handle = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(handle, "JPEG")
    return np.frombuffer(handle.getvalue(), np.uint8)


def nuclei_arrays():
    rng = np.random.default_rng(0)
    instances = np.zeros((3, 128, 128), np.uint16)
    instances[:, 10:40, 20:60] = 300
    return {
        "images": rng.integers(0, 256, (3, 128, 128, 3), np.uint8),
        "instances": instances,
        "distance": (instances > 0).astype(np.uint8) * 255,
        "hv": np.repeat((instances > 0).astype(np.int8)[..., None] * -127, 2, -1),
        "split": np.array([0, 1, 2], np.uint8),
    }


def camvid_arrays():
    pictures = [jpeg(40), jpeg(200)]
    labels = np.zeros((2, 120, 160), np.uint8)
    labels[:, 60:] = 3
    labels[:, :, 150:] = 11
    return {
        "train_images_jpeg": np.concatenate(pictures),
        "train_image_offsets": np.cumsum([0, *map(len, pictures)]),
        "train_labels": labels,
    }


PACKS = {
    "nuclei_128": (Nuclei, nuclei_arrays),
    "camvid_160x120": (CamVid, camvid_arrays),
}


def write(root, name, arrays):
    path = root / name / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.fixture(params=sorted(PACKS))
def pack(request, tmp_path):
    dataset, make = PACKS[request.param]
    arrays = make()
    return dataset, arrays, write(tmp_path, request.param, arrays), tmp_path


def test_sound_pack_loads_with_all_declared_tasks(pack):
    dataset, _, _, root = pack
    data = dataset("train", root=str(root))
    image, targets = data[0]
    tasks = dataset.declared_tasks()
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert list(targets) == list(tasks)
    for name, task in tasks.items():
        blank = task.missing(*image.shape[1:])
        assert (targets[name].dtype, targets[name].shape) == (blank.dtype, blank.shape)
        assert task.valid(targets[name][None]).any()


def test_missing_file_is_named(pack):
    dataset, _, path, root = pack
    path.unlink()
    with pytest.raises(MissingFileError, match=path.name):
        dataset("train", root=root)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated_file_is_corrupt(pack, keep):
    dataset, _, path, root = pack
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(CorruptFileError, match=path.name):
        dataset("train", root=root)


def test_flipped_byte_is_corrupt(pack):
    dataset, _, path, root = pack
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError):
        dataset("train", root=root)


def test_single_array_is_not_a_pack(pack):
    dataset, _, path, root = pack
    with path.open("wb") as handle:
        np.save(handle, np.zeros(3))
    with pytest.raises(CorruptFileError, match="one array"):
        dataset("train", root=root)


def test_each_missing_array_is_named(pack):
    dataset, arrays, path, root = pack
    for name in arrays:
        write(root, path.stem, {key: value for key, value in arrays.items() if key != name})
        with pytest.raises(DataError, match=f"no array `{name}`"):
            dataset("train", root=root)


def test_each_array_of_another_dtype_or_shape_is_named(pack):
    dataset, arrays, path, root = pack
    for name, array in arrays.items():
        for wrong in (array.astype(np.float64), array[None]):
            write(root, path.stem, {**arrays, name: wrong})
            with pytest.raises(DataError, match=f"`{name}`"):
                dataset("train", root=root)


def test_pickled_objects_are_never_loaded(pack):
    dataset, arrays, path, root = pack
    name = next(iter(arrays))
    write(root, path.stem, {**arrays, name: np.array([{"code": 1}], object)})
    with pytest.raises(UnsafeFileError, match=name):
        dataset("train", root=root)


def test_arrays_of_different_length_are_refused(pack):
    dataset, arrays, path, root = pack
    name = "hv" if "hv" in arrays else "train_labels"
    write(root, path.stem, {**arrays, name: arrays[name][:1]})
    with pytest.raises(DataError, match="different length"):
        dataset("train", root=root)


def test_camvid_damaged_picture_is_named(tmp_path):
    arrays = camvid_arrays()
    arrays["train_images_jpeg"][:20] = 0
    write(tmp_path, "camvid_160x120", arrays)
    data = CamVid("train", root=tmp_path)
    data[1]
    with pytest.raises(DataError, match="image 0 of split 'train'"):
        data[0]


def test_camvid_bad_offsets_and_labels_are_refused(tmp_path):
    for name, change in (
        ("train_image_offsets", lambda a: a[::-1].copy()),
        ("train_labels", lambda a: a + np.uint8(5)),
    ):
        arrays = camvid_arrays()
        write(tmp_path, "camvid_160x120", {**arrays, name: change(arrays[name])})
        with pytest.raises(DataError, match=name):
            CamVid("train", root=tmp_path)


def test_camvid_unlabelled_pixels_are_invalid_for_both_tasks(tmp_path):
    write(tmp_path, "camvid_160x120", camvid_arrays())
    _, targets = CamVid("train", root=tmp_path)[0]
    for name, task in CamVid.declared_tasks().items():
        valid = task.valid(targets[name][None])[0]
        assert valid[:, :150].all()
        assert not valid[:, 150:].any()


def test_label_edges_on_a_known_map():
    labels = np.array([[0, 0, 1], [0, 0, 1], [0, 9, 9]], np.uint8)
    np.testing.assert_array_equal(label_edges(labels, 9), [[0, 1, 1], [0, 1, 1], [0, 0, 0]])


def test_label_edges_do_not_depend_on_orientation():
    labels = np.random.default_rng(0).integers(0, 4, (13, 17)).astype(np.uint8)
    edges = label_edges(labels, 3)
    np.testing.assert_array_equal(label_edges(labels[::-1], 3), edges[::-1])
    np.testing.assert_array_equal(label_edges(labels.T, 3), edges.T)


@real
def test_nuclei_agrees_with_its_published_figures():
    train, test = Nuclei("train"), Nuclei("test")
    assert (len(train), len(Nuclei("val")), len(test)) == (466, 98, 100)
    masks = torch.stack([train[i][1]["mask"] for i in range(len(train))])
    assert masks.mean().item() == pytest.approx(0.143, abs=5e-4)
    rest = [test[i][1] for i in range(len(test))]
    inside = torch.stack([targets["mask"] for targets in rest]) > 0
    assert inside.float().mean().item() == pytest.approx(0.130, abs=5e-4)
    directions = torch.stack([targets["direction"] for targets in rest])
    assert torch.equal(torch.isfinite(directions).all(1, keepdim=True), inside)
    assert directions[torch.isfinite(directions)].abs().max() <= 1


@real
def test_nuclei_mean_distance_inside_is_as_published():
    inside, total = 0.0, 0
    for split in ("train", "val", "test"):
        data = Nuclei(split)
        for index in range(len(data)):
            _, targets = data[index]
            inside += targets["distance"][targets["mask"] > 0].sum().item()
            total += int((targets["mask"] > 0).sum())
    assert inside / total == pytest.approx(0.476, abs=5e-3)


@real
def test_camvid_agrees_with_its_published_figures():
    assert [len(CamVid(split)) for split in ("train", "val", "test")] == [367, 101, 233]
    data = CamVid("test")
    seg = torch.stack([data[i][1]["seg"] for i in range(len(data))])
    assert (seg == 3).float().mean().item() == pytest.approx(0.258, abs=1e-3)
    assert (seg == 1).float().mean().item() == pytest.approx(0.247, abs=1e-3)
    assert (seg == -1).float().mean().item() == pytest.approx(0.036, abs=1e-3)
    edges = torch.stack([data[i][1]["edges"] for i in range(20)])
    assert torch.equal(torch.isnan(edges[:, 0]), seg[:20] == -1)
    assert 0.02 < torch.nanmean(edges).item() < 0.3


def test_nuclei_one_by_one_are_those_of_the_mask(tmp_path):
    arrays = nuclei_arrays()
    arrays["instances"][0, 60:90, 60:61] = 7
    write(tmp_path, "nuclei_128", arrays)
    data = NucleiInstances("train", root=str(tmp_path))
    image, targets = data[0]
    for name, task in data.declared_tasks().items():
        task.check_target(targets[name], task.missing(*image.shape[1:]), name)
    found = targets["instances"]
    assert found["boxes"].tolist() == [[60, 60, 61, 90], [20, 10, 60, 40]]  # by their numbers
    mask = Nuclei("train", root=str(tmp_path))[0][1]["mask"][0] == 1
    assert torch.equal(found["masks"].any(0), mask)
    assert torch.equal(targets["semantic"] == 0, mask)
    ids = targets["panoptic"]
    assert torch.equal(class_of(ids) == 0, mask)
    assert len(ids[mask].unique()) == 2
    assert len(ids[~mask].unique()) == 1


def test_an_image_without_nuclei_has_an_empty_list(tmp_path):
    arrays = nuclei_arrays()
    arrays["instances"][0] = 0
    write(tmp_path, "nuclei_128", arrays)
    found = NucleiInstances("train", root=str(tmp_path))[0][1]["instances"]
    assert found["masks"].shape == (0, 128, 128)
    assert found["boxes"].shape == (0, 4)
    assert bool(found["labelled"])


@real
def test_real_nuclei_are_counted_as_published():
    data = [NucleiInstances(split) for split in ("train", "val", "test")]
    assert [len(one) for one in data] == [466, 98, 100]
    counts = [len(data[2][i][1]["instances"]["labels"]) for i in range(100)]
    assert max(counts) <= 332
    assert min(counts) >= 0
    assert sum(counts) > 2000
