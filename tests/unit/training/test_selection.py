"""Which epochs a result is read from: the last, the last ten, the best."""

import math

import pytest

from compactmtl.checkpoint import load_checkpoint
from compactmtl.multitask import make_task
from compactmtl.training.selection import mean_of_last, select

TASKS = {
    "seg": make_task("seg", "segmentation", {"num_classes": 3}),
    "depth": make_task("depth", "depth", {}),
}
CONSTANT = {"seg": {"miou": 0.2}, "depth": {"abs_err": 0.5}}


def history(*values):
    return [
        {"epoch": number, "val": {"seg": {"miou": miou}, "depth": {"abs_err": error}}}
        for number, (miou, error) in enumerate(values, start=1)
    ]


def test_the_best_epoch_has_the_lowest_mean_relative_error():
    epochs = history((0.3, 0.4), (0.6, 0.45), (0.5, 0.2), (0.55, 0.4))
    expected = [((1 - miou) / 0.8 + error / 0.5) / 2 for miou, error in
                ((0.3, 0.4), (0.6, 0.45), (0.5, 0.2), (0.55, 0.4))]  # fmt: skip
    found = select(epochs, TASKS, CONSTANT)
    assert found["best"]["epoch"] == 1 + expected.index(min(expected)) == 3
    assert found["best"]["score"] == pytest.approx(min(expected))
    assert found["last"] == {"epoch": 4, "val": epochs[3]["val"]}


def test_the_earlier_of_equal_epochs_is_best_and_one_without_a_number_never_is():
    found = select(history((math.nan, 0.1), (0.4, 0.3), (0.4, 0.3)), TASKS, CONSTANT)
    assert found["best"]["epoch"] == 2


@pytest.mark.parametrize("num", [1, 9, 10, 25])
def test_the_mean_is_over_the_last_ten_or_all(num):
    epochs = history(*((0.01 * i, 1.0 / (i + 1)) for i in range(num)))
    last = range(max(0, num - 10), num)
    found = mean_of_last(epochs)
    assert found["seg"]["miou"] == pytest.approx(sum(0.01 * i for i in last) / len(last))
    assert found["depth"]["abs_err"] == pytest.approx(sum(1 / (i + 1) for i in last) / len(last))
    assert select(epochs, TASKS, CONSTANT)["last_10"]["epochs"] == len(last)


def test_a_metric_that_an_epoch_lacks_has_no_mean():
    assert mean_of_last(history((None, 0.1), (0.4, 0.3)))["seg"] == {}


def test_the_best_epochs_checkpoint_is_kept_where_the_recipe_says_so(train):
    result = train(train={"epochs": 4, "lr": 0.3, "keep_best": True})
    best = load_checkpoint(result.run_dir / "best.pt")
    assert best.epoch == result.selection["best"]["epoch"]
    assert best.history[-1]["val"] == result.selection["best"]["val"]
    assert not (train(train={"epochs": 1}).run_dir / "best.pt").exists()


def test_a_copy_that_a_kill_prevented_is_made_on_resume(train):
    result = train(train={"epochs": 1, "keep_best": True})
    (result.run_dir / "best.pt").unlink()
    train(
        train={"epochs": 1, "keep_best": True},
        fit_args={"resume": True, "run_dir": result.run_dir},
    )
    assert load_checkpoint(result.run_dir / "best.pt").epoch == 1
