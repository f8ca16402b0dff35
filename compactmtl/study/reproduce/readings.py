"""Our readings of the papers: what they say, what is unclear, what the library does.

``python -m compactmtl.study.reproduce.readings`` prints ``docs/readings.md``.
"""

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

PAPERS = {
    "A": "Learning Compact Neural Networks with Deep Overparameterised Multitask Learning "
    "(Ren and Shi), and its poster (Ribli and Pan)",
    "B": "Less is More - Towards parsimonious multi-task models using structured sparsity "
    "(Upadhyay, Phlypo, Saini and Liwicki, arXiv:2308.12114)",
}


@dataclass(frozen=True)
class Reading:
    """One place where a paper can be read in more than one way.

    Attributes:
        id: ``A.`` or ``B.`` and a word; quirks, tables and output refer to it.
        title: What it is about.
        paper: What the paper says, and where.
        unclear: What is ambiguous or contradictory.
        library: What the library does.
        switch: Settings of a recipe that select it; empty where there is none.
        source: Sections, equations, files of published code.
        touches: Patterns of table/row whose values depend on it.
        columns: Patterns of task.metric; empty for all.
    """

    id: str
    title: str
    paper: str
    unclear: str
    library: str
    switch: tuple[str, ...]
    source: str
    touches: tuple[str, ...]
    columns: tuple[str, ...] = ()

    def touches_cell(self, cell: str, column: str) -> bool:
        """Tell whether ``table/row`` in the column ``task.metric`` depends on it."""
        return any(fnmatchcase(cell, pattern) for pattern in self.touches) and (
            not self.columns or any(fnmatchcase(column, pattern) for pattern in self.columns)
        )


@cache
def readings() -> dict[str, Reading]:
    """Return every reading by its id, in the order of the papers."""
    text = resources.files(__package__).joinpath("readings.toml").read_text(encoding="utf-8")
    found = {}
    for entry in tomllib.loads(text)["readings"]:
        lists = {k: tuple(entry[k]) for k in ("switch", "touches", "columns") if k in entry}
        found[entry["id"]] = Reading(**(entry | lists))
    return found


def touching(cell: str, column: str) -> list[str]:
    """Return the ids of the readings that a cell depends on."""
    return [each.id for each in readings().values() if each.touches_cell(cell, column)]


def render(found: Sequence[Reading]) -> str:
    """Return the readings as Markdown."""
    lines = [
        "# How we read the papers",
        "",
        "Every place where a paper is silent, ambiguous or contradicts itself or its published "
        "code, and what compactmtl does there. Switches are settings of a recipe (`--set`); "
        "`compactmtl reproduce TABLE --dry-run` names the readings that a table depends on.",
        "",
        "Made from `compactmtl/study/reproduce/readings.toml` by "
        "`python -m compactmtl.study.reproduce.readings > docs/readings.md`.",
    ]
    for letter, paper in PAPERS.items():
        lines += ["", f"## Paper {letter}: {paper}"]
        for each in found:
            if each.id.startswith(f"{letter}."):
                lines += ["", f"### {each.id}: {each.title}", "", *_entry(each)]
    return "\n".join(lines) + "\n"


def _entry(reading: Reading) -> list[str]:
    switch = ", ".join(f"`{name}`" for name in reading.switch) or "none"
    return [
        f"- The paper: {reading.paper}",
        f"- Unclear: {reading.unclear}",
        f"- The library: {reading.library}",
        f"- Switch: {switch}",
        f"- Source: {reading.source}",
    ]


if __name__ == "__main__":
    sys.stdout.write(render(list(readings().values())))
