"""Render one random room: RGB, semantic map, depth and normals, from (seed, split, index) alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compactmtl.data.rooms_cast import Cluster, cast, clusters, view_rays
from compactmtl.data.rooms_geometry import Floats, Scene
from compactmtl.data.rooms_light import irradiance
from compactmtl.data.rooms_scene import random_scene
from compactmtl.data.rooms_surface import Hits, Table, hits, table
from compactmtl.data.rooms_texture import TEXTURES, Patch

RENDERER_VERSION = 1
"""Raised whenever a scene or its picture changes, so that no stale cache is read."""

SPLITS = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Frame:
    """One rendered view.

    Shape:
        image: (H, W, 3) float32 in 0 to 1, display (gamma) encoded RGB.
        seg: (H, W) uint8, numbers of ``RoomClass``.
        thing: (H, W) int32, see ``rooms_surface.Table``.
        depth: (H, W) float32, metres along the optical axis (z-depth, not distance), above 0.
        normals: (H, W, 3) float32, unit, camera frame (x right, y down, z forward), towards the
            camera: a wall seen frontally has (0, 0, -1), a floor about (0, -1, 0).
    """

    image: Floats
    seg: npt.NDArray[np.uint8]
    thing: npt.NDArray[np.int32]
    depth: Floats
    normals: Floats


def render(split: str, seed: int, index: int, height: int, width: int) -> Frame:
    """Render one room; the same arguments give the same bits, in any order and process."""
    sequence = np.random.SeedSequence([seed, SPLITS[split], index])
    rng = np.random.default_rng(sequence)
    return render_scene(random_scene(rng), rng, height, width)


def render_scene(scene: Scene, rng: np.random.Generator, height: int, width: int) -> Frame:
    """Render a scene; ``rng`` draws the sensor's noise and exposure only."""
    found = clusters(scene)
    rays = view_rays(scene, height, width)
    depth, surface = cast(scene, found, rays)
    rows = table(scene, found)
    seen = hits(scene, rows, rays, depth, surface)
    axes = scene.camera.axes().astype(np.float32)
    normals = np.stack(
        [sum(axes[i, j] * seen.normals[j] for j in range(3)) for i in range(3)], axis=-1
    )
    return Frame(
        image=_expose(_radiance(scene, rows, seen, found, (height, width)), rng, (height, width)),
        seg=rows.label[surface].astype(np.uint8),
        thing=rows.thing[surface].reshape(height, width),
        depth=depth,
        normals=normals.reshape(height, width, 3),
    )


def _radiance(
    scene: Scene, rows: Table, seen: Hits, found: list[Cluster], shape: tuple[int, int]
) -> Floats:
    """Return the linear light that reaches the camera from every point, (n, 3)."""
    gloss = np.array([m.gloss for m in rows.materials], np.float32)[seen.surface]
    emission = np.array([m.emission for m in rows.materials], np.float32)[seen.surface]
    light, highlight = irradiance(scene, found, seen, shape, gloss)
    return _albedo(rows, seen) * (light + emission[:, None]) + highlight


def _albedo(rows: Table, seen: Hits) -> Floats:
    """Return the textured colour of every point, (n, 3)."""
    texture = np.array([m.texture for m in rows.materials], np.int32)[seen.surface]
    first = np.array([m.first for m in rows.materials], np.float32)
    second = np.array([m.second for m in rows.materials], np.float32)
    scale = np.array([m.scale for m in rows.materials], np.float32)
    albedo = np.empty((seen.surface.size, 3), np.float32)
    (u, v), (half_u, half_v) = seen.uv, seen.face
    for kind, paint in TEXTURES.items():
        at = np.flatnonzero(texture == kind)
        if at.size == 0:
            continue
        row = seen.surface[at]
        upright = half_v[at] > half_u[at]
        albedo[at] = paint(
            Patch(
                u=u[at],
                v=v[at],
                across=u[at] / half_u[at],
                up=v[at] / half_v[at],
                long=np.where(upright, v[at], u[at]),
                short=np.where(upright, u[at], v[at]),
                first=first[row],
                second=second[row],
                scale=scale[row],
                offset=(row * np.float32(0.618) % np.float32(1.0)) * 20,
            )
        )
    skirting = np.flatnonzero((seen.surface < 4) & (seen.points[2] < np.float32(0.09)))
    albedo[skirting] = first[5]  # the ceiling's white
    return albedo


def _expose(radiance: Floats, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Turn linear light into a picture: lens, exposure, white balance, noise, display encoding."""
    height, width = shape
    picture = _lens(radiance.reshape(height, width, 3))
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    picture *= (1 - rng.uniform(0.0, 0.18) * (x * x + y * y)).astype(np.float32)[..., None]
    balance = rng.normal(1.0, 0.04, 3) * rng.normal(0.26, 0.035)
    picture *= (balance / max(float(np.minimum(picture, 2.0).mean()), 1e-3)).astype(np.float32)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture += grain * (
        np.float32(0.003) + np.float32(0.02) * np.sqrt(picture) * np.float32(rng.uniform(0.3, 1))
    )
    # A soft shoulder keeps windows and lamps from clipping flat.
    picture = np.maximum(picture, 0)
    picture = picture * (1 + picture / np.float32(2.25)) / (1 + np.float32(0.75) * picture)
    encoded: Floats = np.clip(picture, 0, 1) ** np.float32(1 / 2.2)
    return encoded


def _lens(image: Floats) -> Floats:
    """Blur by [1 5 1] / 7 both ways: the lens's softness, which also calms the stair steps."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:-2] + 5 * padded[1:-1] + padded[2:]) / 7
    result: Floats = (rows[:, :-2] + 5 * rows[:, 1:-1] + rows[:, 2:]) / 7
    return result
