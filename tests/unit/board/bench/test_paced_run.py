"""Whole paced runs; only what the clock cannot change is asserted."""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from onnx import TensorProto, helper

from compactmtl.board.bench import paced, paced_run
from compactmtl.board.bench.alongside import alongside
from compactmtl.board.bench.items import items_of
from compactmtl.board.bench.paced import Pace
from compactmtl.board.bench.paced_run import PacedPlan, measure_paced
from compactmtl.board.bench.paced_verb import add_paced, make_plan, plan_of
from compactmtl.board.bench.paced_words import missed, paced_lines
from compactmtl.board.bench.run import Settings
from compactmtl.board.bench.thermometer import Source
from compactmtl.board.command import main
from compactmtl.board.errors import AskedError, MissedError, RunError
from compactmtl.board.words import parse_duration


@pytest.fixture
def relu(tmp_path):
    shape = ["batch", 1, "height", "width"]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "relu.onnx"
    path.write_bytes(model.SerializeToString())
    return path


SETTINGS = Settings(size=(4, 6))


def measured(path, plan, **options):
    items = items_of({"relu": path}, threads=1)
    warm = Source("a test", lambda: 40.0)
    return measure_paced(items, plan, SETTINGS, thermometer=warm, **options)


def test_alone_and_with_misses_that_are_accepted_or_not(relu):
    frames = []
    plan = PacedPlan(Pace(rate=200, deadline_ms=1e6, seconds=0.1), max_misses=20)
    section = measured(relu, plan, on_frame=lambda: frames.append(1))
    assert section.found.num_frames == 20 == section.found.num_dropped + len(frames)
    assert (section.verdict, section.alongside) == ("ok", None)
    assert missed(asdict(section)) is None
    lines = paced_lines(asdict(section))
    assert lines[0].startswith("relu at 200 frames/s for 0.1 s: ")
    assert lines[-1].startswith("temperature: ")  # so short a run may hold no reading
    document = asdict(section)
    for number, window in enumerate(document["found"]["windows"]):
        window["temperature_c"] = {1: 40.0, 2: 52.5, 3: 51.0}.get(number)
    document["thermometer"] = "a test"
    assert paced_lines(document)[-1] == (
        "temperature: 40.0 C at first, 51.0 at last, 52.5 at most; a test"
    )

    never = PacedPlan(Pace(rate=200, deadline_ms=1e-9, seconds=0.1), max_misses=19)
    section = measured(relu, never)
    assert (section.found.num_misses, section.found.longest_run) == (20, 20)
    assert section.verdict == "missed"
    error = missed(asdict(section))
    assert isinstance(error, MissedError)
    assert "`relu` missed 20 of 20 frames, at most 19 accepted" in error.message
    any_number = PacedPlan(never.pace)
    assert measured(relu, any_number).verdict == "ok"


def test_beside_another_one(relu):
    section = measured(relu, PacedPlan(Pace(100, 1e6, 0.1), other=relu))
    other = section.alongside
    assert (other.file, other.runtime) == ("relu.onnx", other.runtime)
    assert other.num_calls > 0 < other.seconds
    assert any(line.startswith("alongside: relu.onnx") for line in paced_lines(asdict(section)))


def test_another_one_that_cannot_run_is_said_and_not_measured_without(relu, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nonsense")
    with pytest.raises(RunError, match=r"broken\.onnx` cannot run alongside: "):
        measured(relu, PacedPlan(Pace(100, 1e6, 0.1), other=broken))


def test_another_one_that_ends_early_is_an_error(relu, monkeypatch):
    started = []
    popen = subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)

    def end():
        started[0].kill()
        started[0].wait()

    run = alongside(relu, threads=1, batch=1, size=(4, 6))
    with pytest.raises(RunError, match="ended early"), run:
        end()
    assert started[0].poll() is not None


def test_the_other_one_ends_with_whoever_started_it(relu):
    command = [sys.executable, "-m", "compactmtl.board.bench.alongside", str(relu)]
    with subprocess.Popen(
        [*command, "--size", "4", "6"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert "onnxruntime" in json.loads(process.stdout.readline())["runtime"]
        process.stdin.close()  # what the system does when the parent dies
        assert json.loads(process.stdout.readline())["num_calls"] > 0
        assert process.wait(60) == 0


def test_the_boards_command_prints_the_record_and_exits_1_on_misses(relu, capsys):
    command = ["bench", str(relu), "--size", "4x6", "--seconds", "0", "--rounds", "4", "--json"]
    pace = ["--rate", "100", "--duration", "0.05s", "--deadline-ms"]
    assert main([*command, *pace, "1e6", "--max-misses", "5"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["paced"]["found"]["num_frames"] == 5
    assert document["candidates"]["relu"]["latency_ms"]["n"] == 4
    assert main([*command, *pace, "1e-9", "--max-misses", "4"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["paced"]["verdict"] == "missed"
    assert "missed 5 of 5 frames" in printed.err
    assert main(["bench", str(relu), *command[1:], *pace, "1"]) == 2
    assert "one file" in capsys.readouterr().err


def test_options_make_a_plan():
    parser = argparse.ArgumentParser()
    add_paced(parser.add_argument)
    assert plan_of(parser.parse_args([])) is None
    typed = ["--rate", "30", "--deadline-ms", "12", "--duration", "10m", "--max-misses", "3"]
    plan = plan_of(parser.parse_args([*typed, "--alongside", "other.onnx"]))
    assert plan.pace == Pace(30, 12, 600)
    assert (plan.max_misses, plan.other.name) == (3, "other.onnx")
    assert plan.pace.num_frames == 18_000
    nothing = {"rate": None, "deadline_ms": None, "duration": None, "other": None}
    for alone in ({"rate": 30.0}, {"deadline_ms": 12.0}, {"duration": "1m"}, {"max_misses": 0}):
        with pytest.raises(AskedError, match="--rate and --deadline-ms"):
            make_plan(**{**nothing, "max_misses": None, **alone})
    with pytest.raises(AskedError, match="must not be negative"):
        PacedPlan(plan.pace, max_misses=-1)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("0", 0)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "10 m", "1d", "1e3", "inf"])
def test_what_is_no_duration(text):
    with pytest.raises(AskedError, match="duration"):
        parse_duration(text)


def test_the_planted_error_of_accepting_dropped_frames_would_be_seen():
    response = np.array([1.0, np.nan, 1.0])
    frames = paced.Frames(0, np.arange(3.0), response * 0, response, np.zeros(3, bool))
    assert paced_run.account(frames, Pace(1, 5, 3)).num_misses == 1
    assert np.sum(response > 5) == 0  # what a comparison the other way round would say
