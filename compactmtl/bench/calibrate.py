"""Measure what layers cost in ONNX Runtime, here or on a board: the table compress chooses by."""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from compactmtl.bench.chains import Chain, Convolution
from compactmtl.bench.fit import Array, fit, left_out_errors
from compactmtl.bench.machines import machine
from compactmtl.board.bench.time_chains import Progress
from compactmtl.compiler.kernels import TERMS, ceil_to, kernel
from compactmtl.compiler.table import Accuracy, CostTable
from compactmtl.errors import UsageError
from compactmtl.remote.ssh import Host

CHAINS, QUICK_CHAINS = 1500, 400
ROUNDS = 12
MAX_MACS, MAX_NUMBERS, MAX_WEIGHTS = 100_000_000, 1_000_000, 2_000_000
SIDES = (7, 10, 14, 20, 28, 40, 56, 80, 112)


def calibrate(
    *,
    threads: int = 1,
    quick: bool = False,
    seed: int = 0,
    host: Host | None = None,
    progress: Progress | None = None,
) -> CostTable:
    """Time random layers of every kind and fit a cost table to them.

    Each measurement is a chain of one to four layers, so that changes of layout at its ends are
    told from the layers.

    Args:
        threads: Threads of the runtime.
        quick: Measure about a quarter of the chains.
        seed: For the choice of shapes.
        host: Measure in ONNX Runtime on the processor of this machine, through ssh.
        progress: Called after each batch with the chains done and their total.

    Raises:
        UsageError: ``threads`` is less than 1.
        MissingExtraError: The host has no ONNX Runtime.
        NotPossibleHereError: The host does not answer.
    """
    if threads < 1:
        raise UsageError(f"threads (={threads}) must be at least 1")
    total = QUICK_CHAINS if quick else CHAINS
    with machine(host) as measured:
        align, block = measured.align, measured.block
        chains = list(islice(draw(random.Random(seed), align=align, block=block), total))
        layers = [chain.to_board() for chain in chains]
        times = measured.time(layers, threads=threads, rounds=ROUNDS, progress=progress)
        described = measured.environment
    return make_table(
        chains, np.array(times), threads=threads, align=align, block=block, described=described
    )


def draw(generator: random.Random, *, align: int, block: int) -> Iterator[Chain]:
    """Yield chains without end: kernels, widths and sizes as networks and compilers make them."""

    def width(least: int, most: int) -> int:
        count = round(math.exp(generator.uniform(math.log(least), math.log(most))))
        return ceil_to(count, generator.choice((block, block, align, align, 1)))

    while True:
        kind, side = generator.random(), generator.choice(SIDES)
        length, gathered, added = generator.choice((1, 2, 4, 4)), 0, False
        if kind < 0.28:
            layer = Convolution(width(4, 512), width(4, 512), 1, 1, side)
        elif kind < 0.52:
            layer = Convolution(width(4, 384), width(4, 384), 3, 1, side)
        elif kind < 0.60:
            size = generator.choice((5, 7))
            layer = Convolution(width(4, 192), width(4, 192), size, 1, side)
        elif kind < 0.72:
            channels = width(8, 768)
            layer = Convolution(channels, channels, generator.choice((3, 3, 5, 7)), channels, side)
        elif kind < 0.84:
            groups = generator.choice((2, 4, 8, 16, 32))
            rows, columns = (generator.choice((4, 7, 8, 10, 12, 16, 32, 48)) for _ in "rc")
            columns = rows if generator.random() < 0.6 else columns
            size = generator.choice((1, 3, 3))
            layer = Convolution(groups * rows, groups * columns, size, groups, side)
        elif kind < 0.90:
            layer = Convolution(width(8, 4096), width(8, 4096), side=0)
        elif kind < 0.96 and align > 1:
            channels = ceil_to(width(16, 256), align) + generator.randrange(1, align)
            layer = Convolution(channels, channels, 1, 1, side)
            added = True
        else:
            stored = width(16, 512)
            layer = Convolution(stored, stored, generator.choice((1, 1, 3)), 1, side)
            gathered = min(width(4, stored), stored - 1)
            length = generator.choice((2, 3, 4))
        chain = Chain(layer, length, gathered, added)
        if _fits(chain):
            yield chain


def _fits(chain: Chain) -> bool:
    layers = chain.layers()
    weights = [layer.rows * layer.columns * layer.taps // layer.groups for layer in layers]
    widest = max(max(layer.rows, layer.columns) * layer.positions for layer in layers)
    macs = max(weights) * chain.layer.positions
    return macs <= MAX_MACS and widest <= MAX_NUMBERS and sum(weights) <= MAX_WEIGHTS


def make_table(
    chains: Sequence[Chain],
    times: Array,
    *,
    threads: int,
    align: int,
    block: int,
    described: dict[str, Any],
) -> CostTable:
    """Fit a table to measured chains.

    Args:
        chains: What ran.
        times: Nanoseconds of one run of each.
        threads: Threads of the runtime.
        align: See ``CostTable``.
        block: See ``CostTable``.
        described: Machine and software; see ``compactmtl.environment.environment``.
    """
    keys = [("run", "calls"), *((name, term) for name, terms in TERMS.items() for term in terms)]
    works = [{("run", "calls"): 1.0, **c.work(align=align, block=block)} for c in chains]
    amounts = np.array([[work.get(key, 0.0) for key in keys] for work in works])
    rates = dict(zip(keys, fit(amounts, times).tolist(), strict=True))
    errors = left_out_errors(amounts, times)
    kernels = [_kernels(chain, align, block) for chain in chains]
    return CostTable(
        runtime=f"onnxruntime {described['packages']['onnxruntime']}",
        cpu=described["cpu"],
        threads=threads,
        clock="cpu" if threads == 1 else "wall",
        align=align,
        block=block,
        rates={name: {term: rates[name, term] for term in terms} for name, terms in TERMS.items()},
        accuracy=_accuracy(errors),
        by_kernel={
            name: _accuracy(errors[chosen])
            for name in TERMS
            if (chosen := np.array([name in found for found in kernels])).any()
        },
        environment=described,
    )


def _kernels(chain: Chain, align: int, block: int) -> set[str]:
    names = {kernel(layer, align=align, block=block) for layer in chain.layers()}
    names |= {"gather"} if chain.gathered else set()
    return names | ({"addition"} if chain.added else set())


def _accuracy(errors: Array) -> Accuracy:
    return Accuracy(
        num=len(errors),
        median=round(float(np.median(errors)), 4),
        p90=round(float(np.quantile(errors, 0.9)), 4),
    )
