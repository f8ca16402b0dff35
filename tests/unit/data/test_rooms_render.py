"""Geometry oracles and statistics of the rendered rooms."""

import subprocess
import sys
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest

from compactmtl.data.rooms_cast import cast, clusters, view_rays
from compactmtl.data.rooms_geometry import CLASS_NAMES, Kind, RoomClass
from compactmtl.data.rooms_render import RENDERER_VERSION, SPLITS, Frame, render
from compactmtl.data.rooms_scene import random_scene

H, W = 48, 64
INDICES = range(6)


def scene_of(index, *, seed=0, split="train"):
    return random_scene(np.random.default_rng(np.random.SeedSequence([seed, SPLITS[split], index])))


def back_project(depth, focal):
    height, width = depth.shape
    x = (np.arange(width) + 0.5 - width / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    z = depth.astype(np.float64)
    return np.stack([z * x[None, :], z * y[:, None], z], -1)


def flat_pixels(depth):
    """Inner pixels on one plane with all neighbours: there 1/z is affine in the pixel place."""
    inverse = 1 / depth.astype(np.float64)
    along_x = np.abs(inverse[1:-1, 2:] - 2 * inverse[1:-1, 1:-1] + inverse[1:-1, :-2])
    along_y = np.abs(inverse[2:, 1:-1] - 2 * inverse[1:-1, 1:-1] + inverse[:-2, 1:-1])
    return (along_x < 2e-6) & (along_y < 2e-6)


def normal_error_degrees(points, normals, chosen):
    """99th percentile of the angle between normals and those of the points' differences."""
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    expected = np.cross(down, across)  # x right, y down: this one points towards the camera
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    cosine = (expected * normals[1:-1, 1:-1]).sum(-1)[chosen]
    return float(np.percentile(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 99))


def height_spread(frame, camera, label):
    """Lowest and highest world z, in metres, of the pixels of a class."""
    points = back_project(frame.depth, camera.focal(*frame.depth.shape))
    heights = (points @ camera.axes())[..., 2] + camera.position[2]
    chosen = heights[frame.seg == label]
    return chosen.min(), chosen.max()


@pytest.fixture(scope="module")
def frames():
    return [render("train", 0, index, H, W) for index in INDICES]


def test_same_bits_in_any_order_and_instance(frames):
    for index in reversed(INDICES):
        again = render("train", 0, index, H, W)
        for name in Frame.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(again, name), getattr(frames[index], name))


