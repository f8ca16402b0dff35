"""One contract for every runtime that runs here: what is loaded says what it takes, and runs.

The same convolution in each. ``LYING`` shows that the oracle sees a session that computes
something else, or hands out memory that it writes again.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compactmtl.bench.cost import why_not_run
from compactmtl.bench.elsewhere import SERVED, open_served
from compactmtl.bench.ways import Ways, make_items
from compactmtl.board.errors import AskedError, NotHereError, RunError
from compactmtl.board.sessions import open_session
from compactmtl.errors import (
    BenchError,
    CorruptFileError,
    ExportError,
    MissingExtraError,
    UsageError,
)
from compactmtl.export.environments import Environment
from compactmtl.export.worker_target import WorkerExporter

WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
RUNTIMES = ["onnx", "openvino", "eager", "served", pytest.param("compile", marks=pytest.mark.slow)]


class Here(Environment):
    """This very Python, in a process of its own."""

    python = property(lambda self: Path(sys.executable))
    is_complete = True


class Served(WorkerExporter):
    target, suffix, evidence = "served", ".onnx", "never run"
    environment = Here(target="served", packages=("tool==1.0",), gigabytes=1, minutes=1)


def save_onnx(path: Path) -> Path:
    node = helper.make_node("Conv", ["image", "w"], ["seg"], pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "h", "w"])],
        [helper.make_tensor_value_info("seg", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def save_program(path: Path) -> Path:
    import torch
    from torch.export import Dim

    from compactmtl.pt2 import save_pt2

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)

        def forward(self, image):
            return {"seg": self.conv(image)}

    net = Net().eval()
    with torch.no_grad():
        net.conv.weight.copy_(torch.from_numpy(WEIGHT))
    free = {0: Dim("batch", min=1, max=64), 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    image = torch.rand(2, 3, 8, 8)
    save_pt2(torch.export.export(net, (image,), dynamic_shapes=[free]), path, {"inputs": ["image"]})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    return {"onnx": save_onnx(folder / "m.onnx"), "torch": save_program(folder / "m.pt2")}


@pytest.fixture(scope="module")
def load(files, tmp_path_factory):
    def make(runtime, threads=1):
        if runtime == "openvino":
            openvino = pytest.importorskip("openvino")
            path = tmp_path_factory.mktemp("ir") / "m.xml"
            openvino.save_model(openvino.convert_model(files["onnx"]), path, compress_to_fp16=False)
            return open_session(path, threads=threads)
        if runtime == "served":
            return Served().open(files["onnx"], threads=threads)
        if runtime == "onnx":
            return open_session(files["onnx"], threads=threads)
        (item,) = make_items(
            {"m": files["torch"]}, Ways(torch=(runtime,)), threads=threads
        ).values()
        return item.open()

    return make


def expected(image):
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, WEIGHT.astype(np.float64))


def image(seed, *shape):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def check(session):
    """The contract."""
    (info,) = session.inputs
    assert (info.name, info.dtype, info.shape[1]) == ("image", "float32", 3)
    assert all(isinstance(info.shape[axis], str) for axis in (0, 2, 3))
    assert session.load_ms > 0
    assert any(digit.isdigit() for digit in session.runtime)
    assert (session.device, session.device_clock) == ("cpu", None)
    assert session.includes

    first, second = image(1, 1, 3, 8, 6), image(2, 2, 3, 5, 9)
    kept = session({"image": first})
    assert list(kept) == ["seg"]
    session({"image": second})
    np.testing.assert_allclose(kept["seg"], expected(first), atol=1e-5)  # not written again
    strided = np.asfortranarray(second)
    np.testing.assert_allclose(session({"image": strided})["seg"], expected(second), atol=1e-5)

    call = session.bind({"image": first})
    for _ in range(2):
        call()
    again = session({"image": second})["seg"]  # binding settles nothing for other calls
    np.testing.assert_allclose(again, expected(second), atol=1e-5)

    for wrong in ({"other": first}, {"image": image(1, 1, 4, 8, 6)}):
        with pytest.raises((RunError, AskedError, BenchError, UsageError)) as error:
            session(wrong)  # the second finds a process that the first has ended
        assert "\n" not in error.value.message


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_contract(load, runtime):
    check(load(runtime))


class Lying:
    """A session that keeps writing the same memory, or is off."""

    def __init__(self, session, *, shared, off):
        self.session, self.shared, self.off = session, shared, off
        self.memory = {}

    def __getattr__(self, name):
        return getattr(self.session, name)

    def __call__(self, inputs):
        outputs = self.session(inputs)
        outputs = {name: value + self.off for name, value in outputs.items()}
        if self.shared:
            for name, value in outputs.items():
                held = self.memory.setdefault(name, np.zeros(10**4, np.float32))
                outputs[name] = held[: value.size].reshape(value.shape)
                outputs[name][...] = value
        return outputs


@pytest.mark.parametrize("fault", [{"shared": True, "off": 0.0}, {"shared": False, "off": 1e-3}])
def test_the_contract_sees_a_fault(load, fault):
    session = load("onnx")
    check(Lying(session, shared=False, off=0.0))
    with pytest.raises(AssertionError):
        check(Lying(session, **fault))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_refused_in_words(files, provider):
    import onnxruntime

    if len(onnxruntime.get_available_providers()) > 2:
        pytest.skip("this ONNX Runtime has further providers")
    with pytest.raises(NotHereError, match=r"has no (CUDA|Tensorrt)ExecutionProvider; it has"):
        open_session(files["onnx"], provider=provider)


def test_a_provider_that_falls_back_to_the_cpu_is_seen(files, monkeypatch):
    """ONNX Runtime goes on without CUDA where it does not start; figures would be the CPU's."""
    import onnxruntime

    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    cuda = SimpleNamespace(stream=1, event=lambda: 1)
    monkeypatch.setattr("compactmtl.board.onnx_session.Cuda", lambda: cuda)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(NotHereError, match="CUDAExecutionProvider does not start"),
    ):
        open_session(files["onnx"], provider="cuda")


