"""Cells of a table from finished runs, and the data's identity; nothing is trained."""

import json

import pytest
from nyuv2_layout import write_nyuv2

from compactmtl.study.cells import make_cells
from compactmtl.study.reproduce.plan import make_plan
from compactmtl.study.reproduce.results import record, results
from compactmtl.study.reproduce.samples import Samples, check_samples
from compactmtl.study.reproduce.tables import find_table
from compactmtl.training.reporter import NullReporter

SAME = Samples({"train": 716, "val": 79, "test": 654}, "")
SCORES = {"segnet-baseline": (0.18, 0.20), "segnet-factorised": (0.19, 0.22)}
LOGGED = 0.5


@pytest.fixture
def finished(tmp_path):
    """Return a function: a preset to the plan and its runs, of which one is not finished."""

    def make(preset):
        plan = make_plan(find_table("A:table1"), preset=preset, patterns=list(SCORES))
        cells = make_cells([each.subject for each in plan.rows], 3, tmp_path / preset)
        for each in cells:
            if each.seed == 2:
                continue
            value = SCORES[each.subject.label][each.seed]
            metrics = {"seg": {"miou": value, "pixel_accuracy": value + 0.4}}
            each.scores.parent.mkdir(parents=True)
            each.scores.write_text(json.dumps({"metrics": {"ckpt.pt": metrics}}))
            each.run.mkdir()
            rows = [{"epoch": e, "val": {"seg": {"miou": LOGGED}}} for e in range(1, 4)]
            (each.run / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return plan, cells

    return make


def test_cells_have_the_papers_unit_the_published_value_and_n(finished):
    plan, cells = finished("corrected")
    base, accuracy, ours, _ = results(plan, cells, SAME)
    assert (base.row, base.column, base.published) == ("segnet-baseline", "seg.miou", "17.85")
    assert accuracy.published == "55.36"
    assert (base.ours.mean, base.ours.n) == (pytest.approx(19.0), 2)
    assert base.difference is None
    assert ours.published == "19.74"
    assert ours.difference.mean == pytest.approx(1.5)
    assert (ours.difference.n, ours.difference.verdict) == (2, "no difference shown")
    assert {"A.init", "A.metrics"} <= set(ours.readings)


def test_the_published_selection_reads_the_last_epochs_of_the_log(finished):
    plan, cells = finished("as-published")
    assert results(plan, cells, SAME)[0].ours.mean == pytest.approx(100 * LOGGED)


def test_published_values_are_not_put_beside_other_data(finished):
    plan, cells = finished("corrected")
    other = Samples({"train": 5, "val": 1, "test": 3}, "6 train samples here, the paper's 795")
    assert {result.published for result in results(plan, cells, other)} == {None}
    document = record(plan, cells, other, seeds=3)
    assert document["data"]["not_comparable"] == other.differs
    assert [row["done"] for row in document["rows"]] == [2, 2]
    json.dumps(document, allow_nan=False)


def test_a_row_without_runs_is_shown_with_none(tmp_path):
    plan = make_plan(find_table("A:table1"), patterns=["segnet-*"])
    cells = make_cells([each.subject for each in plan.rows], 1, tmp_path)
    found = results(plan, cells, SAME)
    assert {result.ours for result in found} == {None}
    assert len(found) == 2 * len(plan.rows)


@pytest.mark.parametrize("preset", ["corrected", "as-published"])
def test_data_are_the_papers_only_if_their_number_is(tmp_path, monkeypatch, preset):
    monkeypatch.setenv("COMPACTMTL_DATA", str(write_nyuv2(tmp_path, num_train=20, num_val=3)))
    table = find_table("A:table1")
    plan = make_plan(table, preset=preset, patterns=["segnet-baseline"])
    found = check_samples(plan, NullReporter())
    assert found.counts["test"] == 3
    val = found.counts["val"]
    assert found.counts["train"] + (val if preset == "corrected" else 0) == 20
    assert found.differs.endswith(f" train and {val} val samples here, the paper's 795")
    monkeypatch.setitem(table.samples, "train", 20)
    assert check_samples(plan, NullReporter()).differs == "3 test samples here, the paper's 654"
    monkeypatch.setitem(table.samples, "test", 3)
    assert check_samples(plan, NullReporter()).differs == ""


def test_sparsity_is_what_the_logs_last_epoch_counts(tmp_path):
    plan = make_plan(find_table("B:table1"), trial="rooms", patterns=["seg-1e-5"])
    cells = make_cells([each.subject for each in plan.rows], 2, tmp_path)
    for each, zeros in zip(cells, (20, 30), strict=True):
        each.scores.parent.mkdir(parents=True)
        each.scores.write_text(json.dumps({"metrics": {"ckpt.pt": {"seg": {"image_iou": 0.5}}}}))
        each.run.mkdir()
        counts = {"zero_groups": zeros, "num_groups": 40, "zero_weights": 9, "num_weights": 10}
        rows = [{"epoch": 1, "val": {}, "sparsity": None},
                {"epoch": 2, "val": {}, "sparsity": counts}]  # fmt: skip
        (each.run / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = {result.column: result for result in results(plan, cells, SAME)}
    assert set(found) == {"seg.image_iou", "sparsity.zero_groups", "sparsity.zero_weights"}
    assert found["sparsity.zero_groups"].ours.values == (50.0, 75.0)
    assert found["sparsity.zero_weights"].ours.mean == pytest.approx(90.0)
    assert found["sparsity.zero_groups"].published == "35.77"
    assert found["seg.image_iou"].ours.mean == pytest.approx(0.5)
