"""Normals from depth, against surfaces whose normals are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.data.depth_normals import Camera, normals_from_depth

CAMERA = Camera(fx=90.0, fy=95.0, cx=30.5, cy=22.0)
SIZE = (48, 64)
V, U = np.indices(SIZE)
RAYS = np.stack([(U - CAMERA.cx) / CAMERA.fx, (V - CAMERA.cy) / CAMERA.fy, np.ones(SIZE)], axis=-1)


def degrees(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arccos(np.clip((found * truth).sum(-1), -1, 1)))


@settings(max_examples=20, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(0.5, 8.0))
def test_a_plane_has_its_normal_everywhere_up_to_the_border(x, y, distance):
    normal = np.array([x, y, -1.0]) / np.linalg.norm([x, y, 1.0])
    depth = -distance / (RAYS @ normal)
    seen = (depth > 0.2) & (depth < 50)
    found = normals_from_depth(np.where(seen, depth, 0).astype(np.float32), CAMERA)
    fits = (found != 0).any(-1)
    assert fits[seen].mean() > 0.98
    assert not fits[~seen].any()
    assert degrees(found[fits], normal).max() < 0.2  # float32 of the depth itself


def test_a_wall_seen_frontally_faces_the_camera():
    found = normals_from_depth(np.full(SIZE, 2.5, np.float32), CAMERA)
    np.testing.assert_allclose(found, np.broadcast_to([0.0, 0.0, -1.0], (*SIZE, 3)), atol=1e-6)


def sphere(centre, radius):
    """Return depth and normals of the near side of a sphere."""
    b = RAYS @ centre
    a = (RAYS * RAYS).sum(-1)
    root = b * b - a * (centre @ centre - radius * radius)
    hit = root > 0
    depth = np.where(hit, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    normal = (RAYS * depth[..., None] - centre) / radius
    return depth.astype(np.float32), normal, hit


def test_a_sphere_has_its_normals_within_the_windows_curvature():
    depth, truth, hit = sphere(np.array([0.1, -0.05, 4.0]), 1.0)
    found = normals_from_depth(depth, CAMERA)
    facing = hit & ((truth * RAYS).sum(-1) < -0.6)  # away from the rim
    assert facing.sum() > 300
    wrong = degrees(found[facing], truth[facing])
    assert wrong.mean() < 1.0
    assert wrong.max() < 4.0
    narrow = degrees(normals_from_depth(depth, CAMERA, radius=1)[facing], truth[facing])
    assert narrow.mean() < wrong.mean()


def test_two_walls_at_different_depth_do_not_mix():
    depth = np.where(U < 32, 2.0, 3.0).astype(np.float32)
    found = normals_from_depth(depth, CAMERA)
    assert degrees(found, np.array([0.0, 0.0, -1.0])).max() < 0.1


@pytest.mark.parametrize("blank", [0.0, -1.0, np.nan, np.inf])
def test_what_is_not_known_has_no_normal_and_spoils_none(blank):
    depth = np.full(SIZE, 2.0, np.float32)
    depth[10:20, 10:20] = blank
    depth[40, 60] = blank
    found = normals_from_depth(depth, CAMERA)
    assert not found[10:20, 10:20].any()
    assert not found[40, 60].any()
    rest = (found != 0).any(-1)
    assert rest.sum() == depth.size - 101
    np.testing.assert_allclose(found[rest][:, 2], -1, atol=1e-6)


def test_a_lonely_pixel_and_a_line_have_none():
    depth = np.zeros(SIZE, np.float32)
    depth[5, 5] = 2
    depth[30, :] = 2
    assert not normals_from_depth(depth, CAMERA).any()


def test_a_resized_image_has_the_resized_camera():
    """A ray through a point of the scene is the same ray in both images."""
    twice = CAMERA.scaled(2.0, 2.0)
    for u in (0.0, 7.0, 31.5):
        wide = 2 * u + 0.5  # the same place, pixel centres at integers
        assert (wide - twice.cx) / twice.fx == pytest.approx((u - CAMERA.cx) / CAMERA.fx)


def test_the_oracle_sees_a_wrong_camera_and_a_wrong_sign():
    normal = np.array([0.6, 0.0, -0.8])
    depth = (-3.0 / (RAYS @ normal)).astype(np.float32)
    wrong = Camera(CAMERA.fx * 1.2, CAMERA.fy, CAMERA.cx, CAMERA.cy)
    assert degrees(normals_from_depth(depth, wrong), normal).min() > 1
    assert degrees(-normals_from_depth(depth, CAMERA), normal).min() > 90
