"""Memory of this process, as far as the system tells it."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to ``clear_refs``, makes the peak the present size; proc_pid_clear_refs(5)."""


class PeakMemory:
    """Follows the resident memory of the process; figures are MiB, None where unknown."""

    def __init__(self) -> None:
        self._largest = 0.0

    def mark(self) -> float | None:
        """Start anew and return the present size; None where the system does not allow it."""
        self.total()
        try:
            CLEAR.write_text(RESET_PEAK, encoding="ascii")
        except OSError:
            return None
        return _status("VmRSS")

    def added(self, mark: float | None) -> float | None:
        """Return how much the peak since ``mark`` was above the size then."""
        peak = _status("VmHWM")
        return None if mark is None or peak is None else round(max(0.0, peak - mark), 1)

    def total(self) -> float | None:
        """Return the largest size of the process so far."""
        found = _status("VmHWM") or _rusage()
        self._largest = max(self._largest, found or 0.0)
        return round(self._largest, 1) or None


def _status(field: str) -> float | None:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 2**10  # kB
    return None


def _rusage() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes, or KiB
