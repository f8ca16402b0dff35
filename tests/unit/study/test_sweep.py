"""The record of a sweep and its page, from finished runs; nothing is trained."""

import json
import statistics

import pytest
from finished_sweep import EPOCHS, LAMS, SHARE, miou, write_sweep

from compactmtl.cli.app import run
from compactmtl.errors import TrainingError
from compactmtl.report.sweep import write_page
from compactmtl.study.sweep import RECORD, finish_sweep

DEAD = "seg-depth_lam-0.1"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep where everything became zero at the strongest lambda of one task set."""
    root = tmp_path_factory.mktemp("sweep")
    grid, cells = write_sweep(root, without=(DEAD,))
    failed = {c.folder: TrainingError("all is zero") for c in cells if c.subject.label == DEAD}
    return root, finish_sweep(grid, cells, root, name="rooms", failed=failed, seconds=0.0)


def points(document, series):
    return {p["lam"]: p for p in document["points"] if p["series"] == series}


def test_points_are_means_over_the_seeds_with_their_n(sweep):
    _, document = sweep
    found = points(document, "seg")
    assert list(found) == list(LAMS)
    for lam, point in found.items():
        own = [miou(lam, seed) for seed in range(2)]
        spread = point["metrics"]["seg"]["miou"]
        assert spread["values"] == tuple(own)
        assert spread["mean"] == pytest.approx(statistics.fmean(own), rel=1e-12)
        assert spread["std"] == pytest.approx(statistics.stdev(own), rel=1e-12)
        assert point["n"] == 2
        assert point["sparsity"]["groups"]["mean"] == SHARE[lam]
        assert point["sparsity"]["weights"]["mean"] == pytest.approx(SHARE[lam])
        assert point["sparsity"]["removed_channels"]["mean"] == pytest.approx(SHARE[lam] / 2)
        assert point["macs"]["compact"]["mean"] == 1000 * (1 - SHARE[lam])


def test_what_failed_is_no_point_and_is_said(sweep):
    _, document = sweep
    dead = points(document, "seg, depth")[0.1]
    assert dead == {"series": "seg, depth", "lam": 0.1, "n": 0, "not_finished": 2}
    said = [r for r in document["runs"] if r["status"] == "failed"]
    assert [(r["lam"], r["seed"], r["said"]) for r in said] == [
        (0.1, 0, "all is zero"), (0.1, 1, "all is zero"),
    ]  # fmt: skip


def test_the_models_of_a_seed_are_measured_together_with_a_dense_twin_per_task_set(sweep):
    root, document = sweep
    for seed in range(2):
        timing = json.loads((root / "timing" / f"seed-{seed}.json").read_text())
        assert len(timing["models"]) == 5 + 2
        labels = {name for name in timing["models"] if "dense" not in name}
        assert {f"seg: dense/{name}" for name in labels if name[3] == "_"} <= set(timing["ratios"])
    for each in (r for r in document["runs"] if r["status"] == "finished"):
        low, high = each["speedup"]["interval"]
        assert low <= each["speedup"]["value"] <= high
        assert each["cpu_ms"]["compact"] > 0
        assert len(each["epochs"]) == EPOCHS


def test_what_was_measured_is_not_measured_again_unless_a_model_changed(sweep, tmp_path):
    grid, cells = write_sweep(tmp_path)

    def measured():
        rounds = []
        finish_sweep(
            grid, cells, tmp_path, name="r", failed={}, seconds=0.0,
            on_round=lambda: rounds.append(1),
        )  # fmt: skip
        return len(rounds)

    both = measured()
    assert both > 0
    assert measured() == 0
    other = next(c for c in cells if c.seed == 1).compact
    (cells[0].compact / "model.onnx").write_bytes((other / "model.onnx").read_bytes())
    assert measured() == both // 2


def test_a_sweep_of_nothing_but_failures_says_the_first(tmp_path):
    grid, cells = write_sweep(tmp_path, without=tuple(p.subject.label for p in write_grid()))
    failed = {c.folder: TrainingError(f"{c.subject.label}: no", hint="log") for c in cells}
    with pytest.raises(TrainingError, match="all 12 runs failed; the first: seg-depth_lam-0: no"):
        finish_sweep(grid, cells, tmp_path, name="r", failed=failed, seconds=0.0)
    assert not (tmp_path / RECORD).exists()


def write_grid():
    from compactmtl.study.grid import make_grid

    return make_grid("rooms-dense", lams=LAMS, task_sets=["seg,depth", "seg"])[1]


def test_the_page_is_drawn_from_the_record_alone(sweep, tmp_path, capsys):
    root, document = sweep
    text = write_page(tmp_path / "page.html", document).read_text()
    for words in (
        "Metrics against λ", "Sparsity over epochs", "Channels per layer", "Trade-off of all tasks",
        "10 of 12 runs are finished", "seg, depth, λ 0.1, seed 0: all is zero",
    ):  # fmt: skip
        assert words in text
    assert "<script src" not in text
    assert run(["report", str(root), "-o", str(tmp_path / "again.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(tmp_path / "again.html")
    assert len((tmp_path / "again.html").read_text()) == pytest.approx(len(text), rel=1e-3)


def test_a_record_of_another_version_is_refused(tmp_path, capsys):
    (tmp_path / RECORD).write_text('{"format_version": 99}')
    assert run(["report", str(tmp_path)]) == 11
    assert "format_version 99" in capsys.readouterr().err
