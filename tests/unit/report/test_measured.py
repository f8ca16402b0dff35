"""The sections on what was measured: distributions, trade-offs, layers, roofline."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.errors import CorruptFileError
from compactmtl.files import read_json, write_json
from compactmtl.report.candidates import colours, energy_mj
from compactmtl.report.collect import collect
from compactmtl.report.figures import pair_bars
from compactmtl.report.latency import distributions
from compactmtl.report.layer_costs import layer_costs_section
from compactmtl.report.roofline import bars, roof, roofline_section
from compactmtl.report.samples import Predictions
from compactmtl.report.scores import Scores, find_scores
from compactmtl.report.tradeoff import costs_of, front, task_chart, tradeoff_section

NOTHING = Predictions(source="")
FINITE = st.floats(0, 100)


def edit(path, change):
    document = read_json(path)
    change(document)
    write_json(path, document)


@pytest.fixture
def record(complete):
    return collect(complete[0])


def test_distributions_show_the_raw_times():
    times = {"dense": [4.0, 4.1, 9.0], "compact": [1.0, 1.1, 1.2], "<b>": [2.0]}
    figure = distributions(times, end=10.0)
    assert [list(trace.x) for trace in figure.data] == list(times.values())
    assert [trace.name for trace in figure.data] == ["dense", "compact", "&lt;b&gt;"]
    assert list(figure.layout.xaxis.range) == [0, 10.0]


def test_colours_stay_with_their_candidate():
    assert colours(["dense", "compact", "a"])["a"] == colours(["compact", "a"])["a"]


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1), st.booleans())
def test_the_front_is_what_nothing_beats(points, higher):
    def beats(one, other):
        better = one[1] > other[1] if higher else one[1] < other[1]
        return one != other and one[0] <= other[0] and (better or one[1] == other[1])

    kept = front(points, higher=higher)
    assert set(kept) == {p for p in points if not any(beats(q, p) for q in points)}
    assert kept == sorted(kept)


def test_metrics_of_an_evaluation_are_matched_by_content(record, complete, make, shown):
    make.write_evaluation(complete[0])
    scores = find_scores(collect(complete[0]), shown)
    assert list(scores.metrics) == ["dense", "compact"]
    assert scores.metrics["compact"]["seg"]["miou"] == 0.047
    assert "77 images of rooms, test" in scores.source


def test_two_names_of_one_file_have_one_metric(complete, make):
    make.write_evaluation(complete[0])
    edit(complete[0] / "bench.json", lambda d: d["candidates"].update(
        {"compact.trt": d["candidates"]["compact"]}
    ))  # fmt: skip
    metrics = find_scores(collect(complete[0]), NOTHING).metrics
    assert metrics["compact"] == metrics["compact.trt"]


def test_small_differences_look_small():
    scores = Scores(
        source="",
        metrics={"a": {"seg": {"miou": 0.5000}}, "b": {"seg": {"miou": 0.5001}}},
        higher_is_better={"seg": True},
    )
    figure = task_chart("seg", scores, {"GMACs": {"a": 2.0, "b": 1.0}})
    low, high = figure.layout.yaxis.range
    assert low < 0.5 < 0.5001 < high
    assert high - low > 0.01 * 0.5


def test_an_evaluation_beside_the_folder_is_found(complete, make):
    folder = complete[0]
    make.write_evaluation(folder)
    beside = folder.parent / "evaluation"
    beside.mkdir()
    (folder / "evaluation.json").rename(beside / "evaluation.json")
    assert collect(folder).evaluation is not None


def test_an_evaluation_of_other_files_is_not_taken(complete, make):
    make.write_evaluation(complete[0])
    edit(
        complete[0] / "evaluation.json",
        lambda d: [each.update(sha256="1" * 64) for each in d["subjects"].values()],
    )
    assert collect(complete[0]).evaluation is None


def test_a_damaged_evaluation_is_one_line(complete, make):
    make.write_evaluation(complete[0])
    edit(complete[0] / "evaluation.json", lambda d: d["subjects"]["x"].pop("sha256"))
    with pytest.raises(CorruptFileError, match="no sha256"):
        collect(complete[0])


def lowered(folder, drop):
    """Make the exported model one in int8, scored when it was made."""

    def change(sidecar):
        sidecar["lowering"] = {"scored_on": {"source": "validation images", "num": 9}}
        for values in sidecar["verified"]["per_task"].values():
            values["metric"] = {
                "name": "miou",
                "higher_is_better": True,
                "fp32": 0.5,
                "lower": 0.5 - drop,
            }

    edit(folder / "model.onnx.json", change)


def test_without_an_evaluation_sidecars_are_asked(complete):
    folder = complete[0]
    lowered(folder, drop=0.1)
    # As a bench of the fp32 and the int8 file of the same model.
    edit(folder / "bench.json", lambda d: d["candidates"].update(
        {"compact.int8": d["candidates"].pop("compact"), "compact": d["candidates"].pop("dense")}
    ))  # fmt: skip
    scores = find_scores(collect(folder), NOTHING)
    assert scores.metrics["compact.int8"]["seg"] == {"miou": pytest.approx(0.4)}
    assert scores.metrics["compact"]["seg"] == {"miou": 0.5}
    assert scores.higher_is_better["seg"] is True


def test_else_the_modules_of_the_page_count_and_it_says_so(record, shown):
    scores = find_scores(record, shown)
    assert list(scores.metrics) == ["dense", "compact"]
    assert ".pt2 modules" in scores.source
    assert find_scores(record, NOTHING) is None
    assert "compactmtl evaluate compact" in tradeoff_section(record, NOTHING)


def test_costs_without_a_figure_are_absent_and_energy_is_taken_where_it_is(record, shown):
    bench = json.loads(json.dumps(record.bench))
    scores = find_scores(record, shown)
    assert list(costs_of(bench, scores)) == ["latency p50, ms", "GMACs"]
    bench["candidates"]["dense"]["macs"] = None
    assert list(costs_of(bench, scores)["GMACs"]) == ["compact"]
    rail = {"module_rail": "VDD_IN", "mj_per_inference": {"VDD_IN": 12.5, "VDD_CPU": 2.0}}
    bench["device"] = {"energy": {"compact": rail}}
    assert costs_of(bench, scores)["energy, mJ"] == {"compact": 12.5}
    bench["device"] = {"energy": {"dense": {"power_w": 30.0, "mj_per_inference": 7.5}}}  # a GPU
    assert costs_of(bench, scores)["energy, mJ"] == {"dense": 7.5}
    for unknown in (
        "unavailable",
        {"compact": {"mj_per_inference": None}},
        {"compact": {"why": "no rail"}},
        None,
    ):
        assert energy_mj({"device": {"energy": unknown}}, "compact") is None


def test_one_cost_is_shown_at_a_time():
    scores = Scores(
        source="",
        metrics={"a": {"seg": {"miou": 0.5}}, "b": {"seg": {"miou": 0.4}}},
        higher_is_better={"seg": True},
    )
    costs = {"latency p50, ms": {"a": 4.0, "b": 2.0}, "GMACs": {"a": 1.0, "b": 0.3}}
    figure = task_chart("seg", scores, costs)
    assert [trace.visible for trace in figure.data] == [True] * 3 + [False] * 3
    buttons = figure.layout.updatemenus[0].buttons
    assert [list(b.args[0]["visible"]) for b in buttons] == [
        [True] * 3 + [False] * 3,
        [False] * 3 + [True] * 3,
    ]
    assert list(figure.data[0].x) == [2.0, 4.0]  # the front: both
    assert "\N{UPWARDS ARROW}" in figure.layout.title.text


def test_layers_are_matched_by_name(record):
    text = layer_costs_section(record)
    assert text.count("plotly-graph-div") == 2  # MACs and time
    assert "Kernel time" in text
    figure = pair_bars("MACs", {"a": (4.0, 1.0), "gone": (2.0, 0)}, str)
    assert [list(trace.x) for trace in figure.data] == [[4.0, 2.0], [1.0, 0]]


def test_without_a_roofline_the_command_is_named(complete):
    edit(complete[0] / "bench.json", lambda d: d.update(roofline=None))
    record = collect(complete[0])
    assert "compactmtl bench --roofline" in roofline_section(record)
    assert "compactmtl bench --roofline" in layer_costs_section(record)
    assert "Bytes moved" in layer_costs_section(record)


def test_without_a_bench_the_compilers_counts_are_drawn(complete):
    (complete[0] / "bench.json").unlink()
    assert layer_costs_section(collect(complete[0])).count("plotly-graph-div") == 1


def test_dots_lie_where_they_were_measured(record):
    found = record.bench["roofline"]
    figure = roof(found["machine"], found["artefacts"])
    dots = {trace.name: trace for trace in figure.data if trace.mode == "markers"}
    rows = [row for row in found["artefacts"]["compact"]["rows"] if row["kind"] == "layer"]
    assert list(dots["compact"].x) == pytest.approx([r["macs"] / r["num_bytes"] for r in rows])
    attained = [row["macs"] / (row["measured_us"] * 1e-6) / 1e9 for row in rows]
    assert list(dots["compact"].y) == pytest.approx(attained)
    peak = next(trace for trace in figure.data if trace.mode != "markers")
    assert set(peak.y) == {60.0}
    assert max(dots["compact"].y) < 60.0


def test_bars_add_up_to_the_measured_time(record):
    rows = record.bench["roofline"]["artefacts"]["compact"]["rows"]
    limit, lost = bars(rows).data
    by_name = {row["name"]: row["measured_us"] for row in rows}
    for name, *parts in zip(limit.y, limit.x, lost.x, strict=True):
        assert sum(parts) == pytest.approx(by_name[name])
    assert "no times" in roofline_section(record)
    assert "kernels took" not in roofline_section(record)


def test_a_disturbed_profile_is_said_to_be_one(complete):
    edit(
        complete[0] / "bench.json",
        lambda d: d["roofline"]["artefacts"]["compact"].update(run_us=900.0),
    )
    text = roofline_section(collect(complete[0]))
    assert "compact: kernels took" in text
    assert "dense: kernels took" not in text
