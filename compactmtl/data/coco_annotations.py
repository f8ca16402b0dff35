"""COCO's two annotation files of a split, read and checked against each other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compactmtl.errors import CorruptFileError, DataError
from compactmtl.files import read_error
from compactmtl.parts import nearest


@dataclass
class CocoImage:
    """What the files say of one image.

    Attributes:
        file_name: In the folder of images.
        height: In pixels.
        width: In pixels.
        things: Entries of `instances`: id, class (from 0), bbox, segmentation and whether it is a
            crowd.
        png: The file of its panoptic map; None if it has none.
        segments: Class (things, then stuff) and whether it is a crowd, by the map's id.
    """

    file_name: str
    height: int
    width: int
    things: list[dict[str, Any]] = field(default_factory=list)
    png: str | None = None
    segments: dict[int, tuple[int, bool]] = field(default_factory=dict)


def read_annotations(
    instances: Path,
    panoptic: Path,
    things: Sequence[str],
    stuff: Sequence[str],
    *,
    skip_degenerate: bool,
) -> list[CocoImage]:
    """Read both files; categories are matched by name, so that their ids may have gaps.

    Args:
        instances: The file of things, one by one.
        panoptic: The file of panoptic segments.
        things: The classes of things, in the order of their numbers.
        stuff: The classes of stuff, likewise.
        skip_degenerate: Leave out boxes without an area instead of refusing them.

    Raises:
        MissingFileError: A file is not there.
        CorruptFileError: It is no JSON, or lacks a key.
        DataError: Categories are not those named, an annotation is of an image or a category that
            the file does not list, two share an id, or a box has no area.
    """
    try:
        document = _read(instances)
        images = _images(document, instances)
        ids = _classes(document, things, instances)
        for entry in document["annotations"]:
            what = f"annotation {entry['id']} of `{instances}`"
            image = _image_of(entry, images, what)
            class_of = _class_of(entry, ids, what)
            x, y, wide, high = map(float, entry["bbox"])
            if not (wide > 0 and high > 0):
                if skip_degenerate:
                    continue
                raise DataError(
                    f"{what}: its box is {entry['bbox']} (x, y, width, height), expected an area",
                    hint="skip_degenerate = true leaves such annotations out",
                )
            image.things.append(
                {
                    "id": entry["id"],
                    "class": class_of,
                    "box": [x, y, x + wide, y + high],
                    "crowd": bool(entry.get("iscrowd", 0)),
                    "segmentation": entry["segmentation"],
                }
            )
        document = _read(panoptic)
        ids = _classes(document, [*things, *stuff], panoptic)
        for entry in document["annotations"]:
            what = f"the panoptic annotation of image {entry['image_id']} in `{panoptic}`"
            image = _image_of(entry, images, what)
            image.png = _plain_name(entry["file_name"], what)
            image.segments = {
                int(segment["id"]): (
                    _class_of(segment, ids, f"segment {segment['id']} in {what}"),
                    bool(segment.get("iscrowd", 0)),
                )
                for segment in entry["segments_info"]
            }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise CorruptFileError(
            f"`{instances}` and `{panoptic}` are not of COCO's form: {reason}"
        ) from error
    return list(images.values())


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise read_error(path, error) from error
    except ValueError as error:  # no UTF-8, or no JSON
        raise CorruptFileError(f"`{path}` is no JSON file: {error}") from error
    if not isinstance(document, dict):
        raise CorruptFileError(f"`{path}` holds a {type(document).__name__}, expected an object")
    return document


def _images(document: Mapping[str, Any], path: Path) -> dict[int, CocoImage]:
    images: dict[int, CocoImage] = {}
    for entry in document["images"]:
        if entry["id"] in images:
            raise DataError(f"`{path}` lists two images with the id {entry['id']}")
        name = _plain_name(entry["file_name"], f"image {entry['id']} of `{path}`")
        images[entry["id"]] = CocoImage(name, int(entry["height"]), int(entry["width"]))
    if not images:
        raise DataError(f"`{path}` lists no image")
    return images


def _classes(document: Mapping[str, Any], names: Sequence[str], path: Path) -> dict[int, int]:
    """Return the number of each category's class by its id."""
    ids: dict[int, int] = {}
    for entry in document["categories"]:
        if entry["id"] in ids:
            raise DataError(f"`{path}` lists two categories with the id {entry['id']}")
        if entry["name"] not in names:
            raise DataError(
                f"category {entry['id']} of `{path}` is `{entry['name']}`, which is none of the "
                f"{len(names)} classes{nearest(entry['name'], names)}",
                hint="name the file's categories: the data set's arguments `things` and `stuff`",
            )
        ids[entry["id"]] = list(names).index(entry["name"])
    absent = set(range(len(names))) - set(ids.values())
    if absent:
        raise DataError(
            f"`{path}` has no category `{names[min(absent)]}`",
            hint="name the file's categories: the data set's arguments `things` and `stuff`",
        )
    return ids


def _image_of(entry: Mapping[str, Any], images: Mapping[int, CocoImage], what: str) -> CocoImage:
    if entry["image_id"] not in images:
        raise DataError(f"{what} is of image {entry['image_id']}, which is not listed")
    return images[entry["image_id"]]


def _class_of(entry: Mapping[str, Any], ids: Mapping[int, int], what: str) -> int:
    if entry["category_id"] not in ids:
        raise DataError(f"{what} is of category {entry['category_id']}, which is not listed")
    return ids[entry["category_id"]]


def _plain_name(name: str, what: str) -> str:
    """Refuse names that lead out of their folder."""
    if Path(name).name != name:
        raise DataError(f"{what} has the file `{name}`, expected a name without a folder")
    return name
