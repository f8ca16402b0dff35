"""Runtimes that know positions only: public names come from the sidecar; without them, one line."""

import importlib.util
import json

import numpy as np
import pytest

from compactmtl.board.errors import AbsentError, AskedError, DamagedError, MissingPackageError
from compactmtl.board.sessions import open_session
from compactmtl.board.stated import in_order, stated_names
from compactmtl.board.tensors import InputInfo

OWN = (["args_0"], ["output_0", "output_1"])


def write_sidecar(path, inputs, outputs):
    document = {
        "inputs": [{"name": name} for name in inputs],
        "outputs": [{"name": name} for name in outputs],
    }
    path.with_name(path.name + ".json").write_text(json.dumps(document))


def test_names_are_those_of_the_sidecar_and_else_the_runtimes_own(tmp_path):
    path = tmp_path / "model.tflite"
    assert stated_names(path, OWN) == OWN
    write_sidecar(path, ["image"], ["seg", "depth"])
    assert stated_names(path, OWN) == (["image"], ["seg", "depth"])


@pytest.mark.parametrize("outputs", [["seg"], ["seg", "depth", "normals"]])
def test_a_sidecar_of_another_file_is_refused(tmp_path, outputs):
    path = tmp_path / "model.tflite"
    write_sidecar(path, ["image"], outputs)
    with pytest.raises(DamagedError, match="1 inputs and 2 outputs"):
        stated_names(path, OWN)
    path.with_name("model.tflite.json").write_text('{"inputs": 1}')
    with pytest.raises(DamagedError, match="not a sidecar"):
        stated_names(path, OWN)


def test_inputs_come_in_order_contiguous_and_of_the_fixed_shape():
    infos = [InputInfo("a", (1, 2), "float32"), InputInfo("b", (3,), "int64")]
    given = {"b": np.arange(6)[::2], "a": np.ones((2, 1), np.float64).T}
    first, second = in_order(given, infos)
    assert (first.dtype, first.shape, second.tolist()) == (np.float32, (1, 2), [0, 2, 4])
    assert second.flags.c_contiguous
    with pytest.raises(AskedError, match="`b` is missing; got a"):
        in_order({"a": given["a"]}, infos)
    with pytest.raises(AskedError, match=r"`a` is fixed to \[1, 2\], got \[2, 2\]"):
        in_order({"a": np.ones((2, 2)), "b": given["b"]}, infos)


@pytest.mark.parametrize(
    ("name", "head", "package"),
    [("m.tflite", b"\0\0\0\0TFL3", "ai_edge_litert"), ("m.pte", b"\0\0\0\0ET12", "executorch")],
)
def test_no_file_another_file_and_no_runtime_are_one_line(tmp_path, name, head, package):
    path = tmp_path / name
    with pytest.raises(AbsentError):
        open_session(path)
    path.write_bytes(b"something else")
    with pytest.raises(DamagedError, match="does not say"):
        open_session(path)
    if importlib.util.find_spec(package) is None:
        path.write_bytes(head)
        with pytest.raises(MissingPackageError, match="is not installed") as error:
            open_session(path)
        assert error.value.hint.startswith("pip install")
