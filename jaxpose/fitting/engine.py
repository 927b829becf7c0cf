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
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxpose.base import Array, Bodies, Key, Numbers
from jaxpose.compiled import check_shape, jitted
from jaxpose.diffusion.minimise import minimise
from jaxpose.fitting.least_squares import LevenbergMarquardt, Residuals, levenberg_marquardt
from jaxpose.geometry.body import Body, PosedBody, full_rotations


class BodyParameters(NamedTuple):
    """N clips of F frames: body_pose [N, F, 21, 3], global_orient [N, F, 3] rad, transl [N, F, 3] m, betas [N, S]."""

    body_pose: Array
    global_orient: Array
    transl: Array
    betas: Array


class Free(NamedTuple):
    """Parameters that a fit may change."""

    body_pose: bool = True
    global_orient: bool = True
    transl: bool = True
    betas: bool = True


_SETTLED = 0.5  # share of second-order steps after which weight and times of the prior stay at their last values
_TAIL = 2.5  # standard deviations: 1 in 80 of a Gaussian's betas lie beyond
# Share of the squared errors of points that is the same in all frames of a clip, such as a detector's own idea of where
# a hip is: so much of what a frame tells of the shape was told by the frame before.
_ALIKE = 1 / 7
EVERYTHING, POSE_AND_PLACE = Free(), Free(betas=False)

# (posed bodies [N, F], their parameters, step k) -> energy [N] in nats. For second-order steps it has `residuals`:
# (posed, parameters) -> [N, F, ...] or [N, ...], half of whose squares sum to the energy
Term: TypeAlias = Callable[[PosedBody, BodyParameters, Array], Array]
# (key, body_pose [..., 21, 3] axis-angle, step k, total steps) -> energy [...] in nats. Its `residuals`: (the same) ->
# a function of poses [N, F, 21, 3], half of whose squares sum to the energy up to a constant
PosePrior: TypeAlias = Callable[[Key, Array, Array, int], Array]


def _check(key: Key, body: Body, prior: PosePrior | None, *terms: Term, **_: Any) -> None:
    if not terms:
        raise ValueError("terms: needed one or more, got none")


@jitted("num_steps", "free", "tolerance", "method", check=_check)
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
    method: LevenbergMarquardt | None = None,
) -> Bodies:
    """Minimise the energy of N clips of F frames from `start`; the result has H = 1.

    prior:         of `priors`, or any function; None for none. It is not evaluated where the body pose is not free.
    terms:         of `terms`, or any functions. A function written in place is compiled anew in each call: write it at
                   module level, and bind arrays to it with `jax.tree_util.Partial`.
    prior_weight:  at the last step; at the first it is `prior_start` times as large, and it falls linearly.
    learning_rate: radians and metres; it falls by a cosine to a twentieth.
    tolerance:     as in `minimise`; items that have stopped improving are frozen.
    method:        None for Adam, or second-order steps, which have numbers of their own for `num_steps`,
                   `learning_rate` and `tolerance`. ValueError where a term or the prior has no `residuals`.
    """
    steps = num_steps if method is None else max(int(_SETTLED * method.num_steps), 1)
    weights = (prior_weight, prior_start, shape_weight)
    total = _Sum(body, prior if free.body_pose else None, terms, weights, steps)
    if method is None:
        tx = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps, 0.05))
        end = minimise(key, total.energy, start, tx, num_steps, tolerance=tolerance, trainable=free)
    else:
        end = levenberg_marquardt(key, total.residuals, start, method, trainable=free)
    parameters: BodyParameters = end.variables
    joints = posed_body(body, parameters).joints[..., :22, :]
    return jax.tree.map(lambda x: x[None], Bodies(*parameters, joints, end.energy, end.num_steps))


class _Sum(NamedTuple):
    """Energy of a fit: terms, the prior and the shape. weights: of the prior, its start and the shape."""

    body: Body
    prior: PosePrior | None
    terms: tuple[Term, ...]
    weights: tuple[float | Array, float | Array, float | Array]
    steps: int

    def of_prior(self, k: Array) -> Array:
        """Weight of the prior at step k."""
        last, first, _ = self.weights
        return last * (first + (1 - first) * k / max(self.steps - 1, 1))

    def energy(self, key: Key, parameters: BodyParameters, k: Array) -> Array:
        """[N] nats at step k."""
        posed = posed_body(self.body, parameters)
        total = functools.reduce(operator.add, [term(posed, parameters, k) for term in self.terms])
        if self.prior is not None:
            total = total + self.of_prior(k) * self.prior(key, parameters.body_pose, k, self.steps).sum(-1)
        of_shape = shape_residuals(parameters.betas, parameters.body_pose.shape[1])
        return total + self.weights[2] * jnp.square(of_shape).sum(-1) / 2

    def residuals(self, key: Key, departing: BodyParameters, k: Array) -> Residuals:
        """Residuals of a step that departs from `departing`."""
        k = jnp.minimum(k, self.steps - 1)
        prior = None if self.prior is None else _residuals_of(self.prior)(key, departing.body_pose, k, self.steps)

        def of(parameters: BodyParameters) -> list[Array]:
            posed, pose = posed_body(self.body, parameters), parameters.body_pose
            of_terms = [_residuals_of(term)(posed, parameters) for term in self.terms]
            likely = [] if prior is None else [jnp.sqrt(self.of_prior(k)) * prior(pose)]
            return [*of_terms, *likely, jnp.sqrt(self.weights[2]) * shape_residuals(parameters.betas, pose.shape[1])]

        return of


def _residuals_of(part: Any) -> Callable[..., Any]:
    """The residuals of a term or a prior; ValueError where there are none."""
    if not hasattr(part, "residuals"):
        name = getattr(part, "__name__", type(part).__name__)
        raise ValueError(f"method: second-order steps need terms and a prior with residuals, got {name}; needed None")
    residuals: Callable[..., Any] = part.residuals
    return residuals


def shape_residuals(betas: Array, num_frames: int) -> Array:
    """[..., 2 S] of betas [..., S]: half of their squares is 1 + (F - 1) / 7 times the energy of N(0, 1) for F frames,
    and for each frame once more of what lies beyond 2.5."""
    beyond, weight = jnp.maximum(jnp.abs(betas) - _TAIL, 0), 1 + _ALIKE * (num_frames - 1)
    return jnp.concatenate([np.sqrt(weight) * betas, np.sqrt(num_frames) * beyond], -1)


def posed_body(body: Body, parameters: BodyParameters | Bodies) -> PosedBody:
    """The bodies [N, F] or [H, N, F] of parameters; the translation moves the body from where its template stands."""
    rotations = full_rotations(body, parameters.body_pose, parameters.global_orient)
    return body.shape(parameters.betas[..., None, :]).pose(rotations, parameters.transl)


def start_parameters(num: int, num_frames: int, num_betas: int, body_pose: Numbers | None = None) -> BodyParameters:
    """Zero parameters, but for a body pose [21, 3] or [N, F, 21, 3] to start from."""
    lead = (num, num_frames)
    pose = jnp.zeros((21, 3)) if body_pose is None else jnp.asarray(body_pose, float)
    check_shape("start_pose", pose, (21, 3), (*lead, 21, 3))
    return BodyParameters(
        jnp.broadcast_to(pose, (*lead, 21, 3)),
        jnp.zeros((*lead, 3)),
        jnp.zeros((*lead, 3)),
        jnp.zeros((num, num_betas)),
    )
