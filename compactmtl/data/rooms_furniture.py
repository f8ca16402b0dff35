"""Random furniture built of boxes, cylinders and ellipsoids.

Every builder returns a group whose frame has the piece's width along x (centred on 0), its back at
y = 0, its front towards +y and the floor at z = 0, in metres.
"""

import numpy as np

from compactmtl.data import rooms_materials as materials
from compactmtl.data.rooms_geometry import Group, Material, RoomClass


def _legs(
    group: Group,
    label: RoomClass,
    material: Material,
    width: float,
    depth: float,
    height: float,
    side: float,
) -> None:
    for x in (-width / 2, width / 2 - side):
        for y in (0.0, depth - side):
            group.box(label, material, (x, y, 0.0), (x + side, y + side, height))


def table(rng: np.random.Generator, *, low: bool = False) -> Group:
    """Build a dining, writing or coffee table; round on one column now and then."""
    group, material = Group(), materials.wood(rng)
    height = rng.uniform(0.36, 0.48) if low else rng.uniform(0.7, 0.78)
    width = rng.uniform(0.7, 1.2) if low else rng.uniform(0.9, 1.7)
    depth = rng.uniform(0.45, 0.7) if low else rng.uniform(0.65, 0.95)
    top = rng.uniform(0.03, 0.06)
    if rng.random() < 0.25:
        radius = depth / 2 if low else rng.uniform(0.45, 0.65)
        centre = (0.0, radius)
        group.cylinder(RoomClass.TABLE, material, centre, height - top, height, radius)
        group.cylinder(RoomClass.TABLE, material, centre, 0.03, height - top, 0.05)
        group.cylinder(RoomClass.TABLE, material, centre, 0.0, 0.04, radius * 0.5)
    else:
        group.box(
            RoomClass.TABLE, material, (-width / 2, 0.0, height - top), (width / 2, depth, height)
        )
        legs = materials.metal(rng) if rng.random() < 0.25 else material
        _legs(
            group, RoomClass.TABLE, legs, width - 0.06, depth, height - top, rng.uniform(0.04, 0.08)
        )
    return group


def chair(rng: np.random.Generator) -> Group:
    """Build a chair with four legs and a slatted or solid back."""
    group = Group()
    frame = materials.wood(rng) if rng.random() < 0.7 else materials.toy(rng)
    seat = frame if rng.random() < 0.5 else materials.fabric(rng)
    width, depth = rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.5)
    seat_z, back_z, side = rng.uniform(0.43, 0.48), rng.uniform(0.82, 1.05), 0.04
    chair_class = RoomClass.CHAIR
    _legs(group, chair_class, frame, width, depth, seat_z - 0.04, side)
    group.box(chair_class, seat, (-width / 2, 0.0, seat_z - 0.05), (width / 2, depth, seat_z))
    if rng.random() < 0.5:
        group.box(chair_class, seat, (-width / 2, 0.0, seat_z + 0.08), (width / 2, 0.04, back_z))
    else:
        for z in np.linspace(seat_z + 0.15, back_z - 0.08, int(rng.integers(2, 4))):
            group.box(
                chair_class, frame, (-width / 2, 0.0, float(z)), (width / 2, 0.03, float(z) + 0.08)
            )
    for x in (-width / 2, width / 2 - side):
        group.box(chair_class, frame, (x, 0.0, seat_z), (x + side, side, back_z))
    return group


def sofa(rng: np.random.Generator, *, single: bool = False) -> Group:
    """Build a sofa or an armchair with cushions."""
    group, cover = Group(), materials.fabric(rng)
    width = rng.uniform(0.8, 0.95) if single else rng.uniform(1.5, 2.2)
    depth, arm = rng.uniform(0.8, 0.95), rng.uniform(0.12, 0.22)
    seat_z, back_z, arm_z = rng.uniform(0.38, 0.45), rng.uniform(0.75, 0.9), rng.uniform(0.52, 0.65)
    label, half = RoomClass.SOFA, width / 2
    group.box(label, cover, (-half, 0.0, 0.08), (half, depth, seat_z - 0.14))
    group.box(label, cover, (-half, 0.0, 0.08), (half, 0.22, back_z))
    group.box(label, cover, (-half, 0.0, 0.08), (-half + arm, depth, arm_z))
    group.box(label, cover, (half - arm, 0.0, 0.08), (half, depth, arm_z))
    seats = 1 if single else int(rng.integers(2, 4))
    step = (width - 2 * arm) / seats
    for index in range(seats):
        x = -half + arm + index * step
        group.box(
            label, cover, (x + 0.01, 0.2, seat_z - 0.13), (x + step - 0.01, depth + 0.02, seat_z)
        )
    for _ in range(int(rng.integers(0, 3))):
        x = rng.uniform(-half + arm + 0.2, half - arm - 0.2) if not single else 0.0
        cushion = materials.fabric(rng, value=(0.3, 0.85))
        group.ellipsoid(label, cushion, (x, 0.32, seat_z + 0.17), (0.2, 0.1, 0.18))
    return group


