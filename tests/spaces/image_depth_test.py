"""GFPose's pixels and depth: the original's numbers, the round trip, the box."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shared

from jaxpose.spaces import image_depth as codec

GOLDEN = shared.GOLDEN / "gfpose"
INTRINSICS = np.array([1145.0, 1143.8, 512.5, 515.4])


@pytest.fixture
def poses():
    """Three poses of people within 1 m about a root 3 to 6 m away."""
    rng = np.random.default_rng(0)
    root = np.array([[0.3, -0.2, 3.0], [-1.0, 0.1, 4.5], [0.0, 0.5, 6.0]])[:, None]
    return root + rng.uniform(-0.9, 0.9, (3, 17, 3)) * (np.arange(17) > 0)[:, None]


def test_gfposes_back_projection():
    """The original works in millimetres and from the file's box."""
    z = np.load(GOLDEN / "gfpose_peer.npz")
    ratio = codec.ratio_of_box(z["geo_box"])
    got = codec.back_project(z["geo_img"], z["geo_cam"], ratio, z["geo_root_depth"] / 1000)
    np.testing.assert_allclose(got, z["geo_cam_out"] / 1000, atol=2e-6)


def test_there_and_back(x64, poses):
    uvd = codec.to_image_depth(INTRINSICS, poses)
    ratio = codec.ratio_of(INTRINSICS, poses[:, 0, 2])
    np.testing.assert_allclose(codec.back_project(uvd, INTRINSICS, ratio, poses[:, 0, 2]), poses, atol=1e-12)
    np.testing.assert_allclose(codec.decode(codec.encode(uvd)), uvd, atol=1e-10)


def test_the_box_around_the_root_has_the_ratio(x64, poses):
    """The files' box: projections of the root moved by 1 m to the left and up, to the right and down."""
    root = poses[:, 0]
    fx, fy, cx, cy = INTRINSICS
    corners = [
        (fx * (root[:, 0] - 1) / root[:, 2] + cx),
        (fy * (root[:, 1] - 1) / root[:, 2] + cy),
        (fx * (root[:, 0] + 1) / root[:, 2] + cx),
        (fy * (root[:, 1] + 1) / root[:, 2] + cy),
    ]
    np.testing.assert_allclose(
        codec.ratio_of_box(np.stack(corners, -1)), codec.ratio_of(INTRINSICS, root[:, 2]), rtol=1e-12
    )


def test_units_of_the_state():
    """spec/gfpose.md, 3.1: u / 1000 * 2 - 1 and d / 1000 * 2, times 30; the root's depth is 0; 1 unit is 16.7 px."""
    uvd = np.zeros((17, 3))
    uvd[:4] = [[500, 500, 0], [1000, 0, 100], [0, 1000, -100], [516.7, 500, 16.7]]
    expected = np.stack([uvd[:, 0] / 500 - 1, uvd[:, 1] / 500 - 1, uvd[:, 2] / 500], -1) * 30
    np.testing.assert_allclose(codec.encode(uvd), expected, rtol=1e-5, atol=1e-5)


def test_depth_of_a_joint_behind_the_root():
    """At 5 m and f = 1145, 73 mm of depth are 1 unit of state (spec/gfpose.md, 3.1)."""
    pose = np.tile([0.0, 0.0, 5.0], (17, 1))
    pose[5, 2] += 0.073
    uvd = jax.jit(codec.to_image_depth)(jnp.asarray(INTRINSICS), jnp.asarray(pose))
    np.testing.assert_allclose(codec.encode(uvd)[5, 2], 1.0, rtol=0.01)
    assert uvd[0, 2] == 0
