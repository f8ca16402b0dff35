"""What a ray sees where it hits: position, normal, and coordinates on the surface."""

from dataclasses import dataclass

import numpy as np

from compactmtl.data.rooms_cast import Cluster, Ints, Rays
from compactmtl.data.rooms_geometry import SURFACE_CLASSES, Floats, Kind, Material, Scene


@dataclass(frozen=True)
class Table:
    """One row per surface of a scene: the room's own six, then every primitive."""

    label: Ints
    thing: Ints
    """0 for the room itself; else a number per piece and class: all that is of one class in one
    piece of furniture, or stands on it, is one thing."""
    materials: list[Material]
    kind: Ints
    centre: Floats
    half: Floats
    cos: Floats
    sin: Floats
    position: Floats


def table(scene: Scene, found: list[Cluster]) -> Table:
    """List the surfaces of a scene in the order ``rooms_cast.cast`` numbers them."""
    parts = [part for group in scene.groups for part in group.primitives]
    owner = [n for n, group in enumerate(scene.groups) for _ in group.primitives]
    things: dict[tuple[int, int], int] = {}
    numbers = [
        things.setdefault((n, part.label), len(things) + 1)
        for n, part in zip(owner, parts, strict=True)
    ]
    room = [[size / 2 for size in scene.size]] * 6
    frames = [(1.0, 0.0, 0.0, 0.0, 0.0)] * 6 + [
        (found[n].cos, found[n].sin, *found[n].position) for n in owner
    ]
    frame = np.array(frames, np.float32)
    return Table(
        label=np.array([*SURFACE_CLASSES, *(part.label for part in parts)], np.int32),
        thing=np.array([0] * 6 + numbers, np.int32),
        materials=[*scene.surfaces, *(part.material for part in parts)],
        kind=np.array([Kind.BOX] * 6 + [part.kind for part in parts], np.int32),
        centre=np.array(room + [list(part.centre) for part in parts], np.float32),
        half=np.array(room + [list(part.half) for part in parts], np.float32),
        cos=frame[:, 0],
        sin=frame[:, 1],
        position=frame[:, 2:],
    )


@dataclass(frozen=True)
class Hits:
    """The visible points, as flat arrays of n = H * W."""

    depth: Floats
    surface: Ints
    points: Rays
    """World frame, metres."""
    normals: Rays
    """World frame, unit, towards the camera."""
    uv: tuple[Floats, Floats]
    """Metres along the face."""
    face: tuple[Floats, Floats]
    """Half the face's extent along u and v, metres."""


def hits(scene: Scene, rows: Table, rays: Rays, depth: Floats, surface: Ints) -> Hits:
    """Work out positions, normals and surface coordinates of what ``cast`` found."""
    t, number = depth.ravel(), surface.ravel()
    eye = [np.float32(value) for value in scene.camera.position]
    d = tuple(ray.ravel() for ray in rays)
    x, y, z = (eye[axis] + t * d[axis] for axis in range(3))
    cos, sin = rows.cos[number], rows.sin[number]
    position, centre, half = rows.position[number].T, rows.centre[number].T, rows.half[number].T
    dx, dy = x - position[0], y - position[1]
    local = (
        cos * dx + sin * dy - centre[0],
        cos * dy - sin * dx - centre[1],
        z - position[2] - centre[2],
    )
    ray = (cos * d[0] + sin * d[1], cos * d[1] - sin * d[0], d[2])
    kind, inside = rows.kind[number], number < 6
    facing = _facing(local, ray, half, kind, inside)
    flat = facing < 3
    nx, ny, nz = (
        np.where(facing == axis, -np.sign(ray[axis]), np.float32(0.0)) for axis in range(3)
    )
    curved = np.flatnonzero(~flat)
    if curved.size:
        upright = kind[curved] == Kind.CYLINDER
        gradient = [local[axis][curved] / half[axis][curved] ** 2 for axis in range(3)]
        gradient[2] = np.where(upright, np.float32(0.0), gradient[2])
        length = np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2)
        nx[curved], ny[curved], nz[curved] = (g / length for g in gradient)
    around = np.arctan2(local[1], local[0]) * half[0]
    u = np.where(flat, np.where(facing == 0, local[1], local[0]), around)
    v = np.where(facing == 2, local[1], local[2])
    face_u = np.where(flat, np.where(facing == 0, half[1], half[0]), np.float32(np.pi) * half[0])
    face_v = np.where(facing == 2, half[1], half[2])
    return Hits(
        depth=t,
        surface=number,
        points=(x, y, z),
        normals=(cos * nx - sin * ny, sin * nx + cos * ny, nz),
        uv=(u, v),
        face=(face_u, face_v),
    )


def _facing(
    local: Rays,
    ray: Rays,
    half: Floats,
    kind: Ints,
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> Ints:
    """Return the axis of the flat face that was hit, 3 where the surface is curved.

    A ray enters a box through the face it reaches last, and leaves a room through the one it
    reaches first; measured from the hit point that face is the one at parameter 0.
    """
    steps = np.stack(
        [
            -(local[i] + np.sign(ray[i]) * half[i] * np.where(inside, -1, 1)) / ray[i]
            for i in range(3)
        ]
    )
    box = np.where(inside, steps.argmin(0), steps.argmax(0))
    lid = np.abs(np.abs(local[2]) - half[2]) < np.float32(2e-4) * (1 + half[2])
    radius = (local[0] / half[0]) ** 2 + (local[1] / half[1]) ** 2
    lid &= radius < np.float32(0.999)
    cylinder = np.where(lid, 2, 3)
    return np.where(kind == Kind.BOX, box, np.where(kind == Kind.CYLINDER, cylinder, 3)).astype(
        np.int32
    )
