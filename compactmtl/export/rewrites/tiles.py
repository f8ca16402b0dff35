"""Max-pooling with indices and max-unpooling of windows that tile the plane, in plain torch.

For converters that have no unpooling, or a slow one. The algebra, and that it is exact, is that of
``first_maximum.py``: a chain of comparisons in torch's order; an unpool writes each place of a tile
where the index says so, and zero elsewhere. Sizes are fixed: where windows begin is a constant.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def pool_tiles(image: Tensor, tile: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the largest value of each window and torch's index of it: (N, C, H, W) -> (h, w)."""
    (down, right), (height, width) = tile, image.shape[-2:]
    rows, columns = height // down, width // right
    best, place = None, None
    for row in range(down):
        for column in range(right):
            value = image[:, :, row : rows * down : down, column : columns * right : right]
            here = torch.full_like(value, row * width + column, dtype=torch.int64)
            if best is None or place is None:
                best, place = value, here
            else:
                is_greater = value > best
                best = torch.where(is_greater, value, best)
                place = torch.where(is_greater, here, place)
    assert best is not None
    assert place is not None
    return best, place + _corners(rows, columns, width, tile)


def unpool_tiles(
    values: Tensor, indices: Tensor, size: tuple[int, int], tile: tuple[int, int]
) -> Tensor:
    """Put each value back into its tile: (N, C, h, w) -> (N, C, H, W)."""
    (down, right), (num, channels, rows, columns) = tile, values.shape
    place = indices - _corners(rows, columns, size[1], tile)
    zero = torch.zeros_like(values)
    lines = [
        torch.stack(
            [torch.where(place == r * size[1] + c, values, zero) for c in range(right)], dim=4
        ).reshape(num, channels, rows, columns * right)
        for r in range(down)
    ]
    covered = torch.stack(lines, dim=3).reshape(num, channels, rows * down, columns * right)
    rest = (0, size[1] - columns * right, 0, size[0] - rows * down)
    return pad(covered, rest) if any(rest) else covered


def _corners(rows: int, columns: int, width: int, tile: tuple[int, int]) -> Tensor:
    """Return the place of each window's first value: (h, w)."""
    down = torch.arange(rows) * (tile[0] * width)
    return down[:, None] + torch.arange(columns) * tile[1]
