"""Clips of bodies: a detector whose errors have the stated size and memory, one body in all frames, sequence bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from figures import STANDING

from jaxpose.conditioning import MaskRates
from jaxpose.datasets.mocap import Mocap
from jaxpose.examples import clips, detectors, views
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.skeleton import H36M_17, bone_lengths
from jaxpose.spaces.person import Statistics

NO_MASKS = MaskRates(0, 0, 0, 0)
CLEAN = ViewRates(noise=(0.0, 0.0), no_confidence=1.0)
LENGTHS = (30, 4, 66)  # of the sequences


@pytest.fixture(scope="module")
def data():
    """100 frames of three sequences: a figure whose arm and leg swing, which each sequence has in its own size."""
    time = np.concatenate([np.arange(n) for n in LENGTHS])
    sequence = np.repeat(np.arange(3), LENGTHS)
    joints = np.tile(STANDING, (len(time), 1, 1))
    angle = 0.02 * time  # below pi / 2 at the end: a frame's number can be read off its arm
    joints[:, 13] = joints[:, 12] + 0.27 * np.stack([0 * angle, -np.cos(angle), np.sin(angle)], -1)
    joints *= (1 + 0.1 * sequence)[:, None, None]
    plain = Statistics(jnp.zeros((17, 3)), jnp.full((17, 3), 0.25), jnp.ones((17, 3)))
    bodies = Bodies(jnp.asarray(joints, jnp.float32), jnp.arange(1, 101) / 100, plain)
    mocap = Mocap(joints, sequence, np.array(["a"] * 3), np.array(["b"] * 3), np.array(["c"] * 3))
    return joints, sequence, clips.make_clips(bodies, mocap)


def draw(data, rates, num_frames, num, seed=0, masks=NO_MASKS):
    keys = jax.random.split(jax.random.key(seed), num)
    made = data[2]
    return jax.jit(jax.vmap(lambda k: clips.clip_example(k, made, rates, masks, num_frames=num_frames)))(keys)


@pytest.fixture(scope="module")
def changed(data):
    """Clips of 9 frames of mirrored, resized and re-proportioned bodies."""
    return draw(data, CLEAN._replace(bone=0.1, size=0.1), 9, 200)


def frames_of(data, example):
    """Row [.., F] of each unmirrored frame, by its bone lengths and by the angle of its forearm and upper arm."""
    statistics = data[2].bodies.statistics
    x = np.asarray(example.x0 * np.asarray(statistics.std) + np.asarray(statistics.mean))
    mark = lambda x: np.stack(  # noqa: E731
        [
            np.linalg.norm(x[..., 13, :] - x[..., 11, :], axis=-1),
            np.linalg.norm(x[..., 12, :] - x[..., 11, :], axis=-1),
        ],
        -1,
    )
    return np.abs(mark(x)[..., None, :] - mark(data[0])).sum(-1).argmin(-1)


@pytest.mark.slow
def test_clips_stay_in_their_sequence_and_go_both_ways(data):
    example = draw(data, CLEAN._replace(mirror=0.0), 9, 300)
    rows = frames_of(data, example)
    sequence = data[1]
    assert (sequence[rows] == sequence[rows[:, :1]]).all()
    step = np.diff(rows, axis=1)
    assert ((step >= 0).all(1) | (step <= 0).all(1)).all()
    whole = (np.abs(step) == 1).all(1)
    assert 0.4 < (step[whole] > 0).all(1).mean() < 0.6
    short = sequence[rows[:, 0]] == 1
    assert short.any(), "the sequence of 4 frames comes"
    assert (np.abs(step[short]).sum(1) <= 3).all(), "and stands still at its ends"
    ends = np.cumsum(LENGTHS) - 1
    standing = np.concatenate([rows[:, :-1][step == 0], rows[:, 1:][step == 0]])
    assert set(standing) <= {*ends, *(ends - np.array(LENGTHS) + 1)}


def test_one_body_and_one_camera_through_a_clip(data, changed):
    """Bones change from clip to clip, but not within one; joints decode to the seen person in every frame."""
    example = changed
    statistics = data[2].bodies.statistics
    lengths = np.asarray(bone_lengths(example.x0 * statistics.std + statistics.mean, H36M_17))
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[:, :1], lengths.shape), rtol=1e-3)
    assert (lengths[:, 0].std(0) / lengths[:, 0].mean(0) > 0.05).all()
    # without noise the condition shows the true keypoints, but for outliers
    error = np.abs(np.asarray(example.cond.value[..., :2] - example.xy)).max(-1)
    assert error[..., detectors.DETECTOR[:, 4] == 1].max() < 1e-4
    assert (error > 1e-4).mean() < 0.06


def test_half_of_the_clips_are_mirrored_as_a_whole(data, changed):
    """The figure swings its left arm: in a mirror, through all frames, the right one."""
    example = changed
    statistics = data[2].bodies.statistics
    x = np.asarray(example.x0 * statistics.std + statistics.mean)
    reach = lambda hand, shoulder: np.linalg.norm(x[..., hand, :] - x[..., shoulder, :], axis=-1)  # noqa: E731
    # the arm that hangs still is longer from shoulder to hand than one whose forearm is raised, in relation to its body
    moving = np.ptp(reach(13, 11), axis=1) > np.ptp(reach(16, 14), axis=1)
    assert 0.4 < moving.mean() < 0.6
    still = np.where(moving, np.ptp(reach(16, 14), axis=1), np.ptp(reach(13, 11), axis=1))
    assert still.max() < 1e-3, "one side moves, the other does not, through all frames"


@pytest.mark.slow
def test_a_clip_of_one_frame_is_the_single_frame_example(data):
    """The same distribution as pose_example: mean and spread of all coordinates of state and condition agree."""
    rates = ViewRates(no_confidence=0.3)
    one = draw(data, rates, 1, 4000)
    keys = jax.random.split(jax.random.key(5), 4000)
    other = jax.jit(jax.vmap(lambda k: views.pose_example(k, data[2].bodies, rates, NO_MASKS)))(keys)
    for mine, theirs in (
        (one.x0, other.x0),
        (one.cond.value, other.cond.value),
        (one.cond.context, other.cond.context),
    ):
        mine = np.asarray(mine)[:, 0]
        error = 5 * np.asarray(theirs).std(0) / np.sqrt(2000)
        assert (np.abs(mine.mean(0) - theirs.mean(0)) <= error + 1e-6).all()
        np.testing.assert_allclose(mine.std(0), np.asarray(theirs).std(0), rtol=0.15, atol=1e-3)


@pytest.fixture(scope="module")
def errors():
    """Errors [C, F, J, 2] px of a crop and confidences [C, F, J] of a person of extent 1 who stands still."""
    xy = jnp.zeros((40, 17, 2)).at[:, 0, 1].set(-0.5).at[:, 1, 1].set(0.5)
    rates = ViewRates(noise=(1.0, 1.0), no_confidence=0.0)
    keys = jax.random.split(jax.random.key(2), 3000)
    seen, confidence = jax.jit(jax.vmap(lambda k: detectors.detect_clip(k, xy, rates)))(keys)
    return np.asarray(seen - xy) * 256 / 1.2, np.asarray(confidence)


def test_errors_have_the_published_mean_and_spread(errors):
    error = errors[0]
    sure = detectors.DETECTOR[:, 4] == 1
    np.testing.assert_allclose(error.mean((0, 1))[sure], detectors.DETECTOR[sure, :2], atol=0.12)
    np.testing.assert_allclose(error[:, 20:].std((0, 1))[sure], detectors.DETECTOR[sure, 2:4], rtol=0.03)
    # of joints with outliers the variance is the mixture's, once a clip is under way
    bias, std, inlier = detectors.DETECTOR[:, :2], detectors.DETECTOR[:, 2:4], detectors.DETECTOR[:, 4:]
    second = inlier * (std**2 + bias**2) + (1 - inlier) * detectors.OUTLIER_STD_PX**2
    np.testing.assert_allclose((error[:, 20:] ** 2).mean((0, 1)), second, rtol=0.25)


def test_errors_drift_with_a_memory_of_0_8_to_0_93(errors):
    """The correlation of neighbours is the mean memory, 0.865; of frames k apart, the mean of its k-th power."""
    error = errors[0][:, :, detectors.DETECTOR[:, 4] == 1]
    z = (error - error.mean((0, 1))) / error.std((0, 1))
    for lag in (1, 5):
        low, high = 0.8, 0.93
        expected = (high ** (lag + 1) - low ** (lag + 1)) / ((lag + 1) * (high - low))
        assert abs((z[:, lag:] * z[:, :-lag]).mean() - expected) < 0.02


def test_outliers_come_in_runs(errors):
    """In a joint with one outlier in ten: the share, and how often an outlier is followed by another."""
    error = errors[0][..., 16, :]
    far = np.linalg.norm(error, axis=-1) > 12  # 5 deviations and more of what is no outlier
    seen = np.exp(-(12**2) / (2 * detectors.OUTLIER_STD_PX**2))  # share of outliers beyond 12 px, a Rayleigh tail
    share = far.mean() / seen
    np.testing.assert_allclose(share, 1 - detectors.DETECTOR[16, 4], rtol=0.12)
    again = far[:, 1:][far[:, :-1]].mean() / seen
    np.testing.assert_allclose(again, 0.7, atol=0.05)
    assert np.corrcoef(np.linalg.norm(error, axis=-1).ravel(), errors[1][..., 16].ravel())[0, 1] < -0.6


@pytest.mark.slow
def test_coco_and_masks_hold_for_the_whole_clip(data):
    """Which joints are seen does not change within a clip."""
    example = draw(data, CLEAN._replace(coco=0.5), 9, 60, masks=MaskRates(0, 0.1, 0.1, 0))
    seen = np.asarray(example.cond.context) > 0
    assert (seen == seen[:, :1]).all()
    spine = seen[:, 0, 7]
    assert 0.2 < spine.mean() < 0.7, "COCO has no spine"
