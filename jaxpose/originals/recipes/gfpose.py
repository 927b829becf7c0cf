"""The original GFPose's sampling recipe and its five tasks (spec/gfpose.md, 5.1 and 5.3).

    t_i   = t_max ... t_min, i = 0 .. N - 1, evenly spaced;  dt = 1 / N whatever t_max and N are
    x     = impute(x, t_i)
    mean  = x - (f x - g^2 score) dt,    x = mean + g sqrt(dt) z       mean_flow: x = mean
    x     = impute(x, t_i),              mean = alpha c where observed
    result: the mean of the last step

    task      cond                               start              impute    usual
    est       2D keypoints                       the prior          no        SDE, or mean_flow with 1 hypothesis
    comp2d    2D keypoints, some hidden          the prior          yes       SDE
    comp3d    3D joints, some hidden             the prior          yes       mean_flow
    gen       None                               the prior          no        SDE
    den       None                               the noisy pose     no        mean_flow, t_max = 0.05

For comparison with published numbers: dt is right for t_max - t_min = 1 alone, so that denoising integrates
for 20 times too long, and 20 steps of `dpmpp_2m` do what 1000 of these do. The network and its process are the
caller's: any PredictFn works.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, Key, PredictFn
from jaxpose.diffusion import SDE, sample_hypotheses
from jaxpose.diffusion.solvers import fixed_euler, fixed_times
from jaxpose.geometry.skeleton import H36M_17, Skeleton

# The joints that the original's random completion hides some of.
_HIDEABLE = tuple(f"{side}_{joint}" for joint in ("knee", "ankle", "elbow", "wrist") for side in ("left", "right"))


def sample_as_gfpose(
    key: Key,
    num: int,
    start: Callable[[Key], Array],
    predict_fn: PredictFn,
    sde: SDE,
    cond: Condition | None = None,
    *,
    num_steps: int = 1000,
    mean_flow: bool = False,
    impute: bool = False,
    **options: Any,
) -> Array:
    """Draw `num` = H hypotheses [H, ..., J, D] by the original's recipe; its five tasks are arguments (see above).

    start:       key -> x_init [..., J, D], e.g. `lambda key: prior_sample(key, sde, shape)`; not scaled by alpha.
    sde:         its t_max is where to start (the original's --t): `sde._replace(t_max=0.05)`.
    impute:      hold what `cond` observes at its value, noised to the step's level.
    options:     of `sample_hypotheses`: chunk, return_path.
    """
    if impute and cond is None:
        raise ValueError("impute=True needs a condition whose observed coordinates to hold, got cond=None")
    return sample_hypotheses(
        key,
        num,
        start,
        predict_fn,
        fixed_euler(sde, num_steps, mean_flow=mean_flow, known=cond if impute else None),
        fixed_times(sde, num_steps),
        cond,
        finish=False,
        **options,
    )


def hideable_joints(skeleton: Skeleton) -> tuple[int, ...]:
    """The skeleton's knees, ankles, elbows and wrists."""
    return tuple(skeleton.joints.index(joint) for joint in _HIDEABLE if joint in skeleton.joints)


def hide_random_joints(key: Key, num: int, skeleton: Skeleton = H36M_17) -> Array:
    """Mask [J] of visible joints, 1 or 0, where `num` random knees, ankles, elbows or wrists are hidden."""
    hideable = hideable_joints(skeleton)
    if not 0 <= num <= len(hideable):
        raise ValueError(f"num must be in 0..{len(hideable)} hideable joints, got {num}")
    hidden = jax.random.permutation(key, jnp.asarray(hideable))[:num]
    return jnp.ones(len(skeleton.joints)).at[hidden].set(0)
