import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.errors import ExportError, NonFiniteError
from compactmtl.export.cases import Case
from compactmtl.export.parity import FACTOR, FLOOR, Drift, check_parity
from compactmtl.export.reference import Reference

EPS = float(np.finfo(np.float32).eps)


class Scale(nn.Module):
    """Exact in fp32: the bound is the floor alone."""

    def forward(self, x):
        return {"double": x * 2}


@pytest.fixture(scope="module")
def scale(capture_program):
    x = torch.rand(2, 3, 4, 5)
    return Reference(capture_program(Scale(), x)), Case({"x": x.numpy()}, "here")


def probed(change):
    return lambda inputs: ({"double": change(inputs["x"] * 2)}, [])


def test_an_exact_runtime_passes_with_error_zero(scale):
    reference, case = scale
    parity = check_parity(probed(lambda y: y), reference, [case], ["double"])
    assert parity.per_task["double"].max_rel_error == 0
    assert parity.per_task["double"].bound == FACTOR * FLOOR
    assert parity.selections() is None


@pytest.mark.parametrize(
    ("units", "factor", "passes"),
    [(3.5, FACTOR, True), (4.5, FACTOR, False), (7.5, 8.0, True), (8.5, 8.0, False)],
)
def test_the_bound_is_sharp(scale, units, factor, passes):
    reference, case = scale
    largest = case.inputs["x"].max() * 2

    def change(y):
        y = y.astype(np.float64)
        y[0, 0, 0, 0] += units * EPS * largest
        return y

    if passes:
        parity = check_parity(probed(change), reference, [case], ["double"], factor=factor)
        assert parity.per_task["double"].max_rel_error == pytest.approx(units * EPS, rel=1e-3)
    else:
        said = rf"`double`.*relative error .*at most .* expected \({factor:g} x torch's own"
        with pytest.raises(ExportError, match=said):
            check_parity(probed(change), reference, [case], ["double"], factor=factor)


def test_one_bad_case_among_good_ones_is_enough(scale):
    reference, case = scale
    calls = []

    def late(inputs):
        calls.append(1)
        return {"double": inputs["x"] * np.float32(2 if len(calls) < 3 else 2.001)}, []

    with pytest.raises(ExportError):
        check_parity(late, reference, [case, case, case], ["double"])


class Cancels(nn.Module):
    """Large values of which little is left; exact in fp32 on the few bits of ``few_bits``."""

    def __init__(self):
        super().__init__()
        self.register_buffer("large", torch.tensor([1024.125]))
        self.register_buffer("other", torch.tensor([1024.0]))

    def forward(self, x):
        return {"little": x * self.large - x * self.other}


def test_an_error_that_rounding_can_make_passes_though_torch_was_lucky(capture_program):
    few_bits = torch.randint(1, 64, (2, 3, 4, 5)) / 64
    reference = Reference(capture_program(Cancels(), few_bits))
    case = Case({"x": few_bits.numpy()}, "here")
    exact = reference.run(case.tensors(), torch.float64)
    assert torch.equal(exact.outputs[0], few_bits.double() / 8)
    assert torch.equal(reference.run(case.tensors(), torch.float32).outputs[0], few_bits / 8)

    def rounded_anew(units):
        large = np.float32(1024.125 * (1 + units * EPS))
        return lambda inputs: ({"little": inputs["x"] * large - inputs["x"] * 1024}, [])

    task = check_parity(rounded_anew(1), reference, [case], ["little"]).per_task["little"]
    assert 500 * EPS < task.max_rel_error < task.bound < 1e-2
    with pytest.raises(ExportError, match="relative error"):  # the oracle sees a planted error
        check_parity(rounded_anew(30), reference, [case], ["little"])


def test_draws_move_weights_and_inputs_by_a_unit_at_most(capture_program):
    x = torch.rand(2, 3, 4, 5)
    reference = Reference(capture_program(Scale(), x))
    plain, *drawn = (
        reference.run([x], torch.float64, draw=draw).outputs[0] for draw in (None, 0, 0, 1)
    )
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert 0 < ((drawn[0] - plain) / plain).abs().max() <= EPS


def test_shape_nan_and_missing_pools(scale):
    reference, case = scale
    with pytest.raises(ExportError, match="has shape"):
        check_parity(probed(lambda y: y[:1]), reference, [case], ["double"])
    with pytest.raises(NonFiniteError, match="of the artefact"):
        check_parity(probed(lambda y: y * np.float32("nan")), reference, [case], ["double"])
    with pytest.raises(ExportError, match="1 pools"):
        check_parity(
            lambda inputs: ({"double": inputs["x"]}, [inputs["x"]]), reference, [case], ["double"]
        )


class Pooling(nn.Module):
    def forward(self, x):
        y, indices = F.max_pool2d(x, 2, return_indices=True)
        return {"up": F.max_unpool2d(y, indices, 2)}


