"""Priors over body poses for a fit, as pytrees that pass through jit.

DPoser, a Gaussian, a mixture (fitting/baselines.py) and none are compared in one code.
"""

import inspect
from collections.abc import Callable

import flax.struct
import jax

from jaxpose.base import Array, Key
from jaxpose.compiled import as_pytree
from jaxpose.diffusion.regulariser import Reduction, Schedule, Weight, regulariser, snr_squared, summed, truncated
from jaxpose.fitting.engine import PosePrior
from jaxpose.model import Model, require
from jaxpose.tasks.rotations import to_state

_SCHEDULE = truncated(0.2, 0.05)  # DPoser-X's of motion denoising


@flax.struct.dataclass
class DPoserPrior:
    """The DPoser regulariser of a prior over rotations, all poses at the one t of the step; see `dposer_prior`."""

    model: Model
    schedule: Schedule = flax.struct.field(pytree_node=False)
    weight: Weight = flax.struct.field(pytree_node=False)
    reduction: Reduction = flax.struct.field(pytree_node=False)

    def __call__(self, key: Key, body_pose: Array, k: Array, num_steps: int) -> Array:
        """Energy [...] of poses [..., 21, 3] at step k of `num_steps`."""
        t_key, z_key = jax.random.split(key)
        t, state = self.schedule(t_key, k, num_steps), to_state(self.model, body_pose)
        sde, predict = self.model.spec.sde(), self.model.predict_fn()
        return regulariser(z_key, predict, sde, state, t, weight=self.weight, reduction=self.reduction)


def dposer_prior(
    model: Model, schedule: Schedule | None = None, *, weight: Weight = snr_squared, reduction: Reduction = summed
) -> DPoserPrior:
    """The DPoser regulariser (diffusion/regulariser.py) of a prior over rotations, such as `load("prior21")`.

    With `snr_squared` and `summed` a weight of 1 serves all tasks, since the terms of a fit are in nats.
    """
    require(model, "a fit", "rotations")
    return DPoserPrior(model, schedule or _SCHEDULE, weight, reduction)


def energy_prior(energy: Callable[[Array], Array]) -> PosePrior:
    """A prior from an energy of poses as vectors x [..., 63] -> [...] (fitting/baselines.py)."""
    if inspect.ismethod(energy):  # of a pytree such as `GaussianPrior`: its arrays pass through jit
        energy = jax.tree_util.Partial(energy.__func__, energy.__self__)
    return jax.tree_util.Partial(_of_vectors, as_pytree(energy))


def _of_vectors(energy: Callable[[Array], Array], key: Key, body_pose: Array, k: Array, num_steps: int) -> Array:
    return energy(body_pose.reshape(*body_pose.shape[:-2], -1))
