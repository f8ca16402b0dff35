"""Numbers the way a reader wants them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"
UP, DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"


def count(value: float | None) -> str:
    """Return 1234567 as ``1.23 M``; SI prefixes, three significant digits."""
    if value is None:
        return DASH
    for size, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{_digits(value / size)}{suffix}"
    return f"{value:g}"


def size(num_bytes: float | None) -> str:
    """Return a size in MB or kB, powers of ten."""
    if num_bytes is None:
        return DASH
    return (
        f"{_digits(num_bytes / 1e6)} MB" if num_bytes >= 1e6 else f"{_digits(num_bytes / 1e3)} kB"
    )


def milliseconds(value: float | None) -> str:
    """Return milliseconds with three significant digits."""
    return DASH if value is None else _digits(value)


def ratio(value: float | None) -> str:
    """Return 3.14159 as ``3.14x``."""
    return DASH if value is None else f"{_digits(value)}{TIMES}"


def interval(value: float, bounds: Sequence[float]) -> str:
    """Return a ratio with its interval, as ``3.14x (3.10 to 3.18)``."""
    low, high = bounds
    return f"{ratio(value)} ({_digits(low)} to {_digits(high)})"


def share(part: float | None, whole: float | None) -> str:
    """Return a share in percent."""
    return DASH if part is None or not whole else f"{100.0 * part / whole:.1f} %"


def metric(value: float | None) -> str:
    """Return a metric with four significant digits."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.4g}"


def error(value: float | None) -> str:
    """Return a numerical error, as ``2.1e-7``; an exact zero is ``0``."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def divided(before: float | None, after: float | None) -> float | None:
    """Return ``before / after`` where both are there and it means something."""
    return before / after if before is not None and after else None


def anything(value: Any) -> str:
    """Return a JSON value as short text."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return error(value) if value and abs(value) < 1e-3 else f"{value:.5g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {anything(item)}" for key, item in value.items())
    if isinstance(value, list | tuple) and value and all(isinstance(item, int) for item in value):
        return TIMES.join(str(item) for item in value)  # a shape
    if isinstance(value, list | tuple):
        return ", ".join(anything(item) for item in value) or DASH
    return str(value)


def _digits(value: float) -> str:
    """Return three significant digits without an exponent."""
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    if magnitude >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if magnitude >= 0.1 or value == 0 else f"{value:.2g}"
