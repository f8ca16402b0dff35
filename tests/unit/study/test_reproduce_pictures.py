"""Paper B's figures are drawn from the rows of its tables: task sets, and lambdas of each."""

import pytest

from compactmtl.study.reproduce.pictures import grid_of
from compactmtl.study.reproduce.plan import make_plan
from compactmtl.study.reproduce.tables import find_table, tables

DECADES = [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]
"""Paper B, section 4: the range of lambda."""


@pytest.mark.parametrize("preset", ["corrected", "as-published"])
def test_figure_4_is_the_papers_range_of_lambda(preset):
    grid = grid_of(make_plan(find_table("B:figure4"), preset=preset, trial="rooms"))
    assert [point.lam for point in grid] == [0.0, *DECADES]
    assert {point.series for point in grid} == {"seg, normals, depth"}


@pytest.mark.parametrize(
    ("name", "num_task_sets"),
    [("B:figure4", 1), ("B:table1", 7), ("B:table2", 6)],  # of three tasks; 2 lacks seg with smile
)
def test_every_point_of_a_drawn_table_is_one_row(name, num_task_sets):
    table = find_table(name)
    grid = grid_of(make_plan(table))
    assert len({(point.series, point.lam) for point in grid}) == len(table.rows)
    assert len({point.series for point in grid}) == num_task_sets


def test_each_table_of_runs_of_paper_b_is_drawn():
    drawn = {table.id for table in tables().values() if table.pictures}
    assert drawn == {"B:figure4", "B:table1", "B:table2"}
