"""Posteriors that are known: of a Gaussian, where pseudo-inverse guidance is exact, and of a mixture, for particles."""

import dataclasses

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pose_oracle
import pytest
from scipy.stats import multivariate_normal
from shared import refuses

from jaxpose.tasks.methods import METHODS, Method, dposer, pseudo_inverse
from jaxpose.tasks.posterior import Observed, posterior
from jaxpose.tasks.priors import Prior, fitted, prior_of

SDE = laws.PROCESSES["vp"]
LAW = laws.correlated()
S, MEAN = LAW.covs[0], LAW.means[0].ravel()
PRIOR = Prior(laws.oracle(LAW, SDE), SDE, laws.SHAPE, covariance=jnp.asarray(S, jnp.float32))
MATRIX = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float32)
GOAL = np.array([0.5, -0.7, 0.3], np.float32)
NOISE = np.array([0.3, 0.02, 0.5], np.float32)
MASK = np.array([[1, 0], [1, 0]], np.float32)
VALUE = np.array([[0.6, np.nan], [-0.4, 7.0]], np.float32)


def of_flat(matrix):
    """The operator of a matrix [M, 4]."""
    return lambda x: jnp.matmul(x.reshape(*x.shape[:-2], 4), matrix.T, precision="highest")


def rows(*which):
    return of_flat(MATRIX[list(which)])


def exact(law_mean, cov, matrix, goal, noise):
    """Mean, covariance of x given matrix x + noise = goal, and log p(goal)."""
    joint = matrix @ cov @ matrix.T + np.diag(np.broadcast_to(noise, len(goal)) ** 2)
    gain = cov @ matrix.T @ np.linalg.inv(joint)
    mean = law_mean + gain @ (goal - matrix @ law_mean)
    return mean, cov - gain @ matrix @ cov, multivariate_normal.logpdf(goal, matrix @ law_mean, joint)


def draw(prior, *observed, **options):
    return posterior(jax.random.key(0), prior, *observed, **options)


def moments(found):
    x, w = (
        np.asarray(found.samples, np.float64).reshape(len(found.weights), -1),
        np.asarray(found.weights, np.float64),
    )
    mean = w @ x
    return mean, (w[:, None] * (x - mean)).T @ (x - mean)


def test_pseudo_inverse_is_exact_for_linear_gaussian_and_observations_add():
    """Three oblique rows of a correlated Gaussian, at once and in two parts with something that was not observed."""
    num = 2000
    whole = draw(PRIOR, Observed(GOAL, rows(0, 1, 2), NOISE), num_hypotheses=num)
    mean, cov, _ = exact(MEAN, S, MATRIX, GOAL, NOISE)
    got_mean, got_cov = moments(whole)
    deviation = np.sqrt(np.diag(cov))
    np.testing.assert_allclose((got_mean - mean) / deviation, 0, atol=4 / num**0.5)
    np.testing.assert_allclose((got_cov - cov) / np.outer(deviation, deviation), 0, atol=4 * (2 / num) ** 0.5)
    parts = draw(
        PRIOR,
        Observed(GOAL[1:], rows(1, 2), NOISE[1:]),
        Observed(np.array([np.nan, GOAL[0]]), rows(2, 0), NOISE[0]),
        num_hypotheses=10,
    )
    # and the first 10 of many are the 10 of few
    np.testing.assert_allclose(parts.samples, whole.samples[:10], atol=2e-3)
    residual = GOAL - np.asarray(whole.samples).reshape(num, 4) @ MATRIX.T
    likelihood = multivariate_normal.logpdf(residual, np.zeros(3), np.diag(NOISE**2))
    np.testing.assert_allclose(whole.log_likelihood, likelihood, rtol=1e-3, atol=1e-2)


@pytest.fixture(scope="module")
def two_modes():
    """(posterior weight of each mode, mean, log p(y)) and the prior: 0.3 and 0.7, of which y speaks for the first."""
    law, matrix, noise = laws.two_modes(), np.array([[0.5, 0.2, -0.1, 0.1]], np.float32), 0.25
    goal = np.array([-0.1], np.float32)
    each = [exact(m.ravel(), c, matrix, goal, noise) for m, c in zip(law.means, law.covs, strict=True)]
    joint = law.weights * np.exp([e[2] for e in each])
    share = joint / joint.sum()
    prior = Prior(laws.oracle(law, SDE), SDE, laws.SHAPE, covariance=jnp.eye(4))
    given = Observed(goal, of_flat(matrix), noise)
    return prior, given, share, share @ np.array([e[0] for e in each]), np.log(joint.sum())


