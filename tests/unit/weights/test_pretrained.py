"""Pretrained weights of torchvision's networks, from files made here."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from compactmtl.errors import RecipeError, UnsafeFileError, WeightsError
from compactmtl.models.build import build
from compactmtl.recipe import parse
from compactmtl.weights import load_pretrained
from compactmtl.weights.pretrained import MEAN, STD, fold_normalisation

TASKS = {"seg": 4, "depth": 1}
SMALL_HEAD = {"head_channels": 8, "rates": [2]}


@pytest.fixture(scope="module")
def resnet():
    """A ResNet-18 of torchvision with statistics that are not the first ones."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture
def file(resnet, tmp_path):
    save_file(resnet.state_dict(), tmp_path / "resnet18.safetensors")
    return tmp_path / "resnet18.safetensors"


def network(name="deeplab_resnet18", **args):
    torch.manual_seed(1)
    return build(name, TASKS, {**({} if name == "resnet_classifier" else SMALL_HEAD), **args})


def test_plain_weights_make_the_encoder_torchvisions_network(resnet, file):
    model = network().eval()
    report = load_pretrained(model, file, images="plain")
    image = torch.rand(1, 3, 65, 97)
    with torch.no_grad():
        ours = model.encoder(image)
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(image))))
        theirs = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(x))))
    torch.testing.assert_close(ours[:, :, ::4, ::4], theirs, atol=1e-4, rtol=1e-4)
    assert report.num_loaded == len(model.encoder.state_dict())
    assert set(report.unused) == {"fc.weight", "fc.bias"}
    assert all(name.startswith("heads.") for name in report.untouched)


def test_imagenets_normalisation_is_folded_exactly_within_the_border(resnet, file):
    model = network().eval()
    load_pretrained(model, file)
    image = torch.rand(2, 3, 40, 48)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        ours = model.encoder.bn1(model.encoder.conv1(image))
        theirs = resnet.bn1(resnet.conv1((image - mean) / std))
        unfolded = resnet.bn1(resnet.conv1(image))
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours[inside], theirs[inside], atol=1e-4, rtol=1e-4)
    assert (unfolded[inside] - theirs[inside]).abs().max() > 0.1  # without it they differ
    assert not torch.allclose(ours[:, :, 0], theirs[:, :, 0], atol=1e-3)  # the border, as said


def test_in_training_the_fold_is_only_a_scale(resnet):
    """Batch statistics take any constant away: nothing but the division by std is left."""
    folded = fold_normalisation(resnet.state_dict())
    scale = folded["conv1.weight"] / resnet.conv1.weight.detach()
    for channel, deviation in enumerate(STD):
        torch.testing.assert_close(
            scale[:, channel], torch.full_like(scale[:, channel], 1 / deviation)
        )


@pytest.mark.parametrize(
    ("prefix", "form"),
    [("backbone.", "torch"), ("module.backbone.", "safetensors"), ("", "container")],
)
def test_a_network_around_a_resnet_serves_in_every_form(resnet, tmp_path, prefix, form):
    state = {prefix + name: tensor for name, tensor in resnet.state_dict().items()}
    state["classifier.0.convs.0.0.weight"] = torch.zeros(2, 2)
    state["aux_classifier.4.bias"] = torch.zeros(2)
    path = tmp_path / "file"
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if form == "container" else state, path)
    model = network()
    report = load_pretrained(model, path, images="plain")
    assert torch.equal(model.encoder.layer4[1].conv2.weight, resnet.layer4[1].conv2.weight)
    assert "classifier.0.convs.0.0.weight" in report.unused
    text = "\n".join(report.lines())
    assert "classifier (1)" in text
    assert "heads (" in text


def test_mtan_takes_the_weights_too(resnet, file):
    model = network("mtan_deeplab", depth=18)
    report = load_pretrained(model, file)
    assert report.part == "encoder.resnet"
    assert torch.equal(model.encoder.resnet.layer3[0].conv1.weight, resnet.layer3[0].conv1.weight)
    assert any(name.startswith("encoder.follow_blocks") for name in report.untouched)


def test_a_stem_of_another_size_stays_as_initialised_and_is_said(resnet, file):
    model = network("resnet_classifier", depth=18)
    first = model.encoder.conv1.weight.clone()
    report = load_pretrained(model, file)
    assert torch.equal(model.encoder.conv1.weight, first)
    assert torch.equal(model.encoder.bn1.running_mean, torch.zeros(64))
    assert torch.equal(model.encoder.layer1[0].conv1.weight, resnet.layer1[0].conv1.weight)
    assert "conv1.weight" in report.unused
    assert "encoder.conv1.weight" in report.untouched
    assert any("another size" in line for line in report.lines())


def test_a_file_of_another_depth_or_width_is_refused_and_changes_nothing(file, tmp_path):
    for model, words in (
        (network("deeplab_resnet50", width=0.25), "is a ResNet-18, the network's encoder is a Re"),
        (network(width=0.5), r"has shape \(64.*the network expects \(32"),
    ):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(WeightsError, match=words):
            load_pretrained(model, file)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name])


def test_a_file_without_a_resnet_is_refused_with_what_it_holds(tmp_path):
    save_file({"features.0.weight": torch.zeros(2)}, tmp_path / "vgg")
    with pytest.raises(WeightsError, match=r"holds none.*`features\.0\.weight`"):
        load_pretrained(network(), tmp_path / "vgg")
    with pytest.raises(RecipeError, match="SegNet has no part"):
        load_pretrained(build("segnet", TASKS, {"widths": [4, 4]}), tmp_path / "vgg")


def test_a_file_that_would_run_code_is_refused(resnet, tmp_path):
    torch.save(resnet, tmp_path / "whole.pth")
    with pytest.raises(UnsafeFileError):
        load_pretrained(network(), tmp_path / "whole.pth")


def test_a_recipe_names_the_file_or_other_first_weights_but_not_both():
    document = {
        "name": "x",
        "model": {"name": "deeplab_resnet50", "pretrained": "resnet50.pth"},
        "data": {"name": "rooms"},
        "tasks": {"seg": {}},
    }
    assert parse(document, source="test").model.pretrained == "resnet50.pth"
    with pytest.raises(RecipeError, match=r"train\.init"):
        parse(document | {"train": {"init": "a.pt"}}, source="test")
