"""How likely a pose is: its log density under a model, exact through the probability flow.

    joints      log p = log p(z) - n log std,            z = U^T (R (X - mean X) - m) / std      n = 3 (J - 1) = 48
    rotations   log p = log p(z) - sum of log std,       z = (x - mean) / std                    n = those that move

What the density is of. Joints about their middle have 3 J coordinates of which the sums over joints are 0: they fill
a subspace of 3 (J - 1) dimensions, and have a density there (nats, of metres), none in all 51 numbers. U is an
orthonormal basis of it, so volumes are those of space; the density of root-relative joints is smaller by J^(3/2), 4.25
nats for J = 17. Turning the axes (R) changes no volume. Rotations are the vectors of the model's codec as they come:
axis-angle in radians (two vectors of one rotation, v and v (1 - 2 pi / |v|), are two poses), or for "rot6d" two columns
of the matrix; those lie on curved surfaces of unknown dimension, so the density is of the matrix entries after the
noise below, good for comparing poses and without a unit in radians. What never moved in training is left out.

Data may lie on thinner sets still (bones of fixed length, angles rounded to a grid), so the density is that after noise
of LEVEL units of state: 3 mm for joints, 1.2 % of a coordinate's deviation for rotations,

    p(z) = alpha^n p_t(alpha z)     at the time t where sigma / alpha = LEVEL

How typical a pose is of training poses is judged without it (`tasks/typicality.py`), in a hundredth of the time.

Source: Song et al. (2021), section 4.3 for the flow.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key, Numbers
from jaxpose.compiled import check_num, check_shape, filled, part, size_for, traced
from jaxpose.diffusion import time_at, time_grid
from jaxpose.diffusion.flow import log_likelihood, within
from jaxpose.diffusion.sampling import in_slices
from jaxpose.model import Model, needs, null_condition
from jaxpose.spaces.person import View, encode_keypoints, encode_pose
from jaxpose.tasks.draw import check_joints
from jaxpose.tasks.rotations import check_body_pose

LEVEL = 0.012  # sigma / alpha, in units of state; pose17's process begins at 0.0105, prior21's at 0.0001
# holds 0.05 nats on validation poses of pose17, where 12 are off by up to 0.064 (against 40, 16 poses)
NUM_STEPS = 16
_CHUNK = 32  # poses computed at once; each is n rows of the network's derivative
_ROWS = 2048  # poses in flight at once


@needs("score", "score")
def log_density(
    model: Model,
    pose: Numbers,
    cond: Condition | None = None,
    view: View | None = None,
    *,
    num_steps: int = NUM_STEPS,
    level: float = LEVEL,
) -> Array:
    """Log density [N] in nats of joints [N, J, 3] metres, or of body poses [N, 21, 3] or [N, 63] axis-angle radians.

    Compiled once for a shape. Inside another jit the model is closed over: which of its numbers move must be known.

    pose: joints in the axes of a camera that looks roughly level at the person, about any origin.
    cond, view: what `encode_keypoints` makes of N detections of the same people in that camera's pixels: the density
          given them. None: of poses from nothing.
    num_steps: intervals of the log-SNR, two exact traces each.
    level: noise, in units of state, after which the density is taken; the process's least where that is more.
    ValueError for wrong shapes, missing joints, and models that do not know the score at every noise level.
    """
    check_shape("level", level, ())
    basis, log_unit = model.spec.space.basis(model.statistics, model.spec.state_shape)
    if model.spec.space.representation:
        if cond is not None or view is not None:
            raise ValueError(f"cond: {model.spec.name!r} is a prior over joint rotations and takes none")
        num = model.spec.state_shape[0]
        check_shape("pose", pose, ("N", num, 3), ("N", 3 * num))
        check_body_pose(pose.reshape(-1, num, 3), name="pose")
    else:
        check_joints(model, pose, complete="score", name="pose")
        if (cond is None) != (view is None) or (cond is not None and cond.value.shape != pose.shape):
            raise ValueError(
                f"cond, view: needed both, of {len(pose)} detections (`codec.encode_keypoints`), or neither"
            )
    num, size = len(pose), len(pose) if traced(pose, cond) else size_for(len(pose))
    pose, cond, view = filled((pose, cond, view), num, size)
    log_snr = np.float32(-2 * np.log(level))
    density = _density(model, pose, cond, view, basis, log_unit, log_snr, num_steps=num_steps)
    return part(density, slice(num))


@partial(jax.jit, static_argnames="num_steps")
def _density(
    model: Model,
    pose: Array,
    cond: Condition | None,
    view: View | None,
    basis: Array,
    log_unit: Array,
    log_snr: Array,
    *,
    num_steps: int,
) -> Array:
    """Log density [N] at `log_snr` of poses in the subspace of `basis` [J D, n], whose unit cube is e^log_unit."""
    if view is None:
        state = model.encode(model.spec.space.centre(pose.reshape(len(pose), -1, 3)))
    else:
        state = encode_pose(model.statistics, view, pose)
    z = jnp.dot(state.reshape(len(state), -1), basis, precision=jax.lax.Precision.HIGHEST)[..., None]
    sde = model.spec.sde()
    start = time_at(sde, log_snr)
    times = time_grid(sde._replace(t_min=start), num_steps, "log_snr")  # type: ignore[arg-type]  # a number of the graph
    alpha = sde.alpha(start)
    predict = within(model.predict_fn(), basis, model.spec.state_shape)
    null = null_condition(model)  # one condition is encoded once for all

    def block(rows: tuple[Array, Condition | None]) -> Array:
        z, cond = rows
        return log_likelihood(sde, predict, alpha * z, times, null if cond is None else cond)

    return in_slices(block, (z, cond), _CHUNK) + basis.shape[1] * jnp.log(alpha) - log_unit


def log_density_all_round(model: Model, joints: Array, *, num_views: int = 4, num_steps: int = NUM_STEPS) -> Array:
    """Log density [N] of joints [N, J, 3] metres of a world without a camera, in the axes x, y down, z: from all sides.

    Training has cameras everywhere around a person. The law of poses is then the same under every turn about
    the vertical, which the network knows only nearly: this is the log of the mean density over `num_views` such turns.
    """
    check_num(num_views, "num_views")
    check_joints(model, joints, complete="score")
    angle = 2 * np.pi * np.arange(num_views) / num_views
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros(num_views), np.ones(num_views)
    R = jnp.asarray(np.stack([c, o, s, o, i, o, -s, o, c], -1).reshape(-1, 3, 3), joints.dtype)
    turned = jnp.einsum("vik,njk->vnji", R, joints, precision=jax.lax.Precision.HIGHEST)
    density = log_density(model, turned.reshape(-1, *joints.shape[1:]), num_steps=num_steps)
    return jax.nn.logsumexp(density.reshape(num_views, -1), 0) - jnp.log(num_views)


@needs("lifted_log_density", "joints", "score")
@partial(jax.jit, static_argnames=("num_steps", "num_probes"))
def lifted_log_density(
    key: Key,
    model: Model,
    samples: Array,
    keypoints: Array,
    confidence: Array,
    *,
    intrinsics: Array,
    distortion: Array | None = None,
    num_steps: int = 4,
    num_probes: int | None = 1,
) -> Array:
    """Log density [H, N] in nats of the model's state, of hypotheses of N detections: comparable within a detection.

    Compiled once for a shape. The exact trace costs a derivative for each of 51 numbers at every call. To compare
    hypotheses of one pose one probe will do, if all share it: its error is nearly the same for all.

    samples:    [H, N, J, 3] metres in camera axes, wherever they stand; as `Lifted.samples`, without a given height.
    keypoints, confidence, intrinsics, distortion: as in `lift`; what is not finite must have confidence 0.
    num_steps:  of the flow, four network calls each. num_probes: as in `log_likelihood`, shared by the hypotheses of a
                pose; None: the exact trace.
    ValueError for a model that is not one network of the person-centred codec.
    """
    cond, view = encode_keypoints(intrinsics, keypoints, confidence, distortion)
    states = encode_pose(model.statistics, view, samples)
    sde, predict_fn = model.spec.sde(), model.predict_fn()
    times = time_grid(sde, num_steps, model.spec.spacing)
    probe_key = None if num_probes is None else key

    def of_one(state: Array) -> Array:
        return log_likelihood(sde, predict_fn, state, times, cond, key=probe_key, num_probes=num_probes)

    return jax.lax.map(of_one, states, batch_size=max(1, min(len(states), _ROWS // states.shape[1])))
