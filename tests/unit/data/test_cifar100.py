import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from compactmtl.data.cifar100 import Cifar100, Cifar100Subset
from compactmtl.data.python_batches import read_python_batch
from compactmtl.errors import CorruptFileError, DataError, MissingFileError, UnsafeFileError

DATA = os.environ.get("COMPACTMTL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="COMPACTMTL_DATA is not set")


def write(folder: Path, part: str, **changes) -> None:
    number = 10
    pixels = np.arange(number * 3072).reshape(number, 3072) % 256
    content = {
        b"data": pixels.astype(np.uint8),
        b"fine_labels": list(range(number)),
        b"coarse_labels": [i % 20 for i in range(number)],
        b"filenames": [b"x.png"] * number,
        b"batch_label": b"one",
    }
    content |= {key.encode(): value for key, value in changes.items()}
    (folder / "cifar-100-python").mkdir(exist_ok=True)
    with (folder / "cifar-100-python" / part).open("wb") as file:
        pickle.dump(content, file, protocol=2)


@needs_data
def test_the_original_layout_is_read():
    data = Cifar100("test", Path(DATA) / "fixtures")
    assert len(data) == 100
    image, targets = data[0]
    assert image.shape == (3, 32, 32)
    assert 0.05 < image.mean() < 0.95
    assert sorted(int(data[i][1]["fine"]) for i in range(100)) == list(range(100))
    assert targets["coarse"].dtype == torch.int64


@needs_data
def test_the_pack_and_the_original_hold_the_same_pictures():
    original, pack = Cifar100("test", Path(DATA) / "fixtures"), Cifar100Subset("test")
    assert len(pack) == 1200
    found = {pack[i][0].numpy().tobytes(): pack[i][1] for i in range(len(pack))}
    both = [i for i in range(len(original)) if original[i][0].numpy().tobytes() in found]
    assert both, "the two were made from one source"
    for index in both:
        image, targets = original[index]
        assert found[image.numpy().tobytes()] == targets


def test_validation_is_every_tenth_training_image(tmp_path):
    write(tmp_path, "train")
    train, val = (Cifar100(split, tmp_path, augment=False) for split in ("train", "val"))
    assert [int(val[i][1]["fine"]) for i in range(len(val))] == [0]
    assert [int(train[i][1]["fine"]) for i in range(len(train))] == list(range(1, 10))


def test_planes_are_red_green_blue_row_by_row(tmp_path):
    pixels = np.zeros((1, 3072), dtype=np.uint8)
    pixels[0, 1024 + 32 * 2 + 5] = 255  # green, row 2, column 5
    write(tmp_path, "test", data=pixels, fine_labels=[3], coarse_labels=[1])
    image, _ = Cifar100("test", tmp_path)[0]
    assert image.nonzero().tolist() == [[1, 2, 5]]


def test_augmentation_shifts_and_mirrors_and_repeats(tmp_path):
    write(tmp_path, "train")
    data = Cifar100("train", tmp_path)
    torch.manual_seed(0)
    first = [data[0][0] for _ in range(6)]
    assert len({image.numpy().tobytes() for image in first}) > 3
    torch.manual_seed(0)
    assert torch.equal(data[0][0], first[0])
    assert torch.equal(Cifar100("val", tmp_path)[0][0], Cifar100("val", tmp_path)[0][0])


class Hostile:
    def __reduce__(self):
        return os.system, ("exit 7",)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    write(tmp_path, "train", extra=Hostile())
    with pytest.raises(UnsafeFileError, match=r"asks for `(posix|nt)\.system`"):
        Cifar100("train", tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"fine_labels": [100] * 10}, DataError, "fine labels from 100 to 100"),
        ({"data": np.zeros((10, 12), dtype=np.uint8)}, CorruptFileError, r"expected \(N, 3072\)"),
        ({"coarse_labels": [0]}, DataError, "different length"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, changes, error, message):
    write(tmp_path, "test", **changes)
    with pytest.raises(error, match=message):
        Cifar100("test", tmp_path)


def test_damaged_and_missing_files_say_so(tmp_path):
    write(tmp_path, "test")
    path = tmp_path / "cifar-100-python" / "test"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorruptFileError, match="damaged"):
        read_python_batch(path)
    with pytest.raises(MissingFileError, match="train"):
        Cifar100("train", tmp_path)
