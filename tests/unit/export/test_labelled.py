import numpy as np
import pytest
import torch

from compactmtl.errors import DataError
from compactmtl.export import labelled
from compactmtl.export.labelled import Labelled, Unlabelled, find_labelled
from compactmtl.recipe import DataSection

SEG = {"kind": "segmentation", "num_channels": 5, "num_classes": 5}
DEPTH = {"kind": "depth", "num_channels": 1, "value_range": [0.0, 10.0]}


class Scenes:
    """Labelled images; ``depth`` is there for every other one."""

    def __init__(self, split, num_images=6, height=48, has_depth=True, labels=(0, 5)):
        self.split, self.num_images, self.has_depth = split, num_images, has_depth
        self.height, self.labels = height, labels

    def __len__(self):
        return self.num_images

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        size = (self.height, 64)
        image = torch.rand((3, *size), generator=generator)
        targets = {"seg": torch.randint(*self.labels, size, generator=generator)}
        if self.has_depth and index % 2 == 0:
            targets["depth"] = torch.rand((1, *size), generator=generator) * 9 + 0.5
        return image, targets


@pytest.fixture(autouse=True)
def named(monkeypatch):
    from compactmtl.export import calibration

    for module in (labelled, calibration):
        monkeypatch.setattr(module, "DATASETS", {"scenes": Scenes})


@pytest.fixture
def tasks():
    return {"seg": SEG, "depth": DEPTH}


@pytest.fixture
def find(program, make_interface, tasks):
    def find(calibration=None, *, data=None, tasks=tasks, program=program, inputs=("image",)):
        interface = make_interface(list(inputs), ["seg", "depth"], tasks)
        return find_labelled(calibration, program, interface, data)

    return find


def scenes(**args):
    return DataSection(name="scenes", args=args)


def test_the_recipes_validation_split(find):
    found = find(data=scenes(num_images=5))
    assert isinstance(found, Labelled)
    assert (found.source, found.num_images) == ("validation images of scenes", 5)
    assert found.images.split.split == "val"
    assert list(found.tasks) == ["seg", "depth"]


def test_a_data_set_named_for_calibration_comes_first(find):
    assert find("scenes").num_images == 6
    assert find("scenes", data=scenes(num_images=3)).num_images == 3
    assert find("scenes", data=DataSection(name="mine:Own")).num_images == 6
    assert isinstance(find("folder/", data=None), Unlabelled)


def test_a_large_split_is_thinned_evenly(find, monkeypatch):
    monkeypatch.setattr(labelled, "NUM_IMAGES", 4)
    found = find(data=scenes(num_images=10))
    assert found.images.indices == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "no recipe says"),
        ({"data": DataSection(name="mine:Own")}, "user's own code"),
        ({"data": DataSection(name="scenes"), "inputs": ("left", "right")}, "several inputs"),
        ({"data": DataSection(name="scenes"), "tasks": {"seg": {"kind": "own"}}}, "no task of a"),
        ({"data": scenes(labels=(-1, 0), has_depth=False)}, "have no label of the tasks seg, dep"),
    ],
)
def test_why_there_are_none(find, options, why):
    found = find(**options)
    assert isinstance(found, Unlabelled)
    assert why in found.why


def test_a_task_without_a_label_is_left_out(find):
    assert list(find(data=scenes(has_depth=False)).tasks) == ["seg"]


def test_data_that_is_not_here_is_said_or_raised(find, monkeypatch):
    def absent(split, **args):
        raise DataError("no folder of data sets was named")

    monkeypatch.setattr(labelled, "DATASETS", {"scenes": absent})
    assert find(data=scenes()).why.endswith("not at hand: no folder of data sets was named")
    with pytest.raises(DataError):
        find("scenes")


def test_fixed_sizes(find, capture_program, network):
    program = capture_program(network, torch.rand(4, 3, 48, 64), dynamic=False)
    assert find(data=scenes(num_images=6), program=program).num_images == 4
    assert "do not fill" in find(data=scenes(num_images=3), program=program).why
    assert "the model takes" in find(data=scenes(height=32), program=program).why


def brute_miou(got, want):
    ious = []
    for label in range(5):
        union = ((got == label) | (want == label)).sum()
        if (want == label).any():
            ious.append(((got == label) & (want == label)).sum() / union)
    return np.mean(ious)


def test_scores_are_those_of_a_count_by_hand(find):
    found = find(data=scenes(num_images=5))
    generator = np.random.default_rng(3)
    asked, raws = [], {}

    def run(inputs):
        asked.append(inputs["image"])
        num = len(inputs["image"])
        raw = {
            "seg": generator.normal(size=(num, 5, 48, 64)).astype(np.float32),
            "depth": generator.random((num, 1, 48, 64), dtype=np.float32) * 9 + np.float32(0.5),
        }
        for name, value in raw.items():
            raws.setdefault(name, []).append(value)
        return raw

    scores = found.score(run)
    samples = [Scenes("val")[i] for i in range(5)]
    np.testing.assert_array_equal(np.concatenate(asked), [image for image, _ in samples])
    got = np.concatenate(raws["seg"]).argmax(1)
    want = np.stack([targets["seg"] for _, targets in samples])
    assert scores["seg"] == pytest.approx(brute_miou(got, want), abs=1e-12)

    metres = np.concatenate(raws["depth"])[::2].astype(np.float64)
    true = np.stack([targets["depth"] for _, targets in samples[::2]])
    assert scores["depth"] == pytest.approx(np.abs(metres - true).mean(), rel=1e-6)
