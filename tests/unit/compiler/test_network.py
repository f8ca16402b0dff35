"""A network in parts: Panoptic FPN, compiled, compared as a whole, written and loaded."""

import copy
import json
import shutil
from dataclasses import replace

import pytest
import squares
import torch

import compactmtl as cm
from compactmtl.compact_network import load_network
from compactmtl.compiler import network as in_parts
from compactmtl.compiler.network_folder import write_network
from compactmtl.compiler.whole import change
from compactmtl.errors import CorruptFileError, UsageError, VerificationError
from compactmtl.models import MODELS
from compactmtl.models.panoptic_fpn_narrow import filled_up, read_channels
from compactmtl.sparsity import groups

TASKS = {"instances": 1, "semantic": 2, "panoptic": 1}
DEAD = torch.tensor([1, 5, 6])


def sparse_network(share=0.3):
    """Return a tiny network in which no head reads three channels of the pyramid."""
    torch.manual_seed(0)
    model = MODELS["panoptic_fpn"](TASKS, **squares.TINY).eval()
    draw = torch.Generator().manual_seed(5)
    for group in groups(model):
        is_shared = group.name.startswith(("dense.encoder", "dense.fpn"))
        dead = torch.zeros(group.num_groups, dtype=torch.bool)
        if is_shared:
            dead = torch.rand(group.num_groups, generator=draw) < share
        else:
            dead[DEAD] = True
        group.clear(dead)
    return model


@pytest.fixture(scope="module")
def images():
    data = squares.Squares(2, empty_first=False)
    return [data[index][0].unsqueeze(0) for index in range(2)]


@pytest.fixture(scope="module")
def compiled(images):
    model = sparse_network()
    before = copy.deepcopy(model.state_dict())
    parent = {"file": "x", "sha256": "0"}
    compact = cm.compress(model, images[0], images=images[:1], parent=parent, dynamic=False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return model, compact


@pytest.fixture(scope="module")
def saved(compiled, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("network") / "compact"
    document = write_network(compiled[1], folder, images=images, origin="squares")
    assert document["model"]["file"] == "parts.json"
    assert document["whole"]
    return folder


@torch.no_grad()
def test_all_parts_are_smaller_and_whole_images_are_the_same(compiled, images):
    model, compact = compiled
    report = compact.report
    assert list(report.parts) == ["pixels", "boxes", "masks"]
    for part in report.parts.values():
        assert part.after.macs < part.before.macs
        assert not part.opaque
    assert report.calls["pixels"] == 1.0
    assert report.calls["boxes"] > 1
    assert report.after.macs < report.before.macs
    assert report.before.num_params == sum(p.numel() for p in model.parameters())
    whole = report.whole
    assert whole["num_images"] == 1
    assert whole["rms_change_64"] < 1e-9
    for module in (compact.module, compact.dense):
        found = change(model(images[0]), module(images[0]))
        assert not found.chose_otherwise
        assert found.rms < 1e-5


@torch.no_grad()
def test_what_no_head_reads_does_not_leave_the_pyramid(compiled, images):
    model, compact = compiled
    assert compact.parts["pixels"].module(images[0])["p2"].shape[1] == 8 - len(DEAD)
    for more, handed in ((0, 8 - len(DEAD)), (1, 9 - len(DEAD)), (100, 8)):
        narrowed = model.narrowed(lambda count, more=more: count + more)
        assert narrowed.dense(images[0])["p3"].shape[1] == handed
        assert change(model(images[0]), narrowed(images[0])).rms < 1e-5
    assert [spec.name for spec in compact.parts["boxes"].manifest.inputs] == ["box_features"]
    nothing = torch.nn.Linear(8 * 4, 3)
    torch.nn.init.zeros_(nothing.weight)
    assert read_channels([nothing], 8).tolist() == [0]
    assert filled_up(torch.tensor([1, 4]), 6, lambda count: 2 * count).tolist() == [0, 1, 2, 4]


@torch.no_grad()
def test_saved_and_loaded_it_computes_the_same(compiled, saved, images, tmp_path):
    again = load_network(saved)
    for module in (again.module, again.dense):
        assert change(compiled[0](images[1]), module(images[1])).rms < 1e-5
    assert again.manifest.parent == {"file": "x", "sha256": "0"}
    # Another part in the place of one is no network that was verified.
    folder = shutil.copytree(saved, tmp_path / "compact")
    shutil.copy(folder / "boxes" / "dense.pt2", folder / "boxes" / "model.pt2")
    with pytest.raises(CorruptFileError, match="is not the one that"):
        load_network(folder)


@pytest.mark.parametrize(
    ("change_of", "message"),
    [
        ({"processing": {"kind": "os.system"}}, "no network of kind 'os.system'"),
        ({"processing": {"kind": "panoptic_fpn", "proposals": -1}}, "does not make a network"),
        ({"parts": {"../x": {"module": "a", "sha256": "0"}}}, "is no name of a part"),
        ({"code": "import os"}, "does not describe a compact network: `code`"),
    ],
)
def test_a_manifest_that_is_none_is_refused(saved, tmp_path, change_of, message):
    folder = shutil.copytree(saved, tmp_path / "compact")
    document = json.loads((folder / "parts.json").read_text())
    (folder / "parts.json").write_text(json.dumps({**document, **change_of}))
    with pytest.raises(CorruptFileError, match=message):
        load_network(folder, dense=False)


def test_a_planted_error_between_the_parts_is_found(images, monkeypatch):
    model = sparse_network()
    settings = {"images": images[:1], "dynamic": False}
    real = in_parts._check

    def check(network, used, parts, given):
        assert real(network, used, parts, given)["rms_change_64"] < 1e-12
        wrong = copy.deepcopy(used)
        wrong.detector.roi_heads.nms_thresh = 0.3
        with pytest.raises(VerificationError, match="differs on image 0, in float64, by"):
            real(network, wrong, parts, given)
        part = parts["masks"]
        exact = copy.deepcopy(part.exact)
        with torch.no_grad():
            next(exact.parameters()).mul_(1.01)
        parts = {**parts, "masks": replace(part, exact=exact)}
        return real(network, used, parts, given)

    monkeypatch.setattr(in_parts, "_check", check)
    with pytest.raises(VerificationError, match="in float64"):
        cm.compress(model, images[0], **settings)


def test_another_number_of_things_or_another_label_is_another_choice():
    one = {"boxes": torch.ones(3, 4), "labels": torch.tensor([1, 2, 3])}
    assert not change([one], [one]).exceeds(0.0)
    moved = change([one], [{**one, "boxes": one["boxes"] * 1.5}])
    assert moved.rms == pytest.approx(0.5)
    assert not moved.chose_otherwise
    assert change([one], [{**one, "labels": torch.tensor([1, 2, 4])}]).num_flipped == 1
    assert change([one], [{**one, "boxes": torch.ones(2, 4)}]).num_reshaped == 1
    assert change([one], [{**one, "boxes": torch.full((3, 4), float("nan"))}]).exceeds(1e9)


def test_what_speaks_of_one_graph_is_refused(images):
    with pytest.raises(UsageError, match="threshold speaks of one graph"):
        cm.compress(sparse_network(), images[0], threshold=1e-3)
