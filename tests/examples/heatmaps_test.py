"""Simulated heatmaps: weights that tell the truth, blur that is the error, and nothing but what was asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxpose.diffusion.mixture import check_mixture
from jaxpose.examples.heatmaps import HeatmapRates, draw_heatmaps
from jaxpose.geometry.skeleton import H36M_17

NUM = 4000
LEFT, RIGHT = list(H36M_17.left), list(H36M_17.right)


@pytest.fixture(scope="module")
def scene():
    """Exact keypoints [1, 17, 2] of one pose, in pixels, and confidences."""
    rng = np.random.default_rng(0)
    xy = jnp.asarray(rng.uniform(0, 400, (1, 17, 2)), jnp.float32)
    return xy, jnp.asarray(rng.uniform(0.4, 0.9, (1, 17)), jnp.float32)


def draw(scene, rates, frames=1):
    xy, sure = (jnp.repeat(x, frames, 0) for x in scene)
    keys = jax.random.split(jax.random.key(0), NUM)
    return jax.device_get(jax.jit(jax.vmap(lambda k: draw_heatmaps(k, xy, sure, xy, rates)))(keys))


def test_without_any_rate_there_is_one_peak_at_the_detection(scene):
    found = draw(scene, HeatmapRates())
    np.testing.assert_array_equal(found.keypoints, np.broadcast_to(scene[0], found.keypoints.shape))
    np.testing.assert_array_equal(found.confidence, np.broadcast_to(scene[1], found.confidence.shape))
    assert not found.doubtful.any()
    np.testing.assert_array_equal(found.peaks.weight[..., 0], 1)


def test_the_heavier_side_is_right_as_often_as_its_weight_says(scene):
    found = draw(scene, HeatmapRates(swap=1.0))
    check_mixture(jax.tree.map(jnp.asarray, found.peaks))
    xy = np.asarray(scene[0])
    for joint in (RIGHT[2], RIGHT[-1]):  # an ankle and a wrist
        doubt = found.doubtful[:, 0, joint]
        weight = found.peaks.weight[doubt, 0, joint, 0]
        right = (found.keypoints[doubt, 0, joint] == xy[0, joint]).all(-1)
        assert 0.5 < doubt.mean() < 0.8, "two of three kinds befall a limb"
        z = (right.sum() - weight.sum()) / np.sqrt((weight * (1 - weight)).sum())
        assert abs(z) < 4
        # sure ones are right more often
        assert right[weight > 0.8].mean() > right[weight < 0.65].mean() + 0.1
        other = LEFT[RIGHT.index(joint)]
        places = np.sort(found.peaks.mean[doubt, 0, joint, :, 0], -1)
        np.testing.assert_allclose(places, np.broadcast_to(np.sort([xy[0, joint, 0], xy[0, other, 0]]), places.shape))
    np.testing.assert_allclose(found.confidence[doubt, 0, joint], weight * np.asarray(scene[1])[0, joint], rtol=1e-5)


def test_the_blur_of_a_hidden_joint_is_the_error_of_its_right_peak(scene):
    found = draw(scene, HeatmapRates(occlude=1.0))
    xy = np.asarray(scene[0])[0]
    assert found.doubtful.all()
    away = (found.peaks.mean[:, 0] - xy[:, None]) / found.peaks.std[:, 0]
    nearer = np.take_along_axis(away, np.abs(away).sum(-1).argmin(-1)[..., None, None], -2)[..., 0, :]
    assert np.abs(nearer).mean() < 0.9
    # where the second peak is far, the nearer one is the right one
    far = np.abs(np.diff(found.peaks.mean[:, 0], axis=-2)).max((-1, -2)) > 8 * found.peaks.std[:, 0, :, 0, 0]
    assert stats.kstest(nearer[far].ravel(), "norm").statistic < 0.03
    weight = found.peaks.weight[:, 0, :, 0]
    right = (np.abs(away).sum(-1).argmin(-1) == 0)[far]
    assert abs(right.mean() - weight[far].mean()) < 4 * 0.5 / np.sqrt(far.sum())


def test_joints_beyond_the_border_are_put_on_it(scene):
    found = draw(scene, HeatmapRates(truncate=1.0))
    xy = np.asarray(scene[0])[0]
    beyond = found.doubtful[:, 0]
    assert 0.02 < beyond.mean() < 0.5
    moved = (found.keypoints[:, 0] != xy).sum(-1)
    assert (moved[beyond] == 1).all(), "along one axis"
    assert (moved[~beyond] == 0).all()
    np.testing.assert_allclose(found.confidence[:, 0][beyond], (0.3 * np.asarray(scene[1]) * beyond)[beyond], rtol=1e-5)


def test_kinds_hold_through_a_clip_and_missing_joints_stay_missing(scene):
    xy, sure = scene
    found = draw((xy, sure.at[0, 3].set(0)), HeatmapRates(1.0, 0.1, 0.3), frames=6)
    np.testing.assert_array_equal(found.confidence[..., 3], 0)
    assert not found.doubtful[..., 3].any()
    assert (found.doubtful == found.doubtful[:, :1]).all()
    swapped = (found.peaks.weight[..., 0] < 1).any((1, 2))
    changes = (np.diff(found.keypoints[swapped], axis=1) != 0).any((-1, -2))
    assert 0.02 < changes.mean() < 0.4, "the heavier side changes in runs"
