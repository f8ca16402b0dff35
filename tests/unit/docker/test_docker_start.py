"""The start-up check of the images, on boards that are made up: never run on hardware."""

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

START = Path(__file__).parents[3] / "docker" / "start.py"
JETPACK_6 = (
    "# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64, "
    "DATE: Mon Jun 16 16:07:13 UTC 2025\n"
)


@pytest.fixture(scope="module")
def start():
    spec = importlib.util.spec_from_file_location("docker_start", START)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def board(start, tmp_path):
    """Examine a made-up board: what it runs, its libraries, what TensorRT says."""

    def examine(
        wanted="36.4-36.5",
        *,
        release=JETPACK_6,
        init=0,
        driver=12060,
        runtime=12060,
        tensorrt=("10.3.0", ""),
        inside=True,
    ):
        file = tmp_path / "nv_tegra_release"
        if release is not None:
            file.write_text(release)

        def load(name):
            if driver is None or ("cudart" in name and runtime is None):
                raise OSError(name)
            return SimpleNamespace(
                cuInit=lambda flags: init,
                cuDriverGetVersion=lambda at: put(at, driver),
                cudaRuntimeGetVersion=lambda at: put(at, runtime),
            )

        found = start.examine(
            wanted=wanted,
            has_tensorrt=inside,
            release=file,
            load=load,
            tensorrt=lambda: tensorrt,
        )
        return [each.grade for each in found], " / ".join(each.text for each in found)

    return examine


def put(at, value):
    ctypes.cast(at, ctypes.POINTER(ctypes.c_int))[0] = value
    return 0


def test_what_fits_is_said_and_is_ok(board):
    grades, text = board()
    assert grades == ["ok", "ok", "ok"]
    assert "Jetson Linux 36.4.4" in text
    assert "CUDA up to 12.6" in text
    assert "TensorRT 10.3.0" in text


@pytest.mark.parametrize(
    ("changes", "grade", "says"),
    [
        ({"release": JETPACK_6.replace(" 4.4", " 3.0")}, "error", "36.3.0, this image is for 36.4"),
        ({"release": JETPACK_6.replace("R36", "R38")}, "error", "Jetson Linux 38.4.4"),
        ({"release": None}, "unknown", "in this container"),
        ({"release": "hello\n"}, "unknown", "says `hello`"),
        ({"wanted": "36"}, "error", "is `36`"),
        ({"driver": None}, "note", "no NVIDIA driver"),
        ({"init": 999}, "note", "cuInit gives 999"),
        ({"runtime": 13000}, "error", "CUDA 13.0, the driver takes up to 12.6"),
        ({"tensorrt": ("", "ended by signal 11")}, "error", "ended by signal 11"),
    ],
)
def test_what_does_not_fit_is_named(board, changes, grade, says):
    grades, text = board(**changes)
    assert grade in grades
    assert says in text


def test_a_newer_cuda_of_the_same_generation_is_taken(board):
    assert board(driver=12020, runtime=12060)[0] == ["ok", "ok", "ok"]


def test_an_image_without_a_cuda_runtime_is_not_judged_by_it(board):
    assert board(runtime=None)[0] == ["ok", "ok", "ok"]


def test_a_plain_image_has_nothing_to_fit_but_tells_a_jetson(board):
    assert board("", release=None, driver=None, inside=False)[0] == ["ok"]
    grades, text = board("", driver=None, inside=False)
    assert grades == ["note"]
    assert "this is a Jetson" in text


def test_tensorrt_on_a_server_is_checked_without_a_release(board):
    grades, text = board("", release=None, tensorrt=("", "no libnvinfer"))
    assert grades == ["ok", "error"]
    assert "no libnvinfer" in text


@given(
    low=st.tuples(st.integers(30, 40), st.integers(0, 9)),
    high=st.tuples(st.integers(30, 40), st.integers(0, 9)),
    at=st.tuples(st.integers(30, 40), st.integers(0, 9)),
)
def test_a_range_holds_its_ends_and_what_lies_between(start, low, high, at):
    span = start.read_range(f"{low[0]}.{low[1]}-{high[0]}.{high[1]}")
    assert span == (low, high)
    assert start.read_range(f"{at[0]}.{at[1]}") == (at, at)
    grade = start._board(at, "told", f"{low[0]}.{low[1]}-{high[0]}.{high[1]}").grade
    assert (grade == "ok") == (low <= at <= high)


def start_up(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(START), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_on_a_plain_host_the_program_runs_and_nothing_is_said():
    done = start_up("sh", "-c", "echo out; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "error" not in done.stderr


def test_a_variable_that_is_no_range_stops_the_start_in_words():
    done = start_up("sh", "-c", "echo out", COMPACTMTL_L4T="JetPack 6")
    assert (done.returncode, done.stdout) == (2, "")
    first, second, *_ = done.stderr.splitlines()
    assert first == "error: COMPACTMTL_L4T is `JetPack 6`"
    assert second.startswith("hint: ")
    assert "Traceback" not in done.stderr


def test_a_program_that_is_not_there_is_one_line():
    done = start_up("no-such-program")
    assert done.returncode == 127
    assert "cannot start no-such-program" in done.stderr
    assert "Traceback" not in done.stderr


def test_bindings_are_imported_in_a_process_of_their_own(start, tmp_path, monkeypatch):
    for body, version, why in (
        ("__version__ = '10.3.0'", "10.3.0", ""),
        ("raise ImportError('libnvinfer.so.10: no such file')", "", "libnvinfer.so.10"),
        ("import os; os.abort()", "", "signal 6"),
    ):
        (tmp_path / "tensorrt.py").write_text(body)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        found = start.import_tensorrt()
        assert found[0] == version
        assert why in found[1]


def test_only_the_check_says_what_is_in_order():
    assert "ok: " in start_up("--check").stderr or "note: " in start_up("--check").stderr
    assert start_up("--check", COMPACTMTL_L4T="x").returncode == 2