@pytest.mark.slow
def test_particles_find_the_weights_of_the_modes_and_the_evidence(two_modes):
    prior, given, share, mean, evidence = two_modes
    found = draw(prior, given, method=pseudo_inverse(40, smc=True), num_hypotheses=2000)
    first = float(found.weights @ (found.samples.mean((1, 2)) < 0))
    assert abs(first - share[0]) < 0.05
    np.testing.assert_allclose(moments(found)[0], mean, atol=0.1)
    np.testing.assert_allclose(found.log_evidence, evidence, atol=0.1)
    np.testing.assert_allclose(found.weights.sum(), 1, rtol=1e-5)
    assert 100 < found.ess < 2000
    alone = draw(prior, given, method=pseudo_inverse(40), num_hypotheses=2000)
    plain = float((alone.samples.mean((1, 2)) < 0).mean())
    assert abs(plain - share[0]) > 0.1, (plain, share)
    assert alone.ess == 2000
    assert np.isnan(alone.log_evidence)


def test_dposer_goes_to_the_likeliest_pose():
    found = draw(PRIOR, Observed(GOAL, rows(0, 1, 2), 0.3), method=dposer(), num_hypotheses=50)
    mean, cov, _ = exact(MEAN, S, MATRIX, GOAL, 0.3)
    got_mean, got_cov = moments(found)
    deviation = np.sqrt(np.diag(cov))
    np.testing.assert_allclose((got_mean - mean) / deviation, 0, atol=0.2)
    assert (np.sqrt(np.diag(got_cov)) < 0.6 * deviation).all()


def test_a_model_is_a_prior_in_metres():
    """Poses of a known Gaussian law: some joints seen to 2 cm, posterior of all 51 coordinates."""
    model = pose_oracle.make()
    cov = pose_oracle.covariance()
    prior = dataclasses.replace(prior_of(model), covariance=jnp.asarray(cov / pose_oracle.UNIT**2, jnp.float32))
    truth = pose_oracle.draw(np.random.default_rng(0), 1)[0]
    truth = (truth - truth.mean(0)).astype(np.float32)
    mask = np.zeros((17, 3), np.float32)
    mask[[1, 4, 9, 13, 16]] = 1
    num = 400
    shown = np.where(mask > 0, truth, np.nan)
    found = draw(prior, Observed(shown, lambda x: x, 0.02), method=pseudo_inverse(30), num_hypotheses=num)
    mean, spread, _ = exact(
        pose_oracle.MEAN.ravel(), cov, np.eye(51)[mask.ravel() > 0], truth.ravel()[mask.ravel() > 0], 0.02
    )
    values, vectors = np.linalg.eigh(spread)
    moving = values > 1e-3 * values[-1]  # the root stays where it is
    assert moving.sum() == 48
    unit = (np.asarray(found.samples).reshape(num, 51) - mean) @ vectors[:, moving] / np.sqrt(values[moving])
    np.testing.assert_allclose(unit.mean(0), 0, atol=0.2)
    np.testing.assert_allclose(unit.var(0).mean(), 1, atol=0.08)  # 0.945 after 30 steps, 0.945 after 60
    np.testing.assert_allclose(unit.var(0), 1, atol=0.28)


def test_a_fitted_prior_has_the_law_s_covariance():
    got = fitted(jax.random.key(0), PRIOR, 2000).covariance
    np.testing.assert_allclose(got, 0.95 * S + 0.05 * np.diag(np.diag(S)), atol=0.09)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"noise": 0.0}, {"method": dposer()}, r"noise: 'dposer' needs numbers > 0, got 0\.0"),
        ({"noise": -1.0}, {}, r"noise: 'pseudo_inverse' needs numbers >= 0, got -1\.0"),
        ({"noise": np.ones(2)}, {}, r"noise: needed to broadcast to \[3\], got \[2\]"),
        ({"value": np.ones(2)}, {}, r"observed: needed \[3\] as the operator gives, got \[2\]"),
        ({}, {"num_hypotheses": 0}, "num_hypotheses: needed at least 1, got 0"),
        ({}, {"chunk": 0}, "chunk: needed at least 1, got 0"),
    ],
)
def test_what_is_wrong_is_named(changes, options, message):
    observed = Observed(GOAL, rows(0, 1, 2), 0.1)._replace(**changes)
    refuses(message, draw, PRIOR, observed, **options)
    if "observed" in message or "noise" in message:  # of several observations the number is told
        refuses(message.replace(":", " 1:", 1), draw, PRIOR, Observed(GOAL[:1], rows(0), 0.1), observed, **options)


def test_a_method_s_numbers_are_checked_where_it_is_made_and_it_is_a_value():
    refuses(r"robust: needed degrees of freedom > 0 or None, got 0\.0", pseudo_inverse, robust=0.0)
    refuses("num_steps: needed at least 1, got 0", dposer, 0)
    refuses("observed: needed at least one measurement, got none", draw, PRIOR)
    assert all(isinstance(make(), Method) and make().name == name for name, make in METHODS.items())
    assert len({make() for make in METHODS.values()} | {make() for make in METHODS.values()}) == len(METHODS)
