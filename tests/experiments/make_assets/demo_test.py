"""The demo clip: exact projection, documented detector errors, one occluded wrist, and its file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.make_assets.demo import ASSET, DETECTION_SPREAD, FPS, OUTLIER_SPREAD, demo_clip, detect_clip
from jaxpose.geometry.skeleton import H36M_17

LEFT, RIGHT = list(H36M_17.left), list(H36M_17.right)
PARENTS = np.array(H36M_17.parents[1:])


def bone_lengths(joints):
    return np.linalg.norm(joints[..., 1:, :] - joints[..., PARENTS, :], axis=-1)


@pytest.fixture(scope="module")
def clip():
    return jax.device_get(demo_clip(jax.random.key(0)))


@pytest.mark.slow
def test_demo_projects_what_it_says(clip):
    x, y, z = np.moveaxis(clip.joints_cam, -1, 0)
    fx, fy, cx, cy = clip.intrinsics
    np.testing.assert_allclose(clip.keypoints_true, np.stack([fx * x / z + cx, fy * y / z + cy], -1), atol=1e-2)
    assert tuple(clip.intrinsics) == (1145, 1145, 500, 500)
    assert (clip.keypoints_true > 0).all()
    assert (clip.keypoints_true < 1000).all()
    assert clip.joints_cam.shape == (90, 17, 3)
    assert np.median(z) == pytest.approx(4.0, abs=0.8)
    assert (clip.keypoints_true[:, 10, 1] < clip.keypoints_true[:, [3, 6], 1].min(-1)).all(), "y points down"
    lengths = bone_lengths(clip.joints_cam)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), atol=5e-6)
    np.testing.assert_allclose(lengths[0, np.array(LEFT) - 1], lengths[0, np.array(RIGHT) - 1], atol=5e-6)


def test_demo_hides_one_wrist_for_a_stretch(clip):
    hidden = clip.confidence == 0
    (joint,) = np.unique(np.nonzero(hidden)[1])
    assert joint in (13, 16)
    frames = np.nonzero(hidden[:, joint])[0]
    assert len(frames) == pytest.approx(18, abs=1)
    assert (np.diff(frames) == 1).all()
    assert (clip.keypoints[hidden] == 0).all()
    assert (clip.confidence[~hidden] >= 0.05).all()
    assert (clip.confidence <= 1).all()


def test_detection_errors_have_the_documented_spread():
    truth = jnp.tile(jnp.linspace(0, 1, 17)[None, :, None] * jnp.array([120.0, 400.0]), (4000, 1, 1))
    keypoints, confidence = jax.device_get(detect_clip(jax.random.key(2), truth))
    error = (keypoints - np.asarray(truth)) / 400
    outlier = confidence < 0.4
    assert outlier.mean() == pytest.approx(0.02, abs=0.002)
    assert confidence[~outlier].min() >= 0.55
    assert error[outlier].std() == pytest.approx(OUTLIER_SPREAD, rel=0.1)
    spread = np.array([error[~outlier[:, j], j].std() for j in range(17)])
    np.testing.assert_allclose(spread, DETECTION_SPREAD, rtol=0.12)
    size = np.linalg.norm(error / np.array(DETECTION_SPREAD)[:, None], axis=-1)
    assert np.corrcoef(size[~outlier], confidence[~outlier])[0, 1] < -0.5
    pairs = ~(outlier[1:] | outlier[:-1])
    assert np.corrcoef(error[1:][pairs].ravel(), error[:-1][pairs].ravel())[0, 1] == pytest.approx(0.8, abs=0.05)


def test_demo_errors_are_those_of_a_detector(clip):
    seen = clip.confidence > 0
    error = np.linalg.norm(clip.keypoints - clip.keypoints_true, axis=-1)[seen]
    extent = np.ptp(clip.keypoints_true, axis=1).max()
    assert 0.004 * extent < error.mean() < 0.02 * extent
    assert 0.005 < (clip.confidence[seen] < 0.4).mean() < 0.04


def test_the_bundled_clip_is_made_so(clip):
    with np.load(ASSET) as z:
        for name, value in clip._asdict().items():
            np.testing.assert_allclose(z[name], value, atol=2e-3)
        assert tuple(z["joints"]) == H36M_17.joints
        assert float(z["fps"]) == FPS
    assert ASSET.stat().st_size < 200_000
