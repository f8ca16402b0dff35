"""Zooming and mirroring keep what depth and normals say about the scene."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.data.scene_augment import SCALES, augmented, mirrored, zoomed

SIZE = (36, 48)


def scene(seed: int = 0, size=SIZE) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(3, *size, generator=generator)
    return {
        "image": torch.rand(3, *size, generator=generator),
        "seg": torch.randint(-1, 13, size, generator=generator),
        "depth": torch.rand(1, *size, generator=generator) * 5,
        "normals": torch.nn.functional.normalize(normals, dim=0),
    }


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_mirroring_twice_is_nothing(seed):
    sample = scene(seed, (6, 7))
    twice = mirrored(mirrored(sample))
    for name, tensor in sample.items():
        assert torch.equal(twice[name], tensor)


def test_mirroring_turns_what_faces_left_to_the_right():
    sample = scene()
    turned = mirrored(sample)
    assert torch.equal(turned["normals"][0], -sample["normals"][0].flip(-1))
    assert torch.equal(turned["normals"][1:], sample["normals"][1:].flip(-1))
    assert torch.equal(turned["depth"], sample["depth"].flip(-1))


@pytest.mark.parametrize("scale", [1.2, 1.5])
def test_a_zoom_keeps_how_many_metres_a_surface_spans(scale):
    """Metres across = depth * pixels / focal length: a strip of a wall keeps its width."""
    wall = scene()
    wall["depth"] = torch.full((1, *SIZE), 3.0)
    wall["seg"] = torch.zeros(SIZE, dtype=torch.int64)
    wall["seg"][:, 12:24] = 1
    near = zoomed(wall, scale, 2, 4)
    before = float(wall["depth"][0, 0, 0]) * 12
    pixels = (near["seg"][0] == 1).sum()
    assert float(near["depth"][0, 0, 0]) * float(pixels) == pytest.approx(before, rel=0.1)


@pytest.mark.parametrize("scale", SCALES)
def test_a_zoom_invents_no_label_and_no_depth(scale):
    sample = scene()
    sample["depth"][0, :, :10] = 0  # not known
    near = zoomed(sample, scale, 0, 0)
    assert set(near["seg"].unique().tolist()) <= set(sample["seg"].unique().tolist())
    depths = set((sample["depth"] / scale).unique().tolist())
    assert set(near["depth"].unique().tolist()) <= depths
    assert (near["depth"] == 0).any()
    assert {n: t.shape for n, t in near.items()} == {n: t.shape for n, t in sample.items()}
    if scale == 1:
        for name, tensor in sample.items():
            torch.testing.assert_close(near[name], tensor)


def test_normals_stay_unit_and_what_is_not_known_stays_so():
    sample = scene()
    sample["normals"][:, :, 20:] = 0
    lengths = zoomed(sample, 1.5, 0, 0)["normals"].norm(dim=0)
    torch.testing.assert_close(lengths[lengths > 0], torch.ones(int((lengths > 0).sum())))
    assert (lengths[:, -5:] == 0).all()


def test_a_zoom_enlarges_the_place_it_is_told():
    sample = scene()
    near = zoomed(sample, 1.5, 6, 8)
    assert torch.equal(near["seg"][0, 0], sample["seg"][6, 8])
    torch.testing.assert_close(near["image"][:, -1, -1], sample["image"][:, 6 + 23, 8 + 31])


def test_tasks_may_be_missing_and_the_seed_decides():
    sample = {name: scene()[name] for name in ("image", "depth")}
    torch.manual_seed(3)
    first = augmented(sample)
    torch.manual_seed(3)
    second = augmented(sample)
    assert set(first) == {"image", "depth"}
    assert all(torch.equal(first[name], second[name]) for name in first)
