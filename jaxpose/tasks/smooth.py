"""Motions out of the hypotheses of single frames: a motion prior weighs them, nothing is blurred.

The H hypotheses of a frame are draws from that frame's posterior. Joined over time they are the states of a chain whose
prior says how far joints move:

    log p(x_f | x_{f-1}) = - 1/2 W sum_j |x_{f,j} - x_{f-1,j}|^2 / (s_j^2 d_f)

with s_j the root-relative speed of a joint in captured motion and d_f the time between the frames, in 1/30 s. A motion
is drawn from the chain's posterior: filter forwards, sample backwards (Godsill, Doucet and West, Monte Carlo smoothing
for nonlinear time series, 2004). It is exact for the H states; each frame of it is one of that frame's hypotheses.

W below 1 says that frames are no independent witnesses: a detector's error stays for some ten frames.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Hypotheses, Key, Numbers
from jaxpose.compiled import checked
from jaxpose.geometry.skeleton import H36M_17

# Millimetres in 1/30 s, root mean square over the training subjects (CMU and HDM05, limbs straight), root-relative, of
# the joints of H36M_17.
_SPEED = np.array(
    [0, 2.9, 14.0, 19.7, 2.9, 14.2, 20.0, 2.9, 6.0, 7.0, 8.4, 8.9, 13.9, 19.6, 8.6, 14.2, 20.1], np.float32
)
SPEED = _SPEED / 1000
# Of 0.0001 to 0.1, on four of the benchmark's clips; on all 16 either of the two persons has the least error here
# (python -m experiments.evaluate smooth).
WEIGHT = 0.01
_FPS = 30.0


@checked
def smooth(key: Key, found: Hypotheses, seconds: Numbers, *, weight: float = WEIGHT) -> Hypotheses:
    """The hypotheses of one person's F frames as H motions: sample h is a motion, and the mean is of the motions.

    found:   of `lift` with a model of single frames, in H36M_17; F rows in the order of time.
    seconds: [F] rising, when each frame was.
    weight:  W above; 0 leaves every frame to itself.

    Covariance and 90 % radius stay those of each frame's own hypotheses: what was calibrated. The motions' own spread
    is less than their error. ValueError names an argument that does not fit.
    """
    hypotheses, num, joints = found.samples.shape[:3]
    times = np.asarray(seconds, np.float64)
    if joints != len(H36M_17.joints):
        raise ValueError(f"found: needed samples of {len(H36M_17.joints)} joints ({H36M_17.name}), got {joints}")
    if times.shape != (num,) or not (np.diff(times) > 0).all():
        raise ValueError(f"seconds: needed {num} rising times, one for each row, got {times.shape} of {times[:5]}")
    steps = jnp.asarray(np.diff(times) * _FPS, jnp.float32)
    index = draw_paths(key, found.samples, steps, weight)

    def along(x: Array) -> Array:
        return jnp.take_along_axis(x, index.reshape(hypotheses, num, *[1] * (x.ndim - 2)), 0)

    samples = along(found.samples)
    root = None if found.root is None else along(found.root)
    path = None if found.path is None else jax.vmap(along)(found.path)
    return found._replace(samples=samples, mean=samples.mean(0), root=root, path=path)


@jax.jit
def draw_paths(key: Key, samples: Array, steps: Array, weight: Array | float) -> Array:
    """Which hypothesis each of H motions takes in each frame, [H, F], of samples [H, F, J, 3] and steps [F - 1]."""
    moving = SPEED > 0
    scaled = jnp.moveaxis(samples[:, :, moving] / SPEED[moving, None], 1, 0)
    x = scaled.reshape(*scaled.shape[:2], -1)
    square = jnp.square(x).sum(-1)
    num = x.shape[1]

    def moved(now: tuple[Array, Array], after: tuple[Array, Array], step: Array) -> Array:
        """Log probability [H, H] of each move."""
        apart = now[1][:, None] + after[1] - 2 * jnp.matmul(now[0], after[0].T, precision="highest")
        return -0.5 * weight / step * jnp.maximum(apart, 0)

    def forward(carry: Any, row: Any) -> tuple[Any, Array]:
        before, log_weight = carry
        after, step = row
        reached = jax.nn.logsumexp(log_weight[:, None] + moved(before, after, step), 0)
        reached = reached - jax.nn.logsumexp(reached)
        return (after, reached), reached

    start = jnp.zeros(num)
    _, later = jax.lax.scan(forward, ((x[0], square[0]), start), ((x[1:], square[1:]), steps))
    keys = jax.random.split(key, len(x))

    def backward(carry: Any, row: Any) -> tuple[Any, Array]:
        chosen, after = carry
        now, log_weight, step, key = row
        log_chance = log_weight[:, None] + moved(now, after, step)[:, chosen]
        taken = jax.random.categorical(key, log_chance, axis=0)
        return (taken, now), taken

    weights = jnp.concatenate([start[None], later])
    last = jax.random.categorical(keys[-1], weights[-1], shape=(num,))
    rows = ((x[:-1], square[:-1]), weights[:-1], steps, keys[:-1])
    _, earlier = jax.lax.scan(backward, (last, (x[-1], square[-1])), rows, reverse=True)
    return jnp.concatenate([earlier, last[None]]).T
