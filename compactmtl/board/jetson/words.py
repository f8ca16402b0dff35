"""What was seen of a Jetson, in lines for a person."""

from collections.abc import Iterator, Mapping
from typing import Any


def lines_of_device(device: Mapping[str, Any]) -> list[str]:
    """Return the lines of a record's ``device``; none where it is no Jetson."""
    jetson = device.get("jetson")
    return list(_lines(jetson)) if isinstance(jetson, Mapping) else []


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    board, mode = found["board"], found["power_mode"]
    module = board["module"] or board["model"] or "unknown module"
    jetpack = f"JetPack {board['jetpack']}" if board["jetpack"] else "JetPack unknown"
    locked = {True: "locked", False: "not locked", None: "not known to be locked"}
    clocks = ", ".join(
        f"{name} {locked[clock['locked']]}"
        for name, clock in found["clocks"].items()
        if name in ("gpu", "emc")
    )
    yield f"{module}, {jetpack}, power mode {mode['name'] or 'unknown'}; clocks: {clocks or '?'}"
    yield f"evidence: {found['evidence']}"
    if found["tegrastats"]["why"]:
        yield f"power, clocks, temperatures: unavailable ({found['tegrastats']['why']})"
    energy = found["energy"] if isinstance(found["energy"], Mapping) else {}
    for name, each in energy.items():
        yield f"{name}: {energy_words(each)}"
    if isinstance(found["temperatures_c"], Mapping):
        hottest = max(found["temperatures_c"].items(), key=lambda each: each[1]["max"])
        yield f"hottest: {hottest[0]} {hottest[1]['max']:.1f} C"
    throttled = found["throttled"]
    yield f"throttled: {throttled['verdict']} ({throttled['why']})"


def energy_words(found: Mapping[str, Any]) -> str:
    """Return the energy of one candidate: by the module's rail, or as a sum that is called one."""
    if found["why"]:
        return f"energy unavailable ({found['why']})"
    if "module_rail" in found:
        rail = found["module_rail"]
        words = f"{found['mj_per_inference'][rail]:.3g} mJ per inference ({rail}, whole module)"
    else:
        words = f"{found['mj_sum']:.3g} mJ per inference (sum of {' + '.join(found['sum_of'])})"
    above = found["mj_above_idle"].get(found.get("module_rail", ""))
    return words if above is None else f"{words}, {above:.3g} mJ above idle"
