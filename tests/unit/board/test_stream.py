"""Messages through a pipe, and the verb that runs a file on them."""

import io
import json
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compactmtl.board.errors import DamagedError, UnsafeError
from compactmtl.board.stream import BIND, HEAD, RUN, TIME, pack, receive, send, serve, unpack
from compactmtl.board.tensors import InputInfo

DTYPES = st.sampled_from(["float32", "float16", "int64", "uint8", "bool"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays.arrays(
        dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
    )
)


def sent(*contents):
    pipe = io.BytesIO()
    for content in contents:
        send(pipe, content)
    return pipe.getvalue()


@given(st.dictionaries(st.sampled_from(["image", "file", "allow_pickle", "=x", "a.b"]), ARRAYS))
def test_arrays_arrive_as_they_were(named):
    found = unpack(pack(named))
    assert list(found) == list(named)
    for name, array in named.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(st.lists(st.binary(max_size=100), max_size=4))
def test_messages_arrive_in_order_and_then_it_ends(contents):
    pipe = io.BytesIO(sent(*contents))
    assert [receive(pipe) for _ in contents] == contents
    assert receive(pipe) is None


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_message_that_is_cut_or_changed_is_refused(content, data):
    whole = sent(content)
    end = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(DamagedError, match="cut short"):
        receive(io.BytesIO(whole[:end]))
    place = data.draw(st.integers(8, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= 1
    with pytest.raises(DamagedError, match="changed on the way"):
        receive(io.BytesIO(bytes(changed)))


def test_a_greeting_is_no_message():
    greeting = b"Welcome to the board! It is Monday, and the fridge is empty.\n"
    with pytest.raises(DamagedError, match="expected a message, got b'Welcome") as error:
        receive(io.BytesIO(greeting))
    assert "login" in error.value.hint


def test_pickles_and_other_files_are_refused():
    pickled = io.BytesIO()
    np.savez(pickled, x=np.array([{}], dtype=object))
    with pytest.raises(UnsafeError):
        unpack(pickled.getvalue())
    with pytest.raises(DamagedError):
        unpack(b"PK\x03\x04 and no more")


class Doubling:
    runtime, device, includes, load_ms = "numpy 2", "cpu", "nothing", 1.5
    inputs = (InputInfo("x", ("n", 3), "float32"),)

    def __call__(self, inputs):
        return {"y": inputs["x"] * 2}

    def bind(self, inputs):
        return lambda: time.sleep(len(inputs["x"]) / 1e3)


def test_a_session_answers_each_message():
    calls = [np.full((n, 3), n, dtype=np.float32) for n in (1, 4)]
    asked = [message for x in calls for message in (RUN, pack({"x": x}))]
    sink = io.BytesIO()
    assert serve(Doubling(), io.BytesIO(sent(*asked)), sink) == 2
    sink.seek(0)
    assert json.loads(receive(sink)) == {
        "runtime": "numpy 2", "device": "cpu", "includes": "nothing", "load_ms": 1.5,
        "inputs": [{"name": "x", "shape": ["n", 3], "dtype": "float32"}],
    }  # fmt: skip
    for x in calls:
        np.testing.assert_array_equal(unpack(receive(sink))["y"], x * 2)
    assert receive(sink) is None


def test_it_times_the_call_that_was_bound_last():
    few, many = (pack({"x": np.zeros((n, 3), np.float32)}) for n in (1, 40))
    sink = io.BytesIO()
    asked = (BIND, few, RUN, few, BIND, few, TIME, BIND, many, TIME, TIME)
    assert serve(Doubling(), io.BytesIO(sent(*asked)), sink) == 7
    sink.seek(0)
    _, unbound, _, ran, first, again, *slow = iter(lambda: receive(sink), None)
    assert json.loads(unbound) == {}  # nothing had run yet
    assert first == again != ran  # binding says how long the last run took
    assert all(json.loads(times)["wall_ns"] >= 40e6 > 0 for times in slow)
    assert all(json.loads(times)["cpu_ns"] >= 0 for times in slow)


@pytest.mark.parametrize("asked", [(b"dance",), (TIME,), (RUN,), (RUN, b"no arrays")])
def test_what_is_no_word_of_ours_is_refused(asked):
    with pytest.raises(DamagedError):
        serve(Doubling(), io.BytesIO(sent(*asked)), io.BytesIO())


def test_the_verb_talks_in_messages_alone(source):
    model = onnx.load(source)
    model.ir_version = 10  # the newest that every ONNX Runtime reads
    onnx.save(model, source)
    process = subprocess.run(
        [sys.executable, "-m", "compactmtl.board", "stream", str(source)],
        input=b"", capture_output=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"onnxruntime" in receive(io.BytesIO(process.stdout))
    assert HEAD.size == 40


def test_the_verb_says_what_it_cannot_run(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"x")
    process = subprocess.run(
        [sys.executable, "-m", "compactmtl.board", "stream", str(path)],
        input=b"", capture_output=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (2, b"")
    assert process.stderr.startswith(b"error: nothing runs `model.pth`")
