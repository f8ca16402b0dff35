import pytest
import torch
from torch import nn

from compactmtl.export.cases import input_shapes
from compactmtl.export.recapture import at_fixed_sizes, fixed_cases, with_names
from compactmtl.export.reference import Reference


def test_a_program_with_named_outputs_is_left_alone(program, interface):
    assert with_names(program, interface) is program


class Tuple(nn.Module):
    def forward(self, image):
        return image.relu(), [image.mean((2, 3)), image[:, :1] * 2]


def test_other_outputs_get_the_names_of_the_tasks(capture_program, make_interface):
    program = capture_program(Tuple(), torch.rand(2, 3, 16, 24))
    interface = make_interface(["image"], ["a", "b", "c"])
    named = with_names(program, interface)
    for shape in ((2, 3, 16, 24), (5, 3, 9, 11)):
        image = torch.rand(shape)
        got = named.module()(image)
        first, (second, third) = Tuple()(image)
        for name, want in {"a": first, "b": second, "c": third}.items():
            torch.testing.assert_close(got[name], want, rtol=0, atol=0)
    assert [isinstance(size, str) for size in input_shapes(named, interface)["image"]] == [
        *(True, False, True, True)
    ]


def test_fixed_sizes_are_fixed_and_compute_the_same(program, network):
    image = torch.rand(1, 3, 32, 48)
    fixed = at_fixed_sizes(program, [image])
    assert all(isinstance(size, int) for node in fixed.graph.nodes for size in shape_of(node))
    with torch.no_grad():
        for got, want in zip(fixed.module()(image), network(image).values(), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    with pytest.raises(AssertionError, match="Guard failed"):
        fixed.module()(torch.rand(2, 3, 32, 48))


def shape_of(node):
    value = node.meta.get("val")
    return value.shape if isinstance(value, torch.Tensor) else ()


def test_selections_are_those_of_the_program(program):
    image = torch.rand(1, 3, 32, 48)
    outputs = at_fixed_sizes(program, [image], selections=True).module()(image)
    own = Reference(program).run([image], torch.float32).selections
    assert len(outputs) == 2 + len(own) == 4
    for got, want in zip(outputs[2:], own, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_calls_of_one_shape(program, network, interface, stored, capture_program):
    cases = fixed_cases(program, interface, stored)
    assert [case.inputs["image"].shape for case in cases] == [(1, 3, 48, 64)] * 8
    fixed = capture_program(network, torch.rand(2, 3, 48, 64), dynamic=False)
    cases = fixed_cases(fixed, interface, stored)
    assert [case.inputs["image"].shape for case in cases] == [(2, 3, 48, 64)] * 4
