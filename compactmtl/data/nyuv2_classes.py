"""Names of NYUv2's classes, in the order of their numbers."""

CLASSES_13 = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa",
    "table", "tv", "wall", "window",
)  # fmt: skip
"""Couprie et al. (2013)."""

CLASSES_40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror",
    "floor mat", "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel",
    "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "other structure", "other furniture", "other prop",
)  # fmt: skip
"""Gupta et al. (2013)."""

SAME_EVERYWHERE = {
    13: ("bed", "ceiling", "chair", "floor", "wall", "window"),
    40: ("wall", "floor", "bed", "chair", "window", "ceiling"),
}
"""Names that every published list spells alike: by them a file's order is checked."""


def class_names(num_classes: int) -> tuple[str, ...]:
    """Return the names of the 13 or 40 classes."""
    return CLASSES_13 if num_classes == 13 else CLASSES_40
