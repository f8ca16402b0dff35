"""Writes samples into tar archives in the way of WebDataset."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

TASKS = {
    "seg": {"kind": "segmentation", "num_classes": 4, "file": "seg.png"},
    "depth": {"kind": "depth", "file": "depth.npy"},
    "normals": {"kind": "normals", "file": "normals.npy"},
    "mask": {"kind": "binary", "file": "mask.png"},
    "flow": {"kind": "regression", "num_channels": 2, "file": "flow.npy"},
    "kind": {"kind": "classification", "num_classes": 5, "file": "cls"},
}
SIZE = (12, 16)


def arrays(index: int) -> dict[str, np.ndarray]:
    """Return a sample's content, by the end of its files' names."""
    generator = np.random.default_rng(index)
    normals = generator.standard_normal((*SIZE, 3)).astype(np.float32)
    labels = generator.integers(0, 4, SIZE).astype(np.uint8)
    labels[0] = 255
    return {
        "png": generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        "seg.png": labels,
        "depth.npy": generator.uniform(1, 5, SIZE).astype(np.float32),
        "normals.npy": normals / np.linalg.norm(normals, axis=2, keepdims=True),
        "mask.png": (generator.random(SIZE) > 0.5).astype(np.uint8) * 255,
        "flow.npy": generator.standard_normal((*SIZE, 2)).astype(np.float32),
        "cls": np.array(index % 5),
    }


def files(index: int) -> dict[str, bytes]:
    """Return the same as it is stored."""
    stored = {}
    for end, array in arrays(index).items():
        content = io.BytesIO()
        if end.endswith("png"):
            Image.fromarray(array).save(content, format="PNG")
        elif end == "cls":
            content.write(str(int(array)).encode())
        else:
            np.save(content, array)
        stored[end] = content.getvalue()
    return stored


def write_shard(path: Path, indices, *, without=(), mode="w") -> None:
    """Write one archive; files whose ends are in ``without`` are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for index in indices:
            for end, content in files(index).items():
                if end in without:
                    continue
                member = tarfile.TarInfo(f"scenes/{index:06d}.{end}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
