"""Random materials for rooms: which colours and textures walls, wood, fabric and the rest take."""

import colorsys
from collections.abc import Sequence

import numpy as np

from compactmtl.data.rooms_geometry import Material, Texture, Triple


def colour(
    rng: np.random.Generator,
    *,
    hue: tuple[float, float] = (0.0, 1.0),
    saturation: tuple[float, float] = (0.1, 0.6),
    value: tuple[float, float] = (0.2, 0.8),
) -> Triple:
    """Draw a colour; hue, saturation and value lie in 0 to 1, hue may exceed 1 to wrap around."""
    return colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )


def shade(base: Triple, factor: float) -> Triple:
    """Scale a colour, at most to white."""
    return (min(base[0] * factor, 1.0), min(base[1] * factor, 1.0), min(base[2] * factor, 1.0))


def plain(base: Triple, *, gloss: float = 0.0, emission: float = 0.0) -> Material:
    """Return one colour without a pattern."""
    return Material(Texture.PLAIN, base, base, 1.0, gloss, emission)


def white(rng: np.random.Generator) -> Material:
    """Draw the white of trims, frames and linen."""
    return plain(colour(rng, hue=(0.08, 0.16), saturation=(0.0, 0.12), value=(0.75, 0.95)))


def metal(rng: np.random.Generator) -> Material:
    """Draw dark or bright metal."""
    return plain(colour(rng, saturation=(0.0, 0.1), value=(0.1, 0.6)), gloss=0.5)


def wood(rng: np.random.Generator) -> Material:
    """Draw wood: pale, brown, or painted white."""
    if rng.random() < 0.15:
        base = colour(rng, saturation=(0.0, 0.1), value=(0.7, 0.9))
        return Material(Texture.WOOD, base, shade(base, 0.92), 0.05, 0.15)
    base = colour(rng, hue=(0.05, 0.11), saturation=(0.4, 0.75), value=(0.16, 0.62))
    return Material(Texture.WOOD, base, shade(base, rng.uniform(0.55, 0.8)), 0.04, 0.15)


def fabric(rng: np.random.Generator, *, value: tuple[float, float] = (0.15, 0.7)) -> Material:
    """Draw upholstery, with a pattern now and then."""
    base = colour(rng, saturation=(0.05, 0.7), value=value)
    if rng.random() < 0.15:
        return Material(Texture.STRIPES, base, shade(base, 0.6), rng.uniform(0.08, 0.2))
    return Material(Texture.FABRIC, base, shade(base, 0.8), rng.uniform(0.015, 0.04))


def wall(rng: np.random.Generator) -> Material:
    """Draw paint or wallpaper: light, weakly coloured."""
    base = colour(rng, saturation=(0.02, 0.38), value=(0.5, 0.92))
    pattern = rng.random()
    if pattern < 0.2:
        return Material(
            Texture.STRIPES, base, shade(base, rng.uniform(0.7, 0.92)), rng.uniform(0.15, 0.5)
        )
    if pattern < 0.35:
        return Material(
            Texture.ORNAMENT, base, shade(base, rng.uniform(0.75, 0.9)), rng.uniform(0.2, 0.45)
        )
    return plain(base)


def floor(rng: np.random.Generator) -> Material:
    """Draw planks, tiles or carpet."""
    pattern = rng.random()
    if pattern < 0.55:
        base = colour(rng, hue=(0.05, 0.1), saturation=(0.35, 0.7), value=(0.2, 0.6))
        return Material(Texture.PLANKS, base, shade(base, 0.7), rng.uniform(0.1, 0.2), 0.25)
    if pattern < 0.8:
        base = colour(rng, hue=(0.03, 0.15), saturation=(0.02, 0.3), value=(0.35, 0.8))
        other = shade(base, rng.choice([0.45, 0.9, 0.95]))
        return Material(Texture.TILES, base, other, rng.uniform(0.25, 0.6), 0.35)
    base = colour(rng, saturation=(0.05, 0.4), value=(0.25, 0.6))
    return Material(Texture.FABRIC, base, shade(base, 0.75), 0.03)


def rug(rng: np.random.Generator) -> Material:
    """Draw a rug with a border."""
    return Material(
        Texture.RUG,
        colour(rng, saturation=(0.2, 0.75), value=(0.2, 0.7)),
        colour(rng, saturation=(0.1, 0.6), value=(0.2, 0.85)),
        rng.uniform(0.1, 0.3),
    )


def panels(base: Material, rows: int) -> Material:
    """Return a front that is divided into ``rows`` panels of the colour of ``base``."""
    return Material(Texture.PANELS, base.first, shade(base.first, 0.5), float(rows), base.gloss)


def books(rng: np.random.Generator) -> Material:
    """Draw a row of book spines."""
    return Material(
        Texture.BOOKS,
        colour(rng, saturation=(0.3, 0.8), value=(0.2, 0.7)),
        colour(rng, saturation=(0.2, 0.8), value=(0.2, 0.8)),
        rng.uniform(0.03, 0.06),
    )


def painting(rng: np.random.Generator) -> Material:
    """Draw the canvas of a picture."""
    return Material(
        Texture.PAINTING,
        colour(rng, saturation=(0.3, 0.9), value=(0.2, 0.9)),
        colour(rng, saturation=(0.3, 0.9), value=(0.2, 0.9)),
        rng.uniform(0.1, 0.4),
    )


def toy(rng: np.random.Generator) -> Material:
    """Draw the strong colour of a small thing."""
    return plain(colour(rng, saturation=(0.6, 0.95), value=(0.4, 0.9)), gloss=0.3)


def pick(rng: np.random.Generator, materials: Sequence[Material]) -> Material:
    """Choose one of several materials."""
    return materials[int(rng.integers(len(materials)))]
