"""Real engines by TensorRT-RTX, from ONNX files made by hand."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from compactmtl.board.advice import advise
from compactmtl.board.artefact import describe_source, engine_path, write_engine
from compactmtl.board.bindings import load_bindings
from compactmtl.board.build import build
from compactmtl.board.errors import AskedError, BuildError, DamagedError
from compactmtl.board.files import read_bytes, sha256
from compactmtl.board.header import read_header
from compactmtl.board.logger import listen, process_logger
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.parse import RefusedNodesError
from compactmtl.board.recipe import BuildRecipe

pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')


@pytest.fixture(scope="module")
def rtx():
    return load_bindings("rtx")


def test_the_sidecar_takes_over_what_the_onnx_file_says_of_itself(rtx, source):
    path = engine_path(source, "rtx")
    assert path.name == "model.rtx.engine"
    sidecar = write_engine(rtx, source, path, BuildRecipe(compute_capabilities=("8.9",)))
    assert json.loads(path.with_name("model.rtx.engine.json").read_text()) == sidecar
    assert sidecar["sha256"] == sha256(read_bytes(path))
    assert sidecar["parent"] == {"file": source.name, "sha256": sha256(read_bytes(source))}
    assert sidecar["precision"] == "fp32"
    assert sidecar["versions"].keys() == {"compactmtl", "tensorrt-rtx"}
    assert sidecar["verified"]["status"] == "built only"
    build = sidecar["build"]
    assert build["compute_capabilities"] == ["8.9"]
    assert build["profile"] == {"image": [[1, 3, 16, 24], [1, 3, 16, 24], [8, 3, 16, 24]]}
    assert build["num_layers"] > 0
    assert build["strongly_typed"] is True
    assert read_header(path).flavour == "rtx"


def test_a_file_without_sidecar_needs_its_shapes_said(rtx, make_conv, tmp_path):
    source = make_conv(tmp_path / "any.onnx")
    path = engine_path(source, "rtx")
    with pytest.raises(AskedError, match="no sample says"):
        write_engine(rtx, source, path, BuildRecipe())
    recipe = BuildRecipe(batch=(1, 2, 4), size=((8, 8), (16, 24), (32, 32)))
    sidecar = write_engine(rtx, source, path, recipe)
    assert sidecar["build"]["profile"]["image"][2] == [4, 3, 32, 32]
    assert [each["name"] for each in sidecar["inputs"]] == ["image"]


def test_a_sidecar_of_another_file_is_refused(rtx, source, make_conv):
    make_conv(source, shape=(1, 3, 16, 24))
    with pytest.raises(DamagedError, match="describes another file"):
        describe_source(read_onnx(source))
    path = source.with_name("model.trt.onnx.json")
    path.write_text(json.dumps({"sha256": sha256(read_bytes(source))}))
    with pytest.raises(DamagedError, match="does not say what"):
        write_engine(rtx, source, engine_path(source, "rtx"), BuildRecipe())


def test_external_weights_are_found_beside_the_file(rtx, source):
    model = onnx.load(source)
    large = source.with_name("large.onnx")
    onnx.save(model, large, save_as_external_data=True, location="large.data", size_threshold=0)
    recipe = BuildRecipe(batch=(1, 1, 1), size=((16, 24),) * 3)
    outside = build(rtx, read_onnx(large), recipe, {"image": ((1, 3, 16, 24),) * 3})
    inside = build(rtx, read_onnx(source), recipe, {"image": ((1, 3, 16, 24),) * 3})
    assert len(outside.plan) == len(inside.plan)


def test_a_profile_for_another_input_is_refused_not_ignored(rtx, source):
    with pytest.raises(AskedError, match="profile is for picture; the network's inputs are image"):
        build(rtx, read_onnx(source), BuildRecipe(), {"picture": ((1, 3, 8, 8),) * 3})


def test_the_workspace_limit_reaches_the_builder(rtx, source):
    recipe = BuildRecipe(workspace_bytes=2**24)
    sidecar = write_engine(rtx, source, engine_path(source, "rtx"), recipe)
    assert sidecar["build"]["workspace_bytes"] == 2**24


def node(operator, inputs=("image",), outputs=("y",), **attributes):
    return helper.make_node(operator, inputs, outputs, name=f"the_{operator}", **attributes)


REFUSED = {
    "MaxPool": (
        [node("MaxPool", outputs=["y", "i"], kernel_shape=[2, 2], strides=[2, 2])],
        "neither pool indices",
    ),
    "ScatterElements": (
        [node("ScatterElements", ["image", "index", "image"], reduction="add")],
        "one-hot matrix",
    ),
    "Resize": (
        [node("Resize", ["image", "", "scales"], mode="linear", antialias=1)],
        "antialias=False",
    ),
    "NonZero": ([node("NonZero")], "keep a mask"),
    "Det": ([node("Det")], "no determinants"),
    "DFT": ([node("DFT", ["image", ""], axis=2)], "Fourier"),
    "QuantizeLinear": (
        [
            node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "scale", "zero"]),
        ],
        "symmetrically",
    ),
}
WEIGHTS = {
    "index": np.zeros((1, 3, 4, 4), np.int64),
    "scales": np.array([1, 1, 0.5, 0.5], np.float32),
    "scale": np.array(0.1, np.float32),
    "zero": np.array(3, np.int8),
}


@pytest.mark.parametrize("operator", REFUSED)
def test_what_the_parser_refuses_is_named_with_our_advice(rtx, make_onnx, tmp_path, operator):
    nodes, advice = REFUSED[operator]
    used = {name for each in nodes for name in each.input}
    weights = [(name, value) for name, value in WEIGHTS.items() if name in used]
    path = make_onnx(tmp_path / "net.onnx", nodes, shape=(1, 3, 4, 4), weights=weights)
    with pytest.raises(RefusedNodesError) as error:
        write_engine(rtx, path, engine_path(path, "rtx"), BuildRecipe())
    assert f"{operator} `the_{operator}`" in error.value.message
    assert advice in error.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_every_refused_node_is_listed_at_once(rtx, make_onnx, tmp_path):
    nodes = [
        helper.make_node("Det", ["image"], [f"y{i}"], name=f"determinant_{i}") for i in range(3)
    ]
    path = make_onnx(
        tmp_path / "net.onnx", nodes, shape=(1, 3, 4, 4), outputs=[f"y{i}" for i in range(3)]
    )
    with pytest.raises(RefusedNodesError, match="refuses 3 nodes") as error:
        write_engine(rtx, path, engine_path(path, "rtx"), BuildRecipe())
    assert [each.node for each in error.value.refusals] == [f"determinant_{i}" for i in range(3)]
    assert {each.operator for each in error.value.refusals} == {"Det"}


def test_an_operator_nobody_knows_gets_the_advice_of_its_error(rtx, make_onnx, tmp_path):
    nodes = [helper.make_node("FusedConv", ["image"], ["y"], name="f", domain="com.microsoft")]
    path = make_onnx(tmp_path / "net.onnx", nodes, shape=(1, 3, 4, 4))
    with pytest.raises(RefusedNodesError, match="FusedConv") as error:
        write_engine(rtx, path, engine_path(path, "rtx"), BuildRecipe())
    assert error.value.hint == advise("FusedConv", error.value.refusals[0].code) != ""


def test_what_the_builder_says_reaches_the_message(rtx, make_conv, tmp_path, monkeypatch):
    source = make_conv(tmp_path / "net.onnx")
    monkeypatch.setattr("compactmtl.board.build._fill", lambda empty, profile: empty)
    with pytest.raises(BuildError, match=r"cannot build `net\.onnx`.*profile"):
        build(rtx, read_onnx(source), BuildRecipe(), {"image": ((1, 3, 8, 8),) * 3})


def test_one_logger_fans_out_to_all_who_listen(rtx):
    with listen(rtx) as first, listen(rtx) as second:
        logger = process_logger(rtx)
        logger.log(rtx.module.ILogger.Severity.ERROR, "broken")
        logger.log(rtx.module.ILogger.Severity.VERBOSE, "chatter")
        assert first == second == [("ERROR", "broken")]
        assert first is not second
    logger.log(rtx.module.ILogger.Severity.ERROR, "later")
    assert first == [("ERROR", "broken")]
    assert process_logger(rtx) is logger
