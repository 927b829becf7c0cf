"""Priors over joint rotations whose law is known: a network that says nothing, and the oracle of a correlated law.

A network of zeros under the target "edm" is the exact opinion of one who knows the data to be independent N(0, 1).
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from laws import gaussian, oracle
from random_params import random_params

from jaxpose import model as released
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics

_RNG = np.random.default_rng(11)
MEAN = _RNG.normal(0, 0.25, (21, 3))  # radians
STD = _RNG.uniform(0.1, 0.3, (21, 3))
COVARIANCE = np.kron(0.4 * np.eye(21) + 0.6 * np.ones((21, 21)), np.eye(3))  # of states


def spec(**changes) -> released.Spec:
    network = ScoreMLP(hidden=32, time_width=16, num_groups=4, dropout=0.0)
    fields = {"skeleton": "smpl22", "context": 0, "codec": "axis_angle", "process": "sub_vp", "target": "edm"}
    return released.Spec(**{"name": "tiny", "network": network, "num_steps": 40, **fields, **changes})


def statistics() -> Statistics:
    return Statistics(*(jnp.asarray(x, jnp.float32) for x in (MEAN, STD, np.ones((21, 3)))))


def tiny() -> released.Model:
    """Random weights."""
    return released.Model(random_params(spec()), statistics(), spec())


def independent() -> released.Model:
    """Poses N(MEAN, STD^2), every number by itself."""
    params = tiny().params["params"]
    silent = {"params": params | {"post": jax.tree.map(jnp.zeros_like, params["post"])}}
    return released.Model(silent, statistics(), spec())


class Oracle(released.Model):
    """States N(0, COVARIANCE)."""

    def predict_fn(self):
        return oracle(gaussian(np.zeros((21, 3)), COVARIANCE), self.spec.sde())


def correlated() -> Oracle:
    return flax.struct.dataclass(Oracle)({}, statistics(), spec())


def draw(seed: int, num: int) -> np.ndarray:
    """Poses [num, 21, 3] of the correlated law, radians."""
    z = np.random.default_rng(seed).multivariate_normal(np.zeros(63), COVARIANCE, num)
    return MEAN + STD * z.reshape(num, 21, 3)
