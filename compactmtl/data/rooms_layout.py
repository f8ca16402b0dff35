"""Where things may stand in a random room: no overlaps, and a free view for the camera."""

import math

import numpy as np

from compactmtl.data.rooms_geometry import Camera, Group, Material, RoomClass, Triple

Rectangle = tuple[float, float, float, float]
"""Low and high x, low and high y; on a wall: along it and upwards."""

WALL_YAW = (-math.pi / 2, math.pi / 2, 0.0, math.pi)
"""Yaw that turns a group's +y into the room, for the walls x = 0, x = max, y = 0, y = max."""

TRIES = 14


def _apart(a: Rectangle, b: Rectangle) -> bool:
    return a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]


class Layout:
    """The groups placed so far. Each ``place`` method gives up quietly where nothing fits."""

    def __init__(self, rng: np.random.Generator, size: Triple, camera: Camera) -> None:
        self.rng, self.size, self.camera = rng, size, camera
        self.groups: list[Group] = []
        self._floor: list[Rectangle] = []
        self._walls: list[list[Rectangle]] = [[], [], [], []]
        look = (math.cos(camera.yaw), math.sin(camera.yaw))
        facing = [-(look[0] * n[0] + look[1] * n[1]) for n in map(self.inward, range(4))]
        weights = np.clip(np.array(facing) + 0.15, 0.06, None)
        self._wall_odds = weights / weights.sum()

    def inward(self, wall: int) -> tuple[float, float]:
        """Return the unit normal of a wall, into the room."""
        return ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))[wall]

    def on_wall(
        self,
        group: Group,
        width: float,
        heights: tuple[float, float],
        *,
        low: float = 0.0,
        clear: float = 0.0,
    ) -> int | None:
        """Hang a group on a wall, return which; ``clear`` metres of floor before it stay free."""
        for _ in range(TRIES):
            wall, along = self._somewhere(width)
            taken = (along - width / 2, along + width / 2, low + heights[0], low + heights[1])
            if taken[3] > self.size[2] or not all(
                _apart(taken, other) for other in self._walls[wall]
            ):
                continue
            self._lean(group, wall, along, 0.0)
            group.z = low
            self._walls[wall].append(taken)
            if clear:
                self._floor.append(self._before(group, width, clear))
            self.groups.append(group)
            return wall
        return None

    def against_wall(self, group: Group, *, gap: float = 0.02) -> Group | None:
        """Stand a group with its back to a wall."""
        (low_x, _, _), (high_x, _, height) = group.bounds()
        for _ in range(TRIES):
            wall, along = self._somewhere(high_x - low_x)
            half = (high_x - low_x) / 2
            taken = (along - half, along + half, 0.0, height)
            if not all(_apart(taken, other) for other in self._walls[wall]):
                continue
            self._lean(group, wall, along, gap)
            if self._stand(group):
                self._walls[wall].append(taken)
                return group
        return None

    def anywhere(self, group: Group) -> bool:
        """Stand a group somewhere on the floor, turned towards the middle of the room."""
        for _ in range(TRIES):
            group.x = self.rng.uniform(0.1, 0.9) * self.size[0]
            group.y = self.rng.uniform(0.1, 0.9) * self.size[1]
            middle = math.atan2(self.size[1] / 2 - group.y, self.size[0] / 2 - group.x)
            group.yaw = middle - math.pi / 2 + self.rng.normal(0.0, 0.5)
            if self._stand(group):
                return True
        return False

    def in_middle(self, group: Group) -> bool:
        """Stand a group near the middle of the room, along one of its walls."""
        for _ in range(TRIES):
            group.yaw = WALL_YAW[int(self.rng.integers(4))]
            group.x = self.size[0] * self.rng.uniform(0.35, 0.65)
            group.y = self.size[1] * self.rng.uniform(0.35, 0.65)
            if self._stand(group):
                return True
        return False

    def in_front(self, base: Group, group: Group, distance: float, *, turn: float = 0.0) -> bool:
        """Stand a group before another, ``distance`` metres from its front (negative: under it)."""
        front = base.bounds()[1][1]
        depth = group.bounds()[1][1]
        ahead = front + distance + (depth if abs(turn) > 1 else 0.0)
        return self.at(base, group, (self.rng.normal(0.0, 0.1), ahead), turn)

    def beside(self, base: Group, group: Group, x: float) -> bool:
        """Stand a group beside another, its back in line."""
        return self.at(base, group, (x, 0.0), 0.0)

    def at(self, base: Group, group: Group, where: tuple[float, float], turn: float) -> bool:
        """Stand a group at a point of another group's frame; it may reach under that one."""
        cos, sin = math.cos(base.yaw), math.sin(base.yaw)
        group.x = base.x + cos * where[0] - sin * where[1]
        group.y = base.y + sin * where[0] + cos * where[1]
        group.yaw = base.yaw + turn
        return self._stand(group, allowed=self._footprint(base))

    def rug(self, material: Material) -> None:
        """Lay a rug; things may stand on it."""
        group, rng = Group(), self.rng
        half = (rng.uniform(0.6, 1.3), rng.uniform(0.5, 1.0))
        group.box(RoomClass.FLOOR, material, (-half[0], -half[1], 0.0), (half[0], half[1], 0.012))
        group.x, group.y = (self.size[axis] * rng.uniform(0.4, 0.6) for axis in (0, 1))
        group.yaw = WALL_YAW[int(rng.integers(4))] + rng.normal(0.0, 0.05)
        if self._inside(self._footprint(group)):
            self.groups.append(group)

    def _somewhere(self, width: float) -> tuple[int, float]:
        """Draw a wall, one in view most of the time, and the middle of a stretch along it."""
        wall = int(self.rng.choice(4, p=self._wall_odds))
        length = self.size[1] if wall < 2 else self.size[0]
        return wall, self.rng.uniform(width / 2, max(length - width / 2, width / 2 + 1e-6))

    def _lean(self, group: Group, wall: int, along: float, gap: float) -> None:
        near = gap if wall % 2 == 0 else self.size[wall // 2] - gap
        group.x, group.y = (near, along) if wall < 2 else (along, near)
        group.yaw = WALL_YAW[wall]

    def _footprint(self, group: Group, grow: float = 0.0) -> Rectangle:
        (x0, y0, _), (x1, y1, _) = group.bounds()
        return self._turned(group, (x0 - grow, x1 + grow, y0 - grow, y1 + grow))

    def _before(self, group: Group, width: float, clear: float) -> Rectangle:
        return self._turned(group, (-width / 2, width / 2, 0.0, clear))

    def _turned(self, group: Group, local: Rectangle) -> Rectangle:
        cos, sin = math.cos(group.yaw), math.sin(group.yaw)
        corners = [(x, y) for x in local[:2] for y in local[2:]]
        xs = [group.x + cos * x - sin * y for x, y in corners]
        ys = [group.y + sin * x + cos * y for x, y in corners]
        return min(xs), max(xs), min(ys), max(ys)

    def _inside(self, taken: Rectangle) -> bool:
        slack = 0.15  # a corner block reaches into its wall
        return (
            taken[0] > -slack
            and taken[1] < self.size[0] + slack
            and taken[2] > -slack
            and taken[3] < self.size[1] + slack
        )

    def _stand(self, group: Group, allowed: Rectangle | None = None) -> bool:
        taken = self._footprint(group)
        others = [other for other in self._floor if other != allowed]
        if not (self._inside(taken) and all(_apart(taken, other) for other in others)):
            return False
        if self._blocks_view(taken, group.bounds()[1][2]):
            return False
        self._floor.append(taken)
        self.groups.append(group)
        return True

    def _blocks_view(self, taken: Rectangle, height: float) -> bool:
        """Tell whether a thing stands at the camera, or is tall and stands close before it."""
        x, y, eye = self.camera.position
        nearest = (min(max(x, taken[0]), taken[1]) - x, min(max(y, taken[2]), taken[3]) - y)
        distance = math.hypot(*nearest)
        ahead = nearest[0] * math.cos(self.camera.yaw) + nearest[1] * math.sin(self.camera.yaw)
        if distance < 0.55:
            return True
        return ahead > 0 and distance < (1.6 if height > eye - 0.3 else 0.9)
