"""What of this has been run on hardware, simulated, or never run: the matrix of docs/deploy.md.

A row is added to ``SEEN`` by whoever ran ``doctor --host ... --selftest`` on a board.
"""

from typing import Any, Literal

Seen = Literal["run on hardware", "simulated", "never run"]

FAMILIES = ("Orin Nano", "Orin NX", "AGX Orin", "AGX Thor")
STACKS = (("6.1", "10.3"), ("6.2", "10.3"), ("7.0", "10.13"), ("7.2", "10"))
"""JetPack and the TensorRT that it ships. JetPack 5 (Xavier) is too old: Python 3.8, TensorRT 8."""

SEEN: dict[tuple[str, str], Seen] = {
    ("Orin Nano", "6.2"): "simulated",
    ("AGX Orin", "7.2"): "simulated",
    ("AGX Thor", "7.0"): "simulated",
}
"""Family and JetPack. ``simulated``: detection, tegrastats, power, bench and transport against a
board made of files and scripts, with ONNX Runtime as the engine; TensorRT was never run."""


def seen(family: str, jetpack: str) -> Seen:
    """Return how far we have come with a module and a JetPack."""
    return SEEN.get((family, jetpack), "never run")


def evidence(document: dict[str, Any], *, simulated: bool) -> str:
    """Return, for a board's own description, what its figures rest on, in words."""
    if not (document.get("chip") or document.get("l4t") or document.get("module")):
        return "no Jetson"
    if simulated:
        return "simulated: read from files and scripts, not from a Jetson"
    module, jetpack = str(document.get("module") or ""), str(document.get("jetpack") or "")
    for (family, version), state in SEEN.items():
        if state == "run on hardware" and family in module and jetpack.startswith(version):
            return f"run on hardware before: {family}, JetPack {version}"
    return "never run on hardware by us: check figures of this board by another tool"


def matrix() -> str:
    """Return the table of docs/deploy.md, as Markdown."""
    heads = [f"JetPack {jetpack} (TensorRT {tensorrt})" for jetpack, tensorrt in STACKS]
    lines = [f"| | {' | '.join(heads)} |", f"|{'---|' * (len(STACKS) + 1)}"]
    lines += [
        f"| {family} | {' | '.join(seen(family, jetpack) for jetpack, _ in STACKS)} |"
        for family in FAMILIES
    ]
    return "\n".join(lines)
