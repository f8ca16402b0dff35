"""What holds for every kind of task."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.errors import CorruptFileError, DataError, NonFiniteError, PartError, RecipeError
from compactmtl.multitask import KINDS, make_task, task_from_spec
from compactmtl.multitask.depth import Depth

CASES = ("segmentation", "depth", "normals", "binary", "regression-1", "regression-2")


def scores(task, *batches):
    metric = task.metric()
    for raw, target in batches:
        metric.update(raw, target)
    return {name: float(value) for name, value in metric.compute().items()}


def test_valid_is_what_was_not_made_invalid(draw, case):
    task, _, target, invalid = draw(case)
    assert torch.equal(task.valid(target), ~invalid)


def test_missing_target_has_size_and_type_of_a_target(draw, case):
    task, _, target, _ = draw(case)
    missing = task.missing(5, 7)
    assert missing.shape == target.shape[1:]
    assert missing.dtype == target.dtype
    assert not task.valid(missing.unsqueeze(0)).any()


def test_loss_of_an_invalid_sample_is_exactly_zero_with_zero_gradient(draw, case):
    task, raw, _, _ = draw(case)
    raw.requires_grad_()
    loss = task.loss(raw, torch.stack([task.missing(5, 7)] * 3))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(raw.grad, torch.zeros_like(raw))


def test_invalid_pixels_have_no_influence(draw, case):
    task, raw, target, invalid = draw(case)
    other = torch.where(invalid.unsqueeze(1), raw * 50 - 7, raw)
    results = []
    for output in (raw, other):
        leaf = output.clone().requires_grad_()
        loss = task.loss(leaf, target)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not results[0][1].movedim(1, -1)[invalid].any()
    assert scores(task, (raw, target)) == scores(task, (other, target))


def test_loss_is_the_mean_over_valid_pixels_of_the_batch(draw, case):
    # A sample with one valid pixel must not weigh as much as a full one.
    task, raw, target, _ = draw(case)
    counts = task.valid(target).sum(dim=(1, 2)).double()
    each = torch.stack([task.loss(raw[i : i + 1], target[i : i + 1]) for i in range(3)]).double()
    torch.testing.assert_close(
        task.loss(raw, target).double(), (each * counts).sum() / counts.sum(), rtol=1e-5, atol=0
    )


def test_loss_falls_along_its_gradient_to_nearly_nothing(draw, case):
    task, raw, target, _ = draw(case)
    leaf = raw.clone().requires_grad_()
    optimizer = torch.optim.Adam([leaf], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss = task.loss(leaf, target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * task.loss(raw, target).item()


def test_loss_under_bfloat16_is_float32(draw, case):
    task, raw, target, _ = draw(case)
    loss = task.loss(raw.bfloat16(), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, task.loss(raw.bfloat16().float(), target), rtol=0, atol=0)


@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(1, 5), max_size=3, unique=True),
    case=st.sampled_from(CASES),
)
@settings(max_examples=40, deadline=None)
def test_metrics_do_not_depend_on_batches(draw, seed, cuts, case):
    task, raw, target, _ = draw(case, seed=seed, num=6, size=(3, 4))
    sizes = np.diff([0, *sorted(cuts), 6]).tolist()
    pieces = zip(raw.split(sizes), target.split(sizes), strict=True)
    # Sums of at most 72 float64 terms in another order: relative error below 72 * 2^-53 < 1e-13.
    assert scores(task, *pieces) == pytest.approx(scores(task, (raw, target)), rel=1e-13, abs=1e-13)


def test_batch_oracle_fails_on_a_mean_of_batch_means(draw):
    # The error of the field's reference code: batches of unequal numbers of valid pixels.
    task, raw, target, _ = draw("depth")
    means = [scores(task, (raw[i : i + 1], target[i : i + 1]))["abs_err"] for i in range(3)]
    assert np.mean(means) != pytest.approx(scores(task, (raw, target))["abs_err"], rel=1e-6)


def test_states_of_two_processes_add_up(draw, case):
    task, raw, target, _ = draw(case)
    whole, first, second = task.metric(), task.metric(), task.metric()
    whole.update(raw, target)
    first.update(raw[:1], target[:1])
    second.update(raw[1:], target[1:])
    for name in first._defaults:
        assert first._reductions[name].__name__ == "dim_zero_sum"
        setattr(first, name, getattr(first, name) + getattr(second, name))
    joined = {name: float(value) for name, value in first.compute().items()}
    assert joined == pytest.approx(
        {name: float(value) for name, value in whole.compute().items()}, rel=1e-13
    )


def test_primary_metric_comes_first_and_a_perfect_output_has_no_error(draw, case):
    task, raw, target, _ = draw(case)
    assert next(iter(scores(task, (raw, target)))) == task.primary
    if task.kind == "segmentation":
        raw = torch.nn.functional.one_hot(target.clamp(min=0), 5).movedim(-1, 1).float()
    else:
        raw = (target - (0.5 if task.kind == "binary" else 0)).nan_to_num()
    # 1e-5 degrees is what rounding unit vectors to float32 leaves of an angle of 0.
    assert task.error(scores(task, (raw, target))) == pytest.approx(0, abs=1e-5)


def test_best_constant_beats_random_constants(draw, case):
    task, raw, target, _ = draw(case, num=6)

    def error(constant):
        return task.error(scores(task, (constant.view(1, -1, 1, 1).expand_as(raw), target)))

    best = min(error(constant) for constant in task.constants(target))
    spread = torch.Generator().manual_seed(1)
    others = [
        error(torch.randn(task.num_channels, generator=spread) * scale + shift)
        for scale in (0.2, 1, 5)
        for shift in (0, 0.5, 4)
        for _ in range(5)
    ]
    assert best <= min(others) + 1e-12


def test_constants_need_a_valid_pixel(draw, case):
    task, _, _, _ = draw(case)
    with pytest.raises(DataError, match="`x`: not one valid pixel"):
        task.constants(task.missing(5, 7).unsqueeze(0))


def test_prediction_has_the_form_of_a_target(draw, case):
    task, raw, target, _ = draw(case)
    predicted = task.predict(raw)
    assert predicted.shape == target.shape
    assert predicted.dtype == target.dtype


def test_picture_is_rgb_and_grey_where_invalid(draw, case):
    task, raw, target, invalid = draw(case)
    for drawn in (task.picture(target[0]), task.picture(task.predict(raw)[0])):
        assert drawn.shape == (5, 7, 3)
        assert drawn.dtype == np.uint8
    drawn = task.picture(target[0])
    grey = (drawn == (38, 38, 43)).all(axis=-1)
    assert np.array_equal(grey, invalid[0].numpy())
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 1
    assert task.picture(task.missing(5, 7)).shape == (5, 7, 3)


def test_spec_round_trip(draw, case):
    task, raw, target, _ = draw(case)
    again = task_from_spec("x", task.spec())
    assert type(again) is type(task)
    assert again.spec() == task.spec()
    assert torch.equal(again.loss(raw, target), task.loss(raw, target))


def test_sizes_that_differ_are_refused(draw, case):
    task, raw, target, _ = draw(case)
    for wrong in (raw[:, :, :-1], raw[:2], torch.cat([raw, raw], dim=1)):
        for call in (task.loss, task.metric().update):
            with pytest.raises(DataError, match=r"`x`: raw output is \(.*target is \("):
                call(wrong, target)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_raw_output_that_is_not_finite_is_refused(draw, case, value):
    task, raw, target, _ = draw(case)
    raw[1, 0, 2, 3] = value
    with pytest.raises(NonFiniteError, match="`x`: 1 of"):
        task.metric().update(raw, target)


def test_metric_without_a_valid_pixel_is_refused(draw, case):
    task, raw, _, _ = draw(case)
    metric = task.metric()
    metric.update(raw, torch.stack([task.missing(5, 7)] * 3))
    with pytest.raises(DataError, match="`x`: not one valid pixel"):
        metric.compute()


def test_kinds_are_registered_by_their_own_word():
    pixels = ["segmentation", "depth", "normals", "binary", "regression"]
    assert list(KINDS) == [*pixels, "classification", "instances", "panoptic"]
    assert all(kind.kind == word for word, kind in KINDS.items())


@pytest.mark.parametrize(
    ("kind", "args", "message"),
    [
        ("segmentation", {"num_clases": 3}, "`num_clases`; did you mean `num_classes`"),
        ("segmentation", {}, "argument `num_classes` is missing"),
        ("segmentation", {"num_classes": "many"}, "`num_classes`: .*got 'many'"),
        ("segmentation", {"num_classes": 1}, "at least 2"),
        ("segmentation", {"num_classes": 2, "classes": ["a"]}, "1 class names"),
        ("depth", {"value_range": [3, 1]}, "must go upwards"),
        ("normals", {"eps": 1}, "unknown argument `eps`"),
        ("binary", {"pos_weight": 0}, "greater than 0"),
        ("regression", {"num_channels": 0}, "at least 1"),
        ("regression", {"value_range": [1, 1]}, "must go upwards"),
    ],
)
def test_wrong_arguments_are_refused(kind, args, message):
    with pytest.raises(RecipeError, match=message):
        make_task("x", kind, args)


def test_toml_lists_become_tuples():
    task = make_task("x", "segmentation", {"num_classes": 2, "classes": ["a", "b"]})
    assert task.classes == ("a", "b")


def test_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(PartError, match="did you mean `depth`"):
        make_task("x", "dept", {})


OWN = """
from compactmtl.multitask.depth import Depth

