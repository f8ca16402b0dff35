"""The data sets that the library knows, as `data list` shows them."""

from dataclasses import asdict, dataclass
from typing import Any

from compactmtl.data import DATASETS
from compactmtl.data.catalogue import CATALOGUE
from compactmtl.models.recipes import load, names


@dataclass(frozen=True)
class Row:
    """One data set."""

    name: str
    tasks: dict[str, str]
    """Kind by name."""
    folder: str
    layout: str
    origin: str
    terms: str
    extra: str
    recipes: tuple[str, ...]

    def lines(self) -> list[list[str]]:
        """Return what the table shows: a line for each property."""
        return [
            [self.name, "tasks", ", ".join(self.tasks) or "yours"],
            *([["", "in DIR", f"{self.folder}/"]] if self.folder else []),
            ["", "files", self.layout],
            ["", "get it", self.origin],
            ["", "terms", self.terms],
            ["", "recipes", ", ".join(self.recipes) or "none yet"],
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON data."""
        return asdict(self)


def listing() -> list[Row]:
    """Return every built-in data set with the recipes that use it."""
    uses: dict[str, list[str]] = {}
    for recipe in names():
        uses.setdefault(load(recipe).data.name, []).append(recipe)
    return [
        Row(
            name=known.name,
            tasks={n: task.kind for n, task in DATASETS[known.name].declared_tasks().items()},
            folder=known.folder,
            layout=known.layout + (f" (needs compactmtl[{known.extra}])" if known.extra else ""),
            origin=known.origin,
            terms=known.terms,
            extra=known.extra,
            recipes=tuple(uses.get(known.name, ())),
        )
        for known in CATALOGUE.values()
    ]
