"""The stored check on real ONNX files in ONNX Runtime, and that it finds what is planted."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from compactmtl.board.command import main
from compactmtl.board.errors import (
    AbsentError,
    AskedError,
    DamagedError,
    DiffersError,
    NotHereError,
    UnsafeError,
)
from compactmtl.board.files import sha256
from compactmtl.board.verify import FACTOR, verify
from compactmtl.cli.app import run

BOUND = 4.8e-7


def make(folder, *, batch="batch", precision="fp32", weight=None, selections=None):
    """Write a 1x1 convolution, its sidecar, and what numpy computes for it in float64."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    image = rng.random((6, 3, 5, 7), dtype=np.float32)
    exact = np.einsum("oi,nihw->nohw", kernel[:, :, 0, 0].astype(float), image.astype(float))
    stored = kernel if weight is None else weight(kernel)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["seg"]),
            helper.make_node("ArgMax", ["seg"], ["classes"], axis=1, keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 5, 7])],
        [
            helper.make_tensor_value_info("seg", TensorProto.FLOAT, [batch, 4, 5, 7]),
            helper.make_tensor_value_info("classes", TensorProto.INT64, [batch, 5, 7]),
        ],
        [numpy_helper.from_array(stored, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    np.savez(
        folder / "reference.npz",
        **{
            "input.image": image,
            "output.seg": exact.astype(np.float32),
            "output.classes": exact.argmax(1),
        },
    )
    describe(path, batch=batch, precision=precision, selections=selections)
    return path


def describe(path, *, batch="batch", precision="fp32", selections=None, **others):
    exact = precision == "fp32"
    parity = {"max_rel_error": 1e-3, "rel_rms": 1e-4, "bound": BOUND if exact else None}
    document = {
        "sha256": sha256(path.read_bytes()),
        "precision": precision,
        "inputs": [{"name": "image", "shape": [batch, 3, 5, 7]}],
        "verified": {
            "per_task": {"seg": parity, "classes": dict(parity, max_rel_error=0.0)},
            "selections": selections,
        },
    } | others
    path.with_name("model.onnx.json").write_text(json.dumps(document))


@pytest.mark.parametrize("batch", ["batch", 1, 4, 6])
def test_what_was_exported_is_verified_at_any_fixed_batch(tmp_path, batch):
    result = verify(make(tmp_path, batch=batch))
    assert (result.num_samples, result.precision) == (6, "fp32")
    assert result.runtime == f"onnxruntime {ort.__version__}"
    assert result.outputs["classes"].error == 0
    assert 0 < result.outputs["seg"].error <= BOUND


@pytest.mark.parametrize("entry", [(0, 0), (3, 2)])
def test_a_weight_off_by_a_hundred_thousandth_is_found(tmp_path, entry):
    def off(kernel):
        changed = kernel.copy()
        changed[entry] += 1e-5
        return changed

    with pytest.raises(DiffersError, match="computes something else: `seg`"):
        verify(make(tmp_path, weight=off))


def test_a_flipped_class_is_found(tmp_path):
    path = make(tmp_path)
    with np.load(tmp_path / "reference.npz") as stored:
        content = dict(stored)
    content["output.classes"][0, 0, 0] = (content["output.classes"][0, 0, 0] + 1) % 4
    np.savez(tmp_path / "reference.npz", **content)
    with pytest.raises(DiffersError, match="`classes`"):
        verify(path)


def test_lower_precision_is_held_to_what_its_export_measured(tmp_path):
    def rounded(share):
        return lambda kernel: kernel * np.float32(1 + share)

    result = verify(make(tmp_path, precision="fp16", weight=rounded(2e-4)))
    assert result.outputs["seg"].bound == pytest.approx(FACTOR * 1e-4)
    with pytest.raises(DiffersError, match="relative RMS"):
        verify(make(tmp_path, precision="fp16", weight=rounded(6e-4)))


def test_where_rounding_may_flip_a_selection_it_says_so(tmp_path):
    path = make(tmp_path, weight=lambda k: k * np.float32(1.01), selections={"num": 4})
    with pytest.raises(DiffersError) as error:
        verify(path)
    assert "near-tie" in error.value.hint


def test_damaged_and_missing_files_are_named(tmp_path):
    for name, content, kind, words in (
        ("reference.npz", None, AbsentError, "reference.npz"),
        ("reference.npz", b"PK\x03\x04", DamagedError, "not an intact file of arrays"),
        ("model.onnx.json", None, AbsentError, "model.onnx.json"),
        ("model.onnx.json", b"{}", DamagedError, "is not a sidecar"),
        ("model.onnx.json", b"[", DamagedError, "is not a JSON document"),
        ("model.onnx", b"other", DamagedError, "is not the file that"),
        ("model.onnx", None, AbsentError, r"model\.onnx"),
    ):
        path = make(tmp_path)
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(kind, match=words):
            verify(path)


@pytest.mark.parametrize(
    ("own", "parents", "words"),
    [
        ({}, None, "does not say what"),
        ({"parent": {"file": "p.onnx", "sha256": "1"}}, {"sha256": "2"}, "from another file"),
        ({"parent": {"file": "p.onnx", "sha256": "1"}}, {"sha256": "1"}, "is not a sidecar"),
    ],
)
def test_an_engine_is_held_to_the_figures_of_its_onnx_file(tmp_path, own, parents, words):
    path = make(tmp_path)
    describe(path, verified={"per_task": {}}, **own)
    if parents is not None:
        (tmp_path / "p.onnx.json").write_text(json.dumps(parents))
    with pytest.raises(DamagedError, match=words):
        verify(path)


def test_a_sidecar_cannot_reach_outside_its_folder(tmp_path):
    path = make(tmp_path)
    describe(path, parts={"../secret": "0" * 64})
    with pytest.raises(UnsafeError, match="outside its folder"):
        verify(path)


def test_pickles_are_refused(tmp_path):
    path = make(tmp_path)
    np.savez(tmp_path / "reference.npz", **{"input.image": np.array([{}], dtype=object)})
    with pytest.raises(UnsafeError, match="run code"):
        verify(path)


def test_further_files_are_checked_too(tmp_path):
    path = make(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"1")
    describe(path, parts={"weights.bin": sha256(b"1")})
    verify(path)
    (tmp_path / "weights.bin").write_bytes(b"2")
    with pytest.raises(DamagedError, match=r"`weights\.bin` is not the file"):
        verify(path)


def test_files_that_cannot_run_here(tmp_path):
    path = make(tmp_path)
    for name, content, kind in (
        ("model.mlpackage", b"x", AskedError),
        ("model.exported.pt2", b"x", AskedError),
        ("model.engine", b"ftrt" + bytes(24), NotHereError),
        ("model.engine", b"no engine", DamagedError),
    ):
        other = tmp_path / name
        other.write_bytes(content)
        sidecar = json.loads(path.with_name("model.onnx.json").read_text())
        sidecar["sha256"] = sha256(content)
        other.with_name(name + ".json").write_text(json.dumps(sidecar))
        with pytest.raises(kind) as caught:
            verify(other)
        assert ("program of torch" in caught.value.hint) == name.endswith(".pt2")


def test_the_command_says_what_it_found(tmp_path, capsys):
    path = make(tmp_path)
    assert main(["verify", str(path)]) == 0
    assert "seg in onnxruntime" in capsys.readouterr().out
    assert main(["verify", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["verified"]
    assert found["outputs"]["classes"]["error"] == 0
    path.write_bytes(b"other")
    assert main(["verify", str(path)]) == DamagedError.exit_code
    assert capsys.readouterr().err.startswith("error: `model.onnx` is not the file")


def test_it_needs_neither_torch_nor_the_rest(tmp_path):
    path = make(tmp_path)
    code = (
        "import sys; from pathlib import Path; from compactmtl.board.verify import verify; "
        f"verify(Path({str(path)!r})); "
        "rest = [n for n in sys.modules if n.startswith('compactmtl.') "
        "and not n.startswith('compactmtl.board')]; "
        "print('torch' in sys.modules, 'onnx' in sys.modules, rest)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.split(maxsplit=2) == ["False", "False", "[]\n"]


def test_the_verb_goes_on_after_a_file_that_is_wrong_or_missing(tmp_path, capsys):
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    good, bad = make(tmp_path / "good"), make(tmp_path / "bad")
    bad.write_bytes(b"other")
    lost = tmp_path / "lost.onnx"
    assert run(["verify", str(lost), str(good), str(bad)]) == AbsentError.exit_code
    out, err = capsys.readouterr()
    assert "seg" in out
    assert "verified 1 file" in err
    assert err.count("error: ") == 2
    assert run(["verify", str(bad), str(good), str(lost), "--json"]) == DamagedError.exit_code
    document = json.loads(capsys.readouterr().out)
    assert [each["file"] for each in document["verified"]] == ["model.onnx"]
    codes = [(each["file"], each["exit_code"]) for each in document["failed"]]
    assert codes == [("model.onnx", DamagedError.exit_code), ("lost.onnx", AbsentError.exit_code)]
    assert run(["verify", str(good)]) == 0
