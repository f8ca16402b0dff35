"""Find the change of names that makes a file's weights fit a network's."""

from collections.abc import Callable, Mapping

from torch import Tensor

WRAPPERS = ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module")
"""Module names that DDP, ``torch.compile``, Fabric and FSDP put between a network's own."""
NEUTRAL = {*WRAPPERS, "model", "net", "network", "student"}
"""Module names that say nothing about what they hold."""


def renaming(stripped: str, added: str, unwrapped: bool) -> Callable[[str], str]:
    """Return the function from a name in the file to a name in the network."""

    def rename(name: str) -> str:
        if unwrapped:
            name = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        return added + name.removeprefix(stripped)

    return rename


def best_prefixes(
    state: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> tuple[str, str, bool]:
    """Return (strip, add, unwrap) that matches the most names, then shapes; no change wins ties.

    A prefix is stripped only where at least half of the file's names have it, and exchanged for
    another only where its parts mean nothing: `depth.` never becomes `seg.`.
    """
    best, best_score = ("", "", False), (-1, -1)
    for unwrapped in (False, True):
        unwrap = renaming("", "", unwrapped)
        shapes = {unwrap(name): tensor.shape for name, tensor in state.items()}
        strips = [s for s, count in _prefixes(shapes).items() if 2 * count >= len(shapes)]
        neutral = ["", *(s for s in strips if set(s[:-1].split(".")) <= NEUTRAL)]
        changes = [(s, "") for s in ("", *strips)]
        changes += [(s, a) for a in _prefixes(target) for s in neutral]
        for stripped, added in changes:
            hits = [
                (shape, target[new].shape)
                for name, shape in shapes.items()
                if (new := added + name.removeprefix(stripped)) in target
            ]
            score = (len(hits), sum(got == expected for got, expected in hits))
            if score > best_score:
                best, best_score = (stripped, added, unwrapped), score
            if best_score[1] == len(target):
                return best
    return best


def _prefixes(names: Mapping[str, object]) -> dict[str, int]:
    """Return prefixes of up to three parts with their counts, the most frequent first."""
    count: dict[str, int] = {}
    for name in names:
        parts = name.split(".")[:-1]
        for length in range(1, min(3, len(parts)) + 1):
            prefix = ".".join(parts[:length]) + "."
            count[prefix] = count.get(prefix, 0) + 1
    order = sorted(count, key=lambda prefix: (-count[prefix], prefix.count(".")))
    return {prefix: count[prefix] for prefix in order[:64]}
