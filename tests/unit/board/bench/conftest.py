"""Artefacts without a runtime: calls that take as long on a fake clock as they are told."""

from types import SimpleNamespace

import numpy as np
import pytest

from compactmtl.board.bench import timing
from compactmtl.board.bench.items import Item
from compactmtl.board.tensors import InputInfo


class Clock:
    """Moves only when a call computes or waits."""

    def __init__(self):
        self.wall_ns = self.cpu_ns = 0

    def perf_counter(self):
        return self.wall_ns / 1e9

    def perf_counter_ns(self):
        return self.wall_ns

    def process_time_ns(self):
        return self.cpu_ns

    def pass_ms(self, compute, wait=0.0):
        self.cpu_ns += int(compute * 1e6)
        self.wall_ns += int((compute + wait) * 1e6)


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(timing, "time", fake)
    return fake


@pytest.fixture
def make_item(tmp_path, clock):
    """Return an item whose calls take the milliseconds that ``compute`` gives in turn."""

    def make(name, compute, *, runtime="fake 1", value=1.0, wait=0.0, device="cpu"):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(name.encode())
        times = iter(compute)

        def run(inputs):
            clock.pass_ms(next(times), wait)
            return {"y": np.full(2, value)}

        session = SimpleNamespace(
            inputs=(InputInfo("x", ("batch", 2), "float32"),),
            runtime=runtime,
            device=device,
            includes="nothing",
            load_ms=1.0,
            device_clock=None if device == "cpu" else lambda: 0.5,
            bind=lambda inputs: lambda: run(inputs),
        )

        class Session:
            def __getattr__(self, field):
                return getattr(session, field)

            def __call__(self, inputs):
                return run(inputs)

        return Item(path, Session)

    return make
