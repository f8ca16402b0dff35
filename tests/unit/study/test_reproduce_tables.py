"""The papers' tables: what is printed in them, and the recipes that fill them."""

import functools
import json
import re

import pytest
import torch

from compactmtl.data import DATASETS
from compactmtl.errors import RecipeError, UsageError
from compactmtl.models.build import build
from compactmtl.models.recipes import load
from compactmtl.multitask import make_task
from compactmtl.overparam.kernel import LAYER_TYPES
from compactmtl.overparam.methods import METHODS
from compactmtl.patterns import declared_patterns, matching_layers
from compactmtl.study.reproduce.plan import TRIALS, make_plan
from compactmtl.study.reproduce.presets import AS_PUBLISHED, CORRECTED
from compactmtl.study.reproduce.status import REPRODUCIBLE, lacking, status
from compactmtl.study.reproduce.tables import find_table, tables
from compactmtl.training.settings import frobenius_of

RUNNABLE = [table for table in tables().values() if table.rows and not lacking(table)]


@functools.cache
def without_weights(name, arguments):
    """Build a network on the meta device, each once."""
    with torch.device("meta"):
        return build(name, *json.loads(arguments))


def planned(table, preset, tmp_path):
    return make_plan(table, preset=preset, pretrained=tmp_path / "resnet50.pth").rows


def test_every_table_and_figure_of_both_papers_is_there():
    assert sorted(tables()) == sorted(
        ["A:figure1", "A:table1", "A:table2", "A:table3", "A:poster-cifar100", "A:poster-nyuv2"]
        + [f"B:table{n}" for n in (1, 2, 3)]
        + [f"B:figure{n}" for n in (1, 2, 3, 4)]
    )


@pytest.mark.parametrize(
    ("table", "row", "values"),
    [
        ("A:table1", "segnet-factorised", ["19.74", "56.42"]),
        ("A:table1", "segnet-s-expandnet", ["16.59", "51.44"]),
        ("A:table2", "fac", ["23.44", "70.22", "15.62", "16.11", "15.11", "15.37", "20.94",
                             "64.40", "26.64"]),
        ("A:table3", "baseline", ["18.34", "55.97", "0.5825", "0.2480", "31.86", "26.83",
                                  "0.2033", "0.4292", "0.5529"]),
        ("A:table3", "deeplab-fac-pretrained", ["55.56", "90.10", "0.3432", "0.1356", "21.46",
                                                "14.70", "0.4064", "0.6678", "0.7647"]),
        ("B:table1", "seg-depth-1e-6", ["0.3308 ± 0.0049", "", "0.1379 ± 0.0034", "0", "0"]),
        ("B:table2", "smile-1e-5", ["", "", "0.5238 ± 0.0004", "100", "100"]),
        ("B:table3", "normals-depth", ["", "0.7285 ± 0.0096", "0.1545 ± 0.0011", "5.46", "77.78"]),
    ],
)  # fmt: skip
def test_published_values_are_kept_to_the_digit(table, row, values):
    (found,) = find_table(table).select([row])
    assert list(found.published) == values


def test_rows_have_a_value_per_column_and_a_baseline_that_exists():
    for table in tables().values():
        labels = [row.label for row in table.rows]
        assert len(set(labels)) == len(labels)
        for row in table.rows:
            assert len(row.published) in (0, len(table.columns)), table.cell(row)
            assert row.against in ("", *labels), table.cell(row)
            assert bool(row.recipe) == (not table.needs), table.cell(row)


@pytest.mark.parametrize("preset", [CORRECTED, AS_PUBLISHED])
@pytest.mark.parametrize("table", RUNNABLE, ids=lambda table: table.id)
def test_every_row_is_a_recipe_of_parts_that_exist(table, preset, tmp_path):
    for each in planned(table, preset, tmp_path):
        recipe = each.subject.recipe
        declared = DATASETS[recipe.data.name].declared_tasks(**recipe.data.args)
        assert set(recipe.tasks) <= set(declared)
        kinds = {name: section.kind for name, section in recipe.tasks.items()}
        made = {
            name: make_task(name, kind, recipe.tasks[name].args) if kind else declared[name]
            for name, kind in kinds.items()
        }
        channels = {name: task.num_channels for name, task in made.items()}
        network = without_weights(recipe.model.name, json.dumps([channels, recipe.model.args]))
        section = recipe.overparam
        if section is not None:
            assert section.method in METHODS
            patterns = declared_patterns(network, section.layers, "encoder_layers", "layers")
            chosen = matching_layers(network, patterns, LAYER_TYPES)
            if recipe.model.name.startswith("segnet"):
                assert len(chosen) == (27 if table.id == "A:table1" else 26)
            if recipe.model.name == "deeplab_resnet50":
                assert len(chosen) == 16
                assert {tuple(layer.kernel_size) for layer in chosen.values()} == {(1, 1)}


def test_as_published_is_a_setting_per_quirk_and_corrected_has_none():
    table = find_table("A:table1")
    ours, theirs = make_plan(table), make_plan(table, preset=AS_PUBLISHED)
    assert all(not each.quirks for each in ours.rows)
    (factorised,) = (r for r in theirs.rows if r.row.label == "segnet-factorised")
    assert {quirk.name for quirk in factorised.quirks} == {
        "direct-init", "m-at-the-common-rate", "last-ten-on-test",
    }  # fmt: skip
    recipe = factorised.subject.recipe
    assert recipe.overparam.init == "direct"
    assert recipe.overparam.m_lr == recipe.train.lr
    assert recipe.data.args["val_share"] == 0
    assert [quirk.name for quirk in theirs.not_reproduced] == ["metrics-over-batches"]


