"""Which ratios are stated, and whether the measurement shows them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from compactmtl.board.bench.loads import ratio_of
from compactmtl.board.bench.statistics import why_noisy
from compactmtl.board.bench.timing import Timings

Pair = tuple[str, str]


def pairs_of(runtimes: Mapping[str, str], also: Sequence[Pair]) -> list[Pair]:
    """Return the pairs whose ratio is stated.

    Within each runtime its first candidate over each other one; and the first candidate of all
    over the first of each other runtime, which compares the runtimes.
    """
    groups: dict[str, list[str]] = {}
    for name, runtime in runtimes.items():
        groups.setdefault(runtime, []).append(name)
    pairs = [(first, other) for first, *others in groups.values() for other in others]
    baseline, *others = (names[0] for names in groups.values())
    pairs += [(baseline, other) for other in others]
    return list(dict.fromkeys([*pairs, *also]))


def judge(
    timings: Mapping[str, Timings], pairs: Sequence[Pair], *, on_cpu: Collection[str], threads: int
) -> dict[str, Any]:
    """Return ``ratios``, ``verdict`` and ``why`` of a record.

    A ratio is judged by CPU time, which other load on the machine disturbs least, where both calls
    compute on the calling thread alone; else by wall time. Where the interval of that clock holds
    1.00, the ratio's verdict is ``inconclusive``: no difference was shown.
    """
    computing = set(on_cpu) if threads == 1 else set()
    found = {
        (one, other): {
            clock: ratio_of(timings[one], timings[other], clock=clock) for clock in ("cpu", "wall")
        }
        for one, other in pairs
    }
    ratios: dict[str, Any] = {}
    claims = {}
    for (one, other), both in found.items():
        clock = "cpu" if {one, other} <= computing else "wall"
        name = f"{one}/{other}"
        ratios[name] = {
            "clock": clock,
            "verdict": "inconclusive" if both[clock].is_inconclusive else "ok",
        }
        for each, ratio in both.items():
            ratios[name] |= {each: ratio.value, f"{each}_interval": [ratio.low, ratio.high]}
            if each == "wall" or {one, other} <= set(on_cpu):
                claims[f"{name} ({each})"] = ratio
    why = why_noisy(timings, claims, computing=computing)
    return {"ratios": ratios, "verdict": "noisy" if why else "ok", "why": why}
