"""Two small images in COCO's layout: gaps between ids, polygons, runs, packed runs, crowd, void."""

import json

import numpy as np
from PIL import Image

THINGS, STUFF = ("cup", "fork"), ("table", "wall")
IDS = {"cup": 7, "fork": 90, "table": 101, "wall": 200}
SIZES = {11: (20, 30), 12: (16, 24)}


def box_mask(size, x0, y0, x1, y1):
    mask = np.zeros(size, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def runs(mask):
    flat = mask.T.reshape(-1).astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return [0, *counts] if flat[0] else counts


def packed(counts):
    """Write run lengths as text, as COCO's tools do."""
    text = ""
    for place, count in enumerate(counts):
        value = count - (counts[place - 2] if place > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + (32 if more else 0))
            if not more:
                break
    return text


def masks():
    """Return what lies where: image, category, crowd, mask."""
    one, two = SIZES[11], SIZES[12]
    return [
        (11, "cup", False, box_mask(one, 2, 3, 10, 9)),
        (11, "fork", False, box_mask(one, 15, 2, 18, 18)),
        (11, "cup", True, box_mask(one, 20, 10, 28, 16)),
        (12, "cup", False, box_mask(two, 1, 1, 5, 12)),
    ]


def documents():
    """Return the documents of both annotation files."""
    images = [
        {"id": image, "file_name": f"{image:012d}.jpg", "height": size[0], "width": size[1]}
        for image, size in SIZES.items()
    ]
    things = []
    for number, (image, name, crowd, mask) in enumerate(masks()):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        size = list(SIZES[image])
        segmentation = {"size": size, "counts": runs(mask)}
        if number % 2:
            segmentation["counts"] = packed(runs(mask))
        things.append(
            {
                "id": 500 + number,
                "image_id": image,
                "category_id": IDS[name],
                "iscrowd": int(crowd),
                "area": int(mask.sum()),
                "bbox": [int(columns[0]), int(rows[0]), len(columns), len(rows)],
                "segmentation": segmentation,
            }
        )
    instances = {
        "images": images,
        "annotations": things,
        "categories": [{"id": IDS[name], "name": name} for name in THINGS],
    }
    panoptic = {
        "images": images,
        "annotations": [
            {
                "image_id": image,
                "file_name": f"{image:012d}.png",
                "segments_info": [
                    {"id": its_id, "category_id": IDS[name], "iscrowd": int(crowd)}
                    for its_id, name, crowd, _ in segments(image)
                ],
            }
            for image in SIZES
        ],
        "categories": [
            {"id": IDS[name], "name": name, "isthing": int(name in THINGS)}
            for name in (*THINGS, *STUFF)
        ],
    }
    return instances, panoptic


def segments(image):
    """Return id, category, crowd and mask of each panoptic segment; the first row is void."""
    size = SIZES[image]
    taken = np.zeros(size, np.bool_)
    taken[0] = True
    found = []
    for number, (of, name, crowd, mask) in enumerate(masks()):
        if of == image:
            found.append((70_000 + 300 * number, name, crowd, mask & ~taken))
            taken |= mask
    rest = ~taken
    lower = np.zeros(size, np.bool_)
    lower[size[0] // 2 :] = True
    return [*found, (5, "table", False, rest & lower), (6, "wall", False, rest & ~lower)]


def write(root, instances=None, panoptic=None, split="val"):
    """Write the data set under ``root/coco``; documents may be given."""
    usual = documents()
    base = root / "coco"
    maps = base / "annotations" / f"panoptic_{split}2017"
    photos = base / f"{split}2017"
    maps.mkdir(parents=True)
    photos.mkdir()
    for name, document in (
        ("instances", instances or usual[0]),
        ("panoptic", panoptic or usual[1]),
    ):
        (base / "annotations" / f"{name}_{split}2017.json").write_text(json.dumps(document))
    rng = np.random.default_rng(0)
    for image, size in SIZES.items():
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{image:012d}.jpg")
        ids = np.zeros(size, np.int64)
        for its_id, _, _, mask in segments(image):
            ids[mask] = its_id
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        Image.fromarray(colours).save(maps / f"{image:012d}.png")
    return base
