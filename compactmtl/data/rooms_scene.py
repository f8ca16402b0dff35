"""Random indoor scenes: a room, a camera that looks into it, fixtures, furniture and lights."""

import math
from collections.abc import Callable

import numpy as np

from compactmtl.data import rooms_fixtures as fixtures
from compactmtl.data import rooms_furniture as furniture
from compactmtl.data import rooms_materials as materials
from compactmtl.data.rooms_geometry import Camera, Group, Light, Material, RoomClass, Scene, Triple
from compactmtl.data.rooms_layout import Layout

Builder = Callable[[np.random.Generator], Group]


def random_scene(rng: np.random.Generator) -> Scene:
    """Draw a bedroom, a living room or a study, furnished and lit."""
    size = (rng.uniform(3.2, 5.6), rng.uniform(3.2, 5.6), rng.uniform(2.3, 2.9))
    camera = _camera(rng, size)
    layout = Layout(rng, size, camera)
    surface = materials.wall(rng)
    walls = [surface] * 4
    if rng.random() < 0.25:
        walls[int(rng.integers(4))] = materials.wall(rng)
    if rng.random() < 0.25:
        _corner(layout, surface)
    lights = _openings(layout)
    (_bedroom, _living_room, _study)[int(rng.choice(3, p=(0.4, 0.3, 0.3)))](layout)
    for _ in range(int(rng.integers(1, 4))):
        layout.against_wall(_choose(rng, furniture.cabinet, furniture.shelf)(rng))
    for _ in range(int(rng.integers(1, 4))):
        layout.on_wall(
            *_picture(rng),
            low=rng.uniform(1.15, 1.5) if rng.random() < 0.85 else rng.uniform(0.9, 1.1),
        )
    _small_things(layout)
    lights.append(_ceiling_light(layout))
    floor, ceiling = materials.floor(rng), materials.white(rng)
    warmth = rng.uniform(0.85, 1.0)
    level = rng.uniform(0.12, 0.35)
    ambient = (level, level * (0.5 + warmth / 2), level * warmth)
    return Scene(size, (*walls, floor, ceiling), layout.groups, lights, camera, ambient)


def _choose(rng: np.random.Generator, *builders: Builder) -> Builder:
    return builders[int(rng.integers(len(builders)))]


def _camera(rng: np.random.Generator, size: Triple) -> Camera:
    """Stand near a wall and look across the room, as a person who takes a photograph does."""
    side, back = int(rng.integers(4)), rng.uniform(0.2, 0.6)
    across = side // 2  # 0: the wall is at one end of x, 1: of y
    place = [rng.uniform(0.15, 0.85) * size[0], rng.uniform(0.15, 0.85) * size[1]]
    place[across] = back if side % 2 == 0 else size[across] - back
    target = [size[0] * rng.normal(0.5, 0.13), size[1] * rng.normal(0.5, 0.13)]
    target[across] = size[across] * (0.75 if side % 2 == 0 else 0.25)
    return Camera(
        position=(place[0], place[1], rng.uniform(1.15, 1.75)),
        yaw=math.atan2(target[1] - place[1], target[0] - place[0]) + rng.normal(0.0, 0.12),
        pitch=rng.normal(-0.22, 0.1),
        roll=rng.normal(0.0, 0.025),
        fov=math.radians(rng.uniform(60.0, 75.0)),
    )


def _corner(layout: Layout, surface: Material) -> None:
    """Let a piece of wall stand into the room, from floor to ceiling."""
    rng, block = layout.rng, Group()
    half, depth = rng.uniform(0.25, 0.8), rng.uniform(0.2, 0.6)
    block.box(RoomClass.WALL, surface, (-half, -0.1, -0.1), (half, depth, layout.size[2] + 0.1))
    layout.against_wall(block, gap=0.0)


def _openings(layout: Layout) -> list[Light]:
    """Put in doors and windows; return the daylight that comes through the windows."""
    rng, lights = layout.rng, []
    for _ in range(int(rng.choice([1, 1, 2]))):
        width, high = rng.uniform(0.75, 0.95), rng.uniform(1.95, 2.1)
        layout.on_wall(fixtures.door(rng, width, high), width + 0.2, (0.0, high + 0.1), clear=0.5)
    day = rng.uniform(0.3, 1.6)
    for _ in range(int(rng.choice([1, 1, 2, 2, 3]))):
        width, low = rng.uniform(0.7, 1.9), rng.uniform(0.75, 1.0)
        high = min(rng.uniform(1.9, 2.3), layout.size[2] - 0.2)
        group = fixtures.window(rng, width, low, high)
        wall = layout.on_wall(group, width + 0.5, (low - 0.15, high + 0.15))
        if wall is None:
            continue
        inward = layout.inward(wall)
        position = (group.x + 0.25 * inward[0], group.y + 0.25 * inward[1], (low + high) / 2)
        power = day * width * (high - low)
        lights.append(
            Light(position, (*inward, 0.0), (0.95 * power, power, 1.05 * power), radius=width / 3)
        )
    return sorted(lights, key=lambda light: -light.colour[1])[:1]


def _ceiling_light(layout: Layout) -> Light:
    rng, size = layout.rng, layout.size
    x, y = size[0] * rng.uniform(0.35, 0.65), size[1] * rng.uniform(0.35, 0.65)
    height = size[2] - 0.3
    if rng.random() < 0.8:
        lamp, height = fixtures.ceiling_lamp(rng, size[2])
        lamp.x, lamp.y = x, y
        layout.groups.append(lamp)
    power = rng.uniform(0.8, 2.2)
    warmth = rng.uniform(0.65, 0.95)
    return Light(
        (x, y, height),
        (0.0, 0.0, 0.0),
        (power, power * (0.4 + 0.6 * warmth), power * warmth),
        radius=0.12,
    )


