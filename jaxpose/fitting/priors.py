"""Priors over body poses for a fit, as pytrees that pass through jit: DPoser, and any energy of a pose.

An energy is a negative log density of the 63 numbers of a body pose, up to a constant: `l2_energy` is |x|^2.
"""

import inspect
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.compiled import as_pytree
from jaxpose.diffusion import regulariser as energies
from jaxpose.fitting.engine import PosePrior
from jaxpose.model import Model, needs
from jaxpose.tasks.rotations import to_state

_CURVATURE = 0.6  # of a network that takes all for noise steps grow below a half; with 0.3 fits diverged
_SCHEDULE = energies.truncated(0.2, 0.05)  # DPoser-X's of motion denoising


@flax.struct.dataclass
class DPoserPrior:
    """The DPoser regulariser of a prior over rotations, all poses at the one t of the step; see `dposer_prior`."""

    model: Model
    schedule: energies.Schedule = flax.struct.field(pytree_node=False)
    weight: energies.Weight = flax.struct.field(pytree_node=False)
    reduction: energies.Reduction = flax.struct.field(pytree_node=False)

    def __call__(self, key: Key, body_pose: Array, k: Array, num_steps: int) -> Array:
        """Energy [...] of poses [..., 21, 3] at step k of `num_steps`."""
        t_key, z_key = jax.random.split(key)
        t, state = self.schedule(t_key, k, num_steps), to_state(self.model, body_pose)
        sde, predict = self.model.spec.sde(), self.model.predict_fn()
        return energies.regulariser(z_key, predict, sde, state, t, weight=self.weight, reduction=self.reduction)

    def residuals(self, key: Key, body_pose: Array, k: Array, num_steps: int) -> Callable[[Array], Array]:
        """A function of poses [..., 21, 3] to residuals [..., 21, D], whose squares have L's gradient at `body_pose`.

        Their curvature is `_CURVATURE` of that of L with a fixed target: the target follows the pose where poses vary.
        """
        t_key, z_key = jax.random.split(key)
        t, state = self.schedule(t_key, k, num_steps), to_state(self.model, body_pose)
        sde = self.model.spec.sde()
        beyond = (energies.target(z_key, self.model.predict_fn(), sde, state, t) - state) / _CURVATURE
        # a sum or a mean of squares: how much of one number's square is in L
        share = self.reduction(jnp.ones(state.shape[-2:])) / np.prod(state.shape[-2:])
        factor = jnp.sqrt(2 * _CURVATURE * share * self.weight(sde.alpha(t) / sde.sigma(t)))
        return lambda pose: factor * (to_state(self.model, pose) - state - beyond)


@needs("a fit", "rotations", "score")
def dposer_prior(
    model: Model,
    schedule: energies.Schedule | None = None,
    *,
    weight: energies.Weight = energies.snr_squared,
    reduction: energies.Reduction = energies.summed,
) -> DPoserPrior:
    """The DPoser regulariser (diffusion/regulariser.py) of a prior over rotations, such as `load("prior21")`.

    With `snr_squared` and `summed` a weight of 1 serves all tasks. Of a few-step model, its base.
    """
    return DPoserPrior(model, schedule or _SCHEDULE, weight, reduction)


def energy_prior(energy: Callable[[Array], Array]) -> PosePrior:
    """A prior from an energy of poses as vectors x [..., 63] -> [...]."""
    if inspect.ismethod(energy):  # of a pytree: its arrays pass through jit
        energy = jax.tree_util.Partial(energy.__func__, energy.__self__)
    return jax.tree_util.Partial(_of_vectors, as_pytree(energy))


def _of_vectors(energy: Callable[[Array], Array], key: Key, body_pose: Array, k: Array, num_steps: int) -> Array:
    return energy(body_pose.reshape(*body_pose.shape[:-2], -1))


def l2_energy(x: Array) -> Array:
    """|x|^2 of x [..., D]: pulls every number to 0, the rest pose."""
    return jnp.square(x).sum(-1)
