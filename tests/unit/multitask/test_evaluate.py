"""Evaluation over batches."""

import pytest
import torch

from compactmtl.errors import DataError, NonFiniteError, UsageError
from compactmtl.multitask import make_task
from compactmtl.multitask.evaluate import evaluate

TASKS = {"a": make_task("a", "depth", {}), "b": make_task("b", "segmentation", {"num_classes": 3})}


def batches(num=5, size=2):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num, 3, 4, 6, generator=generator)
    targets = {
        "a": torch.rand(num, 1, 4, 6, generator=generator) + 0.5,
        "b": torch.randint(-1, 3, (num, 4, 6), generator=generator),
    }
    return [
        (images[i : i + size], {name: t[i : i + size] for name, t in targets.items()})
        for i in range(0, num, size)
    ]


def predict(images):
    return {"b": images.requires_grad_() * 2 - 1, "a": images[:, :1]}


def test_metrics_do_not_depend_on_batch_size_and_progress_is_called():
    seen = []
    small = evaluate(predict, batches(size=2), TASKS, progress=seen.append)
    large = evaluate(predict, iter(batches(size=5)), TASKS)
    assert seen == [1, 2, 3]
    assert list(small) == ["a", "b"]
    for name, values in small.items():
        assert values == pytest.approx(large[name], rel=1e-12)
        assert all(isinstance(value, float) for value in values.values())


def test_prediction_runs_without_gradients():
    modes = []

    def watched(images):
        modes.append(torch.is_grad_enabled())
        return predict(images)

    evaluate(watched, batches(), TASKS)
    assert modes == [False] * 3


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(DataError, match="no batch"):
        evaluate(predict, [], TASKS)


def test_missing_output_is_refused():
    with pytest.raises(UsageError, match="no output for task `b`"):
        evaluate(lambda images: {"a": images[:, :1]}, batches(), TASKS)


def test_missing_target_is_refused():
    with pytest.raises(DataError, match="no target for task `b`"):
        evaluate(predict, [(images, {"a": t["a"]}) for images, t in batches()], TASKS)


def test_output_that_is_not_finite_is_refused():
    with pytest.raises(NonFiniteError, match="task `a`"):
        evaluate(lambda i: {**predict(i), "a": i[:, :1] / 0}, batches(), TASKS)
