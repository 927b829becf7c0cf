"""A model whose law is known: poses are Gaussian about their middle, and the network is the exact posterior."""

import flax.struct
import jax.numpy as jnp
import numpy as np
from laws import gaussian, oracle
from random_params import random_params

from jaxpose import model as released
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics

UNIT = 0.25  # metres
_MEAN = np.random.default_rng(0).normal(0, 0.3, (17, 3))
MEAN = _MEAN - _MEAN.mean(0)  # metres


def covariance() -> np.ndarray:
    """Of joints about their middle, square metres [51, 51]: deviations of 2 to 30 cm, neighbours correlated."""
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(51, 12)) * np.geomspace(0.02, 0.15, 12) + 0
    centre = np.kron(np.eye(17) - 1 / 17, np.eye(3))
    factor = centre @ factor
    return factor @ factor.T + 1e-4 * centre


class Oracle(released.Model):
    """Model of that law; it takes no notice of a condition."""

    def predict_fn(self):
        return oracle(gaussian(np.zeros((17, 3)), covariance() / UNIT**2), self.spec.sde())


def statistics() -> Statistics:
    """Of the law: its mean, and the unit of the state."""
    return Statistics(jnp.asarray(MEAN, jnp.float32), jnp.full((17, 3), UNIT), jnp.ones((17, 3)))


def make(**changes) -> Oracle:
    """The oracle with 40 steps of the second-order solver."""
    spec = released.Spec(**{"name": "oracle", "network": ScoreMLP(), "num_steps": 40, **changes})
    return flax.struct.dataclass(Oracle)({}, statistics(), spec)


def tiny(**changes) -> released.Model:
    """A small network of random weights in the same units: whatever it is shown changes what comes out."""
    network = ScoreMLP(hidden=16, time_width=8, num_blocks=1, num_groups=4, dropout=0.0)
    spec = released.Spec(**{"name": "tiny", "network": network, "target": "edm", "num_steps": 3, **changes})
    return released.Model(random_params(spec), statistics(), spec)


def draw(rng: np.random.Generator, num: int) -> np.ndarray:
    """Poses [num, 17, 3] metres of the law, standing 3 m away."""
    values, vectors = np.linalg.eigh(covariance())
    flat = rng.normal(size=(num, 51)) * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return MEAN + flat.reshape(num, 17, 3) + np.array([0.5, -0.2, 3.0])
