"""Light in a rendered room: lamps and windows with soft shadows, ambient light, dark corners."""

import numpy as np

from compactmtl.data.rooms_cast import Cluster, nonzero, occluded
from compactmtl.data.rooms_geometry import Floats, Light, Scene
from compactmtl.data.rooms_surface import Hits

_DITHER = ((-0.7, -0.4, 0.5), (0.4, -0.7, -0.5), (-0.4, 0.7, 0.2), (0.7, 0.4, -0.2))
"""Four points of a light; each pixel of a 2x2 block shoots at another, a blur merges them."""


def irradiance(
    scene: Scene, found: list[Cluster], seen: Hits, shape: tuple[int, int], gloss: Floats
) -> tuple[Floats, Floats]:
    """Return the light that falls on each point and the highlight on top of it, both (n, 3)."""
    nz = seen.normals[2]
    ambient = np.float32(0.8) + np.float32(0.2) * nz
    light = (ambient * _openness(scene, found, seen))[:, None] * np.array(scene.ambient, np.float32)
    highlight = np.zeros_like(light)
    for lamp in scene.lights:
        direct, shine = _direct(scene, found, seen, lamp, shape, gloss)
        colour = np.array(lamp.colour, np.float32)
        light += direct[:, None] * colour
        highlight += shine[:, None] * colour
    return light, highlight


def _openness(scene: Scene, found: list[Cluster], seen: Hits) -> Floats:
    """Return a cheap ambient occlusion: darker where walls meet and around furniture's feet."""
    open_ = np.ones_like(seen.depth)
    for axis in range(3):
        p, n = seen.points[axis], np.abs(seen.normals[axis])
        wall = np.minimum(p, np.float32(scene.size[axis]) - p).clip(0)
        open_ *= 1 - np.float32(0.35) * np.exp(wall * np.float32(-5.0)) * (1 - n)
    flat = np.flatnonzero((seen.surface == 4) | ((seen.points[2] < 0.02) & (seen.normals[2] > 0.5)))
    x, y = seen.points[0][flat], seen.points[1][flat]
    floor = np.ones_like(x)
    for cluster in found:
        low, high = (
            cluster.corners.min(0).astype(np.float32),
            cluster.corners.max(0).astype(np.float32),
        )
        if low[2] > 0.3 or high[2] < 0.1:
            continue
        dx = np.maximum(np.maximum(low[0] - x, x - high[0]), 0)
        dy = np.maximum(np.maximum(low[1] - y, y - high[1]), 0)
        floor *= 1 - np.float32(0.4) * np.exp(np.float32(-9.0) * (dx + dy))
    open_[flat] *= floor
    return open_


def _direct(
    scene: Scene,
    found: list[Cluster],
    seen: Hits,
    lamp: Light,
    shape: tuple[int, int],
    gloss: Floats,
) -> tuple[Floats, Floats]:
    """Return one light's diffuse part and highlight, without its colour."""
    height, width = shape
    block = (np.arange(height)[:, None] % 2) * 2 + np.arange(width)[None, :] % 2
    spread = np.array(_DITHER, np.float32) * np.float32(lamp.radius)
    start = [p + n * np.float32(4e-3) for p, n in zip(seen.points, seen.normals, strict=True)]
    d = [np.float32(lamp.position[i]) - start[i] for i in range(3)]
    squared = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
    distance = np.sqrt(squared)
    facing = (d[0] * seen.normals[0] + d[1] * seen.normals[1] + d[2] * seen.normals[2]) / distance
    falloff = 1 / (squared * np.float32(0.4) + np.float32(0.35))
    if any(lamp.facing):
        leaving = -(d[0] * lamp.facing[0] + d[1] * lamp.facing[1] + d[2] * lamp.facing[2])
        falloff = falloff * np.maximum(leaving / distance, 0).astype(np.float32)
    strength = np.maximum(facing, 0) * falloff
    lit = np.flatnonzero(strength > np.float32(5e-3))
    visible = np.zeros_like(strength)
    point = block.ravel()[lit]
    segments = [nonzero(d[i][lit] + spread[point, i]) for i in range(3)]
    dark = occluded(
        found,
        (start[0][lit], start[1][lit], start[2][lit]),
        (segments[0], segments[1], segments[2]),
    )
    visible[lit] = ~dark
    visible = _soften(visible.reshape(shape)).ravel()
    shine = _highlight(scene, seen, d, distance, gloss) * visible * falloff
    return strength * visible, shine


def _highlight(
    scene: Scene, seen: Hits, d: list[Floats], distance: Floats, gloss: Floats
) -> Floats:
    """Return the Blinn-Phong highlight with exponent 32."""
    away = [np.float32(scene.camera.position[i]) - seen.points[i] for i in range(3)]
    length = np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2)
    h = [away[i] / length + d[i] / distance for i in range(3)]
    norm = np.sqrt(h[0] ** 2 + h[1] ** 2 + h[2] ** 2) + np.float32(1e-6)
    cosine = (h[0] * seen.normals[0] + h[1] * seen.normals[1] + h[2] * seen.normals[2]) / norm
    power = np.maximum(cosine, 0)
    for _ in range(5):
        power = power * power
    result: Floats = gloss * power
    return result


def _soften(image: Floats) -> Floats:
    """Blur by [1 2 1] / 4 both ways, which removes the 2x2 pattern of the light's four points."""
    padded = np.pad(image, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    result: Floats = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4
    return result
