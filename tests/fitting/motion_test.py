"""Denoising of a moving body whose noise is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.fitting.engine import BodyParameters, posed_body
from jaxpose.fitting.motion import MotionSettings, denoise_motion, estimate_noise, skeleton_of
from jaxpose.fitting.priors import energy_prior
from jaxpose.geometry.skeleton import SMPL_22, bone_lengths
from jaxpose.io.anny_body import anny_body

FRAMES = 24
LEVELS = np.array([0.02, 0.06])  # metres
joints_of = jax.jit(lambda body, parameters: posed_body(body, parameters).joints[..., :22, :])


@pytest.fixture(scope="module")
def truth():
    """Joints [2, F, 22, 3] of people who swing limbs slowly and walk on: 0.5 Hz at 30 frames a second."""
    rng = np.random.default_rng(0)
    phase = 2 * np.pi * 0.5 * np.arange(FRAMES)[:, None, None] / 30 + rng.uniform(0, 6, (2, 1, 21, 3))
    pose = rng.normal(0, 0.15, (2, 1, 21, 3)) * np.sin(phase)
    place = np.arange(FRAMES)[:, None] * [0.03, 0, 0.01] + rng.normal(size=(2, 1, 3))
    parameters = BodyParameters(
        *(jnp.asarray(v, jnp.float32) for v in (pose, np.broadcast_to([0, 1.0, 0], (2, FRAMES, 3)), place)),
        jnp.zeros((2, 10)),
    )
    return joints_of(anny_body(), parameters)


def noisy(joints, seed=0):
    """The first clip at the first level, the second at the second."""
    noise = np.random.default_rng(seed).normal(size=joints.shape) * LEVELS[:, None, None, None]
    return joints + jnp.asarray(noise, jnp.float32)


def half_square(x):
    return jnp.square(x).sum(-1) / 2


def run(y, seed=0):
    """One program for all tests."""
    settings = MotionSettings(num_steps=200)
    return denoise_motion(jax.random.key(seed), anny_body(), y, "smpl22", energy_prior(half_square), settings=settings)


def test_bones_are_as_long_as_they_are_without_their_noise():
    rest = anny_body().shape().joints[:22]
    seen = rest + jnp.asarray(np.random.default_rng(0).normal(0, 0.05, (4000, 22, 3)), jnp.float32)
    lengths = [bone_lengths(x, SMPL_22) for x in (skeleton_of(seen, rest, 0.05).shape().joints[:22], rest)]
    np.testing.assert_allclose(*lengths, atol=0.006)


def errors(x, joints):
    """Mean millimetres [N]."""
    return 1000 * np.linalg.norm(np.asarray(x - joints), axis=-1).mean((1, 2))


def test_the_noise_of_a_moving_body_is_found(truth):
    """The mean of ten draws within 3 %, each within 15 %; joints missing now and then do not matter."""
    draws = [noisy(truth, seed) for seed in range(10)]
    found = np.array([estimate_noise(y) for y in draws]) / LEVELS
    np.testing.assert_allclose(found.mean(0), 1, atol=0.05)
    np.testing.assert_allclose(found, 1, atol=0.15)
    holes = draws[0].at[:, 3:5, 4].set(jnp.nan).at[:, :, 7].set(jnp.nan)
    np.testing.assert_allclose(estimate_noise(holes) / LEVELS, 1, atol=0.15)
    assert (estimate_noise(truth) < 0.001).all()


def test_noise_is_taken_off_at_both_levels(truth):
    """Joints of N(0, s^2) per coordinate are 1.596 s away; a body that moves smoothly is much nearer."""
    y = noisy(truth)
    np.testing.assert_allclose(errors(y, truth), 1596 * LEVELS, rtol=0.06)
    found = run(y)
    assert (errors(found.joints[0], truth) < 0.6 * errors(y, truth)).all()
    jitter = [np.square(np.diff(np.asarray(x), 2, axis=1)).mean() for x in (found.joints[0], y)]
    assert jitter[0] < jitter[1] / 10
    np.testing.assert_allclose(joints_of(anny_body(), found), found.joints, atol=1e-5)


def test_missing_joints_are_filled_and_clips_do_not_see_each_other(truth):
    y = noisy(truth)
    holes = y[1:].at[:, 8:13, [20, 7]].set(jnp.nan)
    found = run(jnp.concatenate([y[:1], holes]))
    before = run(y)
    np.testing.assert_allclose(found.joints[0, 0], before.joints[0, 0], atol=1e-3)
    gap = 1000 * np.linalg.norm(np.asarray(found.joints[0] - truth), axis=-1)[1, 8:13][:, [20, 7]]
    assert np.isfinite(gap).all()
    assert gap.mean() < 1596 * LEVELS[1], "no farther than the noise would put them"


def test_frames_without_any_joint_are_bridged(truth):
    y = noisy(truth).at[0, 10:13].set(jnp.nan)
    found = run(y)
    gap = 1000 * np.linalg.norm(np.asarray(found.joints[0] - truth), axis=-1)[0, 10:13]
    assert gap.mean() < 100
