"""What a study makes of finished runs, without running any."""

import json

import pytest

from compactmtl.errors import RefusedError
from compactmtl.report.compare import write_page
from compactmtl.study.cells import make_cells, plan_cells
from compactmtl.study.compare import summarise
from compactmtl.study.subjects import parse_subjects

SCORES = {  # miou of seg and abs_err of depth by subject and seed; None: not finished
    "dense": [(0.40, 0.50), (0.50, 0.40), (0.45, 0.45)],
    "fac": [(0.44, 0.45), (0.54, 0.36), None],
}


@pytest.fixture
def study(tmp_path):
    drop = "+tasks={seg={}, depth={}}"
    subjects = parse_subjects([f"dense=rooms-dense{drop}", f"fac=rooms-fac{drop}"])
    cells = make_cells(subjects, 3, tmp_path)
    for cell in cells:
        found = SCORES[cell.subject.label][cell.seed]
        if found is None:
            continue
        metrics = {"seg": {"miou": found[0]}, "depth": {"abs_err": found[1]}}
        cell.scores.parent.mkdir(parents=True)
        cell.scores.write_text(json.dumps({"metrics": {"ckpt.pt": metrics}}))
        cell.run.mkdir()
        rows = [{"epoch": e, "val": {"seg": {"miou": 0.1 * e}}} for e in range(1, 13)]
        (cell.run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return subjects, cells, summarise(subjects, cells)


def test_cells_come_seed_by_seed(study):
    _, cells, _ = study
    assert [(c.seed, c.subject.label) for c in cells[:3]] == [
        (0, "dense"),
        (0, "fac"),
        (1, "dense"),
    ]


def test_every_cell_states_its_n_and_pairs_are_by_seed(study):
    found = study[2]
    miou, depth = found.test
    assert (miou.cells["dense"].n, miou.cells["fac"].n) == (3, 2)
    assert miou.differences["fac"].n == 2
    assert miou.differences["fac"].mean == pytest.approx(0.04)
    assert miou.differences["fac"].verdict == "better"  # equal in both pairs, but for rounding
    assert depth.differences["fac"].mean == pytest.approx(-0.045)
    assert depth.differences["fac"].verdict == "no difference shown"  # t of 2 pairs is 12.7
    assert found.done == {"dense": 3, "fac": 2}
    gains = [(0.1 + 0.1) / 2, (0.08 + 0.1) / 2]
    assert found.delta_m["fac"].values == pytest.approx([100 * g for g in gains])


def test_the_average_is_over_the_last_ten_epochs(study):
    row = study[2].val_last[0]
    assert row.cells["dense"].mean == pytest.approx(sum(0.1 * e for e in range(3, 13)) / 10)


def test_a_label_keeps_its_recipe(study, tmp_path):
    others = parse_subjects(["dense=rooms-dense", "fac=rooms-fac"])
    for plan in (make_cells, plan_cells):
        with pytest.raises(RefusedError, match="another recipe than `dense`"):
            plan(others, 3, tmp_path)


def test_a_plan_of_runs_writes_nothing(tmp_path):
    root = tmp_path / "study"
    cells = plan_cells(parse_subjects(["dense=rooms-dense", "fac=rooms-fac"]), 2, root)
    assert [each.name for each in cells] == [
        f"{x}, seed {n}" for n in (0, 1) for x in ("dense", "fac")
    ]
    assert not root.exists()


def test_the_page_shows_every_task_and_fetches_nothing(study, tmp_path):
    text = write_page(tmp_path / "page.html", study[2].to_dict()).read_text()
    assert "seg: miou" in text
    assert "no difference shown" in text
    assert "<script src" not in text