def bed(rng: np.random.Generator) -> Group:
    """Build a bed whose head stands at the wall."""
    group, frame, linen = Group(), materials.wood(rng), materials.white(rng)
    width, depth = float(rng.choice([0.95, 1.4, 1.7])), rng.uniform(1.9, 2.1)
    top, label, half = rng.uniform(0.42, 0.58), RoomClass.BED, width / 2
    group.box(label, frame, (-half, 0.0, 0.12), (half, depth, 0.28))
    group.box(label, frame, (-half - 0.02, 0.0, 0.0), (half + 0.02, 0.06, rng.uniform(0.85, 1.2)))
    for x in (-half, half - 0.07):
        group.box(label, frame, (x, depth - 0.07, 0.0), (x + 0.07, depth, 0.14))
    group.box(label, linen, (-half + 0.02, 0.07, 0.28), (half - 0.02, depth - 0.02, top))
    blanket = materials.fabric(rng, value=(0.25, 0.85))
    group.box(label, blanket, (-half - 0.01, 0.6, top - 0.2), (half + 0.01, depth, top + 0.05))
    pillows = 2 if width > 1.2 else 1
    for index in range(pillows):
        x = (index - (pillows - 1) / 2) * width / 2
        group.ellipsoid(label, linen, (x, 0.34, top + 0.06), (0.31, 0.2, 0.1))
    return group


def cabinet(rng: np.random.Generator) -> Group:
    """Build a wardrobe, a chest of drawers or a sideboard with handles."""
    group, body, knob = Group(), materials.wood(rng), materials.metal(rng)
    label = RoomClass.CABINET
    shape = rng.random()
    if shape < 0.4:
        width, depth, height = rng.uniform(0.9, 1.8), rng.uniform(0.5, 0.62), rng.uniform(1.8, 2.15)
        columns, rows = (2 if width < 1.3 else 3), 1
    elif shape < 0.75:
        width, depth, height = rng.uniform(0.7, 1.1), rng.uniform(0.4, 0.5), rng.uniform(0.75, 1.15)
        columns, rows = 1, int(rng.integers(3, 5))
    else:
        width, depth, height = rng.uniform(1.2, 1.8), rng.uniform(0.4, 0.5), rng.uniform(0.5, 0.85)
        columns, rows = int(rng.integers(2, 5)), 1
    group.box(label, body, (-width / 2, 0.0, 0.06), (width / 2, depth, height))
    group.box(label, knob, (-width / 2 + 0.03, 0.02, 0.0), (width / 2 - 0.03, depth - 0.03, 0.06))
    front = body._replace(first=materials.shade(body.first, 1.12))
    for column in range(columns):
        for row in range(rows):
            x0, x1 = (-width / 2 + width * (column + k) / columns for k in (0, 1))
            z0, z1 = (0.06 + (height - 0.06) * (row + k) / rows for k in (0, 1))
            group.box(
                label,
                front,
                (x0 + 0.015, depth, z0 + 0.015),
                (x1 - 0.015, depth + 0.02, z1 - 0.015),
            )
            x, z = ((x0 + x1) / 2, (z0 + z1) / 2) if rows > 1 else (x1 - 0.08, (z0 + z1) / 2)
            group.box(
                label, knob, (x - 0.02, depth + 0.02, z - 0.02), (x + 0.02, depth + 0.05, z + 0.02)
            )
    return group


def shelf(rng: np.random.Generator) -> Group:
    """Build an open shelf filled with books and things."""
    group, body, label = Group(), materials.wood(rng), RoomClass.CABINET
    width, depth, height = rng.uniform(0.7, 1.3), rng.uniform(0.26, 0.36), rng.uniform(1.1, 2.05)
    half, board = width / 2, 0.03
    group.box(label, body, (-half, 0.0, 0.0), (half, 0.015, height))
    group.box(label, body, (-half, 0.0, 0.0), (-half + board, depth, height))
    group.box(label, body, (half - board, 0.0, 0.0), (half, depth, height))
    levels = np.linspace(0.05, height - board, round(height / 0.36) + 1)
    for z, above in zip(levels, [*levels[1:], None], strict=True):
        group.box(label, body, (-half, 0.0, float(z)), (half, depth, float(z) + board))
        if above is None:
            continue
        x = -half + board
        while x < half - 0.2:
            length = min(rng.uniform(0.15, 0.5), half - board - x)
            tall = (above - z - board) * rng.uniform(0.6, 0.92)
            if rng.random() < 0.75:
                group.box(
                    label,
                    materials.books(rng),
                    (x, 0.02, z + board),
                    (x + length, depth * rng.uniform(0.6, 0.95), z + board + tall),
                )
            x += length + rng.choice([0.0, 0.1])
    return group