def test_what_runs_in_another_process_times_itself(load):
    session = load("served")
    call = session.bind({"image": image(1, 1, 3, 64, 64)})
    call()
    first = (call.wall_ns, call.cpu_ns)
    assert min(first) > 0
    call()
    assert (call.wall_ns, call.cpu_ns) != first  # of the last call, each time


def test_another_process_that_refuses_or_dies_is_one_line(files, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    with pytest.raises(CorruptFileError, match=r"bad\.onnx"):
        Served().open(bad)
    session = Served().open(files["onnx"])
    session._process.kill()
    with pytest.raises(ExportError, match="died with exit code -9"):
        session({"image": image(1, 1, 3, 8, 6)})
    with pytest.raises(BenchError, match="has ended"):
        session.bind({"image": image(1, 1, 3, 8, 6)})


def test_a_runtime_in_no_python_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, target in (("m.tflite", "litert"), ("m.pte", "executorch")):
        if find_spec(SERVED[Path(name).suffix]) is not None:
            continue
        assert f"--target {target} --install" in why_not_run(tmp_path / name)
        with pytest.raises(MissingExtraError):
            open_served(tmp_path / name, threads=1)


def test_ways_that_do_not_exist(files):
    for wrong in ({"providers": ("gpu",)}, {"torch": ("jit",)}, {"providers": ("cpu", "cpu")}):
        with pytest.raises(AskedError, match=r"--provider|--torch"):
            Ways(**wrong)
    with pytest.raises(AskedError, match="is a program of torch"):
        make_items({"m": files["torch"]}, Ways(), threads=1)
    both = make_items(
        {**files, "onnx.pt2": files["torch"]}, Ways(torch=("eager", "compile")), threads=1
    )
    assert list(both) == ["onnx", "torch.eager", "torch.compile", "onnx.eager", "onnx.compile"]


def test_torch_beside_onnx_runtime_in_one_record(files):
    from compactmtl.bench import bench

    record = bench(
        [files["onnx"], files["torch"]], size=(8, 8), torch=["eager"], seconds=0, rounds=2
    )
    assert list(record.candidates) == ["m.onnx", "m.eager"]
    assert list(record.ratios) == ["m.onnx/m.eager"]
    program = record.candidates["m.eager"]
    assert program.runtime.endswith("(eager)")
    assert (program.macs, program.why_not_counted) == (None, "nothing counts files .pt2")
    with pytest.raises(UsageError, match="is a program of torch"):
        bench(files["torch"], size=(8, 8), seconds=0, rounds=2)
    with pytest.raises(UsageError, match="--provider"):
        bench(files["onnx"], providers=["gpu"], size=(8, 8), seconds=0, rounds=2)
