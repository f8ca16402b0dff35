"""What was seen of a GPU while it was measured, in lines for a person."""

from collections.abc import Iterator, Mapping
from typing import Any


def lines_of_gpu(device: Mapping[str, Any]) -> list[str]:
    """Return the lines of a record's ``device`` as ``GpuWatch.describe`` made it; none of others.

    What the GPU does not tell is called unavailable.
    """
    return list(_lines(device)) if "graphics_mhz" in device else []


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"evidence: {found['evidence']}; {found['readings']} readings"
    yield "; ".join(
        f"{name} {_spread(found[key], unit)}"
        for name, key, unit in (
            ("power", "power_w", "W"),
            ("clock", "graphics_mhz", "MHz"),
            ("memory clock", "memory_mhz", "MHz"),
            ("temperature", "celsius", "C"),
            ("memory in use", "used_mib", "MiB"),
        )
    )
    for name, each in found["alone"].items():
        energy = each["mj_per_inference"]
        if energy is None:
            yield f"{name}: energy unavailable"
        else:
            of = f"whole GPU board, {each['readings']} readings"
            yield f"{name}: {energy:.3g} mJ per inference ({of})"
    slowed = found["throttled"]
    yield f"throttled: {slowed if isinstance(slowed, str) else ', '.join(slowed) or 'no'}"


def _spread(values: Mapping[str, float] | None, unit: str) -> str:
    if values is None:
        return "unavailable"
    return f"{values['median']:.5g} ({values['min']:.5g} to {values['max']:.5g}) {unit}"
