"""What does the harness add to a call?"""

import time
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper
from subjects import random

from compactmtl.board.bench.timing import interleave
from compactmtl.board.onnx_session import OnnxSession, session_options

SHAPE = (1, 3, 4, 4)


def measure(*, rounds: int) -> dict[str, Any]:
    """Return microseconds per inference: inside the timed part, and of the whole loop.

    The call into the runtime is measured against the runtime's own on a network of one ReLU, where
    microseconds can be seen.
    """
    model = relu()
    inputs = {"image": random(SHAPE)}
    raw = ort.InferenceSession(model, session_options(1), providers=["CPUExecutionProvider"])
    session = OnnxSession(model, threads=1, name="relu")
    calls = {
        "nothing": nothing,
        "runtime": lambda: raw.run(["out"], inputs),
        "bound": session.bind(inputs),
    }
    found = interleave(calls, seconds=0, rounds=rounds)
    started = time.process_time_ns()
    interleave({"nothing": nothing}, seconds=0, rounds=rounds)
    loop_us = (time.process_time_ns() - started) / 1e3 / rounds
    p50_us = {name: float(np.median(timings.wall_ms)) * 1e3 for name, timings in found.items()}
    paired = np.median(found["bound"].wall_ms - found["runtime"].wall_ms) * 1e3
    return {
        "rounds": rounds,
        "p50_us": p50_us,
        "timed_us": p50_us["nothing"],
        "call_us": float(paired),
        "added_to_a_time_us": p50_us["nothing"] + float(paired),
        "loop_cpu_us": loop_us,
    }


def nothing() -> None:
    """Do nothing."""


def relu() -> bytes:
    """Return a network of one ReLU."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("image", "out")
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["out"])], "relu", values[:1], values[1:]
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return bytes(model.SerializeToString())
