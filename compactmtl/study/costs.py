"""What the runs of a study cost once they are compiled, and what in them is zero."""

from collections.abc import Sequence

from compactmtl.files import read_json
from compactmtl.study.cells import RunCell
from compactmtl.study.paired import Cell, cell

SHARES = {
    "zero_groups": "num_groups",
    "zero_filters": "num_filters",
    "removable_channels": "num_channels",
}
"""Three different numbers, each with what it is a share of."""

Costs = dict[str, dict[str, Cell]]
"""Per subject: ``macs``, ``macs_share`` (of the network as it is trained), ``num_params``, and the
shares of ``SHARES``, over its seeds."""


def costs(cells: Sequence[RunCell]) -> tuple[Costs, list[str]]:
    """Return what the compiler reports of the finished runs.

    A control at surviving widths is dense: its zeros were those of the run that it was cut from,
    so it has none here.

    Returns:
        The costs, and a sentence for each run that could not be compiled.
    """
    values: dict[str, dict[str, list[float]]] = {}
    notes = []
    for each in cells:
        if each.cost.is_file():
            of_label = values.setdefault(each.subject.label, {})
            for name, value in _figures(each).items():
                of_label.setdefault(name, []).append(value)
        elif each.not_compiled.is_file():
            why = each.not_compiled.read_text(encoding="utf-8")
            notes.append(f"{each.subject.label}, seed {each.seed}: cost unavailable: {why}")
    found = {
        label: {name: cell(numbers) for name, numbers in of_label.items()}
        for label, of_label in values.items()
    }
    return found, notes


def _figures(each: RunCell) -> dict[str, float]:
    report = read_json(each.cost)
    before, after, counts = report["before"], report["after"], report["census"]
    figures = {
        "macs": after["macs"],
        "macs_share": after["macs"] / before["macs"],
        "num_params": after["num_params"],
    }
    if each.subject.control != "widths":
        figures |= {name: counts[name] / counts[total] for name, total in SHARES.items()}
    return figures
