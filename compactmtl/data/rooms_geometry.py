"""What a rendered room is made of: convex primitives in groups, materials, lights, a camera.

World frame: x and y horizontal, z up, metres, one corner of the room at the origin.
Camera frame: x right, y down, z forward along the optical axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
"""float32 throughout the renderer; numpy's stubs cannot follow that through arithmetic."""
Triple = tuple[float, float, float]


class RoomClass(IntEnum):
    """The semantic classes; a rug is part of the floor, a curtain part of its window."""

    WALL = 0
    FLOOR = 1
    CEILING = 2
    WINDOW = 3
    DOOR = 4
    TABLE = 5
    CHAIR = 6
    SOFA = 7
    BED = 8
    CABINET = 9
    LAMP = 10
    PICTURE = 11
    OBJECT = 12


CLASS_NAMES: tuple[str, ...] = tuple(member.name.lower() for member in RoomClass)


class Kind(IntEnum):
    """The convex shapes, each inscribed in the box centre +- half."""

    BOX = 0
    CYLINDER = 1
    ELLIPSOID = 2


class Texture(IntEnum):
    """How a surface's two colours are laid out; see ``rooms_texture``."""

    PLAIN = 0
    WOOD = 1
    PLANKS = 2
    TILES = 3
    STRIPES = 4
    ORNAMENT = 5
    FABRIC = 6
    RUG = 7
    PAINTING = 8
    SKY = 9
    BOOKS = 10
    PANELS = 11


class Material(NamedTuple):
    """Albedo (linear RGB, two colours), texture, and how light leaves the surface."""

    texture: Texture
    first: Triple
    second: Triple
    scale: float = 1.0
    """Size of the pattern in metres, or a count for the textures that divide a face."""
    gloss: float = 0.0
    emission: float = 0.0


class Primitive(NamedTuple):
    """One convex shape in the frame of its group."""

    kind: Kind
    label: RoomClass
    material: Material
    centre: Triple
    half: Triple
    casts_shadow: bool = True


@dataclass
class Group:
    """Primitives that share a position (of their origin, metres) and a yaw (radians about z)."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    primitives: list[Primitive] = field(default_factory=list)

    def box(
        self,
        label: RoomClass,
        material: Material,
        low: Triple,
        high: Triple,
        *,
        shadow: bool = True,
    ) -> None:
        """Add the box between two corners."""
        centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
        half = tuple(abs(b - a) / 2 for a, b in zip(low, high, strict=True))
        self.primitives.append(Primitive(Kind.BOX, label, material, centre, half, shadow))  # type: ignore[arg-type]

    def cylinder(
        self,
        label: RoomClass,
        material: Material,
        at: tuple[float, float],
        low: float,
        high: float,
        radius: float,
        *,
        shadow: bool = True,
    ) -> None:
        """Add an upright cylinder that stands over ``at`` from height ``low`` to ``high``."""
        centre = (at[0], at[1], (low + high) / 2)
        half = (radius, radius, (high - low) / 2)
        self.primitives.append(Primitive(Kind.CYLINDER, label, material, centre, half, shadow))

    def ellipsoid(
        self,
        label: RoomClass,
        material: Material,
        centre: Triple,
        half: Triple,
        *,
        shadow: bool = True,
    ) -> None:
        """Add an ellipsoid with axes along the group's."""
        self.primitives.append(Primitive(Kind.ELLIPSOID, label, material, centre, half, shadow))

    def add(self, other: "Group") -> None:
        """Add another group's primitives, moved by its position; its yaw must be 0."""
        for part in other.primitives:
            moved = (part.centre[0] + other.x, part.centre[1] + other.y, part.centre[2] + other.z)
            self.primitives.append(part._replace(centre=moved))

    def bounds(self) -> tuple[Triple, Triple]:
        """Return the low and high corner of all primitives, in the group's frame."""
        centres = np.array([part.centre for part in self.primitives])
        halves = np.array([part.half for part in self.primitives])
        low, high = (centres - halves).min(0), (centres + halves).max(0)
        return tuple(low.tolist()), tuple(high.tolist())


class Light(NamedTuple):
    """A small area light; ``facing`` is its unit normal, or zero for one that shines all round."""

    position: Triple
    facing: Triple
    colour: Triple
    radius: float


class Camera(NamedTuple):
    """A pinhole with square pixels: position in metres, angles and field of view in radians."""

    position: Triple
    yaw: float
    pitch: float
    """Positive looks up."""
    roll: float
    fov: float

    def axes(self) -> npt.NDArray[np.float64]:
        """Return the camera's x, y and z axes in the world frame as rows of a (3, 3) array."""
        forward = np.array(
            [
                np.cos(self.yaw) * np.cos(self.pitch),
                np.sin(self.yaw) * np.cos(self.pitch),
                np.sin(self.pitch),
            ]
        )
        level = np.array([np.sin(self.yaw), -np.cos(self.yaw), 0.0])
        down = np.array(
            [
                forward[1] * level[2] - forward[2] * level[1],
                forward[2] * level[0] - forward[0] * level[2],
                forward[0] * level[1] - forward[1] * level[0],
            ]
        )
        right = np.cos(self.roll) * level + np.sin(self.roll) * down
        below = np.cos(self.roll) * down - np.sin(self.roll) * level
        return np.stack([right, below, forward])

    def focal(self, height: int, width: int) -> float:
        """Return the focal length in pixels; the field of view spans the longer side."""
        return float(max(height, width) / 2 / np.tan(self.fov / 2))


@dataclass(frozen=True)
class Scene:
    """A room of ``size`` metres whose six inner surfaces have ``surfaces`` as materials.

    Order of the surfaces: walls x = 0, x = size[0], y = 0, y = size[1], then floor, then ceiling.
    """

    size: Triple
    surfaces: Sequence[Material]
    groups: Sequence[Group]
    lights: Sequence[Light]
    camera: Camera
    ambient: Triple


SURFACE_CLASSES: tuple[RoomClass, ...] = (*[RoomClass.WALL] * 4, RoomClass.FLOOR, RoomClass.CEILING)
