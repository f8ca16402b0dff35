"""Whether the board slowed itself down: yes, no, or unknown.

Yes: the GPU's clock falls by more than 5 % below its own median in the first quarter while the
junction gets warmer, or a counter of over-current events rises. No: both could be read throughout
and neither happened. Everything else is unknown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from compactmtl.board.jetson.recording import Recording
from compactmtl.board.jetson.sampler import Reading
from compactmtl.board.jetson.sysfs import read_integer
from compactmtl.board.jetson.tegrastats import Sample, parse_line

DROP = 0.05
WARMER_C = 0.5
"""What counts as warmer: sensors jitter by less."""
LEAST_READINGS = 20
GPU = "GR3D_FREQ"
COUNTERS = "sys/class/hwmon"


@dataclass(frozen=True)
class Throttled:
    """The verdict and, in words, what it rests on."""

    verdict: Literal["yes", "no", "unknown"]
    why: str


def read_over_current(root: Path = Path("/")) -> dict[str, int] | None:
    """Return the counters of over-current and under-voltage events; None where there are none.

    NVIDIA's Orin and Thor kernels have them as ``oc1_event_cnt`` and so on.
    """
    counters = {
        path.name.partition("_")[0]: read_integer(path)
        for path in sorted((root / COUNTERS).glob("hwmon*/oc*_event_cnt"))
    }
    # A counter that cannot be read is not a counter at zero.
    found = {name: number for name, number in counters.items() if number is not None}
    return found or None


def throttled(recording: Recording) -> Throttled:
    """Judge a recording by what was read while something ran."""
    events = _new_events(recording)
    if events:
        return Throttled("yes", f"over-current or under-voltage events: {', '.join(events)}")
    samples = [parse_line(each.line) for each in _loaded(recording)]
    # A clock of zero is a GPU that sleeps, and one that idles is slowed down by its governor.
    running = [
        float(max(gpu.mhz, default=0))
        for sample in samples
        if (gpu := sample.engines.get(GPU)) is not None and gpu.percent != 0
    ]
    running = [mhz for mhz in running if mhz > 0]
    if len(running) < LEAST_READINGS:
        return Throttled("unknown", f"{len(running)} readings of the GPU's clock under load")
    first, lowest = _first_and_lowest(running)
    if lowest < (1 - DROP) * first:
        warmer = _warmer(samples)
        fell = f"the GPU's clock fell from {first:.0f} to {lowest:.0f} MHz"
        if warmer is not None and warmer > WARMER_C:
            return Throttled("yes", f"{fell} while the junction got {warmer:.1f} C warmer")
        return Throttled("unknown", f"{fell}, and the junction did not get warmer")
    if recording.over_current is None:
        return Throttled("unknown", "the GPU's clock held, but no counter of events can be read")
    return Throttled("no", "the GPU's clock held, and no over-current event was counted")


def _new_events(recording: Recording) -> list[str]:
    if recording.over_current is None:
        return []
    before, after = recording.over_current
    return [
        f"{name} {after[name] - before[name]}"
        for name in before
        if after.get(name, before[name]) > before[name]
    ]


def _loaded(recording: Recording) -> Iterator[Reading]:
    for window in recording.of_kind("timing", "alone"):
        yield from recording.within(window)


def _first_and_lowest(values: Sequence[float]) -> tuple[float, float]:
    """Return the median of the first quarter, and the least of the later quarters' medians."""
    step = len(values) // 4
    quarters = [median(values[start : start + step]) for start in range(0, 4 * step, step)]
    return quarters[0], min(quarters[1:])


def _warmer(samples: Sequence[Sample]) -> float | None:
    hottest = [_junction(sample) for sample in samples]
    known = [each for each in hottest if each is not None]
    if len(known) < 4:
        return None
    step = len(known) // 4
    return median(known[-step:]) - median(known[:step])


def _junction(sample: Sample) -> float | None:
    for name, celsius in sample.temperatures_c.items():
        if name.lower() == "tj":
            return celsius
    return max(sample.temperatures_c.values(), default=None)
