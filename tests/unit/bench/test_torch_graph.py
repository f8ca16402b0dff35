"""The control flow of recording a CUDA graph in torch, with a fake of it: no GPU was at hand.

The fake keeps to the memory it recorded, as CUDA does; it says nothing about torch itself.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from compactmtl.bench import torch_session
from compactmtl.bench.torch_graph import WARMUP_CALLS, recorded
from compactmtl.bench.torch_session import TorchSession
from compactmtl.board.errors import RunError


class FakeGpu:
    """What of torch a recording uses; tensors stay on the CPU."""

    no_grad = staticmethod(torch.no_grad)
    utils = torch.utils

    def __init__(self):
        self.log, self.work = [], []
        self.cuda = SimpleNamespace(
            Stream=lambda: SimpleNamespace(wait_stream=lambda other: self.log.append("wait")),
            current_stream=lambda: SimpleNamespace(
                wait_stream=lambda other: self.log.append("wait")
            ),
            stream=lambda stream: self._beside(),
            CUDAGraph=lambda: SimpleNamespace(replay=self._replay),
            graph=lambda graph: self._capture(),
        )

    @contextmanager
    def _beside(self):
        self.log.append("beside")
        yield

    @contextmanager
    def _capture(self):
        self.log.append("capture")
        self.work.clear()
        yield

    def _replay(self):
        self.log.append("replay")
        source, target = self.work[-1]
        target.copy_(source * 2)

    def module(self, image):
        result = image * 2
        self.work.append((image, result))
        return {"seg": result}


class Tensor(torch.Tensor):
    """A tensor whose ``cuda()`` is a copy, as it would be."""

    def cuda(self):
        return self.as_subclass(torch.Tensor).clone()


def events(log):
    return [SimpleNamespace(record=lambda name=name: log.append(name)) for name in ("on", "off")]


def test_a_launch_reads_the_inputs_of_now_and_lies_between_the_events():
    gpu = FakeGpu()
    image = torch.arange(6.0).as_subclass(Tensor)
    call = recorded(gpu, gpu.module, [image], events(gpu.log))
    assert gpu.log == ["wait", "beside", "wait", "capture"]
    assert len(gpu.work) == 1  # the warm-up is not in the graph
    gpu.log.clear()
    for shift in range(3):
        image += shift
        assert call()["seg"].tolist() == (image * 2).tolist()
    assert gpu.log == ["on", "replay", "off"] * 3


def test_it_warms_up_before_it_records():
    gpu = FakeGpu()
    ran = []

    def module(image):
        ran.append("capture" in gpu.log)
        return gpu.module(image)

    recorded(gpu, module, [torch.zeros(1).as_subclass(Tensor)], events(gpu.log))
    assert ran == [False] * WARMUP_CALLS + [True]


@pytest.fixture
def session():
    """A session as it would be on a GPU, around a network that doubles."""
    gpu = FakeGpu()
    made = TorchSession.__new__(TorchSession)
    made._torch, made._module, made._path = gpu, gpu.module, "compact/model.pt2"
    made._graph, made._events = True, events(gpu.log)
    made._tensors = lambda inputs: [torch.from_numpy(inputs["image"]).as_subclass(Tensor)]
    return made, gpu


def test_bound_calls_launch_the_graph(session):
    made, gpu = session
    call = made.bind({"image": np.ones(3, np.float32)})
    gpu.log.clear()
    np.testing.assert_array_equal(call()["seg"], [2, 2, 2])
    assert "replay" in gpu.log


def test_what_cannot_be_recorded_is_an_error_with_a_hint(session, monkeypatch):
    made, _ = session

    def fails(*arguments):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch_session, "recorded", fails)
    with pytest.raises(RunError, match=r"cannot record `compact/model\.pt2`: operation") as error:
        made.bind({"image": np.ones(3, np.float32)})
    assert "leave out --cuda-graph" in error.value.hint
