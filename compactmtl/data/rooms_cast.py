"""Vectorised ray casting against convex primitives, in numpy, group by group.

Every primitive is scaled to the unit box, cylinder or sphere, where a ray o + t d enters at
t = near and leaves at t = far. Rays are component arrays (x, y, z); P primitives meet n rays by
broadcasting to (P, n).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compactmtl.data.rooms_geometry import Floats, Group, Kind, Scene

Ints = npt.NDArray[np.int32]
Rays = tuple[Floats, Floats, Floats]

TINY = np.float32(1e-9)
FAR = np.float32(1e6)


class Block(NamedTuple):
    """The primitives of one kind in one group."""

    kind: Kind
    numbers: Ints
    """(P,) places in the scene's table."""
    centre: Floats
    half: Floats


class Cluster(NamedTuple):
    """A group, ready for casting."""

    cos: float
    sin: float
    position: tuple[float, float, float]
    corners: npt.NDArray[np.float64]
    """(8, 3) corners of its bounding box, world frame."""
    blocks: list[Block]
    shadow_blocks: list[Block]


def clusters(scene: Scene) -> list[Cluster]:
    """Prepare a scene; primitives are numbered from 6 on, after the room's six surfaces."""
    found, first = [], 6
    for group in scene.groups:
        found.append(_cluster(group, first))
        first += len(group.primitives)
    return found


def _cluster(group: Group, first: int) -> Cluster:
    cos, sin = float(np.cos(group.yaw)), float(np.sin(group.yaw))
    low, high = group.bounds()
    corners = np.array(
        [
            (group.x + cos * x - sin * y, group.y + sin * x + cos * y, group.z + z)
            for x in (low[0], high[0])
            for y in (low[1], high[1])
            for z in (low[2], high[2])
        ]
    )
    return Cluster(
        cos,
        sin,
        (group.x, group.y, group.z),
        corners,
        _blocks(group, first, shadow=False),
        _blocks(group, first, shadow=True),
    )


def _blocks(group: Group, first: int, *, shadow: bool) -> list[Block]:
    blocks = []
    for kind in Kind:
        chosen = [
            (first + number, part)
            for number, part in enumerate(group.primitives)
            if part.kind is kind and (part.casts_shadow or not shadow)
        ]
        if chosen:
            blocks.append(
                Block(
                    kind,
                    np.array([number for number, _ in chosen], np.int32),
                    np.array([part.centre for _, part in chosen], np.float32),
                    np.array([part.half for _, part in chosen], np.float32),
                )
            )
    return blocks


