"""What an application does around a runtime: image in, pictures out, all from the sidecar.

Needs numpy and pillow only. The sidecar (`model.onnx.json` beside `model.onnx`) says what the input
is called, how it is scaled and sized, and what each output means.
"""

import argparse
import colorsys
import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = [
    tuple(
        int(255 * part) for part in colorsys.hsv_to_rgb(i * 0.618 % 1, 0.6, (0.95, 0.7, 0.5)[i % 3])
    )
    for i in range(256)
]


def arguments(suffix):
    parser = argparse.ArgumentParser()
    parser.add_argument("artefact", type=Path, help=f"model{suffix}, its sidecar beside it")
    parser.add_argument("image", type=Path)
    parser.add_argument("--size", default="", help="HxW, where the network leaves it free")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the pictures")
    return parser.parse_args()


def read_sidecar(artefact):
    return json.loads(artefact.with_name(artefact.name + ".json").read_text())


def preprocess(sidecar, path, size=""):
    """Return the image as the network takes it, (1, 3, H, W)."""
    spec = sidecar["inputs"][0]
    if spec["layout"] != "NCHW" or spec["mean"] is None:
        raise SystemExit(f"input `{spec['name']}` is no image whose scale is known")
    image = Image.open(path).convert("RGB")
    height, width = spec["shape"][2:]
    if not isinstance(height, int):
        height, width = map(int, size.split("x")) if size else (image.height, image.width)
        # Encoders halve the size up to five times.
        height, width = (max(32, side // 32 * 32) for side in (height, width))
    pixels = np.asarray(image.resize((width, height)), dtype=np.float32)
    scaled = (pixels - np.float32(spec["mean"])) * np.float32(spec["scale"])
    return {spec["name"]: np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])}


def draw(sidecar, outputs, folder):
    """Write one picture per task: `seg.png`, `depth.png`, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for spec in sidecar["outputs"]:
        task, raw = spec["task"], np.asarray(outputs[spec["name"]], dtype=np.float32)
        if task is None:
            continue
        picture = PICTURES.get(task["kind"], strongest_channel)(raw[0], task)
        Image.fromarray(picture).save(folder / f"{spec['name']}.png")
        print(f"{spec['name']}: {task['kind']}, {list(raw.shape)}, {folder / spec['name']}.png")


def segmentation(raw, task):
    classes = raw.argmax(0)
    names = task["classes"] or [str(i) for i in range(task["num_classes"])]
    share = np.bincount(classes.ravel(), minlength=len(names)) / classes.size
    print("  " + ", ".join(f"{names[i]} {share[i]:.0%}" for i in share.argsort()[::-1][:4]))
    return np.array(COLOURS, dtype=np.uint8)[classes]


def depth(raw, task):
    low, high = task["value_range"]
    near = 1 - np.clip((raw[0] - low) / (high - low), 0, 1)
    return (near[..., None] * [255, 220, 160]).astype(np.uint8)


def normals(raw, task):
    unit = raw / np.maximum(np.linalg.norm(raw, axis=0), 1e-12)
    return ((unit.transpose(1, 2, 0) + 1) * 127.5).round().astype(np.uint8)


def binary(raw, task):
    return ((raw[0] > 0)[..., None] * [80, 200, 255]).astype(np.uint8)


def strongest_channel(raw, task):
    length = np.linalg.norm(raw, axis=0)
    return np.repeat((255 * length / max(length.max(), 1e-12)).astype(np.uint8)[..., None], 3, 2)


PICTURES = {
    "segmentation": segmentation,
    "depth": depth,
    "normals": normals,
    "binary": binary,
}
