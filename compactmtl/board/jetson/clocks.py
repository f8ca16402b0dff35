"""Clocks of GPU, memory and CPU as sysfs tells them; nothing is written.

A clock counts as locked where its least and its largest allowed frequency are equal, which is what
``jetson_clocks`` makes of them. What cannot be read is None: memory's clock needs root.
"""

from dataclasses import dataclass
from pathlib import Path

from compactmtl.board.jetson.sysfs import read_integer, read_word

GPU_NAMES = (".gpu", ".ga10b", ".gv11b", ".gp10b", "gpu-gpc-0")
"""How a device of ``/sys/class/devfreq`` that is the GPU ends, from TX2 to Thor."""
DEVFREQ = "sys/class/devfreq"
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
CPUS = "sys/devices/system/cpu"
KHZ, HZ = 1e3, 1e6
"""What makes MHz of what cpufreq and devfreq tell."""


@dataclass(frozen=True)
class Clock:
    """One clock.

    Attributes:
        governor: Who chooses the frequency.
        min_mhz: Least frequency allowed.
        max_mhz: Largest frequency allowed.
        now_mhz: Frequency when it was read.
    """

    governor: str | None
    min_mhz: float | None
    max_mhz: float | None
    now_mhz: float | None

    @property
    def locked(self) -> bool | None:
        """Whether it can only be one frequency; None where that is not known."""
        if self.min_mhz is None or self.max_mhz is None:
            return None
        return self.min_mhz == self.max_mhz

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON data."""
        return {
            "governor": self.governor,
            "min_mhz": self.min_mhz,
            "max_mhz": self.max_mhz,
            "now_mhz": self.now_mhz,
            "locked": self.locked,
        }


def read_clocks(root: Path = Path("/")) -> dict[str, Clock]:
    """Return the clocks by name: ``gpu``, ``emc``, and one ``cpu0`` per group of cores.

    Args:
        root: Where the machine's files lie.
    """
    clocks = {}
    gpu = _gpu(root / DEVFREQ)
    if gpu is not None:
        clocks["gpu"] = Clock(
            read_word(gpu / "governor"),
            *(_mhz(gpu / name, HZ) for name in ("min_freq", "max_freq", "cur_freq")),
        )
    emc = root / EMC
    clocks["emc"] = Clock(
        None, *(_mhz(emc / name, HZ) for name in ("min_rate", "max_rate", "rate"))
    )
    if read_word(emc / "mrq_rate_locked") == "1":  # then the rate stays, whatever the range
        rate = clocks["emc"].now_mhz
        clocks["emc"] = Clock(None, rate, rate, rate)
    for policy in sorted((root / CPUS / "cpufreq").glob("policy*")):
        number = policy.name[len("policy") :]
        names = ("scaling_min_freq", "scaling_max_freq", "scaling_cur_freq")
        clocks[f"cpu{number}"] = Clock(
            read_word(policy / "scaling_governor"), *(_mhz(policy / name, KHZ) for name in names)
        )
    return clocks


def all_locked(clocks: dict[str, Clock]) -> bool | None:
    """Tell whether all clocks are locked; None where some are not known and none is free."""
    states = [clock.locked for clock in clocks.values()]
    if any(state is False for state in states):
        return False
    return True if states and all(states) else None


def _gpu(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return next(
        (each for each in sorted(folder.iterdir()) if each.name.endswith(GPU_NAMES)),
        None,
    )


def _mhz(path: Path, divisor: float) -> float | None:
    number = read_integer(path)
    return None if number is None else number / divisor
