"""An artefact that computes equal pools once is compared all the same, and as strictly."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compactmtl.errors import ExportError
from compactmtl.export.cases import Case
from compactmtl.export.check import Check
from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_run import pool_indices, verify
from compactmtl.export.options import OPSET
from compactmtl.export.parity import check_parity
from compactmtl.export.reference import Reference


class EqualPools(nn.Module):
    """Three pools; the first and the last are of the same values."""

    def forward(self, x):
        up = []
        for values in (x, 1 - x, x):
            y, indices = F.max_pool2d(values, 2, return_indices=True)
            up.append(F.max_unpool2d(y, indices, 2))
        return {"first": up[0], "other": up[1], "last": up[2]}


NAMES = ["first", "other", "last"]
X = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
CASE = Case({"x": X.numpy()}, "here")


@pytest.fixture(scope="module")
def program(capture_program):
    return capture_program(EqualPools(), X)


def merged(*order, change=lambda index: index):
    """Run it with one pool for the equal ones; tell what these pools select."""

    def run(inputs):
        x = torch.from_numpy(inputs["x"])
        found = [F.max_pool2d(values, 2, return_indices=True) for values in (x, 1 - x)]
        found[0] = found[0][0], change(found[0][1].clone())
        up = [F.max_unpool2d(y, index, 2).numpy() for y, index in found]
        outputs = dict(zip(NAMES, (up[0], up[1], up[0]), strict=True))
        return outputs, [found[i][1].numpy() for i in order]

    return run


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_pool_takes_the_selection_that_fits(program, order):
    parity = check_parity(merged(*order), Reference(program), [CASE], NAMES)
    assert parity.num_flips == 0
    assert parity.num_selections == 3 * X.numel() // 4
    assert all(each.max_rel_error == 0 for each in parity.per_task.values())


def test_a_flip_at_a_near_tie_is_imposed_on_every_pool_it_stands_for(capture_program):
    x = X.clone()
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 2.0, 2.0 - 1e-6
    case = Case({"x": x.numpy()}, "here")
    reference = Reference(capture_program(EqualPools(), x))

    def flip(index):
        index[0, 0, 0, 0] = 1
        return index

    assert check_parity(merged(0, 1, change=flip), reference, [case], NAMES).num_flips == 2


def wrong_window(index):
    index[0, 0, 0, 0] = index[0, 0, -1, -1]
    return index


@pytest.mark.parametrize("change", [wrong_window, lambda index: index + X.numel()])
def test_a_wrong_selection_fits_nowhere(program, change):
    def run(inputs):
        outputs, (first, other) = merged(0, 1)(inputs)
        return outputs, [change(torch.from_numpy(first)).numpy(), other]

    with pytest.raises(ExportError, match=r"2 pools .* program has 3; none of them selects"):
        check_parity(run, Reference(program), [CASE], NAMES)


def test_a_selection_of_no_pool_is_refused(program):
    def run(inputs):
        outputs, (first, _) = merged(0, 1)(inputs)
        return outputs, [first]

    with pytest.raises(ExportError, match=r"1 pools .* none of them selects"):
        check_parity(run, Reference(program), [CASE], NAMES)

    class Twice(nn.Module):
        def forward(self, x):
            return EqualPools()(x) | {"again": EqualPools()(x)["other"]}

    def stray(inputs):
        outputs, (first, other) = merged(0, 1)(inputs)
        outputs["again"] = outputs["other"]
        return outputs, [first, other, np.zeros_like(other)]

    reference = Reference(torch.export.export(Twice(), (X,)))
    with pytest.raises(ExportError, match="number 2 of the artefact's selects what none"):
        check_parity(stray, reference, [CASE], [*NAMES, "again"])


def test_more_pools_than_the_program_has_are_refused(program):
    with pytest.raises(ExportError, match=r"4 pools .* program has 3; they cannot be compared"):
        check_parity(merged(0, 1, 0, 1), Reference(program), [CASE], NAMES)


def test_another_value_is_found_where_pools_are_merged(program):
    def run(inputs):
        outputs, pools = merged(0, 1)(inputs)
        outputs["last"] = outputs["last"] + 1e-3
        return outputs, pools

    with pytest.raises(ExportError, match=r"`last`.*relative error"):
        check_parity(run, Reference(program), [CASE], NAMES)


@pytest.mark.parametrize("operators", ["onnx", "tensorrt"])
def test_what_the_converter_merges_is_verified(capture_program, make_interface, operators):
    program = capture_program(EqualPools(), X)
    model = convert(program, make_interface(["x"], NAMES), opset=OPSET, operators=operators)
    assert len(pool_indices(model)) == 2  # else this shows nothing
    parity = verify(model, Check(Reference(program), [CASE], NAMES))
    assert all(each.max_rel_error == 0 for each in parity.per_task.values())
