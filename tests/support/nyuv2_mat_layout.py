"""Writes a few samples in the layout of NYUv2's official files."""

from pathlib import Path

import numpy as np

SIZE = (48, 64)
NUM_NAMES = 894


def table_40() -> np.ndarray:
    """Return a made-up class (1 to 40) for each of 894 names; the real table is not shipped."""
    return np.random.default_rng(1).permutation(np.arange(NUM_NAMES) % 40) + 1


def table_13() -> np.ndarray:
    """Return a made-up class (1 to 13) for each of the 40."""
    return np.random.default_rng(2).permutation(np.arange(40) % 13) + 1


def cell(names) -> np.ndarray:
    """Return names as a MATLAB cell of a row."""
    made = np.empty((1, len(names)), dtype=object)
    made[0, :] = list(names)
    return made


def write_nyuv2_mat(root: Path, *, number: int = 8, size=SIZE) -> Path:
    """Write ``root/nyuv2``: HDF5 with MATLAB's order of axes, and three files of format 5."""
    import h5py
    from scipy.io import savemat

    from compactmtl.data.nyuv2_classes import CLASSES_13, CLASSES_40

    folder = root / "nyuv2"
    folder.mkdir(parents=True)
    height, width = size
    generator = np.random.default_rng(0)
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        images = generator.integers(0, 256, (number, 3, width, height), dtype=np.uint8)
        file.create_dataset("images", data=images, chunks=(1, 3, width, height), compression="gzip")
        depths = generator.uniform(1, 9, (number, width, height)).astype(np.float32)
        file.create_dataset("depths", data=depths)
        labels = generator.integers(0, NUM_NAMES + 1, (number, width, height)).astype(np.uint16)
        file.create_dataset("labels", data=labels)
        file.create_dataset("sceneTypes", data=np.zeros((1, number)))
    every = np.arange(1, number + 1)
    splits = {
        "trainNdxs": every[every % 4 != 0][:, None],
        "testNdxs": every[every % 4 == 0][:, None],
    }
    savemat(folder / "splits.mat", splits)
    names_40 = [name.replace("refrigerator", "refridgerator") for name in CLASSES_40]
    mapping = {"mapClass": table_40()[None, :], "className": cell(names_40)}
    savemat(folder / "classMapping40.mat", mapping)
    names_13 = ["TV" if name == "tv" else name.capitalize() for name in CLASSES_13]
    struct = {"labels13": table_13()[None, :], "className": cell(names_13)}
    savemat(folder / "class13Mapping.mat", {"classMapping13": struct})
    return root
