"""A recipe that starts from pretrained weights."""

import pytest
import torch
from safetensors.torch import save_file

from compactmtl.errors import MissingFileError
from compactmtl.models.build import build
from compactmtl.training import fit
from compactmtl.training.assemble import assemble, without_init

NETWORK = {"args": {"width": 0.0625, "head_channels": 4, "rates": [2]}, "name": "deeplab_resnet18"}


@pytest.fixture
def recipe(make_recipe, tmp_path):
    torch.manual_seed(7)
    encoder = build(NETWORK["name"], {"seg": 3}, NETWORK["args"]).encoder
    save_file(encoder.state_dict(), tmp_path / "resnet.safetensors")
    pretrained = {"pretrained": str(tmp_path / "resnet.safetensors"), "pretrained_images": "plain"}
    return make_recipe(model=NETWORK | pretrained, train={"epochs": 1, "device": "cpu"})


class Says:
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


def test_the_encoder_starts_from_the_file_and_the_heads_from_the_seed(recipe, blobs, tasks):
    data = {"train_data": blobs(8), "val_data": blobs(4), "tasks": tasks}
    says = Says()
    model = assemble(recipe, **data, reporter=says).model
    plain = assemble(without_init(recipe), **data, reporter=Says()).model
    torch.manual_seed(7)
    stored = build(NETWORK["name"], {"seg": 3}, NETWORK["args"]).encoder
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, stored.state_dict()[name])
    assert not torch.equal(model.encoder.conv1.weight, plain.encoder.conv1.weight)
    for name, tensor in model.heads.state_dict().items():
        assert torch.equal(tensor, plain.heads.state_dict()[name])
    assert any("stays as initialised: heads" in text for text in says.texts)


def test_a_resumed_run_needs_the_file_no_more(recipe, blobs, tasks, tmp_path):
    data = {"train_data": blobs(8), "val_data": blobs(4), "tasks": tasks}
    done = fit(recipe, run_dir=tmp_path / "run", **data)
    (tmp_path / "resnet.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"resnet\.safetensors"):
        fit(recipe, run_dir=tmp_path / "other", **data)
    again = fit(recipe, run_dir=tmp_path / "run", resume=True, **data)
    for name, tensor in done.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
