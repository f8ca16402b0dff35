"""The charts of a sweep show the record's numbers, each where it belongs."""

import pytest

from compactmtl.report.lambda_axis import places
from compactmtl.report.sweep_charts import metric_chart, profile_chart, shares_chart, time_chart
from compactmtl.report.sweep_layers import layers_chart
from compactmtl.report.sweep_pareto import pareto_chart
from compactmtl.study.sweep_points import summarise_points

LAMS, SEEDS, SETS = [0.0, 1e-3, 1e-2], 2, ["seg", "seg, depth"]
COLOURS = dict(zip(SETS, ("#111111", "#222222"), strict=True))


def value(lam, seed):
    return 0.5 - 10 * lam + 0.01 * seed


def one_run(series, lam, seed):
    share = 30 * lam
    return {
        "series": series, "lam": lam, "seed": seed, "status": "finished",
        "metrics": {task: {"miou": value(lam, seed)} for task in series.split(", ")},
        "sparsity": {"groups": share, "filters": None if not lam else 0.0, "weights": share,
                     "removed_channels": share},
        "macs": {"dense": 4e6, "compact": 4e6 * (1 - share)},
        "num_params": {"dense": 100, "compact": 100},
        "cpu_ms": {"dense": 2.0, "compact": 2.0 - share},
        "speedup": {"value": 1.0, "interval": [0.9, 1.1]},
        "layers": [{"name": "a", "channels": 16, "nonzero": 16 - seed, "compiled": 8}],
        "epochs": [{"epoch": e, "phase": "sparse", "groups": share} for e in (1, 2)],
    }  # fmt: skip


@pytest.fixture
def document():
    runs = [one_run(s, lam, seed) for s in SETS for lam in LAMS for seed in range(SEEDS)]
    runs[-1] = {**runs[-1], "status": "failed", "said": "all is zero"}
    return {
        "lams": LAMS, "series": {name: name.split(", ") for name in SETS}, "runs": runs,
        "higher_is_better": {"miou": True}, "points": summarise_points(runs),
    }  # fmt: skip


def lines(figure):
    return {trace.name: trace for trace in figure.data if trace.name}


def test_metrics_stand_at_their_lambda_with_their_spread(document):
    found = lines(metric_chart(document, "seg", "miou", COLOURS))
    assert list(found) == SETS
    at = places(LAMS)
    assert list(found["seg"].x) == [at[lam] for lam in LAMS]
    assert list(found["seg"].y) == pytest.approx([value(lam, 0.5) for lam in LAMS])
    assert list(found["seg"].error_y.array) == pytest.approx([0.01 / 2**0.5] * 3)
    both = found["seg, depth"]
    assert [n for *_, n in both.customdata] == [2, 2, 1]  # the run that failed is not in it
    assert both.y[2] == pytest.approx(value(1e-2, 0))


def test_a_task_is_drawn_for_the_sets_that_have_it(document):
    assert list(lines(metric_chart(document, "depth", "miou", COLOURS))) == ["seg, depth"]


def test_shares_that_are_not_known_are_left_out(document):
    found = lines(shares_chart(document, "seg"))
    assert list(found["zero groups"].y) == pytest.approx([0, 3, 30])
    assert len(found["zero filters"].x) == 2  # at lambda 0 nobody counted them


def test_time_is_that_of_the_compiled_model_beside_the_dense_twin(document):
    figure = time_chart(document, COLOURS)
    assert list(lines(figure)["seg"].y) == pytest.approx([2.0, 1.97, 1.7])
    dotted = [shape.y0 for shape in figure.layout.shapes if shape.xref == "x domain"]
    assert dotted == [2.0, 2.0]


def test_the_profile_has_a_line_per_run(document):
    assert len(profile_chart(document, "seg").data) == len(LAMS) * SEEDS


def test_layers_show_what_training_left_and_then_what_the_compiler_left(document):
    figure = layers_chart(document, "seg")
    before, *after = figure.data
    assert list(before.y) == [16]
    assert [trace.y[0] for trace in after] == [15.5] * 3 + [8] * 3
    assert [trace.visible for trace in after] == [True] * 3 + [False] * 3
    compiled = figure.layout.updatemenus[0].buttons[1].args[0]["visible"]
    assert compiled == [True, *[False] * 3, *[True] * 3]


def test_the_trade_off_has_every_point_once_per_task_and_cost(document):
    figure = pareto_chart(document, {"seg": "miou", "depth": "miou"}, COLOURS)
    drawn = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(drawn) == 2 * (2 + 1)  # two costs; seg in both sets, depth in one
    macs = next(t for t in drawn if t.xaxis == "x" and t.line.color == COLOURS["seg"])
    assert list(macs.x) == pytest.approx([4.0, 3.88, 2.8])
    fronts = [trace for trace in figure.data if trace.mode == "lines"]
    assert len(fronts) == 4
    assert list(fronts[0].y) == sorted(fronts[0].y)


def test_a_task_set_without_a_finished_run_is_an_empty_chart(document):
    runs = [run | {"status": "failed"} for run in document["runs"]]
    nothing = document | {"runs": runs, "points": summarise_points(runs)}
    for draw in (shares_chart, profile_chart):
        assert not any(len(trace.x) for trace in draw(nothing, "seg").data)
    assert list(layers_chart(nothing, "seg").data[0].y) == []