def rotate(cluster: Cluster, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Turn horizontal world components into the cluster's frame."""
    cos, sin = np.float32(cluster.cos), np.float32(cluster.sin)
    return cos * x + sin * y, cos * y - sin * x


def _box_span(o: Rays, inverse: Rays, block: Block) -> tuple[Floats, Floats]:
    near: Floats | None = None
    far: Floats | None = None
    for axis in range(3):
        middle = (block.centre[:, axis, None] - o[axis]) * inverse[axis]
        reach = block.half[:, axis, None] * np.abs(inverse[axis])
        low, high = middle - reach, middle + reach
        near = low if near is None else np.maximum(near, low, out=near)
        far = high if far is None else np.minimum(far, high, out=far)
    assert near is not None
    assert far is not None
    return near, far


def _round_span(o: Rays, d: Rays, block: Block, axes: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the span inside the unit circle (two axes) or sphere (three axes)."""
    a: Floats
    b: Floats
    c: Floats
    a = b = c = np.zeros((1, 1), np.float32)
    for axis in axes:
        scale = np.float32(1.0) / block.half[:, axis, None]
        origin = (o[axis] - block.centre[:, axis, None]) * scale
        direction = d[axis] * scale
        a = a + direction * direction
        b = b + origin * direction
        c = c + origin * origin
    a = np.maximum(a, np.float32(1e-12))
    discriminant = b * b - a * (c - np.float32(1.0))
    missed = discriminant < 0
    root = np.sqrt(np.where(missed, np.float32(0.0), discriminant))
    near, far = (-b - root) / a, (-b + root) / a
    near[missed] = FAR
    return near, far


def span(block: Block, o: Rays, d: Rays, inverse: Rays) -> tuple[Floats, Floats]:
    """Return where rays enter and leave each primitive, both (P, n); a miss has near > far."""
    if block.kind is Kind.BOX:
        return _box_span(o, inverse, block)
    if block.kind is Kind.ELLIPSOID:
        return _round_span(o, d, block, (0, 1, 2))
    near, far = _round_span(o, d, block, (0, 1))
    middle = (block.centre[:, 2, None] - o[2]) * inverse[2]
    reach = block.half[:, 2, None] * np.abs(inverse[2])
    return np.maximum(near, middle - reach), np.minimum(far, middle + reach)


def nonzero(d: Floats) -> Floats:
    """Keep a direction's component away from 0, so that its inverse is finite."""
    return np.where(np.abs(d) < TINY, TINY, d)


def view_rays(scene: Scene, height: int, width: int) -> Rays:
    """Return a ray through each pixel's centre, (H, W) each, world frame, camera z component 1.

    So the parameter of a hit is its depth along the optical axis, in metres.
    """
    focal = scene.camera.focal(height, width)
    axes = scene.camera.axes()
    x = ((np.arange(width) + 0.5 - width / 2) / focal)[None, :]
    y = ((np.arange(height) + 0.5 - height / 2) / focal)[:, None]
    rays = [axes[0, i] * x + axes[1, i] * y + axes[2, i] for i in range(3)]
    return (
        nonzero(rays[0].astype(np.float32)),
        nonzero(rays[1].astype(np.float32)),
        nonzero(rays[2].astype(np.float32)),
    )


def _window(scene: Scene, cluster: Cluster, height: int, width: int) -> tuple[slice, slice] | None:
    """Return the part of the image a cluster can appear in; None if it is behind the camera."""
    seen = (cluster.corners - np.array(scene.camera.position)) @ scene.camera.axes().T
    if (seen[:, 2] < 0.05).all():
        return None
    if (seen[:, 2] < 0.05).any():
        return slice(0, height), slice(0, width)
    focal = scene.camera.focal(height, width)
    x = seen[:, 0] / seen[:, 2] * focal + width / 2
    y = seen[:, 1] / seen[:, 2] * focal + height / 2
    left, right = max(int(x.min()) - 1, 0), min(int(x.max()) + 2, width)
    top, bottom = max(int(y.min()) - 1, 0), min(int(y.max()) + 2, height)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def cast(scene: Scene, found: list[Cluster], rays: Rays) -> tuple[Floats, Ints]:
    """Return the depth (H, W) and the number of the first surface each ray hits.

    Surfaces 0 to 5 are the room's own, as ``Scene.surfaces`` orders them.
    """
    height, width = rays[0].shape
    eye = np.array(scene.camera.position, np.float32)
    depth = np.full((height, width), FAR, np.float32)
    surface = np.zeros((height, width), np.int32)
    for axis in range(3):
        ahead = rays[axis] > 0
        t = (np.where(ahead, np.float32(scene.size[axis]), np.float32(0.0)) - eye[axis]) / rays[
            axis
        ]
        closer = t < depth
        depth = np.where(closer, t, depth)
        surface = np.where(closer, 2 * axis + ahead, surface).astype(np.int32)
    for cluster in found:
        window = _window(scene, cluster, height, width)
        if window is None:
            continue
        x, y = rotate(cluster, rays[0][window].ravel(), rays[1][window].ravel())
        d = (nonzero(x), nonzero(y), rays[2][window].ravel())
        o = local_points(cluster, (eye[0], eye[1], eye[2]))
        inverse = (1 / d[0], 1 / d[1], 1 / d[2])
        best, number = depth[window].ravel(), surface[window].ravel()
        for block in cluster.blocks:
            near, far = span(block, o, d, inverse)
            near[(near > far) | (near < np.float32(1e-3))] = FAR
            first = near.argmin(0)
            t = near[first, np.arange(near.shape[1])]
            closer = t < best
            best[closer] = t[closer]
            number[closer] = block.numbers[first[closer]]
        depth[window] = best.reshape(depth[window].shape)
        surface[window] = number.reshape(surface[window].shape)
    return depth, surface


def local_points(cluster: Cluster, points: Rays) -> Rays:
    """Express world points in the cluster's frame."""
    x, y = rotate(
        cluster,
        points[0] - np.float32(cluster.position[0]),
        points[1] - np.float32(cluster.position[1]),
    )
    return x, y, points[2] - np.float32(cluster.position[2])


def occluded(found: list[Cluster], points: Rays, d: Rays) -> npt.NDArray[np.bool_]:
    """Tell which segments from ``points`` to ``points + d`` something stands in, (n,)."""
    dark = np.zeros(points[0].shape, np.bool_)
    inverse = (1 / d[0], 1 / d[1], 1 / d[2])
    for cluster in found:
        if not cluster.shadow_blocks:
            continue
        low, high = cluster.corners.min(0), cluster.corners.max(0)
        bounds = Block(
            Kind.BOX,
            np.zeros(1, np.int32),
            ((low + high) / 2).astype(np.float32)[None],
            ((high - low) / 2).astype(np.float32)[None],
        )
        near, far = _box_span(points, inverse, bounds)
        near, far = near[0], far[0]
        chosen = np.flatnonzero((near <= far) & (far > 0) & (near < 1) & ~dark)
        if chosen.size == 0:
            continue
        o = local_points(cluster, (points[0][chosen], points[1][chosen], points[2][chosen]))
        x, y = rotate(cluster, d[0][chosen], d[1][chosen])
        local = (nonzero(x), nonzero(y), d[2][chosen])
        local_inverse = (1 / local[0], 1 / local[1], inverse[2][chosen])
        for block in cluster.shadow_blocks:
            near, far = span(block, o, local, local_inverse)
            hit = (near <= far) & (far > np.float32(1e-4)) & (near < np.float32(0.97))
            dark[chosen] |= hit.any(0)
    return dark
