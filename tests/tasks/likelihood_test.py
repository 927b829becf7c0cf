"""The density of hypotheses under a model whose law is a known Gaussian in the state's units."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import gaussian, oracle

from jaxpose import model as released
from jaxpose.geometry.camera import project
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics, encode_keypoints
from jaxpose.tasks.score import lifted_log_density

STD = 0.15  # metres, of every coordinate: 0.6 in the state's unit of 0.25 m
INTRINSICS = jnp.array([1000.0, 1000.0, 500.0, 500.0])
_MEAN = np.random.default_rng(0).normal(0, 0.3, (17, 3))
MEAN = _MEAN - _MEAN.mean(0)


class Isotropic(released.Model):
    def predict_fn(self):
        return oracle(gaussian(np.zeros((17, 3)), (STD / 0.25) ** 2 * np.eye(51)), self.spec.sde())


@pytest.mark.slow
def test_hypotheses_differ_by_their_distance_from_the_mean_in_standard_deviations():
    """With one probe too: the trace of an isotropic law is the same everywhere. Where poses stand is no matter."""
    statistics = Statistics(jnp.asarray(MEAN, jnp.float32), jnp.full((17, 3), 0.25), jnp.ones((17, 3)))
    model = flax.struct.dataclass(Isotropic)({}, statistics, released.Spec("isotropic", ScoreMLP()))
    rng = np.random.default_rng(1)
    poses = MEAN + rng.normal(0, STD, (3, 2, 17, 3)) + np.array([1.0, 0.3, 4.0])
    keypoints, confidence = project(INTRINSICS, jnp.asarray(poses[0])), jnp.ones((2, 17))
    samples = jnp.asarray(poses - poses[:, :, :1])
    found = lifted_log_density(
        jax.random.key(0), model, samples, keypoints, confidence, intrinsics=INTRINSICS, num_steps=8
    )
    _, view = encode_keypoints(INTRINSICS, keypoints, confidence)
    centred = poses - poses.mean(2, keepdims=True)
    turned = np.einsum("nij,hnkj->hnki", np.asarray(view.R_view_cam), centred)
    expected = -np.square((turned - MEAN) / STD).sum((-1, -2)) / 2
    assert np.ptp(expected, 0).min() > 2
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=0.1)
