"""An engine of another GPU is refused before anything starts CUDA; what nobody knows is tried.

NVML is a fake, and no engine was run: no machine with a GPU was at hand. The first engine is one
that TensorRT-RTX built, with its sidecar.
"""

import ctypes
import json
from types import SimpleNamespace

import pytest
from simulated_jetson import make_root

from compactmtl.board import engine, gpus
from compactmtl.board.artefact import engine_path, write_engine
from compactmtl.board.bench import on_device
from compactmtl.board.bindings import load_bindings
from compactmtl.board.command import main
from compactmtl.board.engine_gpu import check_fits, why_not_fit
from compactmtl.board.errors import DamagedError, NotHereError
from compactmtl.board.files import sha256
from compactmtl.board.jetson.watch import ROOT_VARIABLE
from compactmtl.board.nvml import Gpu, list_gpus
from compactmtl.board.recipe import BuildRecipe

ADA, AMPERE, TURING = (
    Gpu(f"NVIDIA {name}", number) for name, number in (("A", "8.9"), ("B", "8.6"), ("C", "7.5"))
)
ORIN, HOPPER = Gpu("Orin", "8.7"), Gpu("NVIDIA H", "9.0")
PLAN = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + b"weights"


def library(*found, **changes):
    """What ``libnvidia-ml`` would be on a machine with these GPUs."""

    def handle(index, place):
        place._obj.value = index.value + 1
        return 0

    def name(gpu, buffer, size):
        buffer.value = found[gpu.value - 1].name.encode()
        return 0

    def capability(gpu, major, minor):
        numbers = found[gpu.value - 1].compute_capability.split(".")
        major._obj.value, minor._obj.value = map(int, numbers)
        return 0

    def count(place):
        place._obj.value = len(found)
        return 0

    functions = {
        "nvmlInit_v2": lambda: 0,
        "nvmlShutdown": lambda: 0,
        "nvmlDeviceGetCount_v2": count,
        "nvmlDeviceGetHandleByIndex_v2": handle,
        "nvmlDeviceGetName": name,
        "nvmlDeviceGetCudaComputeCapability": capability,
    }
    return SimpleNamespace(**(functions | changes))


@pytest.fixture
def here(monkeypatch):
    """Make this a machine with these GPUs, on which nothing may start CUDA."""

    def cuda(*arguments):
        pytest.fail("CUDA was started")

    for where, called in ((engine, "num_gpus"), (engine, "Cuda"), (on_device, "Cuda")):
        monkeypatch.setattr(where, called, cuda)

    def make(*found):
        monkeypatch.setattr(gpus, "list_gpus", lambda: found)

    return make


def put(folder, plan=PLAN, **build):
    """Write an engine whose sidecar says how it was built."""
    path = folder / "model.engine"
    path.write_bytes(plan)
    stated = {"compute_capabilities": [], "flags": [], **build}
    path.with_name("model.engine.json").write_text(
        json.dumps({"sha256": sha256(plan), "build": stated})
    )
    return path


def test_the_driver_says_which_gpus_there_are():
    assert list_gpus(library(ADA, TURING)) == (ADA, TURING)
    assert list_gpus(library()) == ()


@pytest.mark.parametrize(
    "function",
    [
        "nvmlInit_v2",
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetHandleByIndex_v2",
        "nvmlDeviceGetName",
        "nvmlDeviceGetCudaComputeCapability",
    ],
)
def test_what_the_driver_does_not_tell_is_unknown(function, monkeypatch):
    assert list_gpus(library(ADA, **{function: lambda *arguments: 999})) == ()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert list_gpus() == ()


def test_without_nvml_a_jetson_is_known_by_its_table(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "list_gpus", tuple)
    monkeypatch.setenv(ROOT_VARIABLE, str(make_root(tmp_path, "agx-orin")))
    assert gpus.find_gpus() == (Gpu("Jetson AGX Orin 64GB", "8.7"),)
    monkeypatch.setattr(gpus, "list_gpus", lambda: (ADA,))  # a card in the board comes first
    assert gpus.find_gpus() == (ADA,)
    monkeypatch.setattr(gpus, "list_gpus", tuple)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "elsewhere"))
    assert gpus.find_gpus() == ()


def test_a_real_engine_of_another_gpu_is_refused_in_one_line(source, here, capsys):
    pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')
    path = engine_path(source, "rtx")
    recipe = BuildRecipe(compute_capabilities=("8.9",))
    here(AMPERE)
    write_engine(load_bindings("rtx"), source, path, recipe)
    asked = ["bench", str(path), "--device", "cuda"]
    assert main(asked) == NotHereError.exit_code
    assert capsys.readouterr().err.splitlines() == [
        "error: `model.rtx.engine` is for GPUs of compute capability 8.9; the one here has 8.6 "
        "(NVIDIA B)",
        "hint: build one for it: compactmtl export --target tensorrt-rtx --compute-capability 8.6",
    ]
    with pytest.raises(NotHereError, match=r"for GPUs of compute capability 8\.9"):
        engine.EngineSession(path)
    assert why_not_fit(path, [AMPERE, ADA]) == ""
    here(ORIN)  # TensorRT-RTX builds for no Jetson
    with pytest.raises(NotHereError, match=r"has 8\.7 \(Orin\)") as error:
        check_fits(path)
    assert "--target tensorrt," in error.value.hint


def test_untold_tensorrt_rtx_builds_for_ampere_and_later(tmp_path):
    path = put(tmp_path, b"vtrt" + PLAN[4:])
    assert why_not_fit(path, [HOPPER]) == ""
    assert "for GPUs of compute capability 8.0 (Ampere) or later; the one here has 7.5" in (
        why_not_fit(path, [TURING])
    )


def test_what_is_not_known_is_tried(tmp_path):
    path = put(tmp_path, compute_capabilities=["8.9"])
    assert why_not_fit(path, [TURING])
    assert why_not_fit(path, []) == ""
    sidecar = path.with_name("model.engine.json")
    for text in ('{"sha256": "0", "build": {}}', "nonsense", "[]", '{"build": 3}'):
        sidecar.write_text(text)  # of another file, or of another program
        assert why_not_fit(path, [TURING]) == ""
    sidecar.unlink()
    assert why_not_fit(path, [TURING]) == ""


def test_other_files_are_for_any_machine_and_no_engine_is_none(tmp_path, here):
    here(TURING)
    check_fits(tmp_path / "model.onnx")
    path = tmp_path / "model.engine"
    path.write_bytes(b"nonsense")
    check_fits(path)  # nothing is said of it: whoever opens it says that it is none
    path = put(tmp_path, b"nonsense", compute_capabilities=["8.9"])
    with pytest.raises(DamagedError, match="no TensorRT engine"):
        check_fits(path)