def bedside(rng: np.random.Generator) -> Group:
    """Build a small bedside cabinet."""
    group, body = Group(), materials.wood(rng)
    half, depth, height = rng.uniform(0.18, 0.26), rng.uniform(0.32, 0.42), rng.uniform(0.42, 0.58)
    front = materials.panels(body, 2)
    group.box(RoomClass.CABINET, body, (-half, 0.0, 0.0), (half, depth, height))
    group.box(
        RoomClass.CABINET,
        front,
        (-half + 0.02, depth, 0.04),
        (half - 0.02, depth + 0.015, height - 0.02),
    )
    return group


def standing_lamp(rng: np.random.Generator, *, height: float | None = None) -> Group:
    """Build a lamp on a column; ``height`` in metres, None for one that stands on the floor."""
    group, pole, label = Group(), materials.metal(rng), RoomClass.LAMP
    tall = rng.uniform(1.35, 1.7) if height is None else height
    radius = tall * rng.uniform(0.11, 0.16) if height is None else tall * rng.uniform(0.28, 0.36)
    drop = radius * rng.uniform(1.1, 1.7)
    glow = materials.colour(rng, hue=(0.08, 0.14), saturation=(0.1, 0.45), value=(0.8, 1.0))
    shade = materials.plain(glow, emission=rng.uniform(0.35, 1.0))
    centre = (0.0, radius)
    group.cylinder(label, pole, centre, 0.0, 0.03, radius * 0.75)
    group.cylinder(label, pole, centre, 0.03, tall - drop, max(0.018, radius * 0.12))
    group.cylinder(label, shade, centre, tall - drop, tall, radius, shadow=False)
    return group


def plant(rng: np.random.Generator) -> Group:
    """Build a pot plant."""
    group, label = Group(), RoomClass.OBJECT
    pot = materials.plain(materials.colour(rng, hue=(0.02, 0.1), value=(0.25, 0.8)))
    radius, height = rng.uniform(0.12, 0.2), rng.uniform(0.2, 0.4)
    centre = (0.0, radius + 0.1)
    group.cylinder(label, pot, centre, 0.0, height, radius)
    leaf = materials.colour(rng, hue=(0.22, 0.4), saturation=(0.5, 0.85), value=(0.15, 0.45))
    tall = rng.uniform(0.3, 0.8)
    for _ in range(int(rng.integers(4, 8))):
        material = materials.plain(materials.shade(leaf, rng.uniform(0.6, 1.5)))
        x, y = rng.normal(0.0, 0.09, 2)
        z = height + tall * rng.uniform(0.2, 0.9)
        half = (rng.uniform(0.06, 0.16), rng.uniform(0.06, 0.16), rng.uniform(0.1, 0.25))
        group.ellipsoid(label, material, (float(x), centre[1] + float(y), z), half)
    return group


def clutter(rng: np.random.Generator, *, on_table: bool) -> Group:
    """Build one small thing: a ball or carton for the floor, a vase, bowl or box for a table."""
    group, label, size = Group(), RoomClass.OBJECT, rng.uniform(0.06, 0.13)
    shape = rng.random()
    if not on_table:
        size = rng.uniform(0.1, 0.22)
        if shape < 0.55:
            group.ellipsoid(label, materials.toy(rng), (0.0, size, size), (size, size, size))
        else:
            carton = materials.colour(rng, hue=(0.06, 0.1), saturation=(0.3, 0.6), value=(0.4, 0.7))
            top = size * rng.uniform(1.0, 2.2)
            group.box(
                label, materials.plain(carton), (-size * 1.3, 0.0, 0.0), (size * 1.3, 2 * size, top)
            )
    elif shape < 0.35:
        group.cylinder(label, materials.toy(rng), (0.0, 0.1), 0.0, 2.2 * size, size * 0.6)
    elif shape < 0.65:
        group.ellipsoid(label, materials.toy(rng), (0.0, 0.1, size * 0.8), (size, size, size * 0.8))
    else:
        group.box(
            label, materials.toy(rng), (-size * 1.2, 0.0, 0.0), (size * 1.2, 0.18, size * 0.9)
        )
    return group


def screen(rng: np.random.Generator, width: float) -> Group:
    """Build a television or monitor on a foot; counts as a picture."""
    group, label = Group(), RoomClass.PICTURE
    height, dark = width * 0.58, materials.plain((0.02, 0.02, 0.025), gloss=0.6)
    shown = materials.painting(rng)._replace(emission=0.5) if rng.random() < 0.5 else dark
    group.box(label, dark, (-width * 0.2, 0.02, 0.0), (width * 0.2, 0.2, 0.02))
    group.box(label, dark, (-0.03, 0.08, 0.0), (0.03, 0.12, 0.1))
    group.box(label, dark, (-width / 2, 0.08, 0.08), (width / 2, 0.13, 0.08 + height))
    edge = 0.02
    group.box(
        label,
        shown,
        (-width / 2 + edge, 0.13, 0.08 + edge),
        (width / 2 - edge, 0.135, 0.08 + height - edge),
    )
    return group
