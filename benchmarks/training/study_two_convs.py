"""Measure the other exact form of a U M V layer: V as one convolution, U m as the next.

It multiplies (I x + O y) r per pixel, not O I y x per pixel and O y r I x per step, so that it
wins by operations where there are fewer than about r pixels in a batch. The Frobenius decay, which
needs the kernel itself, takes that back: then both forms contract.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.environment import environment
from compactmtl.files import write_json
from compactmtl.overparam import expand, frobenius, param_groups, training_step
from compactmtl.overparam.kernel import expanded_layers
from compactmtl.overparam.umv import Umv

CASES = {
    "conv 256, 4x4": (256, 3, 4),
    "conv 256, 8x8": (256, 3, 8),
    "conv 256, 16x16": (256, 3, 16),
}
"""Channels, kernel size and image size."""


def main() -> None:
    """Measure every case, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("two_convs.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for name, (channels, kernel, size) in CASES.items():
        rows[name] = measure(channels, kernel, size, options.batch, options.rounds)
        print(name, {key: round(value, 2) for key, value in rows[name].items()})
    document = {
        "format_version": 1,
        "question": "is a U M V layer faster as two convolutions where pixels are few?",
        "environment": environment(),
        "settings": {"batch": options.batch, "rounds": options.rounds, "threads": 1},
        "results": rows,
    }
    write_json(options.output, document)


def measure(channels: int, kernel: int, size: int, batch: int, rounds: int) -> dict[str, Any]:
    """Return the CPU time of each form over that of the plain layer, and the predictions."""
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
    net = nn.Sequential(nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False))
    expand(net, tasks=("a",), layers="*")
    ((_, _, factors),) = expanded_layers(net)
    assert isinstance(factors, Umv)
    image = torch.randn(batch, channels, size, size, requires_grad=True)
    optimizer = torch.optim.SGD(param_groups(net, lr=0.1))
    with torch.no_grad():
        torch.testing.assert_close(two_convs(factors, image), net(image), rtol=1e-3, atol=1e-3)

    def contracted(coef: float) -> None:
        with training_step(net, optimizer, frobenius=coef):
            net(image).sum().backward()

    forms: dict[str, Callable[[], None]] = {
        "dense": lambda: plain(image).sum().backward(),
        "contracted": lambda: contracted(0.0),
        "two_convs": lambda: two_convs(factors, image).sum().backward(),
        "contracted_decay": lambda: contracted(1e-4),
        "two_convs_decay": lambda: (
            two_convs(factors, image).sum() + frobenius(net, 1e-4)
        ).backward(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds + 1):
        for name, form in forms.items():
            began = time.process_time()
            form()
            seconds[name].append(time.process_time() - began)
    pixels, rank = batch * size * size, factors.rank
    ratios = {
        name: statistics.median(
            one / other for one, other in zip(values[1:], seconds["dense"][1:], strict=True)
        )
        for name, values in seconds.items()
        if name != "dense"
    }
    return ratios | {"predicted_contracted": 1 + rank / pixels, "predicted_two_convs": 2.0}


def two_convs(factors: Umv, image: Tensor) -> Tensor:
    """Return the layer's output without its kernel: 1 x width by V, then height x 1 by U m."""
    out, inn, height, width = factors.kernel_shape
    wide = torch.float32
    V = factors.right(wide).reshape(factors.rank, inn, 1, width)
    U = (factors.left(wide) * factors.diagonal(wide)).reshape(out, height, factors.rank)
    between = F.conv2d(image, V, padding=(0, width // 2))
    return F.conv2d(between, U.transpose(1, 2).unsqueeze(-1), padding=(height // 2, 0))


if __name__ == "__main__":
    main()
