"""Denoising by the exact posterior of a Gaussian law: mean, covariance, place, and the noise level itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from shared import refuses

from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.samplers import mean_flow, original_mean_flow, stochastic

NOISE = 0.06
FEW = {"num_hypotheses": 2, "sampler": stochastic(5), "return_path": True}


@pytest.fixture(scope="module")
def model():
    return pose_oracle.make()


@pytest.fixture(scope="module")
def tiny():
    return pose_oracle.tiny()


@pytest.fixture(scope="module")
def observed():
    rng = np.random.default_rng(3)
    clean = pose_oracle.draw(rng, 3)
    return jnp.asarray(clean + NOISE * rng.normal(size=clean.shape), jnp.float32)


def posterior(observed):
    """(mean [N, 17, 3], covariance [51, 51]) of the pose given the observation, place unknown beforehand."""
    middle = np.asarray(observed).mean(1, keepdims=True)
    S = pose_oracle.covariance()
    gain = S @ np.linalg.inv(S + NOISE**2 * np.eye(51))
    away = (np.asarray(observed) - middle - pose_oracle.MEAN).reshape(-1, 51)
    place = np.kron(np.full((17, 17), 1 / 17), np.eye(3)) * NOISE**2
    return middle + pose_oracle.MEAN + (away @ gain.T).reshape(-1, 17, 3), S - gain @ S + place


def test_samples_follow_the_exact_posterior(model, observed):
    num = 4000
    posed = denoise(jax.random.key(0), model, observed, noise=NOISE, num_hypotheses=num)
    mean, cov = posterior(observed)
    np.testing.assert_allclose(posed.mean, mean, atol=4e-3)
    away = np.asarray(posed.samples - posed.mean)[:, 0].reshape(num, 51)
    found = away.T @ away / num
    np.testing.assert_allclose(np.diag(found), np.diag(cov), rtol=0.12)
    np.testing.assert_allclose(found, cov, atol=0.06 * cov.max())
    # all numbers together are surer than one by one
    np.testing.assert_allclose(np.trace(found), np.trace(cov), rtol=0.05)
    np.testing.assert_allclose(posed.covariance[0, 5], np.cov(away.reshape(num, 17, 3)[:, 5].T), rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(posed.noise, NOISE)
    np.testing.assert_allclose(posed.weights.sum(0), 1, rtol=1e-4)


def test_one_mean_flow_sample_is_the_posterior_mean(model, observed):
    posed = denoise(jax.random.key(0), model, observed, noise=NOISE, num_hypotheses=1, sampler=mean_flow())
    np.testing.assert_allclose(posed.samples[0], posterior(observed)[0], atol=2e-3)


def test_the_original_s_step_size_inflates_wide_directions(model, observed):
    """The spec's 5.5: T is shortened but dt is not, so that the pose is pushed out of the law."""
    run = dict(noise=NOISE, num_hypotheses=1)
    posed = denoise(jax.random.key(0), model, observed, sampler=original_mean_flow(), **run)
    right = posterior(observed)[0]

    def centred(x):
        return np.linalg.norm(np.asarray(x) - np.asarray(x).mean(-2, keepdims=True) - pose_oracle.MEAN)

    assert centred(posed.samples[0]) > 1.1 * centred(right)


@pytest.mark.slow
def test_the_noise_is_estimated(model):
    """On average over 20 poses of each level."""
    rng = np.random.default_rng(5)
    clean = pose_oracle.draw(rng, 60)
    levels = np.repeat([0.02, 0.05, 0.12], 20)
    noisy = jnp.asarray(clean + levels[:, None, None] * rng.normal(size=clean.shape), jnp.float32)
    found = np.asarray(denoise(jax.random.key(0), model, noisy, num_hypotheses=1).noise)
    assert (found == found[:, :1]).all()
    np.testing.assert_allclose(found[:, 0].reshape(3, 20).mean(1), [0.02, 0.05, 0.12], rtol=0.1)


def test_moved_poses_come_back_moved_and_the_path_ends_there(tiny, observed):
    a = denoise(jax.random.key(0), tiny, observed, noise=NOISE, **FEW)
    b = denoise(jax.random.key(0), tiny, observed + jnp.array([1.0, -2.0, 4.0]), noise=NOISE, **FEW)
    np.testing.assert_allclose(b.samples - a.samples, np.broadcast_to([1.0, -2.0, 4.0], a.samples.shape), atol=1e-4)
    assert a.path.shape == (6, 2, 3, 17, 3)
    np.testing.assert_array_equal(a.path[-1], a.samples)
    # the start is the observation itself, less what the process has shrunk it by, about its middle
    alpha = 1 / np.sqrt(1 + (NOISE / pose_oracle.UNIT) ** 2)
    start = np.asarray(a.path[0, 0] - a.path[0, 0].mean(-2, keepdims=True))
    away = np.asarray(observed - observed.mean(-2, keepdims=True)) - pose_oracle.MEAN
    np.testing.assert_allclose(start, pose_oracle.MEAN + alpha * away, atol=1e-3)


def test_bad_input_is_told(model, observed):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"pose 1 of 3 has a missing .* complete fills"):
        denoise(key, model, observed.at[1, 4].set(jnp.nan), noise=0.1)
    refuses(r"noise: needed a number or \[3\], got \[2\]", denoise, key, model, observed, noise=jnp.ones(2))
    refuses("noise: needed finite numbers from 0", denoise, key, model, observed, noise=-0.1)
    refuses(r"needed \[N, 17, 3\]", denoise, key, model, observed[:, :5], noise=0.1)
    with pytest.raises(
        ValueError, match=r"denoise needs a model of joint positions .* got 'oracle', .* states are 'image_depth'"
    ):
        denoise(key, pose_oracle.make(codec="image_depth"), observed, noise=0.1)