def test_same_bits_in_another_process(frames):
    program = (
        "import zlib; from compactmtl.data.rooms_render import render;"
        f"f = render('train', 0, 2, {H}, {W});"
        "print(*[zlib.crc32(a.tobytes()) for a in (f.image, f.seg, f.depth, f.normals)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    frame = frames[2]
    arrays = (frame.image, frame.seg, frame.depth, frame.normals)
    assert done.stdout.split() == [str(zlib.crc32(array.tobytes())) for array in arrays]


def test_split_seed_and_index_each_change_the_scene(frames):
    others = [
        render("val", 0, 0, H, W),
        render("test", 0, 0, H, W),
        render("train", 1, 0, H, W),
        render("train", 0, 1, H, W),
    ]
    assert all((other.depth != frames[0].depth).mean() > 0.9 for other in others)


def test_normals_are_unit_and_face_the_camera(frames):
    for index, frame in enumerate(frames):
        np.testing.assert_allclose(np.linalg.norm(frame.normals, axis=-1), 1.0, atol=1e-5)
        rays = back_project(np.ones((H, W)), scene_of(index).camera.focal(H, W))
        assert ((rays * frame.normals).sum(-1) < 1e-4).all()


def test_normals_agree_with_depth_on_flat_pixels(frames):
    for index, frame in enumerate(frames):
        points, flat = (
            back_project(frame.depth, scene_of(index).camera.focal(H, W)),
            flat_pixels(frame.depth),
        )
        assert flat.mean() > 0.2
        assert normal_error_degrees(points, frame.normals, flat) < 0.5


PLANTED = {
    "x_flipped": lambda depth, normals: (depth, normals * np.array([-1, 1, 1])),
    "y_up": lambda depth, normals: (depth, normals * np.array([1, -1, 1])),
    "axes_swapped": lambda depth, normals: (depth, normals[..., [1, 0, 2]]),
    "depth_offset": lambda depth, normals: (depth + 0.3, normals),
}


@pytest.mark.parametrize("planted", sorted(PLANTED))
def test_normal_oracle_fails_on_a_planted_error(frames, planted):
    frame, focal = frames[0], scene_of(0).camera.focal(H, W)
    depth, normals = PLANTED[planted](frame.depth, frame.normals)
    flat = flat_pixels(frame.depth)
    assert normal_error_degrees(back_project(depth, focal), normals, flat) > 2


def test_floor_and_ceiling_are_planes_of_the_room(frames):
    seen = 0
    for index, frame in enumerate(frames):
        scene = scene_of(index)
        low, high = height_spread(frame, scene.camera, RoomClass.FLOOR)
        assert low > -1e-3
        assert high < 0.0125 + 1e-3  # a rug is 12 mm thick
        if (frame.seg == RoomClass.CEILING).any():
            seen += 1
            np.testing.assert_allclose(
                height_spread(frame, scene.camera, RoomClass.CEILING), scene.size[2], atol=2e-3
            )
    assert seen > 0


def test_floor_oracle_fails_for_distance_instead_of_depth(frames):
    scene, frame = scene_of(0), frames[0]
    points = back_project(frame.depth, scene.camera.focal(H, W))
    wrong = replace(frame, depth=np.linalg.norm(points, axis=-1))
    assert height_spread(wrong, scene.camera, RoomClass.FLOOR)[0] < -0.05


def inside_any(scene, points):
    """Tell which world points lie inside a primitive, by its definition, in float64."""
    found = np.zeros(len(points), bool)
    for group in scene.groups:
        cos, sin = np.cos(group.yaw), np.sin(group.yaw)
        p = points - [group.x, group.y, group.z]
        local = np.stack(
            [cos * p[:, 0] + sin * p[:, 1], cos * p[:, 1] - sin * p[:, 0], p[:, 2]], -1
        )
        for part in group.primitives:
            unit = (local - part.centre) / part.half
            if part.kind is Kind.BOX:
                found |= (np.abs(unit) < 1).all(-1)
            elif part.kind is Kind.CYLINDER:
                found |= (np.hypot(unit[:, 0], unit[:, 1]) < 1) & (np.abs(unit[:, 2]) < 1)
            else:
                found |= (unit**2).sum(-1) < 1
    return found


@pytest.mark.parametrize("index", [0, 1, 2])
def test_first_hit_agrees_with_a_march_along_the_rays(index):
    scene, size = scene_of(index), (18, 24)
    rays = view_rays(scene, *size)
    depth, surface = cast(scene, clusters(scene), rays)
    eye = np.array(scene.camera.position)
    direction = np.stack(rays, -1).reshape(-1, 3).astype(np.float64)
    t, number = depth.ravel().astype(np.float64), surface.ravel()
    for share in np.linspace(0.05, 1.0, 40):
        assert not inside_any(scene, eye + (t * share - 2e-3)[:, None] * direction).any()
    # Edges that a ray only grazes may be left again within the step.
    behind = inside_any(scene, eye + (t + 2e-3)[:, None] * direction)
    assert behind[number >= 6].mean() > 0.97
    walls = eye + t[:, None] * direction
    gap = np.minimum(walls, np.array(scene.size) - walls).min(-1)
    np.testing.assert_allclose(gap[number < 6], 0.0, atol=1e-4)


def test_all_classes_occur_and_none_dominates():
    shares = np.zeros(len(CLASS_NAMES))
    present = np.zeros(len(CLASS_NAMES))
    num_scenes = 60
    for index in range(num_scenes):
        count = np.bincount(
            render("train", 3, index, 24, 32).seg.ravel(), minlength=len(CLASS_NAMES)
        )
        shares += count / (24 * 32 * num_scenes)
        present += count > 0
    assert len(CLASS_NAMES) >= 8
    assert shares.max() < 0.45
    assert shares.min() > 0.003
    assert present.min() >= 4


def test_picture_has_contrast_and_depth_a_plausible_range(frames):
    for frame in frames:
        assert frame.image.dtype == np.float32
        assert frame.image.min() >= 0
        assert frame.image.max() <= 1
        assert 0.2 < frame.image.mean() < 0.8
        assert frame.image.std() > 0.08
        assert frame.depth.min() > 0.3
        assert frame.depth.max() < 10


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 129), (64, 31)])
def test_any_size_renders_without_a_warning(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = render("val", 5, 1, *size)
    assert frame.image.shape == (*size, 3)
    assert frame.seg.shape == frame.depth.shape == size
    assert np.isfinite(frame.image).all()
    assert np.isfinite(frame.normals).all()
    assert (frame.depth > 0).all()


def test_a_larger_picture_shows_the_same_scene():
    small, large = render("train", 0, 4, 24, 32), render("train", 0, 4, 72, 96)
    centres = large.depth[1::3, 1::3]  # three times the size: the middle one has the same ray
    assert (np.abs(centres - small.depth) < 1e-3).mean() > 0.99


def test_renderer_version_is_raised_with_the_pictures():
    """A changed scene under an old version would be read from stale caches.

    After a wanted change: raise RENDERER_VERSION and write the new figures here.
    """
    figures = []
    for index in range(3):
        frame = render("train", 0, index, 24, 32)
        figures.append((float(frame.depth.mean()), float(frame.image.mean())))
    assert RENDERER_VERSION == 1
    # Other machines may round single pixels differently, hence not the bits.
    np.testing.assert_allclose(
        figures, [(3.6298, 0.4712), (3.0716, 0.5288), (3.2506, 0.4919)], atol=2e-3
    )
