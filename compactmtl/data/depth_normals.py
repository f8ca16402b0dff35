"""Surface normals from a depth map, by a plane fitted around every pixel.

The inverse depth of a plane ``n . P = d`` is linear in pixel coordinates: with P = Z (x, y, 1),
x = (u - cx) / fx and y = (v - cy) / fy, it is 1 / Z = (n . (x, y, 1)) / d. So a linear fit of 1 / Z
in a window gives the plane, exactly where the surface is one, and weighs the noise rightly: that of
a structured-light sensor is about constant in disparity, which is proportional to 1 / Z.

This is our reading: the authors of NYUv2 ship no normals, and published ones differ in how they
were computed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

RADIUS = 3
"""The window is 7x7."""
STEP = 0.05
"""Neighbours whose depth differs by a larger share are of another surface."""
LEAST = 4
"""Neighbours that a fit needs, the pixel itself among them."""
SPREAD = 0.005
"""How far from one line the neighbours must be: 1 is a full window, a corner of one 0.01."""


@dataclass(frozen=True)
class Camera:
    """Focal lengths and principal point, in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    def scaled(self, across: float, down: float) -> "Camera":
        """Return the camera of an image resized by these factors (pixel centres at integers)."""
        return Camera(
            self.fx * across,
            self.fy * down,
            (self.cx + 0.5) * across - 0.5,
            (self.cy + 0.5) * down - 0.5,
        )


def normals_from_depth(depth: Floats, camera: Camera, radius: int = RADIUS) -> Floats:
    """Return unit normals towards the camera; zero where they cannot be told.

    Frame: x right, y down, z forward, so a wall seen frontally has (0, 0, -1).

    Args:
        depth: Metres along the optical axis; 0, negative or not finite where not known.
        camera: Of this image.
        radius: The window has 2 radius + 1 pixels a side.

    Shape:
        (H, W)  ->  (H, W, 3) float32
    """
    known = np.isfinite(depth) & (depth > 0)
    metres = np.where(known, depth, 1.0).astype(np.float32)
    slope_u, slope_v, inverse, fits = _fitted(metres, known, radius)
    v, u = np.indices(depth.shape, dtype=np.float32)
    normal = -np.stack(
        [
            slope_u * camera.fx,
            slope_v * camera.fy,
            inverse + slope_u * (camera.cx - u) + slope_v * (camera.cy - v),
        ],
        axis=-1,
    )
    length = np.sqrt((normal * normal).sum(-1, keepdims=True))
    result: Floats = np.where(fits[..., None] & (length > 0), normal / np.maximum(length, 1e-12), 0)
    return result.astype(np.float32)


def _fitted(
    metres: Floats, known: npt.NDArray[np.bool_], radius: int
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    """Return, per pixel, the fit's slopes along u and v, its value there, and whether it holds."""
    height, width = metres.shape
    inverse: Floats = 1 / metres
    wide = np.pad(metres, radius)
    wide_inverse = np.pad(inverse, radius)
    there = np.pad(known, radius)
    sums = np.zeros((9, height, width), np.float32)
    for down in range(-radius, radius + 1):
        for across in range(-radius, radius + 1):
            window = (
                slice(radius + down, radius + down + height),
                slice(radius + across, radius + across + width),
            )
            near = there[window] & (np.abs(wide[window] - metres) <= STEP * metres)
            weight = (near & known).astype(np.float32)
            value = weight * (wide_inverse[window] - inverse)  # the difference keeps float32 exact
            for place, term in enumerate(
                (weight, weight * across, weight * down, weight * (across * across),
                 weight * (across * down), weight * (down * down), value, value * across,
                 value * down)
            ):  # fmt: skip
                sums[place] += term
    num, s_u, s_v, s_uu, s_uv, s_vv, s_z, s_uz, s_vz = sums
    count = np.maximum(num, 1)
    c_uu, c_uv, c_vv = s_uu - s_u * s_u / count, s_uv - s_u * s_v / count, s_vv - s_v * s_v / count
    c_uz, c_vz = s_uz - s_u * s_z / count, s_vz - s_v * s_z / count
    determinant = c_uu * c_vv - c_uv * c_uv
    fits = (num >= LEAST) & (determinant > SPREAD * _full(radius))
    safe = np.where(fits, determinant, np.float32(1))
    slope_u: Floats = (c_vv * c_uz - c_uv * c_vz) / safe
    slope_v: Floats = (c_uu * c_vz - c_uv * c_uz) / safe
    level: Floats = inverse + (s_z - slope_u * s_u - slope_v * s_v) / count
    return slope_u, slope_v, level, fits


def _full(radius: int) -> float:
    """Return the determinant of a full window."""
    side = np.arange(-radius, radius + 1, dtype=np.float64)
    return float((len(side) * (side * side).sum()) ** 2)
