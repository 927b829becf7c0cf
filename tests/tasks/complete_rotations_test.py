"""Completion under priors whose law is known: what the hidden joints must look like is then written down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rotation_oracle
from compilations import counted
from rotation_oracle import COVARIANCE, MEAN, STD
from scipy import stats
from scipy.spatial.transform import Rotation
from shared import refuses

import jaxpose
from jaxpose.diffusion.regulariser import fixed
from jaxpose.model import Recalibration
from jaxpose.tasks.complete_rotations import METHODS, PARTS, Descent, complete_rotations, rotation_spread

POSE = rotation_oracle.draw(0, 2)
KNOWN = np.ones((2, 21))
KNOWN[0, list(PARTS["left_leg"])] = KNOWN[1, list(PARTS["trunk"])] = 0
HIDDEN = KNOWN == 0


def shown(pose, known):
    """The pose with its unknown joints NaN, float32."""
    return jnp.asarray(np.where(known[..., None] > 0, pose, np.nan), jnp.float32)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "few_steps"])
def test_known_joints_stay_and_hidden_ones_follow_the_prior(method):
    """Every number is independent of the others, so what is known says nothing: samplers give N(MEAN, STD^2), and
    descent ends near MEAN, by the noise of its last steps."""
    given = shown(POSE, KNOWN)
    drawn = complete_rotations(
        jax.random.key(0),
        rotation_oracle.independent(),
        given,
        jnp.asarray(KNOWN),
        num_hypotheses=100,
        method=METHODS[method](),
    )
    np.testing.assert_array_equal(drawn[:, ~HIDDEN], np.broadcast_to(given[~HIDDEN], (100, *given[~HIDDEN].shape)))
    z = ((np.asarray(drawn) - MEAN) / STD)[:, HIDDEN]
    assert (z.std(0) > 0.02).all(), "hypotheses differ in every hidden number"
    if method == "dposer":
        assert np.abs(z.mean(0)).max() < 0.2
        assert z.std() < 0.5
    else:
        assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
        np.testing.assert_allclose(z.std(), 1, atol=0.06)


def conditional(covariance, z, hidden):
    """Mean of the hidden numbers of a Gaussian about 0, given the others."""
    h = np.repeat(hidden, 3)
    return covariance[np.ix_(h, ~h)] @ np.linalg.solve(covariance[np.ix_(~h, ~h)], z.ravel()[~h])


def completed(method, num=200):
    """State [H, h] of the hidden numbers of the right arm and leg of one pose, all others known; and what is hidden."""
    hidden = np.isin(np.arange(21), PARTS["right_body"])
    drawn = complete_rotations(
        jax.random.key(1),
        rotation_oracle.correlated(),
        shown(POSE[:1], 1 - hidden[None]),
        jnp.asarray(1.0 - hidden),
        num_hypotheses=num,
        method=method,
    )
    return ((np.asarray(drawn)[:, 0] - MEAN) / STD)[:, hidden].reshape(num, -1), hidden


def test_descent_ends_at_the_conditional_mean_of_the_blurred_law():
    """E of the regulariser's gradient is sigma^2 C^-1 x with C = alpha^2 S + sigma^2: zero in the hidden numbers where
    they are the conditional mean under C."""
    t = 0.1
    got, hidden = completed(Descent(schedule=fixed(t)))
    sde = rotation_oracle.spec().sde()
    blurred = float(sde.alpha(t)) ** 2 * COVARIANCE + float(sde.sigma(t)) ** 2 * np.eye(63)
    wanted = conditional(blurred, (POSE[0] - MEAN) / STD, hidden)
    assert np.abs(wanted).max() > 0.3
    np.testing.assert_allclose(got.mean(0), wanted, atol=0.1)


@pytest.mark.parametrize("method", [METHODS[name](noise=0.01) for name in ("dps", "mcg")])
def test_guided_sampling_has_the_posterior_s_mean_and_spread(method):
    """Of this law the guided equation's own mean and spread are within half a standard error of them."""
    got, hidden = completed(method)
    wanted = conditional(COVARIANCE, (POSE[0] - MEAN) / STD, hidden)
    h = np.repeat(hidden, 3)
    cov = np.linalg.inv(np.linalg.inv(COVARIANCE)[np.ix_(h, h)])
    assert np.sqrt(np.mean(np.square(got.mean(0) - wanted) / np.diag(cov))) < 1.6 / np.sqrt(len(got))
    np.testing.assert_allclose(got.std(0).mean(), np.sqrt(np.diag(cov)).mean(), rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("method", [Descent(num_steps=5), METHODS["mcg"](num_steps=3)])
def test_more_hypotheses_begin_with_the_same_and_chunks_change_nothing(method):
    """Nine are the first of ten, of one program, as seven poses are the first of eight."""
    model = rotation_oracle.tiny()

    def draw(num, rows=2, chunk=4096, seed=2):
        pose, known = (np.concatenate([x] * 4)[:rows] for x in (shown(POSE, KNOWN), KNOWN))
        key = jax.random.key(seed)
        return complete_rotations(key, model, pose, known, num_hypotheses=num, method=method, chunk=chunk)

    ten = draw(10)
    with counted() as compiled:
        nine = draw(9)
        draw(10, seed=3)
    assert compiled.count == 0
    np.testing.assert_array_equal(nine, ten[:9])
    np.testing.assert_allclose(draw(10, chunk=6), ten, atol=1e-4)
    np.testing.assert_allclose(draw(10, rows=7)[:, :2], ten, atol=1e-4)
    assert np.abs(np.diff(ten, axis=0))[:, HIDDEN].max((1, 2)).min() > 0.05


def test_illegal_arguments_are_named():
    model, pose, known = rotation_oracle.tiny(), jnp.asarray(POSE), jnp.asarray(KNOWN)
    call = lambda *args, **kw: complete_rotations(jax.random.key(0), *args, **kw)  # noqa: E731
    refuses("complete needs a prior over joint rotations", call, jaxpose.load("pose17"), pose, known)
    refuses(r"known: needed \[21\] or \[2, 21\], got \[2, 20\]", call, model, pose, known[:, 1:])
    refuses(r"body_pose: needed \[N, 21, 3\], got \[21, 3\]", call, model, pose[0], known)
    refuses("joint 5 of pose 1 is not finite", call, model, pose.at[1, 5].set(jnp.nan), jnp.ones((2, 21)))
    refuses("are these degrees", call, model, jnp.degrees(pose), known)
    refuses("num_hypotheses: needed at least 1, got 0", call, model, pose, known, num_hypotheses=0)


def test_the_spread_is_that_of_rotations_and_its_radius_is_recalibrated():
    drawn = Rotation.random(12, random_state=3).as_rotvec()[:, None, None] * 0.4  # H of one joint of one pose
    mean = Rotation.from_rotvec(drawn[:, 0, 0]).mean()
    away = (mean.inv() * Rotation.from_rotvec(drawn[:, 0, 0])).magnitude()
    factor = jnp.array([2.5])
    found, wider = (rotation_spread(jnp.asarray(drawn, jnp.float32), r) for r in (None, Recalibration(factor, factor)))
    np.testing.assert_allclose(found.mean[0, 0], mean.as_rotvec(), atol=1e-5)
    np.testing.assert_allclose(found.std[0, 0], np.sqrt((away**2).mean()), rtol=1e-5)
    np.testing.assert_allclose(found.radius_90[0, 0], np.quantile(away, 0.9), rtol=1e-5)
    np.testing.assert_allclose(wider.radius_90, 2.5 * found.radius_90, rtol=1e-6)
    np.testing.assert_array_equal(wider.std, found.std)
