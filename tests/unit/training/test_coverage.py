"""Data that are labelled in part, and a task that nothing can be trained on."""

import pytest

from compactmtl.data.labelled import LOOK, check_subsets, labels_of, look
from compactmtl.errors import DataError


class Messages:
    """Keeps what a run says, and stops it before its first step."""

    class StopHereError(Exception):
        pass

    def __init__(self):
        self.texts, self.progress = [], []

    def message(self, text):
        self.texts.append(text)

    def preparing(self, what, done, total):
        self.progress.append((what, done, total))

    def run_started(self, info):
        raise self.StopHereError


UMV = {"method": "umv", "layers": ["*"]}


def test_a_task_without_a_sample_ends_the_run_before_its_first_step(train, blobs, tmp_path):
    for split in ("train", "val"):
        nothing = blobs(20, without_depth=frozenset(range(20)))
        with pytest.raises(DataError, match=f"the {split} split .* `depth` is labelled in none of"):
            train(fit_args={f"{split}_data": nothing})
    assert not list((tmp_path / "runs").glob("*/*"))


def test_one_labelled_sample_anywhere_is_enough_and_is_said(train, blobs):
    says = Messages()
    data = blobs(40, without_depth=frozenset(range(40)) - {39})
    with pytest.raises(Messages.StopHereError):
        train(fit_args={"train_data": data, "reporter": says})
    assert any(f"train: 0 of {LOOK} samples" in text and "`depth`" in text for text in says.texts)
    assert ("train samples looked through", 40, 40) in says.progress


def test_data_that_are_labelled_throughout_are_looked_at_and_not_read_through(train, blobs, tasks):
    says, seen = Messages(), []

    class Watched(blobs):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    assert look(Watched(200), tasks, "here") == {"seg": LOOK, "depth": LOOK}
    assert len(seen) == LOOK
    with pytest.raises(Messages.StopHereError):
        train(fit_args={"reporter": says})
    assert says.texts == []


def test_a_subset_without_a_labelled_sample_is_found_whatever_its_epoch(blobs, tasks):
    data = blobs(12, without_depth=frozenset(range(6, 12)))
    check_subsets(data, tasks, {1: [0, 7], 2: [5, 11]})
    with pytest.raises(DataError, match=r"`depth` is labelled in 6 of 12 .* in epoch 3"):
        check_subsets(data, tasks, {1: [0, 7], 3: [6, 7, 8]})


def test_training_on_subsets_is_checked_for_all_epochs_before_the_first(train, blobs):
    rare = blobs(60, without_depth=frozenset(range(60)) - {30})
    sections = {"overparam": UMV | {"iterative": "subset"}, "train": {"epochs": 30}}
    with pytest.raises(DataError, match="train its factors in epoch"):
        train(fit_args={"train_data": rare}, **sections)
    for changed in ({"overparam": UMV | {"iterative": "minibatch"}}, {"overparam": None}):
        with pytest.raises(Messages.StopHereError):
            train(fit_args={"train_data": rare, "reporter": Messages()}, **(sections | changed))


def test_labels_of_a_sample_are_what_is_valid_in_it(blobs, tasks):
    data = blobs(3, without_depth=frozenset({1}))
    assert labels_of(data, tasks, 0) == {"seg", "depth"}
    assert labels_of(data, tasks, 1) == {"seg"}
