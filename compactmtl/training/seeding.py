"""Where every random number of a run comes from: its seed, the epoch and nothing else."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_SUBSET, _EPOCH, _LOADER = 11, 12, 13  # apart from the streams of compactmtl.data.order


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Seed everything for one epoch, so that it runs the same after a resume.

    ``fit`` calls it at the start of each epoch (counted from 0), before any batch is drawn. Where
    several processes train, each draws numbers of its own.
    """
    seed_everything(_derive(seed, _EPOCH, epoch, *_further(rank)))


def subset_order(num_samples: int, seed: int, epoch: int, wanted: int, batch: int) -> list[int]:
    """Return the ``wanted`` samples that train the task factors in an epoch: at least one batch.

    Source: paper A, section 2.3 (about 3 % of the samples per epoch), redrawn every epoch.
    """
    size = min(num_samples, max(batch, wanted))
    generator = torch.Generator().manual_seed(_derive(seed, _SUBSET, epoch))
    order: list[int] = torch.randperm(num_samples, generator=generator).tolist()
    return order[:size]


def loader_generator(seed: int, epoch: int, rank: int = 0) -> torch.Generator:
    """Return the generator that seeds the loader's worker processes in an epoch."""
    return torch.Generator().manual_seed(_derive(seed, _LOADER, epoch, *_further(rank)))


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the random state of Python, numpy and torch as plain data and tensors."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    state = {
        "python": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Take over a state from ``random_state``; that of a GPU only on a GPU.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: It is no such state.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Leave the random state of Python, numpy and torch as it was before the block."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _further(rank: int) -> tuple[int, ...]:
    """Return what the first process, and one alone, leaves out of a path of integers."""
    return (rank,) if rank else ()


def _derive(*path: int) -> int:
    """Mix integers into one 63-bit seed; neighbouring seeds and epochs share nothing."""
    return int(np.random.SeedSequence(path).generate_state(1, np.uint64)[0] >> np.uint64(1))