def _picture(rng: np.random.Generator) -> tuple[Group, float, tuple[float, float]]:
    width, height = rng.uniform(0.35, 1.0), rng.uniform(0.35, 0.8)
    return fixtures.picture(rng, width, height), width + 0.1, (-0.05, height + 0.05)


def _bedroom(layout: Layout) -> None:
    rng = layout.rng
    bed = layout.against_wall(furniture.bed(rng))
    if bed is not None:
        low, high = bed.bounds()
        for side in (low[0] - 0.32, high[0] + 0.32):
            if rng.random() < 0.75:
                small = furniture.bedside(rng)
                if layout.beside(bed, small, side) and rng.random() < 0.7:
                    _put_on(
                        layout, small, furniture.standing_lamp(rng, height=rng.uniform(0.35, 0.5))
                    )
    layout.against_wall(furniture.cabinet(rng))
    if rng.random() < 0.6:
        _desk(layout)
    if rng.random() < 0.6:
        layout.rug(materials.rug(rng))


def _living_room(layout: Layout) -> None:
    rng = layout.rng
    layout.rug(materials.rug(rng))
    sofa = layout.against_wall(furniture.sofa(rng))
    low_table = furniture.table(rng, low=True)
    placed = (
        layout.in_front(sofa, low_table, rng.uniform(0.3, 0.5))
        if sofa is not None
        else layout.in_middle(low_table)
    )
    if placed:
        _put_on(layout, low_table, furniture.clutter(rng, on_table=True))
    stand = layout.against_wall(furniture.cabinet(rng))
    if stand is not None and stand.bounds()[1][2] < 0.95:
        _put_on(layout, stand, furniture.screen(rng, rng.uniform(0.7, 1.1)))
    for _ in range(int(rng.integers(0, 3))):
        layout.anywhere(furniture.sofa(rng, single=True))
    if rng.random() < 0.7:
        layout.against_wall(furniture.standing_lamp(rng), gap=0.1)
    layout.against_wall(furniture.shelf(rng))


def _study(layout: Layout) -> None:
    rng = layout.rng
    if rng.random() < 0.75:
        if rng.random() < 0.4:
            layout.rug(materials.rug(rng))
        dining = furniture.table(rng)
        if layout.in_middle(dining):
            _chairs_around(layout, dining)
            for _ in range(int(rng.integers(1, 4))):
                _put_on(layout, dining, furniture.clutter(rng, on_table=True))
    _desk(layout)
    layout.against_wall(furniture.shelf(rng))
    if rng.random() < 0.4:
        layout.against_wall(furniture.standing_lamp(rng), gap=0.1)


def _desk(layout: Layout) -> None:
    rng = layout.rng
    desk = layout.against_wall(furniture.table(rng))
    if desk is None:
        return
    seat = furniture.chair(rng)
    layout.in_front(desk, seat, rng.uniform(-0.1, 0.25), turn=math.pi + rng.normal(0.0, 0.3))
    _put_on(layout, desk, furniture.screen(rng, rng.uniform(0.45, 0.6)), spread=0.0)
    if rng.random() < 0.7:
        _put_on(
            layout, desk, furniture.standing_lamp(rng, height=rng.uniform(0.38, 0.5)), spread=0.9
        )
    if rng.random() < 0.5:
        _put_on(layout, desk, furniture.clutter(rng, on_table=True), spread=0.9)


def _chairs_around(layout: Layout, dining: Group) -> None:
    rng = layout.rng
    style = int(rng.integers(2**32))  # one set of equal chairs
    low, high = dining.bounds()
    middle = (low[1] + high[1]) / 2
    reach = rng.uniform(0.2, 0.45)
    for x in (low[0] * 0.5, high[0] * 0.5):
        for y, turn in ((high[1] + reach, math.pi), (low[1] - reach, 0.0)):
            if rng.random() < 0.8:
                layout.at(dining, _chair(style), (x, y), turn + rng.normal(0.0, 0.15))
    for x, turn in ((low[0] - reach, -math.pi / 2), (high[0] + reach, math.pi / 2)):
        if rng.random() < 0.3:
            layout.at(dining, _chair(style), (x, middle), turn + rng.normal(0.0, 0.15))


def _chair(style: int) -> Group:
    return furniture.chair(np.random.default_rng(style))


def _put_on(layout: Layout, base: Group, thing: Group, spread: float = 0.6) -> None:
    """Stand a small thing on a piece of furniture, within ``spread`` of its half width."""
    own = base.primitives[0].label  # what already stands on it has another label
    low, high = Group(primitives=[p for p in base.primitives if p.label is own]).bounds()
    (_, back, _), (reach, front, _) = thing.bounds()
    room = max((high[0] - low[0]) / 2 - reach, 0.0) * spread
    thing.x = layout.rng.uniform(-room, room)
    depth = high[1] - low[1] - (front - back)
    thing.y = low[1] - back + (depth * layout.rng.uniform(0.2, 0.6) if depth > 0 else depth / 2)
    thing.z = high[2]
    base.add(thing)


def _small_things(layout: Layout) -> None:
    rng = layout.rng
    for _ in range(int(rng.integers(0, 3))):
        layout.against_wall(furniture.plant(rng), gap=0.05)
    for _ in range(int(rng.integers(0, 4))):
        layout.anywhere(furniture.clutter(rng, on_table=False))
    if rng.random() < 0.4:
        layout.anywhere(furniture.chair(rng))
