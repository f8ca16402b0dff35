"""What is made of readings: against figures worked out by hand, and never zero for unknown."""

import dataclasses
import json
from pathlib import Path

import pytest
from jetson_lines import AGX_ORIN_7_2, ORIN_NANO, THOR_SHORT
from simulated_jetson import make_root, write

from compactmtl.board.errors import DamagedError
from compactmtl.board.jetson.describe import describe
from compactmtl.board.jetson.energy import energy
from compactmtl.board.jetson.evidence import evidence, matrix
from compactmtl.board.jetson.recording import (
    Reading,
    Recording,
    Window,
    read_recording,
    write_recording,
)
from compactmtl.board.jetson.throttle import read_over_current, throttled

IDLE, BUSY, RUNS = 2000.0, 8000.0, 50


def line(power, *, mhz=1000, tj=50.0):
    return (
        f"RAM 1000/8000MB (lfb 1x4MB) GR3D_FREQ 99%@[{mhz}] tj@{tj}C VDD_IN {power}mW/1mW "
        "VDD_SOC 500mW/1mW"
    )


def record(lines=None, *, part="p3767-0005", counters=({"oc1": 0}, {"oc1": 0})):
    """Two seconds idle, then one candidate alone for four, in which it runs 50 times."""
    at = [0.05 + 0.1 * n for n in range(60)]
    lines = lines or [line(IDLE if t < 2 else BUSY) for t in at]
    return Recording(
        simulated=True,
        board={"part": part, "module": "Jetson Orin Nano 8GB", "jetpack": "6.2.1"},
        power_mode={"name": "MAXN", "number": 0, "why": ""},
        clocks={},
        readings=[Reading(t, text) for t, text in zip(at, lines, strict=True)],
        windows=[Window("idle", "", 0.0, 2.0, 0), Window("alone", "compact", 2.0, 6.0, RUNS)],
        over_current=counters,
    )


def test_energy_is_power_times_time_over_runs():
    found = energy(record())["compact"]
    assert found["mj_per_inference"] == pytest.approx({"VDD_IN": 640.0, "VDD_SOC": 40.0})
    assert found["mj_above_idle"] == pytest.approx({"VDD_IN": 480.0, "VDD_SOC": 0.0})
    assert found["module_rail"] == "VDD_IN"
    assert "mj_sum" not in found  # the other rails are parts of it


def test_settling_is_left_out():
    recording = record([line(IDLE if n < 22 else BUSY) for n in range(60)])  # 0.2 s late
    assert energy(recording)["compact"]["mj_per_inference"]["VDD_IN"] == pytest.approx(640.0)


def test_where_no_rail_is_the_module_a_sum_is_called_a_sum():
    recording = record([AGX_ORIN_7_2] * 60, part="p3701-0005")
    found = energy(recording)["compact"]
    assert "module_rail" not in found
    assert found["sum_of"] == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"]
    assert found["mj_sum"] == pytest.approx((5139 + 3268 + 5500) * 4 / RUNS)
    thor = energy(record([THOR_SHORT] * 60, part="p3834-0008"))["compact"]
    assert thor["sum_of"] == ["VDD_GPU"]  # VIN feeds the others


@pytest.mark.parametrize("part", [None, "p3834-0008"])
def test_the_rail_is_the_modules_only_where_that_is_known(part):
    assert "module_rail" not in energy(record(part=part))["compact"]


def test_too_few_readings_give_no_figure():
    recording = record()
    recording.readings = recording.readings[:25]
    found = energy(recording)["compact"]
    assert "mj_per_inference" not in found
    assert "at least 10 needed" in found["why"]


def test_without_tegrastats_everything_is_unavailable_and_nothing_is_zero():
    recording = record()
    recording.readings, recording.why = [], "`tegrastats` cannot be run: No such file"
    found = describe(recording)
    for name in ("power", "temperatures_c", "clocks_mhz", "ram_mib"):
        assert found[name] == "unavailable"
    assert found["energy"]["compact"]["why"] == recording.why
    assert found["throttled"]["verdict"] == "unknown"
    assert "0.0" not in json.dumps(found["energy"]["compact"].get("mj_per_inference", ""))


