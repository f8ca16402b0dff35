"""The control flow of reading a GPU, with a fake library: no such machine was at hand."""

import ctypes
from types import SimpleNamespace

import pytest

from compactmtl.board.bench import gpu_watch
from compactmtl.board.bench.gpu_watch import GpuWatch
from compactmtl.board.bench.gpu_words import lines_of_gpu
from compactmtl.board.errors import NotHereError
from compactmtl.board.nvml import GpuReading, Nvml


def answers(value):
    def function(*arguments):
        arguments[-1]._obj.value = value
        return 0

    return function


def fails(*arguments):
    return 3  # NVML_ERROR_NOT_SUPPORTED


def memory(gpu, place):
    place._obj[2] = 3 * 2**20
    return 0


def library(**changes):
    functions = {
        "nvmlInit_v2": lambda: 0,
        "nvmlShutdown": lambda: 0,
        "nvmlDeviceGetHandleByPciBusId_v2": lambda bus_id, gpu: (
            0 if bus_id == b"0000:01:00.0" else 6
        ),
        "nvmlDeviceGetPowerUsage": answers(71_500),
        "nvmlDeviceGetClockInfo": lambda gpu, which, place: answers(1500 + which)(place),
        "nvmlDeviceGetTemperature": lambda gpu, which, place: answers(61)(place),
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetCurrentClocksThrottleReasons": answers(0x1 | 0x4 | 0x40),
    }
    return SimpleNamespace(**(functions | changes))


def test_figures_have_their_units_and_idle_is_no_slowdown():
    reading = Nvml("0000:01:00.0", library()).read()
    assert reading == GpuReading(
        71.5, 1500, 1502, 61, 3.0, ("power cap", "hardware thermal slowdown")
    )
    idle = library(nvmlDeviceGetCurrentClocksThrottleReasons=answers(0x1))
    assert Nvml("0000:01:00.0", idle).read().slowed == ()


def test_what_a_gpu_does_not_tell_is_unknown_and_never_zero():
    silent = {name: fails for name in vars(library()) if name.startswith("nvmlDeviceGet")}
    silent["nvmlDeviceGetHandleByPciBusId_v2"] = lambda bus_id, gpu: 0
    nvml = Nvml("0000:01:00.0", library(**silent))
    assert nvml.read() == GpuReading(None, None, None, None, None, None)
    watch = GpuWatch(nvml)
    watch._readings.append((0.0, nvml.read()))
    found = watch.describe()
    assert (found["power_w"], found["celsius"], found["throttled"]) == (None, None, "unknown")
    lines = lines_of_gpu(found)
    assert "power unavailable; clock unavailable" in lines[1]
    assert lines[-1] == "throttled: unknown"


def test_a_gpu_that_is_not_known_is_refused():
    with pytest.raises(NotHereError, match="no GPU at 0000:02"):
        Nvml("0000:02:00.0", library())
    with pytest.raises(NotHereError, match="does not start"):
        Nvml("0000:01:00.0", library(nvmlInit_v2=lambda: 9))
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        with pytest.raises(NotHereError, match=r"no libnvidia-ml\.so\.1"):
            Nvml("0000:01:00.0")


def test_energy_is_mean_power_times_time_per_call(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(gpu_watch, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    watch = GpuWatch(Nvml("0000:01:00.0", library()))
    with watch.window("timing"):
        clock.now = 5.0
    with watch.window("alone", "a") as ran:
        for power in (40.0, 60.0):
            clock.now += 1.0
            watch._readings.append((clock.now, GpuReading(power, 1500, None, 61, None, ())))
            ran()
            ran()
    found = watch.describe()
    assert found["alone"] == {"a": {"power_w": 50.0, "mj_per_inference": 25_000.0, "readings": 2}}
    assert found["power_w"] == {"min": 40.0, "median": 50.0, "max": 60.0}
    assert found["memory_mhz"] is None
    assert found["throttled"] == []
    assert "never run on hardware" in found["evidence"]
    assert lines_of_gpu(found) == [
        "evidence: NVML, never run on hardware; 2 readings",
        "power 50 (40 to 60) W; clock 1500 (1500 to 1500) MHz; memory clock unavailable; "
        "temperature 61 (61 to 61) C; memory in use unavailable",
        "a: 2.5e+04 mJ per inference (whole GPU board, 2 readings)",
        "throttled: no",
    ]
    assert lines_of_gpu({"jetson": {}}) == lines_of_gpu({}) == []


def test_a_paced_run_reads_the_gpus_own_temperature():
    thermometer = GpuWatch(Nvml("0000:01:00.0", library())).thermometer
    assert (thermometer.name, thermometer.read()) == ("GPU, by NVML", 61)


def test_the_block_reads_until_it_ends(monkeypatch):
    monkeypatch.setattr(gpu_watch, "INTERVAL_S", 0.001)
    closed = []
    nvml = Nvml("0000:01:00.0", library(nvmlShutdown=lambda: closed.append(1)))
    with GpuWatch(nvml) as watch:
        while not watch._readings:
            pass
    assert closed == [1]
    assert not watch._thread.is_alive()
