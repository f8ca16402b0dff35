"""The papers' tables and figures, as ``compactmtl.study.published`` holds them."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

from compactmtl.errors import UsageError
from compactmtl.parts import nearest


@dataclass(frozen=True)
class Column:
    """A metric of a task as a paper prints it.

    Attributes:
        task: The task; "sparsity" for what is counted in the weights.
        metric: The metric's name here.
        name: The paper's heading.
        factor: What our value is multiplied with to have the paper's unit.
    """

    task: str
    metric: str
    name: str
    factor: float = 1.0

    @property
    def id(self) -> str:
        """``task.metric``."""
        return f"{self.task}.{self.metric}"


@dataclass(frozen=True)
class Row:
    """A row of a table, and what trains it.

    Attributes:
        label: A short name for folders and ``--rows``.
        name: As the paper prints it.
        published: Its values in the order of the columns, to the digit; "" for none.
        recipe: The recipe it starts from; "" where the library cannot train it.
        settings: The recipe's settings in this row.
        against: Label of the row it is compared with; "" for none.
        pretrained: Whether its backbone starts from a file of pretrained weights.
    """

    label: str
    name: str
    published: tuple[str, ...] = ()
    recipe: str = ""
    settings: tuple[str, ...] = ()
    against: str = ""
    pretrained: bool = False


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper.

    Attributes:
        id: As in ``A:table1``.
        title: What it shows.
        source: Where it stands.
        drawing: Why there is nothing to run; "" where there is.
        data: The data set's name.
        samples: Its published sizes, ``train`` and ``test``; empty where not stated.
        needs: What the library lacks for it; "" for nothing.
        pictures: Whether its models are compiled and measured, and drawn against lambda.
    """

    id: str
    title: str
    source: str
    drawing: str = ""
    data: str = ""
    samples: dict[str, int] | None = None
    needs: str = ""
    pictures: bool = False
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()

    def cell(self, row: Row) -> str:
        """Return ``table/row``, which readings and quirks refer to."""
        return f"{self.id}/{row.label}"

    def select(self, patterns: Sequence[str]) -> list[Row]:
        """Return the rows whose label matches any pattern, in the table's order; none: all.

        Raises:
            UsageError: A pattern matches no row.
        """
        labels = [row.label for row in self.rows]
        for pattern in patterns:
            if not any(fnmatchcase(label, pattern) for label in labels):
                raise UsageError(
                    f"{self.id} has no row `{pattern}`{nearest(pattern, labels)}",
                    hint=f"rows: {', '.join(labels)}",
                )
        wanted = patterns or ["*"]
        return [row for row in self.rows if any(fnmatchcase(row.label, p) for p in wanted)]


@cache
def tables() -> dict[str, Table]:
    """Return every table and figure of both papers by its id."""
    folder = resources.files("compactmtl.study.published")
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    found = [_read(tomllib.loads(folder.joinpath(name).read_text("utf-8"))) for name in files]
    return {table.id: table for table in found}


def find_table(name: str) -> Table:
    """Return a table by its id.

    Raises:
        UsageError: There is none.
    """
    if name not in tables():
        raise UsageError(
            f"no table or figure `{name}`{nearest(name, tables())}",
            hint="`compactmtl reproduce` lists them",
        )
    return tables()[name]


def _read(document: dict[str, Any]) -> Table:
    rows = []
    for row in document.pop("rows", []):
        lists = {key: tuple(row[key]) for key in ("published", "settings") if key in row}
        rows.append(Row(**(row | lists)))
    columns = tuple(Column(**column) for column in document.pop("columns", []))
    return Table(**document, columns=columns, rows=tuple(rows))
