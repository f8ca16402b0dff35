import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compactmtl.board.openvino_session import import_openvino
from compactmtl.errors import CorruptFileError, ExportError, MissingExtraError, MissingFileError
from compactmtl.export import find_target
from compactmtl.export.base import make_job
from compactmtl.export.board_errors import translated
from compactmtl.export.labelled import Labelled
from compactmtl.export.openvino import OpenVinoExporter
from compactmtl.export.openvino_model import read_onnx
from compactmtl.export.options import Options
from compactmtl.export.sidecar import Parent, read_sidecar
from compactmtl.export.stored import Stored
from compactmtl.export.write import _export as export_by_onnx
from compactmtl.files import sha256
from compactmtl.multitask import task_from_spec

openvino = pytest.importorskip("openvino")
PARENT = Parent(file="model.pt2", sha256="0" * 64)
SHAPES = [(1, 3, 48, 64), (5, 3, 33, 70), (8, 3, 32, 32), (2, 3, 49, 65)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, program, interface, stored):
    folder = tmp_path_factory.mktemp("openvino")
    path = folder / "model.xml"
    job = make_job(program, interface, path, stored=stored, parent=PARENT, which="compact")
    export_by_onnx(OpenVinoExporter(), job)
    return folder


def test_two_files_and_the_onnx_file_they_come_from(folder):
    assert {path.name for path in folder.iterdir()} == {
        *("model.trt.onnx", "model.trt.onnx.json"),
        *("model.xml", "model.bin", "model.xml.json"),
    }
    sidecar = read_sidecar(folder / "model.xml")
    assert sidecar.sha256 == sha256(folder / "model.xml")
    assert sidecar.parts == {"model.bin": sha256(folder / "model.bin")}
    assert (sidecar.parent.file, sidecar.parent.sha256) == (
        "model.trt.onnx",
        sha256(folder / "model.trt.onnx"),
    )
    assert sidecar.size_bytes == sum(
        (folder / f"model.{end}").stat().st_size for end in ("xml", "bin")
    )
    assert (sidecar.kind, sidecar.verified.status) == ("openvino", "ran")
    assert "f32" in sidecar.verified.runtime
    assert [case["shapes"]["image"] for case in sidecar.verified.cases] == [
        [8, 3, 48, 64],
        [1, 3, 48, 64],
        [2, 3, 16, 32],
    ]
    for parity in sidecar.verified.per_task.values():
        assert 0 <= parity.max_rel_error <= parity.bound < 1e-5
    assert sidecar.verified.selections["num"] > 0


def test_it_computes_at_sizes_it_was_not_captured_at(folder, network):
    """One session for all shapes: OpenVINO recompiles for each and must not mix them up."""
    run = OpenVinoExporter().load(folder / "model.xml")
    for shape in SHAPES:
        image = torch.rand(shape)
        outputs = run({"image": image.numpy()})
        with torch.no_grad():
            expected = network(image)
        assert list(outputs) == list(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value.numpy(), rtol=0, atol=1e-5)


