"""Random things that are fixed to a wall or ceiling: windows, doors, pictures, ceiling lamps.

Frame as in ``rooms_furniture``: the wall is the plane y = 0, the room lies towards +y.
"""

import numpy as np

from compactmtl.data import rooms_materials as materials
from compactmtl.data.rooms_geometry import Group, Material, RoomClass, Texture


def _frame(
    group: Group,
    label: RoomClass,
    material: Material,
    width: float,
    low: float,
    high: float,
    bar: float,
) -> None:
    """Add the four bars of a frame, 5 cm deep, around a rectangle on the wall."""
    half = width / 2
    group.box(label, material, (-half - bar, 0.0, high), (half + bar, 0.05, high + bar))
    group.box(label, material, (-half - bar, 0.0, low - bar), (half + bar, 0.05, low))
    group.box(label, material, (-half - bar, 0.0, low), (-half, 0.05, high))
    group.box(label, material, (half, 0.0, low), (half + bar, 0.05, high))


def window(rng: np.random.Generator, width: float, low: float, high: float) -> Group:
    """Build a window with bars and, often, curtains; the pane shows a bright view."""
    group, label = Group(), RoomClass.WINDOW
    frame = materials.white(rng) if rng.random() < 0.75 else materials.wood(rng)
    sky = materials.colour(rng, hue=(0.52, 0.62), saturation=(0.05, 0.5), value=(0.8, 1.0))
    land = materials.colour(rng, hue=(0.15, 0.4), saturation=(0.1, 0.5), value=(0.2, 0.5))
    pane = Material(Texture.SKY, sky, land, rng.uniform(0.1, 0.5), 0.0, rng.uniform(0.9, 1.4))
    half = width / 2
    group.box(label, pane, (-half, 0.0, low), (half, 0.01, high), shadow=False)
    _frame(group, label, frame, width, low, high, 0.07)
    group.box(label, frame, (-half - 0.1, 0.0, low - 0.1), (half + 0.1, 0.14, low - 0.06))
    bars = int(rng.integers(1, 3)) if width > 0.8 else 0
    for index in range(bars):
        x = -half + width * (index + 1) / (bars + 1)
        group.box(label, frame, (x - 0.025, 0.0, low), (x + 0.025, 0.035, high))
    if rng.random() < 0.5:
        z = low + (high - low) * rng.choice([0.5, 0.7])
        group.box(label, frame, (-half, 0.0, z - 0.02), (half, 0.035, z + 0.02))
    if rng.random() < 0.45:
        cloth = materials.fabric(rng, value=(0.35, 0.85))._replace(
            texture=Texture.STRIPES, scale=0.12
        )
        drop = rng.choice([0.06, low - 0.15])
        span = rng.uniform(0.18, 0.32)
        for x in (-half - 0.1, half + 0.1 - span):
            group.box(label, cloth, (x, 0.06, float(drop)), (x + span, 0.13, high + 0.1))
        rod = materials.metal(rng)
        group.box(label, rod, (-half - 0.2, 0.08, high + 0.1), (half + 0.2, 0.11, high + 0.13))
    return group


def door(rng: np.random.Generator, width: float, high: float) -> Group:
    """Build a closed panelled door with its frame and handle."""
    group, label = Group(), RoomClass.DOOR
    leaf = materials.wood(rng)
    leaf = materials.panels(leaf, int(rng.integers(1, 4))) if rng.random() < 0.75 else leaf
    frame = (
        materials.white(rng)
        if rng.random() < 0.6
        else materials.plain(materials.shade(leaf.first, 0.8))
    )
    half, bar = width / 2, 0.09
    group.box(label, leaf, (-half, 0.0, 0.0), (half, 0.02, high))
    group.box(label, frame, (-half - bar, 0.0, 0.0), (-half, 0.05, high))
    group.box(label, frame, (half, 0.0, 0.0), (half + bar, 0.05, high))
    group.box(label, frame, (-half - bar, 0.0, high), (half + bar, 0.05, high + bar))
    x = (half - 0.1) * rng.choice([-1.0, 1.0])
    group.box(label, materials.metal(rng), (x - 0.06, 0.02, 1.0), (x + 0.06, 0.08, 1.035))
    return group


def picture(rng: np.random.Generator, width: float, height: float) -> Group:
    """Build a framed picture whose lower edge is at z = 0."""
    group, label = Group(), RoomClass.PICTURE
    frame = materials.pick(
        rng, (materials.wood(rng), materials.white(rng), materials.plain((0.03, 0.03, 0.03)))
    )
    bar, edge = 0.03, 0.0
    group.box(label, materials.white(rng), (-width / 2, 0.0, 0.0), (width / 2, 0.012, height))
    if rng.random() < 0.5:
        edge = 0.15 * min(width, height)
    low, high = (-width / 2 + edge, 0.012, edge), (width / 2 - edge, 0.016, height - edge)
    group.box(label, materials.painting(rng), low, high)
    _frame(group, label, frame, width, 0.0, height, bar)
    return group


def ceiling_lamp(rng: np.random.Generator, ceiling: float) -> tuple[Group, float]:
    """Build a lamp below the ceiling; return it and the height of its light in metres."""
    group, label = Group(), RoomClass.LAMP
    glow = materials.colour(rng, hue=(0.09, 0.15), saturation=(0.0, 0.3), value=(0.9, 1.0))
    shade = materials.plain(glow, emission=rng.uniform(0.5, 1.2))
    shape, radius = rng.random(), rng.uniform(0.13, 0.24)
    if shape < 0.35:
        group.cylinder(
            label, shade, (0.0, 0.0), ceiling - 0.09, ceiling, radius * 1.3, shadow=False
        )
        return group, ceiling - 0.16
    drop = rng.uniform(0.3, 0.7)
    cord = materials.metal(rng)
    group.cylinder(label, cord, (0.0, 0.0), ceiling - drop, ceiling, 0.015, shadow=False)
    if shape < 0.7:
        centre = (0.0, 0.0, ceiling - drop - radius)
        group.ellipsoid(label, shade, centre, (radius, radius, radius), shadow=False)
        return group, ceiling - drop - radius
    low = ceiling - drop - radius
    group.cylinder(label, shade, (0.0, 0.0), low, ceiling - drop, radius * 1.1, shadow=False)
    return group, low
