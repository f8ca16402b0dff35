"""The control flow of ONNX Runtime on a GPU, with fakes of it and of CUDA: no GPU was at hand.

The fake doubles its input. As a CUDA graph it keeps to the memory it was recorded with, as CUDA
does. One test runs the same calls in the real ONNX Runtime, with the CPU as the device.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from compactmtl.board import onnx_gpu, onnx_session
from compactmtl.board.errors import AskedError, DamagedError, NotHereError, RunError
from compactmtl.board.onnx_gpu import GpuCall
from compactmtl.board.onnx_session import OnnxSession, import_onnxruntime

IMAGE = np.arange(12, dtype=np.float32).reshape(2, 6)
GPU = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


class FakeCuda:
    stream = 4711
    log: list = []  # noqa: RUF012  # one device

    def event(self):
        return 1

    def mark(self, event):
        self.log.append("mark")

    def wait(self):
        self.log.append("wait")

    def elapsed_ms(self, start, end):
        return 0.5


class Value:
    def __init__(self, array):
        self.memory = np.array(array)

    def update_inplace(self, array):
        assert array.shape == self.memory.shape
        assert array.flags.c_contiguous
        self.memory[...] = array

    def numpy(self):
        return self.memory.copy()


class Binding:
    def __init__(self):
        self.inputs, self.outputs = {}, {}

    def bind_ortvalue_input(self, name, value):
        self.inputs[name] = value

    def bind_ortvalue_output(self, name, value):
        self.outputs[name] = value

    def bind_output(self, name, device, number):
        assert (device, number) == ("cuda", 0)
        self.outputs[name] = None

    def get_outputs(self):
        return list(self.outputs.values())


class RunOptions:
    def add_run_config_entry(self, key, value):
        assert (key, value) == ("disable_synchronize_execution_providers", "1")


class Ort:
    """What ``import onnxruntime`` would give."""

    __version__ = "1.99"
    ExecutionMode = SimpleNamespace(ORT_SEQUENTIAL=0)
    RunOptions = RunOptions
    OrtValue = SimpleNamespace(
        ortvalue_from_numpy=lambda array, device, number: Value(array),
        ortvalue_from_shape_and_type=lambda shape, kind, device, number: Value(
            np.zeros(shape, kind)
        ),
    )

    def __init__(self):
        self.made, self.fails, self.left_out = [], None, ()
        FakeCuda.log = []

    def get_available_providers(self):
        return list(GPU)

    def SessionOptions(self):  # noqa: N802  # ONNX Runtime's name
        return SimpleNamespace(add_session_config_entry=lambda key, value: None)

    def InferenceSession(self, source, options, providers, enable_fallback):  # noqa: N802
        assert enable_fallback == 0  # it would fall back to the CPU and print to stdout
        options = [each if isinstance(each, tuple) else (each, {}) for each in providers]
        if self.fails is not None and options[0][0] != GPU[-1]:
            raise self.fails
        self.made.append(options)
        kept = [name for name, _ in options if name not in self.left_out]
        described = SimpleNamespace(name="image", shape=["n", 6], type="tensor(float)")
        return SimpleNamespace(
            get_providers=lambda: kept,
            get_inputs=lambda: [described],
            get_outputs=lambda: [SimpleNamespace(name="seg")],
            io_binding=Binding,
            recorded=None,
            run=lambda names, inputs: self._on_cpu(kept, inputs),
            run_with_iobinding=self._runner("graph" in str(options[0][1])),
        )

    def _on_cpu(self, kept, inputs):
        assert kept == [GPU[-1]], "on a GPU everything goes through its own memory"
        return [inputs["image"] * 2]

    def _runner(self, graph):
        recorded = []

        def run(binding, run_options):
            assert isinstance(run_options, RunOptions)
            FakeCuda.log.append("run")
            source, target = binding.inputs["image"], binding.outputs["seg"]
            if graph:
                recorded.append((source, target))
                source, target = recorded[0]
                target.memory[...] = source.memory * 2
            else:
                assert target is None or target.memory.shape == source.memory.shape
                binding.outputs["seg"] = Value(source.memory * 2)

        return run


@pytest.fixture
def ort(monkeypatch):
    fake = Ort()
    monkeypatch.setattr(onnx_session, "import_onnxruntime", lambda: fake)
    monkeypatch.setattr(onnx_session, "Cuda", FakeCuda)
    return fake


def session(provider="cuda", *, graph=False):
    return OnnxSession(b"", threads=1, name="net", provider=provider, cuda_graph=graph)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_bound_call_computes_on_its_own_inputs_between_two_events(ort, provider, graph):
    made = session(provider, graph=graph)
    first = made({"image": IMAGE[:, ::-1]})
    np.testing.assert_array_equal(first["seg"], IMAGE[:, ::-1] * 2)
    call = made.bind({"image": IMAGE})
    FakeCuda.log.clear()
    for _ in range(3):
        np.testing.assert_array_equal(call()[0], IMAGE * 2)
        assert FakeCuda.log == ["mark", "run", "mark", "wait"]
        FakeCuda.log.clear()
        made({"image": IMAGE + 1})  # comes between, and changes nothing
        FakeCuda.log.clear()
    np.testing.assert_array_equal(first["seg"], IMAGE[:, ::-1] * 2)  # for the caller to keep
    assert made.device_clock() == 0.5
    assert made.device == "cuda"
    assert made.runtime == f"onnxruntime 1.99 ({provider}{', CUDA graph' if graph else ''})"
    assert "never run on hardware" in made.includes


def test_the_first_provider_alone_is_asked_for_a_graph(ort):
    session("tensorrt", graph=True)
    ((tensorrt, cuda, cpu),) = ort.made
    assert tensorrt == (GPU[0], {"user_compute_stream": "4711", "trt_cuda_graph_enable": "True"})
    assert cuda == (GPU[1], {"user_compute_stream": "4711"})
    assert cpu == (GPU[2], {})
    session("cuda", graph=True)
    assert ort.made[1][0][1] == {"user_compute_stream": "4711", "enable_cuda_graph": "True"}
    session("cuda")
    assert ort.made[2][0][1] == {"user_compute_stream": "4711"}


def test_a_graph_is_for_the_shapes_that_it_was_recorded_for(ort):
    made = session(graph=True)
    made({"image": IMAGE})
    with pytest.raises(AskedError, match=r"recorded as a CUDA graph for .*\(2, 6\).*got .*\(1, 6"):
        made.bind({"image": IMAGE[:1]})
    session()({"image": IMAGE[:1]})  # without one, any


def test_what_cannot_be_recorded_is_an_error_and_never_run_otherwise(ort):
    said = "This session cannot use the graph capture feature as requested by the user"
    ort.fails = Exception(f"[ONNXRuntimeError] : 1 : FAIL : {said} as all the graph nodes have not")
    with pytest.raises(RunError, match="cannot record `net` as a CUDA graph: ") as error:
        session("tensorrt", graph=True)
    assert "leave out --cuda-graph" in error.value.hint
    assert ort.made == []
    ort.fails = Exception("no such opset")
    with pytest.raises(DamagedError, match="cannot load `net`: no such opset"):
        session(graph=True)


def test_a_graph_that_fails_while_it_runs_says_what_to_try(ort, monkeypatch):
    made = session(graph=True)

    def fails(binding, options):
        raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing")

    made._session.run_with_iobinding = fails
    with pytest.raises(RunError, match="CUDA failure 900") as error:
        made({"image": IMAGE})
    assert "without --cuda-graph" in error.value.hint


@pytest.mark.parametrize("graph", [False, True])
def test_a_provider_that_does_not_start_is_no_run_on_the_cpu(ort, graph):
    ort.left_out = GPU[:2]
    with pytest.raises(NotHereError, match="CUDAExecutionProvider does not start"):
        session(graph=graph)
    ort.fails = RuntimeError("libcudnn.so.9: cannot open shared object file")
    with pytest.raises(NotHereError, match="does not start on this machine: libcudnn"):
        session(graph=graph)


def test_the_cpu_has_no_graphs(ort):
    with pytest.raises(AskedError, match="needs a GPU"):
        session("cpu", graph=True)


@pytest.mark.parametrize("fixed", [False, True])
def test_the_real_onnx_runtime_takes_these_calls(source, monkeypatch, fixed):
    monkeypatch.setattr(onnx_gpu, "DEVICE", "cpu")
    usual = OnnxSession(source, threads=1)
    images = np.random.default_rng(0).normal(size=(2, 1, 3, 16, 24)).astype(np.float32)
    first, second = (usual({"image": image})["y"] for image in images)
    call = GpuCall(
        import_onnxruntime(),
        usual._session,
        cuda=FakeCuda(),
        events=(1, 2),
        arrays={"image": images[0].copy()},  # on the CPU its memory is not copied
        outputs={"y": first if fixed else None},
    )
    for image, expected in ((images[1], second), (images[0], first)):
        (found,) = call({"image": image})
        np.testing.assert_array_equal(found, expected)
