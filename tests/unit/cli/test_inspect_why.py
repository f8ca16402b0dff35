import json

import pytest
import torch
from torch import nn

from compactmtl.cli import app
from compactmtl.compiler import compress
from compactmtl.compiler.folder import write_folder


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 2, 1)
        self.third = nn.Conv2d(8, 1, 1)
        self.last = nn.Conv2d(2, 4, 1)

    def forward(self, image):
        x = self.first(image).relu()
        y = torch.sort(self.last(self.second(x)), 1).values
        return {"mask": y, "depth": self.third(x)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        net.second.weight[:, :5] = 0
        net.third.weight[:, 2:] = 0
    path = tmp_path_factory.mktemp("why") / "compact"
    compact = compress(net, torch.rand(2, 3, 8, 8), dynamic=False, objective="macs")
    write_folder(compact, path, images=[], origin="noise")
    return path


def test_it_says_who_reads_each_channel(folder, capfd):
    assert app.run(["inspect", str(folder), "--why", "first"]) == 0
    text = capfd.readouterr().out
    assert "5 of 8 kept" in text
    for reader, channels in (("second", "5-7"), ("third", "0-1")):
        (line,) = (row for row in text.splitlines() if row.split()[:1] == [reader])
        assert line.split()[1] == "relu"
        assert line.split()[-1] == channels
    assert app.run(["inspect", str(folder / "model.pt2"), "--why", "second", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["by_channel"] == {"0": ["last"], "1": ["last"]}
    assert document["input"]["read"]["channels"] == "5-7"


def test_an_opaque_op_is_named_with_the_line_of_the_user(folder, capfd):
    assert app.run(["inspect", str(folder), "--why", "last"]) == 0
    text = capfd.readouterr().out
    assert "opaque op sort" in text
    assert "no rule for this op" in text
    assert "test_inspect_why.py:" in text


@pytest.mark.parametrize(
    ("layer", "said"), [("frist", "did you mean `first`?"), ("*", "expected the name of one")]
)
def test_a_layer_that_is_not_there_is_an_error_with_the_nearest(layer, said, folder, capfd):
    assert app.run(["inspect", str(folder), "--why", layer]) == 2
    assert said in capfd.readouterr().err


def test_an_explanation_of_another_model_or_none_is_refused(folder, tmp_path, capfd):
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.pt2").write_bytes(b"another")
    assert app.run(["inspect", str(other), "--why", "first"]) == 10
    assert "holds no why.json" in capfd.readouterr().err
    (other / "why.json").write_bytes((folder / "why.json").read_bytes())
    assert app.run(["inspect", str(other), "--why", "first"]) == 11
    assert "describes another model.pt2" in capfd.readouterr().err
    (other / "why.json").write_text("{}")
    assert app.run(["inspect", str(other), "--why", "first"]) == 11
    assert "format version" in capfd.readouterr().err
