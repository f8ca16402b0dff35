"""The applications of examples/deploy draw what the model predicts."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from compactmtl.compiler import compress
from compactmtl.export import export
from compactmtl.multitask import make_task

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "deploy"
TASKS = {
    "seg": make_task("seg", "segmentation", {"num_classes": 4, "classes": list("abcd")}),
    "depth": make_task("depth", "depth", {}),
    "normals": make_task("normals", "normals", {}),
    "mask": make_task("mask", "binary", {}),
}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleDict({k: nn.Conv2d(8, t.num_channels, 1) for k, t in TASKS.items()})

    def forward(self, image):
        x = self.encoder(image)
        return {name: head(x) for name, head in self.heads.items()}


@pytest.fixture(scope="module")
def compact():
    torch.manual_seed(0)
    return compress(
        Small().eval(),
        torch.rand(2, 3, 64, 96),
        tasks={name: task.spec() for name, task in TASKS.items()},
    )


@pytest.mark.parametrize(
    ("script", "target", "name"),
    [("on_onnxruntime.py", "onnx", "model.onnx"), ("on_openvino.py", "openvino", "model.xml")],
)
def test_each_task_is_drawn_as_the_network_predicts_it(compact, tmp_path, script, target, name):
    if target == "openvino":
        pytest.importorskip("openvino", reason='pip install "compactmtl[openvino]"')
    samples = {"image": torch.rand(8, 3, 64, 96).numpy()}
    export(compact, tmp_path / name, target=target, inputs=samples)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    done = subprocess.run(
        [sys.executable, script, tmp_path / name, tmp_path / "image.png", "--out", tmp_path / "o"],
        cwd=EXAMPLES, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines() if "[" in line] == list(TASKS)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        raw = compact.module(image)
    drawn = {task: np.asarray(Image.open(tmp_path / "o" / f"{task}.png")) for task in TASKS}
    classes = raw["seg"][0].argmax(0).numpy()
    colours = [np.unique(drawn["seg"][classes == c], axis=0) for c in np.unique(classes)]
    assert all(len(each) == 1 for each in colours)  # one colour per class
    assert np.array_equal(drawn["mask"].any(-1), (raw["mask"][0, 0] > 0).numpy())
    unit = torch.nn.functional.normalize(raw["normals"], dim=1)[0].permute(1, 2, 0)
    assert np.abs(drawn["normals"] - (unit.numpy() + 1) * 127.5).max() <= 1
    near = 1 - (raw["depth"][0, 0] / 10).clamp(0, 1).numpy()
    assert np.abs(drawn["depth"][..., 0] - near * 255).max() <= 1
