"""Readings: docs in step with the data, and every id that is named anywhere exists."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from compactmtl.recipe import Recipe
from compactmtl.study.reproduce.presets import AS_PUBLISHED, CORRECTED, quirks, quirks_of
from compactmtl.study.reproduce.readings import readings, render, touching
from compactmtl.study.reproduce.tables import tables

ROOT = Path(__file__).resolve().parents[3]
NAMED = re.compile(
    r"(?:reading|reproduce)s? `?([AB]\.[a-z][a-z-]*)|^#* ?([AB]\.[a-z][a-z-]*):", re.M
)
CELLS = [table.cell(row) for table in tables().values() for row in table.rows]
COLUMNS = {column.id for table in tables().values() for column in table.columns}


def test_the_page_is_made_from_the_data():
    """Regenerate: python -m compactmtl.study.reproduce.readings > docs/readings.md."""
    assert (ROOT / "docs" / "readings.md").read_text() == render(list(readings().values()))


def test_every_reading_says_all_there_is_to_say():
    for name, each in readings().items():
        assert name == each.id
        assert re.fullmatch(r"[AB]\.[a-z][a-z-]*", name)
        assert all((each.title, each.paper, each.unclear, each.library, each.source))


def unknown_ids(text: str) -> set[str]:
    found = {one or other for one, other in NAMED.findall(text)}
    return {name for name in found if name not in readings()}


@pytest.mark.parametrize("pattern", ["README.md", "docs/*.md", "cli/*.py", "compactmtl/**/*.py",
                                     "compactmtl/**/*.toml", "models/**/*.toml"])  # fmt: skip
def test_every_id_that_is_named_exists(pattern):
    texts = {path: path.read_text() for path in ROOT.glob(pattern)}
    assert texts
    assert {path: ids for path, text in texts.items() if (ids := unknown_ids(text))} == {}


def test_an_id_that_does_not_exist_would_be_found():
    assert unknown_ids("see reading A.inti") == {"A.inti"}


def test_every_quirk_has_a_reading_and_is_a_setting_or_a_reason():
    for quirk in quirks().values():
        assert quirk.reading in readings()
        assert bool(quirk.does) != bool(quirk.why_not)


def keys(section: type[BaseModel], prefix: str = "") -> set[str]:
    """Return every dotted key of a recipe."""
    found = set()
    for name, info in section.model_fields.items():
        found.add(prefix + name)
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= keys(kind, f"{prefix}{name}.")
    return found


def test_every_switch_is_a_key_of_a_recipe():
    known = keys(Recipe)
    for each in readings().values():
        assert set(each.switch) <= known, each.id
    for quirk in quirks().values():
        for change in quirk.does:
            for setting in change.settings:
                key = setting.partition("=")[0]
                places = {key, key.rpartition(".")[0], key.partition(".")[0]}  # tasks are a dict
                assert places & (known - {"model", "data", "train"}), quirk.name


def test_no_pattern_is_left_without_a_cell():
    for each in readings().values():
        for pattern in each.touches:
            assert any(fnmatchcase(cell, pattern) for cell in CELLS), (each.id, pattern)
        for pattern in each.columns:
            assert any(fnmatchcase(column, pattern) for column in COLUMNS), (each.id, pattern)
    for quirk in quirks().values():
        for change in quirk.does:
            for pattern in change.rows:
                assert any(fnmatchcase(cell, pattern) for cell in CELLS), (quirk.name, pattern)


def test_a_quirk_touches_the_cells_of_its_reading():
    for cell in CELLS:
        for quirk in quirks_of(AS_PUBLISHED, cell):
            assert any(quirk.reading in touching(cell, column) for column in COLUMNS), cell
        assert quirks_of(CORRECTED, cell) == []


def test_a_reading_can_be_of_some_columns_only():
    assert "A.metrics" in touching("A:table3/fac", "normals.median_angle")
    assert "A.metrics" not in touching("A:table3/fac", "seg.pixel_accuracy")
