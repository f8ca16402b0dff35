"""Mistakes that are found on the first batch, in one line."""

import pytest
import torch

from compactmtl.errors import DataError, NonFiniteError, PartError, RecipeError, UsageError
from compactmtl.multitask import make_task
from compactmtl.overparam import expand
from compactmtl.training import initial_network


class Net(torch.nn.Module):
    """A network that gets one thing wrong."""

    def __init__(self, wrong):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)
        self.bn = torch.nn.BatchNorm2d(4)
        self.wrong = wrong

    def forward(self, image):
        out = self.bn(self.conv(image))
        if self.wrong == "tensor":
            return out
        if self.wrong == "fails":
            return out @ torch.zeros(5, 5)
        if self.wrong == "lacks":
            return {"segm": out[:, :3], "depth": out[:, :1]}
        if self.wrong == "size":
            return {"seg": out[:, :3, ::2], "depth": out[:, :1]}
        return {"seg": out[:, :3], "depth": out[:, :1]}


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ("tensor", UsageError, "returns a Tensor, expected a dict"),
        ("fails", UsageError, r"fails on the first batch, images of shape \(4, 3, 16, 24\)"),
        ("lacks", UsageError, "no output for task `seg`; did you mean `segm`"),
        ("size", DataError, r"8.*16|16.*8"),
    ],
)
def test_a_network_that_does_not_fit_its_tasks_is_refused(train, wrong, error, words):
    with pytest.raises(error, match=words):
        train(fit_args={"model": Net(wrong)})


def test_the_check_leaves_no_trace_in_the_network(train, tmp_path):
    class StopHereError(Exception):
        pass

    class Reporter:
        def run_started(self, info):
            raise StopHereError

    model = Net("nothing")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(StopHereError):
        train(fit_args={"model": model, "reporter": Reporter()})
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_expanded_network_is_refused(train, tasks, make_recipe):
    model = initial_network(make_recipe(), tasks)
    expand(model, tasks=["seg"])
    with pytest.raises(UsageError, match="expanded already"):
        train(fit_args={"model": model})


class Odd:
    """A data set whose every sample is changed by ``change``."""

    def __init__(self, data, change):
        self.data, self.change = data, change

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        image, targets = self.data[index]
        return self.change(index, image, dict(targets))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda i, x, t: (x * float("nan"), t), DataError, "images with NaN or Inf"),
        (lambda i, x, t: (x.double(), t), DataError, "image is torch.float64"),
        (lambda i, x, t: (x[:, : 12 + 4 * (i % 2)], t), DataError, "as sample 0"),
        (lambda i, x, t: (x, t | {"seg": t["seg"].int()}), DataError, "`seg`.*torch.int32"),
        (lambda i, x, t: (x, t | {"seg": t["seg"] + 7}), DataError, "seg"),
        (
            lambda i, x, t: (x, t | {"depth": t["depth"] * 0}),
            DataError,
            "`depth` is labelled in none",
        ),
        # infinite depth is invalid by its kind
        (lambda i, x, t: (x, t | {"depth": t["depth"] * 1e38 * 10}), DataError, "labelled in none"),
    ],
)
def test_data_that_are_not_what_the_tasks_expect_are_refused(train, blobs, change, error, words):
    with pytest.raises(error, match=words):
        train(fit_args={"train_data": Odd(blobs(8), change)})


def test_an_infinite_loss_before_any_training_is_found(train, blobs, make_recipe):
    values = {
        "v": make_task("v", "regression", {"num_channels": 1}),
    }
    data = Odd(blobs(8), lambda i, x, t: (x, {"v": torch.full((1, 16, 24), 3e38)}))
    with pytest.raises(NonFiniteError, match="loss of `v` is inf on the first batch"):
        train(
            tasks={"v": {"weight": 1.0}},
            fit_args={"train_data": data, "val_data": data, "tasks": values},
        )


@pytest.mark.parametrize(
    ("sections", "error", "words"),
    [
        ({"model": {"name": "segnett"}}, PartError, "did you mean `segnet`"),
        ({"model": {"args": {"wdiths": [4]}}}, RecipeError, "`wdiths`; did you mean `widths`"),
        ({"model": {"args": {"widths": "wide"}}}, RecipeError, "`widths`"),
        ({"tasks": {"seg": {}}}, RecipeError, "tasks given: seg, depth; the recipe has: seg"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(train, sections, error, words, tmp_path):
    with pytest.raises(error, match=words):
        train(**sections)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "tasks", "words"),
    [
        ("rooms", {"segg": {}}, "has no task `segg`; did you mean `seg`"),
        ("rooms", {"seg": {"args": {"num_classes": 3}}}, r"`tasks\.seg\.args` without"),
        ("collections:OrderedDict", {"seg": {}}, "declares no tasks itself"),
        ("room", {"seg": {}}, "did you mean `rooms`"),
    ],
)
def test_tasks_a_data_set_does_not_declare_are_refused(train, data, tasks, words):
    with pytest.raises((RecipeError, PartError), match=words):
        train(data={"name": data}, tasks=tasks, fit_args={"tasks": None})


def test_an_empty_data_set_is_refused(train, blobs):
    with pytest.raises(DataError, match="the val split of `given` is empty"):
        train(fit_args={"val_data": blobs(0)})


def test_data_that_can_only_be_gone_through_are_refused_with_what_helps(train):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(DataError, match="the train split of `given` is a Stream") as caught:
        train(fit_args={"train_data": Stream()})
    assert "shards" in caught.value.hint
