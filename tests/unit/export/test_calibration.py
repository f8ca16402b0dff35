from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from compactmtl.errors import CompactMTLError, CorruptFileError, DataError, UsageError
from compactmtl.export import calibration
from compactmtl.export.calibration import NUM_SAMPLES, find_calibration
from compactmtl.export.stored import Stored
from compactmtl.recipe import DataSection

REAL = "validation images of rooms"
GOOD = np.linspace(0, 1, 4 * 3 * 48 * 64, dtype=np.float32).reshape(4, 3, 48, 64)


@pytest.fixture
def find(program, interface):
    def find(wanted, *, source=REAL, data=None):
        stored = Stored({"image": GOOD}, source)
        return find_calibration(wanted, program, interface, stored, data)

    return find


def test_the_stored_samples_serve_if_they_are_real(find):
    found = find(None)
    np.testing.assert_array_equal(found.arrays["image"], GOOD)
    assert found.source == f"{REAL} (those stored beside it)"


@pytest.mark.parametrize(
    "source", ["seeded noise", "uniform random in [0, 1), seed 0", "of unknown origin", ""]
)
def test_random_and_unknown_samples_are_refused(find, source):
    with pytest.raises(UsageError, match="int8 needs real samples") as error:
        find(None, source=source)
    assert "--calibration" in error.value.hint


def test_a_pack_of_noise_is_refused(find, tmp_path):
    np.savez(tmp_path / "p.npz", image=GOOD, source="seeded noise")
    with pytest.raises(DataError, match="seeded noise"):
        find(str(tmp_path / "p.npz"))


def test_a_pack_serves(find, tmp_path):
    np.savez(tmp_path / "p.npz", image=GOOD, labels=np.arange(4))
    found = find(str(tmp_path / "p.npz"))
    assert (list(found.arrays), found.source, found.num_samples) == (["image"], "p.npz", 4)


BAD = {
    "another name": ({"picture": GOOD}, "has no array `image`, got picture"),
    "another type": ({"image": GOOD.astype(np.float64)}, r"is float64 \[4, 3, 48, 64\]"),
    "bytes": ({"image": (GOOD * 255).astype(np.uint8)}, "is uint8"),
    "channels last": ({"image": GOOD.transpose(0, 2, 3, 1).copy()}, r"\[4, 48, 64, 3\]"),
    "one image without a batch": ({"image": GOOD[0]}, r"\[3, 48, 64\]"),
    "NaN": ({"image": np.where(GOOD > 0.5, np.float32("nan"), GOOD)}, "holds NaN or Inf"),
    "Inf": ({"image": np.where(GOOD > 0.5, np.float32("inf"), GOOD)}, "holds NaN or Inf"),
    "0 to 255": ({"image": GOOD * np.float32(255)}, "holds 0 to 255"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_packs_in_one_line(find, tmp_path, case):
    arrays, message = BAD[case]
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(DataError, match=message) as error:
        find(str(tmp_path / "p.npz"))
    assert "\n" not in error.value.message


def test_an_empty_pack_a_broken_one_and_none(find, tmp_path):
    np.savez(tmp_path / "empty.npz", image=GOOD[:0])
    with pytest.raises(CorruptFileError, match="no sample"):
        find(str(tmp_path / "empty.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(CorruptFileError, match="not an intact file"):
        find(str(tmp_path / "broken.npz"))
    with pytest.raises(CompactMTLError, match=r"no such file"):
        find(str(tmp_path / "none.npz"))
    with pytest.raises(UsageError, match="neither a data set"):
        find("roooms")


def test_a_folder_of_images_is_resized_to_the_model(find, tmp_path):
    Image.new("RGB", (200, 100), (255, 0, 51)).save(tmp_path / "a.png")
    Image.new("L", (64, 48), 102).save(tmp_path / "b.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    found = find(str(tmp_path))
    image = found.arrays["image"]
    assert (image.shape, image.dtype) == ((2, 3, 48, 64), np.float32)
    np.testing.assert_allclose(image[0, :, 5, 5], [1.0, 0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(image[1], 0.4, atol=0.01)
    assert found.source == f"images of {tmp_path.name}/"


def test_a_folder_without_images_or_with_a_broken_one(find, tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        find(str(tmp_path))
    (tmp_path / "rooms.npz").touch()
    with pytest.raises(DataError, match="holds no image") as error:
        find(str(tmp_path))
    assert "rooms.npz" in error.value.hint
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing")
    with pytest.raises(DataError, match=r"a\.png` is no intact image"):
        find(str(tmp_path))


def photos(**args):
    return DataSection(name="photos", args=args)


class Photographs:
    """A user's own data set; remembers which samples were asked for."""

    asked: ClassVar[list] = []

    def __init__(self, split, num_images=300, height=48):
        assert split == "train"
        self.num_images, self.height = num_images, height
        self.asked.clear()

    def __len__(self):
        return self.num_images

    def __getitem__(self, index):
        self.asked.append(index)
        return torch.full((3, self.height, 64), index / self.num_images), {}


@pytest.fixture
def named(monkeypatch):
    monkeypatch.setattr(calibration, "DATASETS", {"photos": Photographs})


def test_a_data_set_gives_training_images_evenly(named, find):
    found = find("photos")
    assert found.num_samples == NUM_SAMPLES == len(set(Photographs.asked))
    assert (Photographs.asked[0], Photographs.asked[-1]) == (0, 299)
    assert np.diff(Photographs.asked).max() <= 3
    assert found.source == "training images of photos"


def test_a_data_set_takes_the_recipes_arguments(named, find):
    assert find("photos", data=photos(num_images=2)).num_samples == 2
    assert (
        find("photos", data=DataSection(name="other", args={"num_images": 2})).num_samples
        == NUM_SAMPLES
    )
    with pytest.raises(DataError, match="is empty"):
        find("photos", data=photos(num_images=0))


def test_free_sizes_are_told_without_the_symbols_of_torch(program, interface):
    stored = Stored({"image": GOOD}, REAL)
    given = Stored({"image": np.zeros((4, 4, 48, 64), np.float32)}, "a pack")
    with pytest.raises(DataError, match=r"takes float32 \[samples, 3, any, any\]$"):
        find_calibration(given, program, interface, stored, None)


def test_images_of_another_size_are_refused_where_the_size_is_fixed(
    named, capture_program, network, interface
):
    program = capture_program(network, torch.rand(2, 3, 48, 64), dynamic=False)
    stored = Stored({"image": GOOD}, REAL)
    data = photos(height=32, num_images=5)
    with pytest.raises(DataError, match=r"\[5, 3, 32, 64\], the model takes float32"):
        find_calibration("photos", program, interface, stored, data)
    data = photos(num_images=1)
    with pytest.raises(DataError, match="holds 1 samples, expected 2 or more"):
        find_calibration("photos", program, interface, stored, data)