def pool(x, gap):
    """Return a tensor whose first window has two candidates that differ by ``gap``."""
    x = x.clone()
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 2.0, 2.0 - gap
    return x


@pytest.mark.parametrize(("gap", "passes"), [(0.0, True), (1e-5, True), (1e-3, False)])
def test_a_flip_must_be_a_near_tie(capture_program, gap, passes):
    x = pool(torch.rand(2, 1, 4, 4), gap)
    reference = Reference(capture_program(Pooling(), x))

    def flipped(inputs):
        values = torch.from_numpy(inputs["x"])
        y, indices = F.max_pool2d(values, 2, return_indices=True)
        indices[0, 0, 0, 0] = 1
        return {"up": F.max_unpool2d(y, indices, 2).numpy()}, [indices.numpy()]

    case = Case({"x": x.numpy()}, "here")
    if passes:
        parity = check_parity(flipped, reference, [case], ["up"])
        assert parity.selections() == {
            "num": 8,
            "flips": 1,
            "max_gap": pytest.approx(gap / 2, abs=1e-7),
        }
    else:
        with pytest.raises(ExportError, match="no near-tie"):
            check_parity(flipped, reference, [case], ["up"])


def test_a_flip_does_not_excuse_another_error(capture_program):
    x = pool(torch.rand(2, 1, 4, 4), 0.0)
    reference = Reference(capture_program(Pooling(), x))

    def wrong(inputs):
        y, indices = F.max_pool2d(torch.from_numpy(inputs["x"]), 2, return_indices=True)
        indices[0, 0, 0, 0] = 1
        up = F.max_unpool2d(y, indices, 2)
        up[1, 0, 3, 3] += 0.01
        return {"up": up.numpy()}, [indices.numpy()]

    with pytest.raises(ExportError, match="relative error"):
        check_parity(wrong, reference, [Case({"x": x.numpy()}, "here")], ["up"])


class Integers(nn.Module):
    def forward(self, x):
        return {"n": (x * 10).floor().to(torch.int64), "classes": x.argmax(1)}


def test_integers_must_be_equal_and_argmax_a_near_tie(capture_program):
    x = torch.rand(2, 4, 3, 3)
    reference = Reference(capture_program(Integers(), x))
    good = {"n": (x * 10).floor().to(torch.int64).numpy(), "classes": x.argmax(1).numpy()}
    case = Case({"x": x.numpy()}, "here")
    parity = check_parity(lambda _: (good, []), reference, [case], ["n", "classes"])
    assert parity.num_flips == 0
    wrong = good["n"].copy()
    wrong[0, 0, 0, 0] += 1
    for bad, message in (
        ({"n": wrong}, r"`n`.*at 1 of 72"),
        ({"classes": (good["classes"] + 1) % 4}, "no near-tie"),
    ):
        outputs = (good | bad, [])
        with pytest.raises(ExportError, match=message):
            check_parity(lambda _, o=outputs: o, reference, [case], ["n", "classes"])


class Classes(nn.Module):
    def forward(self, x):
        return {"double": x * 2, "classes": x.argmax(1)}


def test_drift_is_that_of_all_values_together(capture_program):
    x = torch.rand(2, 3, 4, 5)
    reference = Reference(capture_program(Classes(), x))
    cases = [Case({"x": x.numpy()}, "here"), Case({"x": x[:1, :, :2, :2].numpy()}, "a crop")]

    def run(inputs):
        x = inputs["x"]
        classes = x.argmax(1)
        if len(x) == 1:  # wrong on the crop alone
            return {"double": -2 * x, "classes": (classes + 1) % 3}
        return {"double": 2 * x, "classes": classes}

    found = Drift(reference, cases, ["double", "classes"]).measure(run)
    crop = x[:1, :, :2, :2]
    off, size = 4 * crop.norm(), (4 * x.norm() ** 2 + 4 * crop.norm() ** 2) ** 0.5
    assert found["double"].rel_rms == pytest.approx(float(off / size), rel=1e-5)
    assert found["double"].max_rel_error == pytest.approx(float(2 * crop.max() / x.max()), rel=1e-5)
    assert found["double"].bound is None
    assert found["classes"].rel_rms == found["classes"].max_rel_error == pytest.approx(4 / 44)


def test_drift_of_another_shape_kind_or_nan(scale):
    reference, case = scale
    drift = Drift(reference, [case], ["double"])
    for change, error in (
        (lambda y: y[:1], ExportError),
        (lambda y: y.astype(np.int64), ExportError),
        (lambda y: y * np.float32("nan"), NonFiniteError),
    ):
        with pytest.raises(error):
            drift.measure(lambda inputs, change=change: {"double": change(inputs["x"] * 2)})
