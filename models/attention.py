"""The attention by which a task of MTAN takes from shared features what it needs."""

from torch import nn


def attention(num_in: int, hidden: int, num_out: int) -> nn.Sequential:
    """Return conv1x1, norm, ReLU, conv1x1, norm, sigmoid: a mask between 0 and 1."""
    return nn.Sequential(
        nn.Conv2d(num_in, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, num_out, 1),
        nn.BatchNorm2d(num_out),
        nn.Sigmoid(),
    )
