import pytest
import torch

import compactmtl.pt2
from compactmtl.errors import CorruptFileError, ExportError, MissingFileError
from compactmtl.export.base import make_job
from compactmtl.export.pt2_program import Pt2Exporter
from compactmtl.export.sidecar import Parent, read_sidecar
from compactmtl.files import sha256

PARENT = Parent(file="model.pt2", sha256="0" * 64)
NAME = "model.exported.pt2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, program, interface, stored):
    folder = tmp_path_factory.mktemp("pt2")
    job = make_job(program, interface, folder / NAME, stored=stored, parent=PARENT, which="compact")
    Pt2Exporter().export(job)
    return folder


def test_torch_opens_it_and_its_outputs_have_names(folder, network):
    loaded = torch.export.load(folder / NAME).module()
    for shape in ((1, 3, 48, 64), (3, 3, 33, 70)):
        image = torch.rand(shape)
        outputs = loaded(image)
        assert list(outputs) == ["seg", "depth"]
        for name, want in network(image).items():
            torch.testing.assert_close(outputs[name], want, rtol=0, atol=1e-6)


def test_the_sidecar_says_what_was_checked(folder):
    assert {path.name for path in folder.iterdir()} == {NAME, f"{NAME}.json"}
    sidecar = read_sidecar(folder / NAME)
    assert (sidecar.kind, sidecar.sha256) == ("pt2", sha256(folder / NAME))
    assert sidecar.inputs[0].shape == ["batch", 3, "height", "width"]
    assert sidecar.outputs[0].shape == ["batch", 5, "height", "width"]
    assert sidecar.outputs[0].task == {"kind": "segmentation"}
    assert sidecar.verified.status == "ran"
    assert len(sidecar.verified.cases) == 3
    assert sidecar.verified.selections["flips"] == 0


def test_it_is_run_again_by_name(folder, network):
    image = torch.rand(2, 3, 20, 24)
    outputs = Pt2Exporter().load(folder / NAME)({"image": image.numpy()})
    for name, want in network(image).items():
        torch.testing.assert_close(torch.from_numpy(outputs[name]), want, rtol=0, atol=1e-6)


def test_a_wrong_weight_is_found_and_nothing_is_written(
    monkeypatch, tmp_path, program, interface, stored
):
    real = compactmtl.pt2.open_pt2

    def wrong(path):
        loaded = real(path)
        with torch.no_grad():
            loaded.state_dict["heads.depth.weight"].view(-1)[0] += 1e-3
        return loaded

    monkeypatch.setattr(compactmtl.pt2, "open_pt2", wrong)
    job = make_job(program, interface, tmp_path / NAME, stored=stored, parent=PARENT, which="dense")
    with pytest.raises(ExportError, match=r"`depth`.* differs from torch"):
        Pt2Exporter().export(job)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_none(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        Pt2Exporter().load(tmp_path / NAME)
    (tmp_path / NAME).write_bytes(b"nonsense")
    with pytest.raises(CorruptFileError):
        Pt2Exporter().load(tmp_path / NAME)
