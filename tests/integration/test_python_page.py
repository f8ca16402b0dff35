"""The Python of docs/python.md runs as it stands there."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from compactmtl.compiler.folder import write_folder

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
SPARSE = "...  # whole input channels become exactly zero\n"
"""Where the page trains."""
TRAINING = "done = finetune(compact, recipe)"
"""Needs a recipe with a data set of its own; tests/unit/training/test_finetune.py trains."""


class TwoHeads(nn.Module):
    """Layers under the names that the page's patterns use."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
        )
        self.seg_head = nn.Sequential(nn.Conv2d(8, 4, 1))
        self.depth_head = nn.Sequential(nn.Conv2d(8, 1, 1))

    def forward(self, image):
        x = self.backbone(image)
        return {"seg": self.seg_head(x), "depth": self.depth_head(x)}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_blocks_run_in_order(tmp_path, monkeypatch, capsys):
    first, second = blocks()
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = TwoHeads().eval()
    space = {"model": model}
    image = torch.rand(1, 3, 64, 96)

    dense, sparse = first.split(SPARSE)
    exec(dense, space)
    with torch.no_grad():
        model.backbone[2].weight[:, ::2] = 0
        wanted = model(image)
    exec(sparse, space)
    before, after, error = capsys.readouterr().out.split()
    assert int(before) > int(after)
    assert float(error) < 1e-5
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.pt2", "model.onnx", "model.onnx.json", "reference.npz",
    }  # fmt: skip

    write_folder(space["compact"], Path("compact"), images=[], origin="noise")
    assert TRAINING in second
    exec("\n".join(line for line in second.splitlines() if not line.startswith(TRAINING)), space)
    assert space["entry"] == space["compact"].plan["parameters"]["backbone.0.weight"]
    with torch.no_grad():
        got = space["again"].module(image)
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=1e-5)


def test_a_block_that_is_wrong_would_be_found():
    with pytest.raises(AttributeError, match="no attribute"):
        exec(blocks()[0].replace("cm.contract", "cm.contrakt"), {"model": TwoHeads()})
