"""A few-step prior over rotations: its calls draw from a known law, and its base answers what needs a score."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rotation_oracle
from random_params import random_params
from rotation_oracle import COVARIANCE, MEAN, STD

from jaxpose.diffusion.prediction import from_x0
from jaxpose.model import load, null_condition
from jaxpose.spaces.rotations import encode
from jaxpose.tasks.complete_rotations import PARTS, Descent, FewSteps, complete_rotations, methods_of
from jaxpose.tasks.priors import prior_of
from jaxpose.tasks.refine import refined
from jaxpose.tasks.rotations import generate_rotations, interpolate_rotations
from jaxpose.tasks.typicality import can_judge, typicality

HIDDEN = np.isin(np.arange(21), PARTS["right_body"])


class Conditional(rotation_oracle.released.Model):
    """x0 = E + L x_t: at the end of the process a draw of what is hidden given the rest, of states N(0, COVARIANCE).

    What it says of the rest is nonsense.
    """

    def predict_fn(self):
        sde = self.spec.sde()

        def predict(x, t, cond):
            known = jnp.broadcast_to(cond.mask, x.shape).reshape(-1)
            value = (jnp.broadcast_to(cond.value, x.shape)).reshape(-1)
            C = jnp.asarray(COVARIANCE, jnp.float32)
            among = jnp.where(known[:, None] * known[None] > 0, C, 0) + jnp.diag(1 - known)  # of what is known
            across = jnp.where((1 - known)[:, None] * known[None] > 0, C, 0)
            gain = jnp.linalg.solve(among, across.T).T
            rest = jnp.where((1 - known)[:, None] * (1 - known)[None] > 0, C - gain @ across.T, 0) + jnp.diag(known)
            x0 = gain @ (known * value) + jnp.linalg.cholesky(rest) @ (x.reshape(-1) / sde.sigma(t))
            return from_x0(sde, x, t, jnp.where(known > 0, 7.0, x0).reshape(x.shape))

        return lambda x, t, cond: _rows(predict, x, t, cond)


def _rows(predict, x, t, cond):
    if x.ndim == 2:
        return predict(x, t, cond)
    value, mask = (jnp.broadcast_to(v, x.shape) for v in (cond.value, cond.mask))
    return jax.vmap(lambda x, v, m: _rows(predict, x, t, cond._replace(value=v, mask=m)))(x, value, mask)


@pytest.fixture(scope="module")
def conditional():
    spec = rotation_oracle.spec(name="one", num_steps=1, times=(1.0, 0.9999))
    return flax.struct.dataclass(Conditional)({}, rotation_oracle.statistics(), spec)


@pytest.fixture(scope="module")
def few():
    """Random weights, with prior21 for a base."""
    prior = load("prior21")
    spec = rotation_oracle.spec(name="few", num_steps=1, times=(1.0, 0.3), base="prior21")
    spec = dataclasses.replace(spec, network=dataclasses.replace(spec.network, condition_width=8))
    params = random_params(spec)
    return rotation_oracle.released.Model(params, prior.statistics, spec, base=prior)


def test_completion_follows_the_conditional_law(conditional):
    pose = rotation_oracle.draw(0, 1)
    given = jnp.asarray(np.where(HIDDEN[None, :, None], np.nan, pose), jnp.float32)
    drawn = complete_rotations(jax.random.key(1), conditional, given, jnp.asarray(1.0 - HIDDEN), num_hypotheses=4000)
    np.testing.assert_array_equal(
        drawn[:, 0, ~HIDDEN], np.broadcast_to(given[0, ~HIDDEN], (4000, *given[0, ~HIDDEN].shape))
    )
    z = ((np.asarray(drawn)[:, 0] - MEAN) / STD)[:, HIDDEN].reshape(4000, -1)
    h = np.repeat(HIDDEN, 3)
    gain = COVARIANCE[np.ix_(h, ~h)] @ np.linalg.inv(COVARIANCE[np.ix_(~h, ~h)])
    known = ((pose[0] - MEAN) / STD)[~HIDDEN].ravel()
    np.testing.assert_allclose(z.mean(0), gain @ known, atol=0.06)
    np.testing.assert_allclose(np.cov(z.T), COVARIANCE[np.ix_(h, h)] - gain @ COVARIANCE[np.ix_(~h, h)], atol=0.06)


def test_hypotheses_nearer_to_their_mean(conditional):
    """States of axis-angle vectors are linear in these."""
    given, known = jnp.asarray(rotation_oracle.draw(0, 1), jnp.float32), jnp.asarray(1.0 - HIDDEN)
    whole, half = (
        np.asarray(complete_rotations(jax.random.key(0), conditional, given, known, num_hypotheses=8, method=method))
        for method in (FewSteps(), FewSteps(spread=0.5))
    )
    np.testing.assert_allclose(half.mean(0), whole.mean(0), atol=1e-5)
    np.testing.assert_allclose(half - half.mean(0), (whole - whole.mean(0)) / 2, atol=1e-5)


@pytest.mark.slow
def test_the_base_has_the_last_call_of_generation(few):
    level = 0.2
    model = dataclasses.replace(few, spec=dataclasses.replace(few.spec, refine=level))
    found = refined(model)
    prior, sde = load("prior21"), few.spec.sde()
    t = jnp.float32(found.spec.times[-1])
    np.testing.assert_allclose(sde.sigma(t) / sde.alpha(t), level, rtol=1e-3)
    assert found.spec.times[:-1] == few.spec.times
    x = jax.random.normal(jax.random.key(0), (2, 21, 3))
    none = null_condition(model)
    np.testing.assert_allclose(found.predict_fn()(x, t, none).x0, prior.predict_fn()(x, t, None).x0, atol=1e-6)
    for time in few.spec.times:
        own = few.predict_fn()(x, jnp.float32(time), none).x0
        np.testing.assert_allclose(found.predict_fn()(x, jnp.float32(time), none).x0, own, atol=1e-6)
    assert refined(few) is few
    with pytest.raises(ValueError, match=r"refine 1.0 is at t = .*, not after its calls"):
        refined(dataclasses.replace(few, spec=dataclasses.replace(few.spec, refine=1.0)))


def test_generation_is_told_nothing(conditional):
    drawn = np.asarray(generate_rotations(jax.random.key(0), conditional, 4000))
    z = ((drawn - MEAN) / STD).reshape(4000, -1)
    np.testing.assert_allclose(np.cov(z.T), COVARIANCE, atol=0.1)


def test_its_network_sees_what_is_known(few):
    pose, known = jnp.asarray(rotation_oracle.draw(0, 1), jnp.float32), jnp.asarray(1.0 - HIDDEN)
    drawn = [
        complete_rotations(jax.random.key(0), few, x, known, num_hypotheses=2) for x in (pose, pose.at[:, 0].add(0.5))
    ]
    assert float(jnp.abs(drawn[0] - drawn[1])[..., HIDDEN, :].max()) > 1e-3


@pytest.mark.slow
def test_the_base_answers_what_needs_a_score(few):
    prior, pose = load("prior21"), jnp.asarray(rotation_oracle.draw(0, 2), jnp.float32)
    known = jnp.asarray(1.0 - HIDDEN)
    assert methods_of(few) == ("few_steps", "dposer", "replace", "dps", "mcg")
    descent = [
        complete_rotations(jax.random.key(0), m, pose, known, num_hypotheses=1, method=Descent(num_steps=3))
        for m in (few, prior)
    ]
    np.testing.assert_array_equal(*descent)
    np.testing.assert_array_equal(*(interpolate_rotations(m, pose[0], pose[1], 3, num_steps=2) for m in (few, prior)))
    assert can_judge(few)
    np.testing.assert_array_equal(typicality(few, pose), typicality(prior, pose))
    state = encode(prior.statistics, pose[0])
    np.testing.assert_array_equal(*(prior_of(m).predict_fn(state, jnp.float32(0.2), None).x0 for m in (few, prior)))
