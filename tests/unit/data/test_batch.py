"""Batches in which samples lack tasks, and the loader's order."""

import pytest
import torch

from compactmtl.data.batch import collate, loader
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import DataError
from compactmtl.multitask import make_task

TASKS = {
    "seg": make_task("seg", "segmentation", {"num_classes": 3}),
    "depth": make_task("depth", "depth", {}),
    "normals": make_task("normals", "normals", {}),
    "mask": make_task("mask", "binary", {}),
    "flow": make_task("flow", "regression", {"num_channels": 2}),
}


def full_targets(height=4, width=5):
    return {
        "seg": torch.zeros(height, width, dtype=torch.int64),
        "depth": torch.ones(1, height, width),
        "normals": torch.tensor([0.0, 0.0, -1.0])[:, None, None].expand(3, height, width),
        "mask": torch.ones(1, height, width),
        "flow": torch.zeros(2, height, width),
    }


class Numbered:
    """Sample i is an image of value i / 100; every third lacks `depth`."""

    def __init__(self, num_samples=10):
        self.num_samples = num_samples

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        targets = {"seg": torch.full((2, 2), index % 3)}
        if index % 3:
            targets["depth"] = torch.ones(1, 2, 2)
        return torch.full((3, 2, 2), index / 100), targets


def seen(batches):
    return [round(float(value) * 100) for images, _ in batches for value in images[:, 0, 0, 0]]


def numbered_loader(seed=7, *, shuffle=True, **args):
    tasks = {name: TASKS[name] for name in ("seg", "depth")}
    generator = torch.Generator().manual_seed(seed)
    return loader(Numbered(), tasks, batch_size=4, shuffle=shuffle, generator=generator, **args)


@pytest.mark.parametrize("lacking", sorted(TASKS))
def test_lacking_task_becomes_a_target_with_nothing_valid(lacking):
    partial = full_targets()
    del partial[lacking]
    images, targets = collate(
        [(torch.rand(3, 4, 5), full_targets()), (torch.rand(3, 4, 5), partial)], TASKS
    )
    assert images.shape == (2, 3, 4, 5)
    assert list(targets) == list(TASKS)
    for name, task in TASKS.items():
        valid = task.valid(targets[name])
        assert valid[0].all()
        assert valid[1].any() == (name != lacking)


def test_all_tasks_lacking_still_makes_a_batch_with_zero_losses():
    _, targets = collate([(torch.rand(3, 4, 5), {})], TASKS)
    for name, task in TASKS.items():
        raw = torch.randn(1, task.num_channels, 4, 5, requires_grad=True)
        loss = task.loss(raw, targets[name])
        assert loss.item() == 0.0


def test_targets_of_other_tasks_are_dropped():
    _, targets = collate([(torch.rand(3, 4, 5), full_targets())], {"mask": TASKS["mask"]})
    assert list(targets) == ["mask"]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ((torch.rand(3, 4, 6), {}), ["sample 1", "(3, 4, 6)", "(3, 4, 5)"]),
        ((torch.rand(1, 4, 5), {}), ["sample 1", "(1, 4, 5)", "(3, H, W)"]),
        ((torch.zeros(3, 4, 5, dtype=torch.uint8), {}), ["sample 1", "uint8", "float32"]),
        (([[1.0]], {}), ["sample 1", "list", "tensor"]),
        ((torch.rand(3, 4, 5), {"depth": torch.ones(4, 5)}), ["sample 1", "`depth`", "(1, 4, 5)"]),
        (
            (torch.rand(3, 4, 5), {"seg": torch.zeros(4, 5)}),
            ["sample 1", "`seg`", "float32", "int64"],
        ),
        ((torch.rand(3, 4, 5), {"mask": 1.0}), ["sample 1", "`mask`", "float", "tensor"]),
    ],
)
def test_malformed_sample_is_a_data_error_that_names_it(sample, words):
    with pytest.raises(DataError) as caught:
        collate([(torch.rand(3, 4, 5), full_targets()), sample], TASKS)
    assert all(word in caught.value.message for word in words)


def test_no_samples_is_a_data_error():
    with pytest.raises(DataError):
        collate([], TASKS)
    with pytest.raises(DataError, match="empty"):
        loader(Numbered(0), TASKS, batch_size=1, shuffle=False, generator=torch.Generator())


def test_unshuffled_loader_keeps_the_order():
    assert seen(numbered_loader(shuffle=False)) == list(range(10))


def test_order_depends_on_seed_and_epoch_alone():
    one, fresh = numbered_loader(), numbered_loader()
    orders = []
    for epoch in range(3):
        one.sampler.start_epoch(epoch)
        orders.append(seen(one))
    fresh.sampler.start_epoch(2)  # as after a resume
    assert seen(fresh) == orders[2]
    assert sorted(orders[2]) == list(range(10))
    assert len({tuple(order) for order in orders}) == 3
    other = numbered_loader(seed=8)
    other.sampler.start_epoch(2)
    assert seen(other) != orders[2]


def test_without_epochs_the_order_follows_the_generator():
    generator = torch.Generator().manual_seed(3)
    tasks = {"seg": TASKS["seg"]}
    batches = loader(Numbered(), tasks, batch_size=4, shuffle=True, generator=generator)
    first, state = seen(batches), generator.get_state()
    second = seen(batches)
    generator.set_state(state)
    assert seen(batches) == second
    assert first != second


def test_workers_change_nothing():
    alone, helped = numbered_loader(), numbered_loader(num_workers=1)
    alone.sampler.start_epoch(1)
    helped.sampler.start_epoch(1)
    for (images, targets), (others, other_targets) in zip(alone, helped, strict=True):
        assert torch.equal(images, others)
        assert all(torch.equal(targets[name], other_targets[name]) for name in targets)


def test_drop_last_leaves_full_batches():
    assert [len(images) for images, _ in numbered_loader(drop_last=True)] == [4, 4]


def test_any_class_with_the_two_methods_is_a_data_set():
    assert isinstance(Numbered(), MultiTaskDataset)
