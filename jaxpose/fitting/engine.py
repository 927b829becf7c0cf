"""Fits of a body model: the one engine of `ik`, `fit_keypoints` and `denoise_motion`.

An item is one clip of one person, of F >= 1 frames: one shape, and pose, orientation and translation of each frame.
Thousands of items are fitted at once; hypotheses are more items. The energy of an item, in nats, is

    E = sum of terms + w_prior(k) sum_f prior(pose_f) + w_shape (|betas|^2 / 2 + F |betas beyond 2.5|^2 / 2)

The terms (fitting/terms.py) say what is observed and how a body moves; the prior (fitting/priors.py) which poses are
likely; betas are N(0, 1) with short tails. What a detector has wrong is alike in all F frames of a clip, and a body
that explains it need not be human: so the tails weigh with the frames, as the terms do. All are pytrees that pass
through jit: a fit is compiled once for a shape.

Source: Bogo et al., SMPLify (2016); Lu et al., DPoser (2023); spec/dposer.md, sections 7.3 to 7.5.
"""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxpose.base import Array, Bodies, Key
from jaxpose.compiled import jitted
from jaxpose.diffusion.minimise import minimise
from jaxpose.geometry.body import Body, PosedBody, full_rotations


class BodyParameters(NamedTuple):
    """N clips of F frames: body_pose [N, F, 21, 3], global_orient [N, F, 3] rad, transl [N, F, 3] m, betas [N, S]."""

    body_pose: Array
    global_orient: Array
    transl: Array
    betas: Array


class Free(NamedTuple):
    """What a fit may change."""

    body_pose: bool = True
    global_orient: bool = True
    transl: bool = True
    betas: bool = True


_TAIL = 2.5  # standard deviations: 1 in 80 of a Gaussian's betas lie beyond
EVERYTHING, POSE_AND_PLACE = Free(), Free(betas=False)

# (posed bodies [N, F], their parameters, step k) -> energy [N] in nats
Term: TypeAlias = Callable[[PosedBody, BodyParameters, Array], Array]
# (key, body_pose [..., 21, 3] axis-angle, step k, total steps) -> energy [...] in nats
PosePrior: TypeAlias = Callable[[Key, Array, Array, int], Array]


@jitted("num_steps", "free", "tolerance")
def fit(
    key: Key,
    body: Body,
    prior: PosePrior | None,
    *terms: Term,
    start: BodyParameters,
    prior_weight: float | Array = 1.0,
    prior_start: float | Array = 1.0,
    shape_weight: float | Array = 1.0,
    num_steps: int = 300,
    learning_rate: float | Array = 0.05,
    free: Free = EVERYTHING,
    tolerance: float = 0.0,
) -> Bodies:
    """Minimise the energy of N clips of F frames by Adam, from `start`; the result has H = 1.

    prior:         of `priors`, or any function; None for none. It is not evaluated where the body pose is not free.
    terms:         of `terms`, or any functions. A function written in place is compiled anew in each call: write it at
                   module level, and bind arrays to it with `jax.tree_util.Partial`.
    prior_weight:  at the last step; at the first it is `prior_start` times as large, and it falls linearly.
    learning_rate: radians and metres; it falls by a cosine to a twentieth.
    tolerance:     as in `minimise`; items that have stopped improving are frozen.
    """

    def energy(key: Key, parameters: BodyParameters, k: Array) -> Array:
        posed = posed_body(body, parameters)
        total = functools.reduce(operator.add, [term(posed, parameters, k) for term in terms])
        if prior is not None and free.body_pose:
            fall = prior_start + (1 - prior_start) * k / max(num_steps - 1, 1)
            total = total + prior_weight * fall * prior(key, parameters.body_pose, k, num_steps).sum(-1)
        return total + shape_weight * shape_energy(parameters.betas, parameters.body_pose.shape[1])

    tx = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps, 0.05))
    found = minimise(key, energy, start, tx, num_steps, tolerance=tolerance, trainable=free)
    parameters: BodyParameters = found.variables
    joints = posed_body(body, parameters).joints[..., :22, :]
    return jax.tree.map(lambda x: x[None], Bodies(*parameters, joints, found.energy, found.num_steps))


def shape_energy(betas: Array, num_frames: int) -> Array:
    """Energy [...] of betas [..., S] in nats: of N(0, 1), and for each frame what lies beyond 2.5 of it once more."""
    beyond = jnp.maximum(jnp.abs(betas) - _TAIL, 0)
    return (jnp.square(betas) + num_frames * jnp.square(beyond)).sum(-1) / 2


def posed_body(body: Body, parameters: BodyParameters | Bodies) -> PosedBody:
    """The bodies [N, F] or [H, N, F] of parameters; the translation moves the body from where its template stands."""
    rotations = full_rotations(body, parameters.body_pose, parameters.global_orient)
    return body.shape(parameters.betas[..., None, :]).pose(rotations, parameters.transl)


def start_parameters(num: int, num_frames: int, num_betas: int, body_pose: Array | None = None) -> BodyParameters:
    """Zero parameters, but for a body pose [21, 3] or [N, F, 21, 3] to start from."""
    pose = jnp.zeros((21, 3)) if body_pose is None else jnp.asarray(body_pose)
    lead = (num, num_frames)
    return BodyParameters(
        jnp.broadcast_to(pose, (*lead, 21, 3)),
        jnp.zeros((*lead, 3)),
        jnp.zeros((*lead, 3)),
        jnp.zeros((num, num_betas)),
    )
