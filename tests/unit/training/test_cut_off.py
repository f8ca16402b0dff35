"""A task whose output no longer depends on the image is named, once, with the layers that died."""

import pytest
import torch
from torch import nn

from compactmtl.models.segnet import SegNet
from compactmtl.sparsity import groups
from compactmtl.training import NullReporter
from compactmtl.training.cut_off import CutOff


class Branches(nn.Module):
    """Two branches that are added: one may die and nothing is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"seg": self.a(image) + self.b(image)}


def test_the_task_behind_a_dead_layer_is_named_once() -> None:
    model = SegNet({"seg": 3, "depth": 1}, (4, 6))
    found = groups(model, layers="encoder.*", reads=("heads.*.0",))
    cut_off = CutOff(model, torch.rand(3, 16, 16))
    assert cut_off.note(found) == ""
    with torch.no_grad():
        model.heads["seg"][0].weight.zero_()
    model.train()
    note = cut_off.note(found)
    assert note.startswith("`seg`: ")
    assert "group of heads.seg.0 is zero" in note
    assert "depth" not in note
    assert model.training
    assert cut_off.note(found) == ""
    with torch.no_grad():
        model.encoder.down[1][0].weight.zero_()
    assert cut_off.note(found).startswith("`depth`: ")


def test_a_dead_branch_beside_a_live_one_cuts_nothing_off() -> None:
    model = Branches()
    found = groups(model, layers="*", reads=())
    with torch.no_grad():
        model.b.weight.zero_()
    assert CutOff(model, torch.rand(3, 8, 8)).note(found) == ""
    with torch.no_grad():
        model.a.weight.zero_()
    assert "a, b" in CutOff(model, torch.rand(3, 8, 8)).note(found)


def test_looking_leaves_no_trace() -> None:
    model, image = SegNet({"seg": 3}, (4,)), torch.rand(3, 8, 8)
    random = torch.get_rng_state()
    found = groups(model, layers="encoder.*", reads=())
    with torch.no_grad():
        model.encoder.up[0][0].weight.zero_()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert CutOff(model.train(), image).note(found)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dead", [True, False])
def test_a_run_says_so(train, tmp_path, dead) -> None:
    class Heard(NullReporter):
        def __init__(self) -> None:
            self.said: list[str] = []

        def message(self, text: str) -> None:
            self.said.append(text)

    start = SegNet({"seg": 3, "depth": 1}, (6, 8))
    if dead:
        nn.init.zeros_(start.heads["seg"][0].weight)
    torch.save(start.state_dict(), tmp_path / "start.pt")
    heard = Heard()
    train(
        train={"epochs": 2, "init": str(tmp_path / "start.pt")},
        sparsity={"schedule": "once", "start": 0.0, "target": 0.25},
        fit_args={"reporter": heard},
    )
    said = [text for text in heard.said if "the same for any image" in text]
    assert [text.startswith("`seg`: ") for text in said] == [True] * dead
