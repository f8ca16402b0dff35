"""Shares of batches, and what is refused before any process trains."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.data.order import Share
from compactmtl.errors import (
    CompactMTLError,
    DataError,
    NotPossibleHereError,
    RecipeError,
    UsageError,
)
from compactmtl.multitask import make_task
from compactmtl.recipe import TrainSection
from compactmtl.training.device import make_fabric
from compactmtl.training.micro_batch import micro_batches, micro_batches_here
from compactmtl.training.processes import (
    VARIABLES,
    Processes,
    is_first,
    launched_processes,
    lost_process,
)
from compactmtl.training.settings import check_settings

TORCHRUN = dict(zip(VARIABLES, ("1", "1", "2", "2", "127.0.0.1", "29500"), strict=True))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 60))
def test_the_shares_of_all_processes_are_the_whole_batches(num, size, length):
    order, batch = list(range(100, 100 + length)), num * size
    shares = [Share(batch, rank, num).of(order) for rank in range(num)]
    for start in range(0, length - batch + 1, batch):
        of_each = [share[start // num : start // num + size] for share in shares]
        assert [index for part in of_each for index in part] == order[start : start + batch]
    assert {len(share) for share in shares} == {length // batch * size}


@settings(max_examples=15)
@given(st.integers(0, 4), st.lists(st.integers(0, 24), min_size=4, max_size=4))
def test_parts_of_any_labelling_add_up_to_the_loss_of_the_whole(seed, labelled):
    task = make_task("seg", "segmentation", {"num_classes": 3})
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (4, 4, 6), generator=generator)
    for image, num in zip(target, labelled, strict=True):
        image.view(-1)[num:] = -1
    raw = torch.randn(4, 3, 4, 6, dtype=torch.float64, generator=generator)
    alone = Processes(make_fabric(TrainSection(device="cpu")))
    for num in (1, 2, 4):
        parts = micro_batches(raw, {"seg": target}, {"seg": task}, num, alone)
        losses = [part.part("seg", task.loss(part.images, part.targets["seg"])) for part in parts]
        torch.testing.assert_close(sum(losses), task.loss(raw, target), rtol=1e-6, atol=1e-7)
        assert sum(part.share for part in parts) == pytest.approx(1)


def test_micro_batches_are_shared_out_evenly_or_not_at_all():
    assert [
        micro_batches_here(n, p) for n, p in ((None, 1), (None, 3), (4, 1), (4, 2), (4, 4))
    ] == [*(1, 1, 4, 2, 1)]
    for accumulate in (1, 4):
        with pytest.raises(RecipeError, match=rf"\(={accumulate}\).*among 3 processes"):
            micro_batches_here(accumulate, 3)


def test_accumulating_is_training_with_parts_of_a_batch(train):
    whole = train()
    parts = train(train={"accumulate": 2})
    assert parts.history[0]["loss"].keys() == whole.history[0]["loss"].keys()
    assert parts.history[0]["loss"] != whole.history[0]["loss"]  # batch norm sees the parts


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"weighting": {"name": "gls"}}, "weighting `gls` does not go with train.accumulate"),
        ({"weighting": {"name": "torchjd"}}, "weighting `torchjd` does not go with train.accum"),
        ({"overparam": {"iterative": "minibatch"}}, '"minibatch" does not go with train.accum'),
        ({"data": {"batch_size": 3}}, "a batch of 3 samples cannot be divided into 2 equal parts"),
    ],
)
def test_what_needs_the_whole_batch_is_refused(train, sections, words):
    with pytest.raises(RecipeError, match=words):
        train(**sections, train={"accumulate": 2})


def test_gradient_surgery_is_refused_for_several_processes(make_recipe):
    pytest.importorskip("torchjd")
    recipe = make_recipe(weighting={"name": "torchjd"})
    check_settings(recipe)
    with pytest.raises(RecipeError, match="`torchjd` does not go with 2 processes"):
        check_settings(recipe, 2)


@pytest.fixture
def torchrun(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_torchrun_tells_each_process_its_place(torchrun):
    assert (launched_processes(), is_first()) == (2, False)
    torchrun.setenv("RANK", "0")
    assert is_first()
    torchrun.setenv("WORLD_SIZE", "1")
    torchrun.setenv("RANK", "7")
    assert (launched_processes(), is_first()) == (1, True)


def test_half_of_torchruns_variables_are_refused_by_name(torchrun):
    torchrun.delenv("MASTER_PORT")
    torchrun.delenv("LOCAL_RANK")
    with pytest.raises(UsageError, match="WORLD_SIZE is 2, and LOCAL_RANK, MASTER_PORT is not set"):
        launched_processes()
    torchrun.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="WORLD_SIZE is two"):
        launched_processes()


def test_devices_that_several_processes_cannot_share_are_refused(torchrun):
    torchrun.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(NotPossibleHereError, match="2 processes on this machine, and 1 GPUs"):
        make_fabric(TrainSection(device="cuda"))
    with pytest.raises(UsageError, match=r"train\.device is `cuda:0`, and there are 2 processes"):
        make_fabric(TrainSection(device="cuda:0"))
    torchrun.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="3 processes, 2 of them on this machine"):
        make_fabric(TrainSection(device="cpu"))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/build/third_party/gloo/gloo/pair.cc:561] Connection closed by peer"),
        torch.distributed.DistBackendError("NCCL error"),
    ],
)
def test_another_process_that_ended_is_one_line(error):
    with pytest.raises(CompactMTLError, match="another process of this run"), lost_process():
        raise error


def test_any_other_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="sizes of tensors"), lost_process():
        raise RuntimeError("sizes of tensors")


def test_differences_are_named_with_who_has_what():
    class Three(Processes):
        def __init__(self) -> None:
            self.num = 3

        def gather(self, value):
            return [value, {**value, "the number of images": 7}, value]

    Three().check_same({"the seed": 1}, UsageError, "")
    with pytest.raises(DataError, match="number of images: 8 on rank 0, 7 on rank 1, 8 on rank 2"):
        Three().check_same({"the number of images": 8}, DataError, "")