def test_a_rail_that_is_not_always_there_has_no_mean():
    lines = [line(BUSY) for _ in range(60)]
    lines[40] = lines[40].replace("VDD_SOC", "VDD_OTHER")
    assert set(energy(record(lines))["compact"]["mj_per_inference"]) == {"VDD_IN"}


def test_what_was_read_is_told():
    found = describe(record())
    assert found["ram_mib"] == {"max": 1000, "above_idle": 0}
    assert found["clocks_mhz"]["GR3D_FREQ"] == {"min": 1000, "median": 1000, "max": 1000}
    assert found["temperatures_c"]["tj"] == {"start": 50, "max": 50, "end": 50}
    assert found["evidence"].startswith("simulated")
    json.dumps(found, allow_nan=False)


def falling(mhz, celsius):
    """Forty readings under load: the second half at another clock and temperature."""
    return [
        line(BUSY, mhz=1000 if n < 40 else mhz, tj=50 if n < 40 else celsius) for n in range(60)
    ]


@pytest.mark.parametrize(
    ("lines", "counters", "verdict"),
    [
        (falling(1000, 80), ({"oc1": 0}, {"oc1": 0}), "no"),
        (falling(1000, 80), None, "unknown"),
        (falling(940, 60), ({"oc1": 0}, {"oc1": 0}), "yes"),
        (falling(960, 60), ({"oc1": 0}, {"oc1": 0}), "no"),  # 4 %
        (falling(900, 50), ({"oc1": 0}, {"oc1": 0}), "unknown"),  # not warmer: the governor
        (falling(1000, 50), ({"oc1": 3, "oc2": 0}, {"oc1": 3, "oc2": 2}), "yes"),
        ([ORIN_NANO] * 60, ({"oc1": 0}, {"oc1": 0}), "unknown"),  # the GPU had nothing to do
        ([line(BUSY, mhz=0)] * 60, ({"oc1": 0}, {"oc1": 0}), "unknown"),  # the GPU slept
        ([ORIN_NANO.replace("GR3D_FREQ", "GR4D_FREQ")] * 60, None, "unknown"),
    ],
)
def test_throttling(lines, counters, verdict):
    found = throttled(record(lines, counters=counters))
    assert found.verdict == verdict, found.why


def test_counters_that_cannot_be_read_are_not_zero(tmp_path):
    assert read_over_current(tmp_path) is None
    assert read_over_current(make_root(tmp_path)) == {"oc1": 0, "oc2": 0, "oc3": 0}
    write(tmp_path / "sys/class/hwmon/hwmon1/oc2_event_cnt", "?")
    assert read_over_current(tmp_path) == {"oc1": 0, "oc3": 0}


def test_a_recording_survives_its_journey_through_a_file(tmp_path):
    recording = record()
    recording.document = {"format_version": 2}
    write_recording(tmp_path / "x.jsonl", recording)
    again = read_recording(tmp_path / "x.jsonl")
    assert dataclasses.asdict(again) == dataclasses.asdict(recording)
    assert describe(again) == describe(recording)


BOARD = (
    '{"type": "board", "format": 1, "simulated": true, "board": {}, "power_mode": {}, "clocks": {}}'
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("[]", "line 1"),
        ('{"type": "reading", "at_s": 1, "line": ""}', "first line"),
        ('{"type": "board", "format": 9}', "format 9, expected 1"),
        (f"{BOARD}\n{BOARD}", "line 2 .* second board"),
        (f'{BOARD}\n\n{{"type": "window", "kind": "x"}}', "line 3 .* kind x"),
        (f'{BOARD}\n{{"type": "dance"}}', "type dance"),
        (f"{BOARD}\nnot json", "line 2"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_line(text, words, tmp_path):
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(DamagedError, match=words):
        read_recording(tmp_path / "x.jsonl")


def test_nothing_claims_hardware():
    assert "run on hardware" not in matrix()
    assert matrix() in (Path(__file__).parents[4] / "docs" / "deploy.md").read_text()
    board = {"module": "Jetson Orin Nano 8GB", "jetpack": "6.2.1"}
    assert evidence(board, simulated=False).startswith("never run on hardware")
    assert evidence({}, simulated=False) == "no Jetson"
