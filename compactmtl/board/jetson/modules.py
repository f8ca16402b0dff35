"""Modules by part number, and what chip each family of them has."""

from dataclasses import dataclass

MODULES = {
    "p3834-0008": "Jetson AGX Thor (T5000)",
    "p3767-0000": "Jetson Orin NX 16GB",
    "p3767-0001": "Jetson Orin NX 8GB",
    "p3767-0003": "Jetson Orin Nano 8GB",
    "p3767-0004": "Jetson Orin Nano 4GB",
    "p3767-0005": "Jetson Orin Nano 8GB (developer kit)",
    "p3701-0000": "Jetson AGX Orin (developer kit)",
    "p3701-0002": "Jetson IGX Orin (developer kit)",
    "p3701-0004": "Jetson AGX Orin 32GB",
    "p3701-0005": "Jetson AGX Orin 64GB",
    "p3668-0000": "Jetson Xavier NX (developer kit)",
    "p3668-0001": "Jetson Xavier NX",
    "p3668-0003": "Jetson Xavier NX 16GB",
    "p2888-0001": "Jetson AGX Xavier 16GB",
    "p2888-0003": "Jetson AGX Xavier 32GB",
    "p2888-0004": "Jetson AGX Xavier 32GB",
    "p2888-0005": "Jetson AGX Xavier 64GB",
    "p2888-0006": "Jetson AGX Xavier 8GB",
    "p2888-0008": "Jetson AGX Xavier Industrial",
    "p3448-0000": "Jetson Nano 4GB",
    "p3448-0002": "Jetson Nano",
    "p3448-0003": "Jetson Nano 2GB",
}
"""Part number to name. Source: rbonghi/jetson_stats, ``jtop/core/jetson_variables.py``; Thor's in
Linux, ``tegra264-p4071-0000+p3834-0008.dts``."""


@dataclass(frozen=True)
class Chip:
    """What a system on chip is.

    Attributes:
        name: As in ``tegra234``.
        family: As NVIDIA sells it.
        compute_capability: Of its GPU, as engines know it.
    """

    name: str
    family: str
    compute_capability: str


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("tegra264", "Thor", "11.0"),
        Chip("tegra234", "Orin", "8.7"),
        Chip("tegra194", "Xavier", "7.2"),
        Chip("tegra186", "TX2", "6.2"),
        Chip("tegra210", "Nano or TX1", "5.3"),
    )
}

TOTAL_RAIL = {"p3767": "VDD_IN", "p3668": "VDD_IN"}
"""Modules whose rail of this name is the whole module's input. ``VIN_SYS_5V0`` of the AGX modules
is not; there a sum of rails is only a sum."""
