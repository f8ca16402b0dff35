"""What a split holds, counted; and each mistake found where it is."""

import re

import pytest
import torch

from compactmtl.data.survey import spread, survey
from compactmtl.errors import CorruptFileError
from compactmtl.multitask import make_task

SIZE = (6, 8)
TASKS = {
    "seg": make_task("seg", "segmentation", {"num_classes": 4}),
    "depth": make_task("depth", "depth", {}),
    "normals": make_task("normals", "normals", {}),
    "mask": make_task("mask", "binary", {}),
    "kind": make_task("kind", "classification", {"num_classes": 3}),
}


def sample(index: int):
    generator = torch.Generator().manual_seed(index)
    normals = torch.nn.functional.normalize(torch.randn(3, *SIZE, generator=generator), dim=0)
    targets = {
        "seg": torch.randint(-1, 4, SIZE, generator=generator),
        "depth": torch.rand(1, *SIZE, generator=generator) + 1,
        "normals": normals,
        "mask": (torch.rand(1, *SIZE, generator=generator) > 0.5).float(),
        "kind": torch.tensor(index % 3),
    }
    return torch.rand(3, *SIZE, generator=generator), targets


class Samples:
    def __init__(self, number=10, change=None):
        self.number, self.change = number, change or (lambda index, image, targets: image)

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        image, targets = sample(index)
        return self.change(index, image, targets), targets


def test_counts_equal_brute_force():
    def lack(index, image, targets):
        if index in (2, 5):
            del targets["depth"]
        if index == 3:
            targets["seg"][:] = -1
        return image

    found = survey(Samples(change=lack), TASKS, "train")
    every = [Samples(change=lack)[i][1] for i in range(10)]
    assert (found.num_samples, found.num_read, found.num_problems) == (10, 10, 0)
    assert found.sizes == {"6x8": 10}
    depth, seg = found.tasks["depth"], found.tasks["seg"]
    assert (depth.num_labelled, depth.num_lacking, depth.num_blank) == (8, 2, 0)
    assert (seg.num_labelled, seg.num_lacking, seg.num_blank) == (9, 0, 1)
    values = torch.cat([t["depth"].flatten() for t in every if "depth" in t])
    assert (depth.lowest, depth.highest) == (float(values.min()), float(values.max()))
    labels = torch.stack([t["seg"] for t in every])
    assert seg.num_valid == int((labels >= 0).sum())
    assert seg.num_values == labels.numel()
    assert seg.classes == [0, 1, 2, 3]
    assert found.tasks["kind"].classes == [0, 1, 2]


def broken(name):
    """Return a change that breaks sample 4 in the way of ``name``."""

    def change(index, image, targets):
        if index != 4:
            return image
        if name == "label":
            targets["seg"][0, 0] = 4
        elif name == "class":
            targets["kind"] = torch.tensor(3)
        elif name == "millimetres":
            targets["depth"] *= 1000
        elif name == "negative":
            targets["depth"][0, 0, 0] = -1
        elif name == "colours":
            targets["normals"] = (targets["normals"] + 1) / 2
        elif name == "mask":
            targets["mask"] *= 255
        elif name == "size":
            targets["seg"] = targets["seg"][1:]
        elif name == "bytes":
            return image * 255
        elif name == "nan":
            return image.fill_(torch.nan)
        elif name == "file":
            raise CorruptFileError("`4.npy` is damaged")
        return image

    return change


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("label", "label 4 in the target"),
        ("class", "label 3 in the target"),
        ("millimetres", "expected metres"),
        ("negative", "depth of -1"),
        ("colours", "another length than 1"),
        ("mask", "value 255"),
        ("size", r"shape \(5, 8\)"),
        ("bytes", "expected 0 to 1"),
        ("nan", "expected 0 to 1"),
        ("file", "damaged"),
    ],
)
def test_each_mistake_is_found_in_its_sample(name, words):
    found = survey(Samples(change=broken(name)), TASKS, "train")
    assert found.num_problems == 1
    assert re.search(words, found.problems[0])
    assert name == "file" or "sample 4" in found.problems[0]
    assert found.num_read == 10


def test_a_task_without_a_valid_value_is_a_problem():
    def blank(index, image, targets):
        targets["depth"].zero_()
        return image

    found = survey(Samples(change=blank), TASKS, "val")
    assert found.num_problems == 1
    assert "`depth` has not one valid value" in found.problems[0]
    assert found.tasks["depth"].lowest is None


def test_a_limit_reads_evenly_and_says_so():
    assert spread(10, None) == list(range(10))
    assert spread(10, 3) == [0, 3, 6]
    found = survey(Samples(100), TASKS, "train", limit=7)
    assert (found.num_read, found.num_samples) == (7, 100)
