"""The person-centred codec: round trips, and independence of place, focal length, resolution and distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.geometry import camera
from jaxpose.spaces import person as codec

INTRINSICS = jnp.array([1145.0, 1143.0, 512.0, 515.0])
STATISTICS = codec.Statistics(jnp.linspace(-0.5, 0.5, 51).reshape(17, 3), jnp.linspace(0.1, 0.6, 51).reshape(17, 3))


@pytest.fixture
def pose():
    x = 0.4 * jax.random.normal(jax.random.key(1), (6, 17, 3))
    return x + jnp.array([0.3, -0.2, 5.0])


def test_state_round_trip(pose):
    uv = camera.project(INTRINSICS, pose)
    _, view = codec.encode_keypoints(INTRINSICS, uv, jnp.ones(uv.shape[:-1]))
    relative = codec.decode_pose(STATISTICS, view, codec.encode_pose(STATISTICS, view, pose))
    np.testing.assert_allclose(relative, pose - pose[:, :1], atol=1e-5)


def test_condition_is_independent_of_focal_length_and_resolution(pose):
    conf = jnp.ones(pose.shape[:-1])
    zoomed = INTRINSICS * jnp.array([3.0, 3.0, 2.0, 2.0])
    a, _ = codec.encode_keypoints(INTRINSICS, camera.project(INTRINSICS, pose), conf)
    b, _ = codec.encode_keypoints(zoomed, camera.project(zoomed, pose), conf)
    np.testing.assert_allclose(a.value, b.value, atol=1e-4)


def test_condition_and_state_are_independent_of_where_the_person_stands(pose):
    """A camera rotated in place sees the same person elsewhere in its image: nothing the model sees may change,
    but for a roll about the axis, which a small turn in one direction does not bring."""
    conf = jnp.ones(pose.shape[:-1])
    _, view = codec.encode_keypoints(INTRINSICS, camera.project(INTRINSICS, pose), conf)
    centred = jnp.asarray(np.einsum("bij,bkj->bki", view.R_view_cam, pose))
    for shift in [(0.4, 0.0), (0.0, -0.5)]:
        R = np.asarray(camera.turn_to(jnp.array(shift))).T
        turned = jnp.asarray(np.asarray(centred) @ R.T)
        a, view_a = codec.encode_keypoints(INTRINSICS, camera.project(INTRINSICS, centred), conf)
        b, view_b = codec.encode_keypoints(INTRINSICS, camera.project(INTRINSICS, turned), conf)
        # Both turn the mean ray to the axis; the mean of rays is not exactly equivariant, hence 2 %.
        np.testing.assert_allclose(a.value, b.value, atol=0.03)
        np.testing.assert_allclose(codec.to_view(view_a, centred), codec.to_view(view_b, turned), atol=0.015)


def test_statistics_standardise_the_state(pose):
    scale = np.linspace(0.1, 0.6, 51).reshape(17, 3)
    x = jax.random.normal(jax.random.key(2), (4000, 17, 3)) * scale + STATISTICS.mean
    fitted = codec.fit_statistics(x.at[:, 0].set(0.0))
    state = codec.encode_pose(fitted, codec.View(jnp.eye(3)), x + x.mean(-2, keepdims=True))
    centred = x - x.mean(-2, keepdims=True)
    np.testing.assert_allclose(centred.mean(0) - fitted.mean, state.mean(0) * 0.25, atol=2e-3)
    np.testing.assert_allclose(fitted.spread[1:] * fitted.std[1:], scale[1:], rtol=0.05)
    assert (fitted.std == 0.25).all(), "one unit for all coordinates: noise of the process is noise in metres"
    assert (fitted.spread[0] == 0.02 / 0.25).all(), "what never moves must not be divided by 0"


def test_points_are_seen_from_anywhere_alike(pose):
    seen = jnp.ones(pose.shape[:-1]).at[:, [0, 5]].set(0)
    noise = jnp.full(seen.shape, 0.05).at[:, 1].set(0)
    a = codec.encode_points(pose, seen, noise)
    b = codec.encode_points(pose.at[:, [0, 5]].set(jnp.nan) + jnp.array([1.0, 2.0, 3.0]), seen, noise)
    np.testing.assert_allclose(a.value, b.value, atol=1e-5)
    np.testing.assert_allclose((a.value * 0.5).sum(-2), 0, atol=1e-4)
    visible = np.setdiff1d(np.arange(17), [0, 5])
    middle = pose[:, visible].mean(1, keepdims=True)
    np.testing.assert_allclose(a.value[:, visible], (pose[:, visible] - middle) / 0.5, atol=1e-5)
    assert (a.value[:, [0, 5]] == 0).all()
    assert (a.mask.sum((-1, -2)) == 45).all()
    np.testing.assert_allclose(a.context[0, [0, 1, 2]], [0, 1, 0.5])


def test_no_visible_point_is_the_null_condition(pose):
    cond = codec.encode_points(pose * jnp.nan, jnp.zeros(pose.shape[:-1]), jnp.zeros(pose.shape[:-1]))
    assert all((x == 0).all() for x in cond)


def test_hidden_joints_change_nothing(pose):
    uv = camera.project(INTRINSICS, pose)
    conf = jnp.ones(uv.shape[:-1]).at[:, 3].set(0).at[:, 11].set(0)
    a, _ = codec.encode_keypoints(INTRINSICS, uv, conf)
    b, _ = codec.encode_keypoints(INTRINSICS, uv.at[:, 3].set(1e6).at[:, 11].set(jnp.nan), conf)
    np.testing.assert_array_equal(a.value, b.value)
    assert (a.value[:, [3, 11]] == 0).all()
    assert (a.mask[:, [3, 11]] == 0).all()
    assert (a.mask[..., :2].sum((-1, -2)) == 30).all()
    assert (a.mask[..., 2] == 0).all()


def test_place_finds_the_root_exactly_from_exact_keypoints(pose):
    uv = camera.project(INTRINSICS, pose)
    root = codec.place(INTRINSICS, uv, jnp.ones(uv.shape[:-1]), pose - pose[:, :1])
    np.testing.assert_allclose(root, pose[:, 0], atol=2e-3)


def test_place_serves_many_hypotheses_and_ignores_the_unseen(pose):
    uv = camera.project(INTRINSICS, pose)
    conf = jnp.ones(uv.shape[:-1]).at[:, 5].set(0)
    hypotheses = jnp.stack([pose - pose[:, :1], 1.2 * (pose - pose[:, :1])])
    root = codec.place(INTRINSICS, uv.at[:, 5].set(jnp.nan), conf, hypotheses)
    np.testing.assert_allclose(root[0], pose[:, 0], atol=2e-3)
    np.testing.assert_allclose(root[1], 1.2 * pose[:, 0], atol=3e-3)  # a larger person stands further away


def test_other_keypoints_come_in_the_unit_of_the_condition(pose):
    """Those of the condition itself as the condition has them; a hidden joint's, which the view never saw, too."""
    uv = camera.project(INTRINSICS, pose)
    cond, view = codec.encode_keypoints(INTRINSICS, uv, jnp.ones(uv.shape[:-1]).at[:, 5].set(0))
    xy = codec.encode_xy(view, INTRINSICS, uv)
    visible = np.setdiff1d(np.arange(17), [5])
    np.testing.assert_allclose(xy[:, visible], cond.value[:, visible, :2], atol=1e-5)
    x_view = np.einsum("bij,bkj->bki", view.R_view_cam, pose)
    by_hand = (x_view[..., :2] / x_view[..., 2:] - view.centre[:, None]) / view.extent[:, None, None]
    np.testing.assert_allclose(xy, by_hand, atol=1e-4)


def test_the_view_says_where_the_keypoints_lie_on_its_plane(pose):
    """Weighted by confidence: centre and root mean square extent, in the turned camera."""
    uv = camera.project(INTRINSICS, pose)
    weight = jnp.linspace(0.2, 1, 17)
    _, view = codec.encode_keypoints(INTRINSICS, uv, jnp.broadcast_to(weight, uv.shape[:-1]))
    x_view = np.einsum("bij,bkj->bki", view.R_view_cam, pose)
    xy, share = x_view[..., :2] / x_view[..., 2:], np.asarray(weight / weight.sum())
    centre = np.einsum("j,bjd->bd", share, xy)
    np.testing.assert_allclose(view.centre, centre, atol=1e-5)
    extent = np.sqrt(np.einsum("j,bjd->b", share, (xy - centre[:, None]) ** 2))
    np.testing.assert_allclose(view.extent, extent, rtol=1e-4)
