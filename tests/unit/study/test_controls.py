"""What a sparse recipe is held against: which controls there are, and what their runs do."""

import json

import pytest

from compactmtl.cli.compare_table import cost_rows
from compactmtl.errors import TrainingError, UsageError
from compactmtl.report.compare import write_page
from compactmtl.study import steps as module
from compactmtl.study.cells import make_cells
from compactmtl.study.compare import summarise
from compactmtl.study.controls import with_controls
from compactmtl.study.costs import costs
from compactmtl.study.derived import derived
from compactmtl.study.running import run_cells
from compactmtl.study.subjects import Subject, parse_subjects

REPORT = {
    "before": {"macs": 200, "num_params": 20},
    "after": {"macs": 50, "num_params": 5},
    "census": {
        "zero_groups": 7, "num_groups": 10, "zero_filters": 1, "num_filters": 10,
        "removable_channels": 4, "num_channels": 10,
    },
}  # fmt: skip


def subjects(*texts: str) -> list[Subject]:
    return parse_subjects(["dense=rooms-dense", *(texts or ("sparse=rooms-sparse",))])


def log(phases: list[str], zeros: int = 70) -> list[dict]:
    counts = {"zero_groups": zeros, "num_groups": 100, "zero_weights": 5, "num_weights": 10}
    return [{"phase": phase, "val": {}, "sparsity": counts} for phase in phases]


def write_log(run, phases: list[str], zeros: int = 70) -> None:
    run.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in log(phases, zeros)]
    (run / "log.jsonl").write_text("".join(lines))


def test_controls_differ_from_the_dense_recipe_in_one_thing_each():
    found, left_out = with_controls(subjects())
    assert left_out == []
    assert [each.label for each in found[2:]] == [
        "sparse-widths", "sparse-one-shot", "dense-published",
    ]  # fmt: skip
    dense, _, widths, once, published = (each.recipe for each in found)
    assert widths == dense
    assert published.train.decay == "coupled"
    assert published.train.model_copy(update={"decay": "decoupled"}) == dense.train
    assert published.sparsity is None
    assert (once.sparsity.schedule, once.train.init) == ("once", "@dense")
    assert once.model_copy(update={"sparsity": None}).data == dense.data
    assert found[2].needs == ("sparse",)
    assert set(found[3].needs) == {"sparse", "dense"}
    assert found[4].needs == ()


def test_one_shot_takes_share_budget_and_rate_from_the_run(tmp_path):
    once = next(each for each in with_controls(subjects())[0] if each.control == "one-shot")
    write_log(tmp_path / "sparse", ["sparse"] * 12 + ["debias"] * 8)
    runs = {"sparse": tmp_path / "sparse", "dense": tmp_path / "dense"}
    recipe = derived(once, runs, device="cpu")
    assert recipe.sparsity.target == 0.7
    assert recipe.train.epochs == 8
    assert recipe.train.init == str(tmp_path / "dense" / "ckpt.pt")
    assert recipe.train.lr == pytest.approx(3e-3 * 0.345, rel=1e-2)  # the cosine after 60 %


@pytest.mark.parametrize(
    ("phases", "zeros", "said"),
    [
        (["sparse", "debias"], 0, "no group of `sparse` is zero"),
        (["sparse"], 50, "no debias phase"),
    ],
)
def test_a_run_that_gives_nothing_to_control_for_says_so(tmp_path, phases, zeros, said):
    once = next(each for each in with_controls(subjects())[0] if each.control == "one-shot")
    write_log(tmp_path, phases, zeros)
    with pytest.raises(TrainingError, match=said):
        derived(once, {"sparse": tmp_path, "dense": tmp_path}, device="cpu")


def test_milestones_of_the_rate_move_with_the_budget(tmp_path):
    drops = "+train.lr_schedule=steps+train.lr_milestones=[0.3, 0.8]"
    pair = parse_subjects([f"dense=rooms-dense{drops}", f"sparse=rooms-sparse{drops}"])
    once = next(each for each in with_controls(pair)[0] if each.control == "one-shot")
    write_log(tmp_path, ["sparse"] * 12 + ["debias"] * 8)
    train = derived(once, {"sparse": tmp_path, "dense": tmp_path}, device="cpu").train
    assert train.lr == pytest.approx(1.5e-3)  # the first drop was before
    assert train.lr_milestones == pytest.approx((0.5,))  # 80 % of 20 is half way from 12 to 20


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["fac=rooms-fac"], "none of these is one"),
        (["sparse=rooms-sparse+data.batch_size=4"], r"differs from `dense` in \[data\]"),
        (["sparse=rooms-sparse", "sparse-widths=rooms-fac"], "is called so already"),
    ],
)
def test_what_no_control_fits_is_refused(texts, said):
    with pytest.raises(UsageError, match=said):
        with_controls(subjects(*texts))


def test_the_first_must_be_dense():
    swapped = parse_subjects(["rooms-fac", "sparse=rooms-sparse"])
    with pytest.raises(UsageError, match="not a dense training"):
        with_controls(swapped)


