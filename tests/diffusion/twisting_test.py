"""Twists on a Gaussian, where log p(y | x_t) is known at every t: the pseudo-inverse's is that, for any linear map."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
from scipy import stats

from jaxpose.diffusion.twisting import Measurement, log_likelihood, pseudo_inverse, steered

LAW, SDE = laws.correlated(), laws.PROCESSES["sub_vp"]
PREDICT = laws.oracle(LAW, SDE)
MATRIX = np.random.default_rng(3).normal(size=(3, 4))
GOAL = np.array([0.2, -0.5, 1.0])
S, MEAN = LAW.covs[0], LAW.means[0].ravel()


def measured(matrix, goal, noise, seen=None, robust=None):
    seen = np.ones(len(goal), bool) if seen is None else np.asarray(seen)
    return Measurement(
        lambda x0: jnp.where(seen, jnp.asarray(goal) - jnp.asarray(matrix) @ x0.ravel(), 0),
        jnp.where(seen, jnp.asarray(noise) * jnp.ones(len(goal)), 1),
        jnp.asarray(seen),
        robust,
    )


def of_the_state(t):
    """(mean of x0 as a function of x_t, what x_t leaves open of x0), of LAW by the rules of joint Gaussians."""
    alpha, sigma = np.float64(SDE.alpha(t)), np.float64(SDE.sigma(t))
    slope = alpha * S @ np.linalg.inv(alpha**2 * S + sigma**2 * np.eye(4))
    return lambda x: MEAN + slope @ (x - alpha * MEAN), S - alpha * slope @ S, slope


def twists_of(measurements):
    """The pseudo-inverse's twists of all of them, by one program."""
    return jax.jit(lambda x, t: [pseudo_inverse(PREDICT, SDE, m, jnp.asarray(S))(x, t) for m in measurements])


def test_pseudo_inverse_is_exact_for_every_gaussian_linear_map_and_time(x64):
    """Value and change against log p(y | x_t) of the joint Gaussian and its gradient; noises 0, 0.3 and 2."""
    noise, x = np.array([0.0, 0.3, 2.0]), np.random.default_rng(0).normal(size=(2, 2))
    twist_fn = jax.jit(pseudo_inverse(PREDICT, SDE, measured(MATRIX, GOAL, noise), jnp.asarray(S)))
    for t in (0.02, 0.3, 0.95):
        mean, left, slope = of_the_state(t)
        law = stats.multivariate_normal(MATRIX @ mean(x.ravel()), MATRIX @ left @ MATRIX.T + np.diag(noise**2))
        twist = twist_fn(jnp.asarray(x), jnp.asarray(t))
        np.testing.assert_allclose(twist.log_value, law.logpdf(GOAL), rtol=1e-6)
        change = slope.T @ MATRIX.T @ np.linalg.solve(law.cov, GOAL - law.mean)
        np.testing.assert_allclose(twist.change.ravel(), change, rtol=1e-6)
        # and so the steered x0 is the mean of x0 given both x_t and y
        gain = left @ MATRIX.T @ np.linalg.inv(law.cov)
        both = mean(x.ravel()) + gain @ (GOAL - law.mean)
        np.testing.assert_allclose(steered(SDE, twist, jnp.asarray(t)).x0.ravel(), both, rtol=1e-6)


def test_single_precision_takes_tiny_noise_copies_and_what_is_not_seen():
    """Nine copies of three exact rows, among them unseen ones, at noises from 0 to 1e-6, tell what the three tell."""
    x, t = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2)), jnp.float32), jnp.float32(0.2)
    mean, left, slope = of_the_state(0.2)
    goal = MATRIX @ (MEAN + 0.3)  # within reach, as copies must agree
    expected = (
        slope.T @ MATRIX.T @ np.linalg.solve(MATRIX @ left @ MATRIX.T, goal - MATRIX @ mean(np.float64(x).ravel()))
    )
    rows, noise = np.tile(MATRIX, (4, 1)), np.repeat([0, 1e-6, 1e-9, 5], 3)
    seen = np.arange(12) < 9
    observed = np.where(seen, np.tile(goal, 4), 1e9)
    hidden = measured(MATRIX, np.append(goal[:2], 1e9), 0.1, [True, True, False])
    cases = (
        measured(MATRIX, goal, 0.0),
        measured(rows, observed, noise, seen),
        measured(MATRIX[:2], goal[:2], 0.1),
        hidden,
    )
    alone, copies, without, got = twists_of(cases)(x, t)
    np.testing.assert_allclose(alone.change.ravel(), expected, rtol=2e-3)
    np.testing.assert_allclose(copies.change.ravel(), expected, rtol=2e-2)
    np.testing.assert_allclose(got.log_value, without.log_value, rtol=1e-4)
    np.testing.assert_allclose(got.change, without.change, rtol=1e-4)


def test_robust_noise_is_student_s_and_forgets_an_outlier(x64):
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2)))
    error = GOAL - MATRIX @ np.asarray(x0).ravel()
    found = log_likelihood(measured(MATRIX, GOAL, 0.4, robust=3.0), x0)
    np.testing.assert_allclose(found, stats.t(3, scale=0.4).logpdf(error).sum(), rtol=1e-9)
    t, far = jnp.asarray(0.05), GOAL + np.array([0, 0, 100.0])
    short = measured(MATRIX[:2], far[:2], 0.4, robust=3.0)
    cases = (measured(MATRIX, far, 0.4, robust=3.0), short, measured(MATRIX, far, 0.4))
    robust, without, gaussian = (np.asarray(twist.change) for twist in twists_of(cases)(x0, t))
    assert np.abs(robust - without).max() < 0.002 * np.abs(gaussian - without).max()
