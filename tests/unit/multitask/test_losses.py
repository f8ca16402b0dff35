"""The weighted sum of losses."""

import pytest
import torch

from compactmtl.errors import DataError, UsageError
from compactmtl.multitask import make_task
from compactmtl.multitask.losses import total_loss


@pytest.fixture
def problem():
    torch.manual_seed(0)
    tasks = {"a": make_task("a", "depth", {}), "b": make_task("b", "binary", {})}
    raws = {name: torch.randn(2, 1, 3, 4, requires_grad=True) for name in tasks}
    return tasks, raws, {"a": torch.rand(2, 1, 3, 4) + 1, "b": torch.ones(2, 1, 3, 4)}


def test_total_is_the_weighted_sum(problem):
    tasks, raws, targets = problem
    total, losses = total_loss(tasks, {"a": 2.0, "b": 0.5}, raws, targets)
    assert list(losses) == ["a", "b"]
    for name, task in tasks.items():
        assert torch.equal(losses[name], task.loss(raws[name], targets[name]))
    assert total.item() == pytest.approx(2 * losses["a"].item() + 0.5 * losses["b"].item())


def test_gradients_scale_with_the_weights(problem):
    tasks, raws, targets = problem
    total, losses = total_loss(tasks, {"a": 3.0, "b": 0.0}, raws, targets)
    (alone,) = torch.autograd.grad(losses["a"], raws["a"], retain_graph=True)
    total.backward()
    torch.testing.assert_close(raws["a"].grad, 3 * alone)
    assert not raws["b"].grad.any()


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        ("weights", UsageError, "`b` has no weight"),
        ("raws", UsageError, "no output for task `b`"),
        ("targets", DataError, "no target for task `b`"),
    ],
)
def test_what_lacks_is_named(problem, part, error, message):
    tasks, raws, targets = problem
    given = {"weights": {"a": 1.0, "b": 1.0}, "raws": raws, "targets": targets}
    given[part] = {"a": given[part]["a"]}
    with pytest.raises(error, match=message):
        total_loss(tasks, **given)


def test_no_task_is_refused():
    with pytest.raises(UsageError, match="no task"):
        total_loss({}, {}, {}, {})
