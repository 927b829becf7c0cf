"""Completion: what is observed stays, where it stands does not matter, what is hidden never reaches the network."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from shared import refuses

from jaxpose import model as released
from jaxpose.base import Prediction
from jaxpose.diffusion.prediction import from_x0
from jaxpose.tasks.complete import complete, settle
from jaxpose.tasks.samplers import stochastic

FEW = {"num_hypotheses": 3, "sampler": stochastic(4)}


class Echo(released.Model):
    """A model sure that every joint is where the condition shows it, and at its mean where it shows nothing."""

    def predict_fn(self):
        def predict(x_t, t, cond) -> Prediction:
            shown = (
                cond.value * 0.5 / pose_oracle.UNIT
                - jnp.asarray(pose_oracle.MEAN, x_t.dtype) / pose_oracle.UNIT * cond.mask
            )
            return from_x0(self.spec.sde(), x_t, t, jnp.broadcast_to(shown * cond.mask, x_t.shape))

        return predict


@pytest.fixture(scope="module")
def model():
    plain = pose_oracle.make()
    return flax.struct.dataclass(Echo)(plain.params, plain.statistics, plain.spec)


@pytest.fixture(scope="module")
def tiny():
    return pose_oracle.tiny()


@pytest.fixture(scope="module")
def pose():
    return jnp.asarray(pose_oracle.draw(np.random.default_rng(2), 4), jnp.float32)


def test_exact_joints_come_back_and_hidden_ones_are_filled(tiny, pose):
    hidden = pose.at[0, :6].set(jnp.nan).at[1, [0, 16]].set(jnp.nan).at[2, 1:].set(jnp.nan)
    posed = complete(jax.random.key(0), tiny, hidden, **FEW)
    seen = np.isfinite(np.asarray(hidden))
    for sample in np.asarray(posed.samples):
        np.testing.assert_array_equal(sample[seen], np.asarray(hidden)[seen])
    assert np.isfinite(posed.samples).all()
    assert (np.asarray(posed.samples).std(0)[~seen] > 0).all(), "hidden joints differ between hypotheses"


def test_it_does_not_matter_where_the_person_stands(tiny, pose):
    hidden = pose.at[:, [0, 4, 5]].set(jnp.nan)
    shift = jnp.array([0.5, -3.0, 2.0])
    a = complete(jax.random.key(0), tiny, hidden, **FEW)
    b = complete(jax.random.key(0), tiny, hidden + shift, **FEW)
    np.testing.assert_allclose(b.samples, a.samples + shift, atol=1e-4)


def test_the_condition_is_understood(model, pose):
    """A model that believes what it is shown returns it, noisy as it is, in its place."""
    posed = complete(jax.random.key(0), model, pose, noise=0.05, **FEW)
    np.testing.assert_allclose(posed.samples, np.broadcast_to(pose, posed.samples.shape), atol=1e-4)
    np.testing.assert_allclose(posed.noise, 0.05)


def test_settle_weighs_joints_by_their_noise(pose):
    moved = pose + jnp.array([1.0, 0.0, 0.0])
    observed = moved.at[:, 3, 0].add(0.17)
    seen = jnp.ones(pose.shape[:2], bool).at[:, 9].set(False)
    alike = settle(pose, observed, seen, jnp.full(seen.shape, 0.1))
    np.testing.assert_allclose(alike, moved + jnp.array([0.17 / 16, 0, 0]), atol=1e-5)
    unsure = settle(pose, observed, seen, jnp.full(seen.shape, 0.1).at[:, 3].set(10.0))
    np.testing.assert_allclose(unsure, moved, atol=1e-4)


def test_a_noisier_joint_is_trusted_less_by_the_network(tiny, pose):
    a, b = (
        complete(jax.random.key(0), tiny, pose.at[:, 5].set(jnp.nan), noise=s, **FEW).samples
        for s in (jnp.full((4, 17), 0.05), jnp.full((4, 17), 0.05).at[:, 3].set(0.2))
    )
    assert float(jnp.abs(a - b).max()) > 1e-3


def test_bad_input_is_told(tiny, pose):
    key = jax.random.key(0)
    refuses(r"joints: needed \[N, 17, 3\]", complete, key, tiny, pose[0])
    refuses("noise: needed finite numbers from 0", complete, key, tiny, pose, noise=-0.1)
    refuses(r"noise: needed a number or \[4\] or \[4, 17\], got \[3\]", complete, key, tiny, pose, noise=jnp.ones(3))
