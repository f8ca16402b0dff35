"""Procedural textures: from surface coordinates in metres to linear RGB, without image files."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compactmtl.data.rooms_geometry import Floats, Texture

_LATTICE = np.random.default_rng(20240607).random((64, 64)).astype(np.float32)
"""Values of the noise at whole numbers; fixed, so that a scene depends on its own seed only."""


@dataclass(frozen=True)
class Patch:
    """Pixels that share a texture, as arrays of length n (colours: (n, 3))."""

    u: Floats
    v: Floats
    """Metres along the surface; v upwards where the surface stands."""
    across: Floats
    up: Floats
    """The same, scaled to -1..1 over the primitive's face."""
    long: Floats
    """Metres along the face's longer side."""
    short: Floats
    first: Floats
    second: Floats
    scale: Floats
    offset: Floats
    """One random number per primitive, which shifts the pattern."""


def noise(u: Floats, v: Floats) -> Floats:
    """Return smooth random values in 0 to 1 that vary over about one unit (value noise)."""
    low_u, low_v = np.floor(u), np.floor(v)
    i, j = low_u.astype(np.int32), low_v.astype(np.int32)
    s, t = u - low_u, v - low_v
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    i0, i1, j0, j1 = i & 63, (i + 1) & 63, j & 63, (j + 1) & 63
    bottom = _LATTICE[i0, j0] * (1 - s) + _LATTICE[i1, j0] * s
    top = _LATTICE[i0, j1] * (1 - s) + _LATTICE[i1, j1] * s
    result: Floats = bottom * (1 - t) + top * t
    return result


def _cell(i: Floats, j: Floats) -> Floats:
    """Return one random value in 0 to 1 per cell of a grid."""
    result: Floats = _LATTICE[i.astype(np.int32) & 63, j.astype(np.int32) & 63]
    return result


def _mix(patch: Patch, weight: Floats) -> Floats:
    return patch.first + (patch.second - patch.first) * weight[:, None]


def _plain(patch: Patch) -> Floats:
    return patch.first * (0.97 + 0.06 * noise(patch.u * 3 + patch.offset, patch.v * 3))[:, None]


def _wood(patch: Patch) -> Floats:
    grain = noise(patch.long * 2 + patch.offset, patch.short / patch.scale + patch.offset)
    return _mix(patch, grain)


def _planks(patch: Patch) -> Floats:
    row = np.floor(patch.v / patch.scale)
    along = patch.u / 1.2 + _cell(row, row * 7)
    tint = 0.75 + 0.4 * _cell(np.floor(along) * 3, row)
    grain = noise(patch.u * 3 + row * 5, patch.v * 25)
    joint = (
        np.minimum(np.abs(patch.v / patch.scale - row), np.abs(along - np.floor(along)) * 6) < 0.08
    )
    tone = np.where(joint, np.float32(0.45), tint)
    return _mix(patch, grain) * tone[:, None]


def _tiles(patch: Patch) -> Floats:
    i, j = np.floor(patch.u / patch.scale), np.floor(patch.v / patch.scale)
    odd = (i + j) % 2
    edge = np.minimum(np.abs(patch.u / patch.scale - i), np.abs(patch.v / patch.scale - j)) < 0.05
    tone = np.where(edge, np.float32(0.6), 0.93 + 0.12 * _cell(i, j))
    return _mix(patch, odd) * tone[:, None]


def _stripes(patch: Patch) -> Floats:
    wave = np.sin(patch.u * (2 * np.pi) / patch.scale + patch.offset)
    return _mix(patch, np.clip(wave * 3 + 0.5, 0, 1))


def _ornament(patch: Patch) -> Floats:
    turn = np.float32(2 * np.pi) / patch.scale
    wave = np.cos(patch.u * turn) * np.cos(patch.v * turn)
    return _mix(patch, np.clip(wave * 4 - 0.8, 0, 1))


def _fabric(patch: Patch) -> Floats:
    return _mix(patch, noise(patch.u / patch.scale + patch.offset, patch.v / patch.scale))


def _rug(patch: Patch) -> Floats:
    border = np.maximum(np.abs(patch.across), np.abs(patch.up))
    ring = (border > 0.72) & (border < 0.86)
    turn = np.float32(np.pi) / patch.scale
    pattern = np.cos(patch.u * turn) * np.cos(patch.v * turn) > 0.25
    weave = 0.85 + 0.3 * noise(patch.u * 40, patch.v * 40)
    return _mix(patch, (ring | pattern).astype(np.float32)) * weave[:, None]


def _painting(patch: Patch) -> Floats:
    u, v = patch.u / patch.scale + patch.offset, patch.v / patch.scale
    blend = noise(u * 1.5, v * 1.5)
    colours = _mix(patch, np.clip(blend * 3 - 1, 0, 1))
    bright = noise(u * 2.5 + 31, v * 2.5 + 17) > 0.62
    return np.where(bright[:, None], 0.25 + 0.75 * colours[:, [1, 2, 0]], colours)


def _sky(patch: Patch) -> Floats:
    u, up = patch.u, patch.up
    horizon = -0.5 + 2 * patch.scale * (noise(u * 3 + patch.offset, patch.offset) - 0.3)
    cloud = np.clip(noise(u * 2 + patch.offset, patch.v * 4) * 2 - 0.9, 0, 1)[:, None]
    sky = patch.first + (1 - patch.first) * cloud
    land = patch.second * (0.6 + 0.8 * noise(u * 9, patch.v * 9))[:, None]
    return np.where((up < horizon)[:, None], land, sky)


def _books(patch: Patch) -> Floats:
    column = np.floor(patch.u / patch.scale + patch.offset * 8)
    pick = _cell(column * 5, column)[:, None]
    colours = np.where(pick < 0.35, patch.first, np.where(pick < 0.7, patch.second, pick))
    gap = np.abs(patch.u / patch.scale + patch.offset * 8 - column) < 0.12
    tone = np.where(gap, np.float32(0.3), 0.7 + 0.5 * _cell(column, column * 3))
    band = (np.abs(patch.up - 0.4) < 0.12) & (pick[:, 0] > 0.3)
    return np.where(band[:, None], 0.5 + 0.5 * colours, colours) * tone[:, None]


def _panels(patch: Patch) -> Floats:
    row = (patch.up + 1) / 2 * patch.scale
    inside = np.abs(row - np.floor(row) - 0.5) * 2
    edge = np.maximum(np.abs(patch.across), inside)
    groove = (edge > 0.68) & (edge < 0.78)
    return _mix(patch, groove.astype(np.float32))


TEXTURES: dict[Texture, Callable[[Patch], Floats]] = {
    Texture.PLAIN: _plain,
    Texture.WOOD: _wood,
    Texture.PLANKS: _planks,
    Texture.TILES: _tiles,
    Texture.STRIPES: _stripes,
    Texture.ORNAMENT: _ornament,
    Texture.FABRIC: _fabric,
    Texture.RUG: _rug,
    Texture.PAINTING: _painting,
    Texture.SKY: _sky,
    Texture.BOOKS: _books,
    Texture.PANELS: _panels,
}
