"""Recalibrated results: samples are as drawn, covariance and radius have the factors of their task."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pose_oracle import MEAN, make

from jaxpose.base import Camera
from jaxpose.diffusion.solvers import one_step
from jaxpose.model import Recalibration
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import Run, Sampler

RNG = np.random.default_rng(0)
INTRINSICS = jnp.array([1000.0, 1000.0, 500.0, 500.0])
TRUTH = MEAN + RNG.normal(0, 0.05, (3, 17, 3)) + np.array([0.2, 0.1, 4.0])
PIXELS = 1000 * TRUTH[..., :2] / TRUTH[..., 2:] + 500 + RNG.normal(0, 4, (3, 17, 2))
TRUST = RNG.uniform(0.3, 1, (3, 17))


def factors(covariance=1.0, radius=1.0):
    return Recalibration(covariance * jnp.ones(17), radius * jnp.linspace(1, 2, 17))


def standing_still(sampler, spec, sde):
    """One step that asks no network and changes nothing: states are those of the start, and quickly compiled."""
    return Run(one_step(lambda key, x, t, s, predict: x), jnp.array([sde.t_max, sde.t_min]), False)


STILL = Sampler("still", standing_still, calibrated=True)


def lifted(recalibration, sampler=STILL, **how):
    model = make().replace(recalibration={} if recalibration is None else {"lift": recalibration})
    pixels, trust = PIXELS.astype(np.float32), TRUST.astype(np.float32)
    camera = Camera(INTRINSICS)
    return lift(jax.random.key(0), model, pixels, trust, camera=camera, num_hypotheses=6, sampler=sampler, **how)


def test_a_result_carries_the_recalibrated_covariance_and_radius():
    plain, changed = lifted(None), lifted(factors(covariance=4.0))
    np.testing.assert_allclose(changed.samples, plain.samples, atol=1e-5)
    np.testing.assert_allclose(changed.covariance, 4 * plain.covariance, rtol=1e-3, atol=1e-7)
    away = np.linalg.norm(plain.samples - plain.samples.mean(0), axis=-1)
    np.testing.assert_allclose(plain.radius_90, np.quantile(away, 0.9, axis=0), atol=1e-5)
    np.testing.assert_allclose(changed.radius_90, plain.radius_90 * np.linspace(1, 2, 17), atol=1e-5)


def test_samplers_that_it_was_not_found_for_are_as_they_are():
    drawn = lifted(factors(covariance=9.0), dataclasses.replace(STILL, calibrated=False))
    np.testing.assert_allclose(drawn.covariance[0, 5], np.cov(np.asarray(drawn.samples[:, 0, 5]).T), rtol=1e-3)


@pytest.mark.parametrize("task", [complete, denoise], ids=lambda task: task.__name__)
def test_other_tasks_take_their_own_factors(task):
    model = make().replace(recalibration={task.__name__: factors(covariance=4.0), "lift": factors(covariance=9.0)})
    joints = (TRUTH - TRUTH.mean((1, 2), keepdims=True)).astype(np.float32)  # about 0, where float32 is finest
    drawn = task(jax.random.key(0), model, joints, noise=0.05, num_hypotheses=6, sampler=STILL)
    samples = np.asarray(drawn.samples)
    np.testing.assert_allclose(drawn.covariance[1, 3], 4 * np.cov(samples[:, 1, 3].T), rtol=1e-3)
    away = np.quantile(np.linalg.norm(samples - samples.mean(0), axis=-1), 0.9, axis=0)
    np.testing.assert_allclose(drawn.radius_90, away * np.linspace(1, 2, 17), rtol=1e-3, atol=1e-6)