class Own(Depth):
    kind = "own"

class Impostor(Depth):
    pass

def number(name):
    return 3
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_task_module.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_task_module"


def test_own_class_is_built_and_its_spec_needs_the_recipe(own_module):
    task = make_task("x", f"{own_module}:Own", {"value_range": (0, 2)})
    assert isinstance(task, Depth)
    assert task.spec()["kind"] == "own"
    with pytest.raises(PartError, match="`own`, which is not built in") as caught:
        task_from_spec("x", task.spec())
    assert "--recipe" in caught.value.hint


def test_own_class_under_a_built_in_name_is_refused(own_module):
    with pytest.raises(PartError, match="calls itself `depth`"):
        make_task("x", f"{own_module}:Impostor", {})


def test_own_part_that_is_no_task_is_refused(own_module):
    with pytest.raises(PartError, match="made a int, expected a Task"):
        make_task("x", f"{own_module}:number", {})


def test_own_class_takes_only_its_arguments(own_module):
    with pytest.raises(RecipeError, match="did you mean `value_range`"):
        make_task("x", f"{own_module}:Own", {"valuerange": 1})


def test_spec_never_imports_what_it_names(own_module):
    with pytest.raises(PartError, match="not built in"):
        task_from_spec("x", {"kind": f"{own_module}:Own", "num_channels": 1})


def test_spec_that_contradicts_itself_is_refused():
    with pytest.raises(CorruptFileError, match="num_channels is 4 in its spec, expected 3"):
        task_from_spec("x", {"kind": "segmentation", "num_channels": 4, "num_classes": 3})
