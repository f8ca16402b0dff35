import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from compactmtl.errors import ExportError
from compactmtl.export.cases import check_stored, input_shapes, make_cases, random_inputs
from compactmtl.export.reference import Reference
from compactmtl.export.stored import Stored


def shapes(cases):
    return [case.inputs["image"].shape for case in cases]


def test_stored_then_another_batch_then_another_size(program, interface, stored):
    cases = make_cases(program, interface, stored, Reference(program))
    assert shapes(cases) == [(8, 3, 48, 64), (1, 3, 48, 64), (2, 3, 16, 32)]
    np.testing.assert_array_equal(cases[1].inputs["image"], stored.arrays["image"][:1])


def test_a_size_the_program_does_not_take_is_not_tried(interface, capture_program):
    model = nn.Conv2d(3, 2, 3, padding=1)
    sizes = {2: Dim("h", min=48, max=100), 3: Dim("w", min=64, max=200)}
    program = torch.export.export(model, (torch.rand(2, 3, 48, 64),), dynamic_shapes=(sizes,))
    stored = random_inputs(program, interface)
    cases = make_cases(program, interface, stored, Reference(program))
    # The batch is fixed to 2, so eight samples make four calls; 48 - 32 is below the range.
    assert shapes(cases) == [(2, 3, 48, 64)] * 4 + [(2, 3, 80, 96)]


def test_everything_fixed(interface, capture_program):
    program = capture_program(nn.Conv2d(3, 2, 3), torch.rand(1, 3, 8, 8), dynamic=False)
    assert input_shapes(program, interface) == {"image": [1, 3, 8, 8]}
    stored = Stored({"image": np.arange(8 * 192, dtype=np.float32).reshape(8, 3, 8, 8)}, "x")
    cases = make_cases(program, interface, stored, Reference(program))
    assert len(cases) == 8
    np.testing.assert_array_equal(
        np.concatenate([case.inputs["image"] for case in cases]), stored.arrays["image"]
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.zeros((8, 3, 48, 64), np.float32)}, "lack `image`; there are: picture"),
        ({"image": np.zeros((8, 4, 48, 64), np.float32)}, r"float32 \[8, 4, 48, 64\]"),
        ({"image": np.zeros((8, 3, 48, 64))}, "float64"),
        ({"image": np.zeros((8, 3, 48), np.float32)}, r"\[8, 3, 48\]"),
    ],
)
def test_stored_inputs_that_do_not_fit_are_named(program, interface, arrays, message):
    with pytest.raises(ExportError, match=message):
        check_stored(Stored(arrays, "x"), program, interface)


def test_a_manifest_of_another_program_is_refused(program, make_interface):
    with pytest.raises(ExportError, match="1 inputs, its manifest names 2: a, b"):
        input_shapes(program, make_interface(["a", "b"], ["y"]))


def test_random_inputs_are_the_same_every_time(program, interface):
    first, second = (random_inputs(program, interface).arrays["image"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (8, 3, 48, 64)
    assert 0 <= first.min() < first.max() < 1
