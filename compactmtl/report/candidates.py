"""The measured artefacts of a page: their order, colours and legend."""

from collections.abc import Iterable, Mapping
from typing import Any

from compactmtl.report.html import Html, h

Candidates = Mapping[str, Mapping[str, Any]]
DENSE_COLOUR, COMPACT_COLOUR = "#94a3b8", "#2563eb"
COLOURS = (
    *("#0d9488", "#c2410c", "#7c3aed", "#be185d", "#4d7c0f"),
    *("#b45309", "#0369a1", "#a21caf", "#15803d", "#dc2626"),
)


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each candidate, the same in every chart of the page."""
    fixed = {"dense": DENSE_COLOUR, "compact": COMPACT_COLOUR}
    others = [name for name in names if name not in fixed]
    return fixed | {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(others)}


def legend(names: Iterable[str], of: Mapping[str, str]) -> Html:
    """Return which colour is which candidate."""
    items = (h("li", h("i", style=f"background: {of[name]}"), name) for name in names)
    return h("ul", *items, class_="legend")


def energy_mj(bench: Mapping[str, Any], name: str) -> float | None:
    """Return the energy of one inference, None where it was not read.

    On a GPU its own; on a board that of the rail that feeds the whole module.
    """
    found = (bench.get("device") or {}).get("energy")
    each = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(each, Mapping):
        return None
    value = each.get("mj_per_inference")
    if isinstance(value, Mapping):
        value = value.get(each.get("module_rail"))
    return float(value) if isinstance(value, int | float) else None
