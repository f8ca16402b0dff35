"""The control flow of running an engine, with a fake TensorRT and GPU: no such machine was at hand.

The fake keeps device memory in a dictionary and doubles its input; it shows which calls are made in
which order, and that memory is given back. It says nothing about TensorRT itself.
"""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from compactmtl.board import engine
from compactmtl.board.bindings import Bindings
from compactmtl.board.errors import AskedError, DamagedError, NotHereError, RunError
from compactmtl.board.tensors import InputInfo

PLAN = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + b"weights"


class FakeCuda:
    stream = 7
    memory: dict = {}  # noqa: RUF012  # one device

    def allocate(self, size_bytes):
        address = 1000 + len(self.memory)
        self.memory[address] = bytes(size_bytes)
        return address

    def free(self, address):
        del self.memory[address]

    def to_device(self, address, array):
        self.memory[address] = array.tobytes()

    def to_host(self, array, address):
        array[...] = np.frombuffer(self.memory[address], array.dtype).reshape(array.shape)

    def wait(self):
        pass

    def event(self):
        self.times = getattr(self, "times", {})
        self.times[len(self.times) + 1] = 0.0
        return len(self.times)

    def mark(self, event):
        self.now = getattr(self, "now", 0.0) + 0.25
        self.times[event] = self.now

    def elapsed_ms(self, start, end):
        return self.times[end] - self.times[start]

    def record(self, work):
        self.recorded = weakref.WeakMethod(work)  # CUDA keeps no Python object, either
        return 99

    def launch(self, graph):
        assert graph == 99
        self.launches = getattr(self, "launches", 0) + 1
        self.recorded()()


class FakeContext:
    def __init__(self, fails):
        self.fails = fails
        self.addresses = {}

    def set_input_shape(self, name, shape):
        self.shape = shape
        return shape[0] <= 4

    def get_tensor_shape(self, name):
        return self.shape

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert stream == FakeCuda.stream
        values = np.frombuffer(FakeCuda.memory[self.addresses["image"]], np.float32)
        FakeCuda.memory[self.addresses["seg"]] = (values * 2).tobytes()
        return not self.fails


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A fake board; set ``fails`` or ``refuses`` on what it returns."""
    state = SimpleNamespace(fails=False, refuses=False, path=tmp_path / "model.engine")
    state.path.write_bytes(PLAN)
    mode = SimpleNamespace(INPUT="in", OUTPUT="out")
    fake_engine = SimpleNamespace(
        num_io_tensors=2,
        get_tensor_name=lambda index: ("image", "seg")[index],
        get_tensor_mode=lambda name: mode.INPUT if name == "image" else mode.OUTPUT,
        get_tensor_dtype=lambda name: np.float32,
        get_tensor_shape=lambda name: (-1, 3, -1, -1),
        create_execution_context=lambda: FakeContext(state.fails),
    )

    class Runtime:
        def __init__(self, logger):
            pass

        def deserialize_cuda_engine(self, plan):
            assert plan == PLAN
            return None if state.refuses else fake_engine

    class ILogger:
        pass

    module = SimpleNamespace(
        __version__="10.3.0",
        ILogger=ILogger,
        Runtime=Runtime,
        TensorIOMode=mode,
        nptype=lambda dtype: dtype,
    )
    FakeCuda.memory = {}
    monkeypatch.setattr(engine, "num_gpus", lambda: 1)
    monkeypatch.setattr(engine, "load_bindings", lambda flavour: Bindings(module, flavour))
    monkeypatch.setattr(engine, "Cuda", FakeCuda)
    return state


def test_inputs_go_in_outputs_come_out_and_memory_is_given_back(machine):
    session = engine.EngineSession(machine.path)
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    for _ in range(2):
        outputs = session({"image": image[:, :, ::-1]})
        assert list(outputs) == ["seg"]
        np.testing.assert_array_equal(outputs["seg"], image[:, :, ::-1] * 2)
        assert FakeCuda.memory == {}
    assert session.runtime == "TensorRT 10.3.0"
    assert session.inputs == (InputInfo("image", ("dim0", 3, "dim2", "dim3"), "float32"),)


def test_what_goes_wrong_is_said_and_leaks_nothing(machine):
    session = engine.EngineSession(machine.path)
    with pytest.raises(AskedError, match="`image` is missing"):
        session({"other": np.zeros((1, 3, 2, 2), np.float32)})
    with pytest.raises(AskedError, match="outside the engine's profile"):
        session({"image": np.zeros((5, 3, 2, 2), np.float32)})
    machine.fails = True
    with pytest.raises(RunError, match="could not start"):
        engine.EngineSession(machine.path)({"image": np.zeros((1, 3, 2, 2), np.float32)})
    assert FakeCuda.memory == {}


def test_engines_of_another_kind_version_or_gpu_are_refused(machine, monkeypatch):
    machine.refuses = True
    with pytest.raises(DamagedError, match="another GPU"):
        engine.EngineSession(machine.path)
    machine.path.write_bytes(PLAN[:24] + bytes([10, 13, 0, 1]) + b"weights")
    with pytest.raises(DamagedError, match=r"10\.13\.0\.1, expected TensorRT 10\.3\.0"):
        engine.EngineSession(machine.path)
    monkeypatch.setattr(engine, "num_gpus", lambda: 0)
    with pytest.raises(NotHereError, match="no NVIDIA GPU"):
        engine.EngineSession(machine.path)


@pytest.mark.parametrize("graph", [False, True])
def test_a_bound_call_keeps_its_memory_and_gives_it_back_at_the_end(machine, graph):
    session = engine.EngineSession(machine.path, cuda_graph=graph)
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    call = session.bind({"image": image})
    held = dict.fromkeys(FakeCuda.memory)
    assert len(held) == 2
    for _ in range(3):
        np.testing.assert_array_equal(call()["seg"], image * 2)
        assert dict.fromkeys(FakeCuda.memory) == held  # nothing is allocated while it is timed
        session({"image": image[:1] + 1})  # has memory of its own
        assert session.device_clock() == 0.25  # between the events, without the copies
    assert getattr(session._cuda, "launches", 0) == (3 if graph else 0)
    assert session.runtime == "TensorRT 10.3.0" + (" (CUDA graph)" if graph else "")
    session.device_clock = None
    del call
    assert FakeCuda.memory == {}


def test_a_call_that_cannot_be_bound_leaks_nothing(machine):
    session = engine.EngineSession(machine.path)
    with pytest.raises(AskedError, match="outside the engine's profile"):
        session.bind({"image": np.zeros((5, 3, 2, 2), np.float32)})
    assert FakeCuda.memory == {}