def test_weights_are_stored_in_full(folder):
    """An IR rounds its weights to fp16 unless told otherwise."""
    num_weights = sum(
        int(np.prod(tensor.dims))
        for tensor in onnx.load(folder / "model.trt.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )
    assert (folder / "model.bin").stat().st_size >= 4 * num_weights
    assert 'element_type="f16"' not in (folder / "model.xml").read_text()


def test_nothing_of_this_machine_is_in_the_files(folder, tmp_path):
    content = (folder / "model.xml").read_bytes() + (folder / "model.bin").read_bytes()
    for trace in (b".py", b"/home", b"/tmp", str(folder).encode()):
        assert trace not in content


def test_rounded_weights_are_found_and_nothing_is_written(
    monkeypatch, tmp_path, program, interface, stored
):
    path = tmp_path / "model.xml"
    path.write_bytes(b"earlier")
    save = openvino.save_model
    monkeypatch.setattr(
        openvino, "save_model", lambda model, path, **_: save(model, path, compress_to_fp16=True)
    )
    job = make_job(program, interface, path, stored=stored, parent=PARENT, which="compact")
    with pytest.raises(ExportError, match=r"near-tie|differs from torch: relative"):
        export_by_onnx(OpenVinoExporter(), job)
    assert path.read_bytes() == b"earlier"
    assert not {"model.bin", "model.xml.json"} & {entry.name for entry in tmp_path.iterdir()}


class OwnClasses:
    """Images, each with the classes that the network itself sees in it, one row of them wrong."""

    def __init__(self, network):
        self.images = torch.rand((4, 3, 32, 48), generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            self.labels = network(self.images)["seg"].argmax(1)
        self.labels[:, 0] = (self.labels[:, 0] + 1) % 5

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], {"seg": self.labels[index]}


def test_lower_precision_comes_with_the_onnx_file_and_is_scored_again(
    tmp_path, network, program, interface, stored
):
    path = tmp_path / "model.fp16.xml"
    options = Options(precision="fp16")
    seg = task_from_spec("seg", {"kind": "segmentation", "num_classes": 5, "num_channels": 5})
    labelled = Labelled(OwnClasses(network), {"seg": seg}, "images", "image")
    job = make_job(
        program,
        interface,
        path,
        stored=stored,
        parent=PARENT,
        which="compact",
        options=options,
        labelled=labelled,
    )
    export_by_onnx(OpenVinoExporter(), job)
    sidecar = read_sidecar(path)
    metric = sidecar.verified.per_task["seg"].metric
    source = read_sidecar(tmp_path / sidecar.parent.file).verified.per_task["seg"].metric
    own = labelled.score(OpenVinoExporter().load(path))["seg"]
    assert (metric.name, metric.fp32, metric.lower) == ("miou", source.fp32, own)
    assert metric.change == metric.lower - metric.fp32
    assert metric.fp32 < 1  # of classes that are not all its own
    assert sidecar.verified.per_task["depth"].metric is None
    assert (sidecar.precision, sidecar.parent.file) == ("fp16", "model.fp16.trt.onnx")
    assert sidecar.lowering == read_sidecar(tmp_path / sidecar.parent.file).lowering
    assert all(1e-5 < each.max_rel_error < 0.05 for each in sidecar.verified.per_task.values())
    assert 'element_type="f16"' in path.read_text()


class Awkward(nn.Module):
    """Tasks called like operations, one value under two names, an input handed through."""

    def forward(self, image):
        x = torch.relu(image * 2)
        return {"relu": x[:, :1] + 1, "add": x, "twin": x, "same": image, "top": x.argmax(1)}


def test_awkward_outputs_keep_their_names(tmp_path, capture_program, make_interface):
    names = ["relu", "add", "twin", "same", "top"]
    image = torch.rand(2, 3, 16, 24)
    program = capture_program(Awkward(), image)
    samples = Stored({"image": torch.rand(8, 3, 16, 24).numpy()}, "random")
    job = make_job(
        program,
        make_interface(["image"], names),
        tmp_path / "a.xml",
        stored=samples,
        parent=PARENT,
        which="dense",
    )
    export_by_onnx(OpenVinoExporter(), job)
    got = OpenVinoExporter().load(tmp_path / "a.xml")({"image": image.numpy()})
    for name, value in Awkward()(image).items():
        np.testing.assert_array_equal(got[name], value.numpy())


def test_an_operation_it_has_not_is_refused_by_name():
    node = onnx.helper.make_node("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2, 2])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [value("x", 1, [1, 1, 2, 2]), value("i", 7, [1, 1, 2, 2])],
        [value("y", 1, [1, 1, 4, 4])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    with pytest.raises(ExportError, match=r"no operation for MaxUnpool$"):
        read_onnx(model.SerializeToString())


def test_damaged_files_are_one_line(folder, tmp_path):
    load = OpenVinoExporter().load
    path = tmp_path / "model.xml"
    with pytest.raises(MissingFileError, match=r"model\.xml"):
        load(path)
    path.write_bytes((folder / "model.xml").read_bytes())
    with pytest.raises(MissingFileError, match=r"model\.bin"):
        load(path)
    path.with_suffix(".bin").write_bytes(b"")
    for content in (path.read_bytes(), path.read_bytes()[:900], b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError) as error:
            load(path)
        assert "\n" not in error.value.message


def test_without_the_package_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError) as error, translated():
        import_openvino()
    assert error.value.hint == 'pip install "compactmtl[openvino]"'


SIGNAL = """
import signal, sys
from pathlib import Path
from compactmtl.board.openvino_session import OpenVinoSession
path = Path(sys.argv[1])
kept = OpenVinoSession(path, threads=1)
again = [OpenVinoSession(path, threads=1) for _ in range(3)]
del again, kept
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_still_works_after_several_models(folder):
    command = [sys.executable, "-c", SIGNAL, str(folder / "model.xml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "interrupted"), done.stderr


def test_it_is_a_target():
    assert find_target("openvino").availability().version is not None