def test_a_control_that_would_show_nothing_is_left_out_and_said():
    pair = parse_subjects(
        ["dense=rooms-dense+train.weight_decay=0",
         "kept=rooms-sparse+sparsity.schedule=ramp+sparsity.target=+sparsity.stop=1.0"]
    )  # fmt: skip
    found, left_out = with_controls(pair)
    assert [each.label for each in found] == ["dense", "kept", "kept-widths"]
    assert [note.split()[0] for note in left_out] == ["kept-one-shot", "dense-published"]


def test_a_start_from_another_subject_needs_one_before():
    with pytest.raises(UsageError, match="starts from `@sparse`"):
        parse_subjects(["a=rooms-dense+train.init=@sparse", "sparse=rooms-sparse"])


def test_runs_wait_for_what_they_need_and_are_told_where_it_is(tmp_path, monkeypatch):
    begun = []

    def fake(cell, device, *_):
        assert all(each.is_done for each in cell.needs)
        begun.append((cell.seed, cell.subject.label))
        write_log(cell.run, ["sparse"] * 3 + ["debias"])
        if cell.subject.control != "widths":
            (cell.run / "ckpt.pt").touch()
        commands = list(module._commands(cell, device))
        if cell.subject.control == "widths":
            assert commands[0][:2] == [
                "compress",
                str(tmp_path / "sparse" / f"seed-{cell.seed}" / "run"),
            ]
            assert {"--fresh", "--finetune-run"} <= set(commands[0])
            assert commands[1][1].endswith("model.pt2")
        cell.scores.parent.mkdir(parents=True)
        cell.scores.write_text("{}")
        cell.compact.mkdir()
        cell.cost.write_text(json.dumps(REPORT))

    monkeypatch.setattr(module, "_steps", fake)
    cells = make_cells(with_controls(subjects())[0], 2, tmp_path, until="compiled")
    run_cells(cells, jobs=3, devices=["cpu"], on_done=lambda _: None)
    assert sorted(begun) == sorted((each.seed, each.subject.label) for each in cells)
    for seed in range(2):
        order = [label for s, label in begun if s == seed]
        assert order.index("sparse") < order.index("sparse-widths")
        assert order.index("dense") < order.index("sparse-one-shot")
    found, notes = costs(cells)
    assert notes == []
    assert found["sparse"]["macs_share"].mean == 0.25
    assert found["sparse"]["zero_groups"].values == (0.7, 0.7)
    assert "zero_groups" not in found["sparse-widths"]


def test_a_network_that_cannot_be_compiled_is_scored_and_its_cost_unavailable(tmp_path):
    cells = make_cells(subjects(), 1, tmp_path, until="compiled")
    for each in cells:
        each.scores.parent.mkdir(parents=True)
        each.scores.write_text("{}")
        assert not each.is_done
        each.not_compiled.write_text("no single graph")
        assert each.is_done
    found, notes = costs(cells)
    assert found == {}
    assert notes[0] == "dense, seed 0: cost unavailable: no single graph"


def test_the_table_and_the_page_say_what_each_costs(tmp_path):
    cells = make_cells(with_controls(subjects())[0][:3], 1, tmp_path, until="compiled")
    for each in cells:
        write_log(each.run, ["debias"])
        each.scores.parent.mkdir(parents=True)
        each.scores.write_text(json.dumps({"metrics": {"x": {"seg": {"miou": 0.4}}}}))
        each.compact.mkdir()
        each.cost.write_text(json.dumps(REPORT))
    study = summarise([each.subject for each in cells], cells)
    document = study.to_dict()
    table = cost_rows(document)
    assert [row[:2] for row in table] == [["dense", 1], ["sparse", 1], ["sparse-widths", 1]]
    for row in table:
        assert row[2:5] == pytest.approx([5e-5, 25.0, 5e-3])
    assert table[1][5:] == pytest.approx([70.0, 10.0, 40.0])
    assert table[2][5:] == [None, None, None]
    page = write_page(tmp_path / "page.html", document).read_text()
    assert "What they cost" in page
    assert "seg: miou against MACs" in page


def test_a_run_that_needs_one_that_failed_is_told_of_and_the_others_go_on(tmp_path, monkeypatch):
    def fake(cell, *_):
        if cell.subject.label == "sparse":
            raise TrainingError("no more groups")
        cell.scores.parent.mkdir(parents=True)
        cell.scores.write_text("{}")
        cell.compact.mkdir()
        cell.cost.write_text(json.dumps(REPORT))

    monkeypatch.setattr(module, "_steps", fake)
    cells = make_cells(with_controls(subjects())[0], 1, tmp_path, until="compiled")
    failed = {}
    run_cells(
        cells,
        jobs=2,
        devices=["cpu"],
        on_done=lambda _: None,
        on_failed=lambda cell, error: failed.update({cell.subject.label: str(error)}),
    )
    needing = {cell.subject.label for cell in cells if "sparse" in cell.subject.needs}
    assert needing
    assert failed.keys() == {"sparse"} | needing
    assert all("needs a run that failed" in failed[label] for label in needing)
    assert all(cell.is_done for cell in cells if cell.subject.label not in failed)
