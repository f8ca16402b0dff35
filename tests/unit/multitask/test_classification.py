import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.errors import DataError, RecipeError
from compactmtl.multitask import make_task, task_from_spec
from compactmtl.multitask.baseline import constant_baseline
from compactmtl.multitask.classification import Classification


def brute_force(raw, target):
    hits = near = total = 0
    for logits, label in zip(raw.tolist(), target.tolist(), strict=True):
        if label < 0:
            continue
        order = sorted(range(len(logits)), key=lambda c: (-logits[c], c))
        total += 1
        hits += order[0] == label
        near += label in order[:5]
    return hits / total, near / total


@settings(max_examples=40, deadline=None)
@given(num=st.integers(1, 30), classes=st.integers(6, 9), seed=st.integers(0, 999))
def test_metrics_are_those_of_brute_force_in_any_batches(num, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 4, (num, classes), generator=generator).float()  # with ties
    target = torch.randint(-1, classes, (num,), generator=generator)
    target[0] = 0
    metric = Classification("kind", classes).metric()
    for part in torch.arange(num).split(7):
        metric.update(raw[part], target[part])
    found = {name: float(value) for name, value in metric.compute().items()}
    accuracy, near = brute_force(raw, target)
    assert found == pytest.approx({"accuracy": accuracy, "top_5": near})


def test_loss_is_cross_entropy_over_labelled_images_and_zero_without_any():
    task, raw = Classification("kind", 4), torch.randn(5, 4, requires_grad=True)
    target = torch.tensor([0, -1, 3, 2, -1])
    expected = F.cross_entropy(raw[[0, 2, 3]], target[[0, 2, 3]])
    torch.testing.assert_close(task.loss(raw, target), expected)
    nothing = task.loss(raw, torch.full((5,), -1))
    nothing.backward()
    assert nothing.item() == 0
    assert not raw.grad.any()


def test_no_constant_beats_the_baseline():
    task = Classification("kind", 7)
    target = torch.randint(0, 7, (60,))
    best = constant_baseline({"kind": task}, [(torch.zeros(60, 3, 2, 2), {"kind": target})])["kind"]
    for label in range(7):
        metric = task.metric()
        metric.update(F.one_hot(torch.tensor(label), 7).float().expand(60, -1), target)
        assert metric.compute()["accuracy"] <= best["accuracy"] + 1e-12
    assert best["top_5"] > 4 / 7  # the five most frequent


def test_a_task_comes_back_from_its_spec():
    task = make_task("kind", "classification", {"num_classes": 3, "classes": ["a", "b", "c"]})
    again = task_from_spec("kind", task.spec())
    assert again.spec() == task.spec()
    assert again.missing(9, 9).shape == ()
    assert not again.valid(again.missing(9, 9)[None]).any()


def test_a_label_is_drawn_by_name():
    task = Classification("kind", 3, ("cat", "dog", "cow"))
    pictures = [task.picture(torch.tensor(label)) for label in (-1, 0, 1)]
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert all(picture.shape == (24, 120, 3) for picture in pictures)


@pytest.mark.parametrize("raw", [torch.zeros(2, 3, 1, 1), torch.zeros(2, 4), torch.zeros(3, 3)])
def test_outputs_of_another_form_are_refused(raw):
    with pytest.raises(DataError, match=r"expected \(N, 3\) and \(N,\)"):
        Classification("kind", 3).loss(raw, torch.zeros(2, dtype=torch.int64))


def test_labels_and_arguments_out_of_range_are_refused():
    with pytest.raises(DataError, match="label 3"):
        Classification("kind", 3).loss(torch.zeros(1, 3), torch.tensor([3]))
    with pytest.raises(RecipeError, match="at least 2"):
        Classification("kind", 1)
    with pytest.raises(RecipeError, match="2 class names"):
        Classification("kind", 3, ("a", "b"))