def test_the_papers_hyperparameters():
    for name in ("nyuv2-segnet-fac", "nyuv2-segnet-s-dense", "nyuv2-deeplab-fac"):
        recipe = load(name)
        assert (recipe.data.batch_size, recipe.train.epochs, recipe.train.lr) == (8, 200, 1e-4)
        assert recipe.train.lr_milestones == (0.75,)
    mtan = load("nyuv2-mtan-fac")
    assert (mtan.data.batch_size, mtan.train.lr) == (2, 5e-5)
    assert frobenius_of(load("nyuv2-segnet-fac").overparam) == 1e-4


def test_the_rows_of_paper_b_differ_in_lambda_and_tasks():
    """On rooms, which has the tasks: the data set itself may not be in reach."""
    for name, rows in (("B:table1", 21), ("B:figure4", 7)):
        plan = make_plan(find_table(name), trial="rooms")
        assert len(plan.rows) == rows
        for each in plan.rows:
            recipe, label = each.subject.recipe, each.row.label
            lam = 0.0 if recipe.sparsity is None else recipe.sparsity.lam
            assert float(re.search(r"-(0|1e-[0-9])$", label)[1]) == lam
            if name == "B:table1":
                assert set(re.findall("seg|normals|depth", label)) == set(recipe.tasks)
            assert recipe.weighting.name == ("fixed" if len(recipe.tasks) == 1 else "uncertainty")


def test_as_published_settings_name_tasks_that_the_row_has():
    plan = make_plan(find_table("B:table1"), preset=AS_PUBLISHED, trial="rooms")
    tasks = {each.row.label: set(each.subject.recipe.tasks) for each in plan.rows}
    assert tasks["normals-depth-1e-6"] == {"normals", "depth"}
    assert tasks["seg-1e-6"] == {"seg"}
    for each in plan.rows:
        recipe = each.subject.recipe
        assert recipe.weighting.name == ("fixed" if len(recipe.tasks) == 1 else "uw_frozen")
        if recipe.sparsity is not None:
            assert (recipe.sparsity.metric, recipe.sparsity.stop) == ("reference", 1.0)
            assert recipe.sparsity.reads == ()


def test_own_settings_come_last():
    plan = make_plan(find_table("A:table1"), preset=AS_PUBLISHED, patterns=["segnet-factorised"],
                     settings=["overparam.init=spectral"])  # fmt: skip
    assert plan.rows[0].subject.recipe.overparam.init == "spectral"


def test_pretrained_rows_wait_for_a_file(tmp_path):
    table = find_table("A:table3")
    plan = make_plan(table)
    assert len(plan.rows) == 15
    assert set(plan.left_out) == {row.label for row in table.rows if row.pretrained}
    rows = make_plan(table, patterns=["*-pretrained"], pretrained=tmp_path / "r50.pth").rows
    assert {r.subject.recipe.model.pretrained for r in rows} == {str(tmp_path / "r50.pth")}
    with pytest.raises(UsageError, match="none of the rows"):
        make_plan(table, patterns=["deeplab-pretrained"])


def test_other_data_keep_none_of_what_was_published_of_the_papers_own():
    plan = make_plan(find_table("A:table1"), preset=AS_PUBLISHED, trial="rooms")
    assert {r.subject.recipe.data.name for r in plan.rows} == {"rooms"}
    assert all("val_share" not in r.subject.recipe.data.args for r in plan.rows)
    assert "last-ten-on-test" not in {q.name for r in plan.rows for q in r.quirks}
    assert set(TRIALS) <= set(DATASETS)


@pytest.mark.parametrize(
    ("table", "arguments", "message"),
    [
        ("A:table1", {"preset": "publishd"}, "no preset `publishd`"),
        ("A:table1", {"patterns": ["segnet-bsaeline"]}, "did you mean `segnet-baseline`"),
        ("A:table1", {"trial": "nuclei_128"}, "needs seg too"),
        ("A:figure1", {}, "a drawing"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(table, arguments, message):
    with pytest.raises(UsageError, match=message):
        make_plan(find_table(table), **arguments)
    with pytest.raises(UsageError, match="did you mean `A:table1`"):
        find_table("A:tabel1")
    with pytest.raises(RecipeError, match="unknown key"):
        make_plan(find_table("A:table1"), settings=["train.epcohs=1"])


def test_status_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("COMPACTMTL_DATA", raising=False)
    found = {table.id: status(table) for table in tables().values()}
    assert found["A:table1"] == "needs data: `nyuv2` in --data DIR"
    assert found["A:table2"] == "needs data: `coco` in --data DIR"
    assert "drawing" in found["B:figure1"]
    (tmp_path / "nyuv2").mkdir()
    monkeypatch.setenv("COMPACTMTL_DATA", str(tmp_path))
    assert status(find_table("A:table1")) == REPRODUCIBLE
    assert {table.data for table in RUNNABLE} <= set(DATASETS)
