"""An axis for the strength of the penalty: logarithmic, with a place for 0."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from plotly.colors import sample_colorscale

MAX_NAMED = 9
"""More strengths than this would write over each other; then decades are named."""
GAP = 0.8
"""Decades between 0 and the smallest strength above it."""


def places(lams: Sequence[float]) -> dict[float, float]:
    """Return where each strength stands on a logarithmic axis; 0 stands left of the others."""
    positive = [lam for lam in lams if lam > 0]
    zero = min(positive) / 10**GAP if positive else 1.0
    return {lam: lam or zero for lam in lams}


def lambda_axis(lams: Sequence[float]) -> dict[str, Any]:
    """Return plotly's axis for these strengths."""
    at = places(lams)
    decades = {10.0 ** math.floor(math.log10(lam)) for lam in lams if lam > 0}
    named = list(at) if len(at) <= MAX_NAMED else sorted(decades | {lam for lam in lams if not lam})
    low, high = math.log10(min(at.values())), math.log10(max(at.values()))
    margin = 0.06 * max(high - low, 1.0)
    return {
        "type": "log",
        "range": [low - margin, high + margin],
        "tickmode": "array",
        "tickvals": [at.get(lam, lam) for lam in named],
        "ticktext": [lambda_text(lam) for lam in named],
        "title": {"text": "λ, strength of the penalty (log scale; 0 is dense)", "standoff": 8},
    }


def lambda_text(lam: float) -> str:
    """Return 1e-05 as a power of ten, others as they are."""
    if lam > 0 and (lam < 1e-2 or lam > 1e3):
        mantissa, exponent = f"{lam:.3e}".split("e")
        power = f"10<sup>{int(exponent)}</sup>".replace("-", "\N{MINUS SIGN}")
        digits = f"{float(mantissa):g}"
        return power if digits == "1" else f"{digits}·{power}"
    return f"{lam:g}"


def lambda_colours(lams: Iterable[float]) -> dict[float, str]:
    """Return a colour for each strength, darker to brighter; grey for 0."""
    names = list(lams)
    positive = sorted(lam for lam in names if lam > 0)
    shares = [index / max(len(positive) - 1, 1) for index in range(len(positive))]
    scale = sample_colorscale("Plasma", [0.85 * share for share in shares]) if positive else []
    return {lam: "#94a3b8" for lam in names if not lam} | dict(zip(positive, scale, strict=True))
