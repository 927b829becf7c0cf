"""Specification of a model, which its file holds as JSON, and the recalibrations that it may have."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key
from jaxpose.diffusion.sde import SDE, from_betas, sub_vp, ve, vp
from jaxpose.geometry.skeleton import get_skeleton
from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces import MOTIONS, SPACES, Space

_PROCESSES: dict[str, Callable[..., SDE]] = {
    "vp": vp,
    "sub_vp": sub_vp,
    "ve": ve,
    "linear_betas": lambda first, last, num: from_betas(np.linspace(first, last, int(num))),
}


@functools.cache
def _process(name: str, args: tuple[float, ...]) -> SDE:
    if name not in _PROCESSES or any(abs(a) > _LARGEST for a in args):
        raise ValueError(
            f"process {name!r} of {args}; must be one of {', '.join(_PROCESSES)}, of numbers up to {_LARGEST:g}"
        )
    return _PROCESSES[name](*args)


_LARGEST = 1e5  # parameter of a process, of which one is a number of steps


@dataclasses.dataclass(frozen=True)
class Spec:
    """Specification of a model: all but its numbers; hashable, and JSON in the file.

    context: width of the condition's further features (a confidence per joint; for models that take them then 3 of the
    world's upward direction, of motions 3 of the path, and J for each kind of evidence on joints); 0 for none.
    codec: name of the space of its states (jaxpose/spaces).
    process: "vp", "sub_vp", "ve" or "linear_betas" (first, last, number), with its parameters in order.
    target: what the network puts out (`bind`). indices: of the schedule, falling, where DiffPose's original calls the
    network; () where the grid is made of num_steps and spacing.
    num_steps, spacing, eta: the sampler that validation chose (dpmpp_2m; eta 0 is the flow, 1 the SDE).
    times: of a few-step model, falling: where it calls its network, each time for a draw of x0; () for all others.
    refine: sigma / alpha at which a few-step model's base denoises what it generates (tasks/refine.py); 0: it does not.
    scale: where metres come from.
    base: name of the bundled model that it was made from, "" for none: its file repeats no weight of the base.
    """

    name: str
    network: ScoreMLP | DiffPose
    skeleton: str = "h36m17"
    context: int = 17
    codec: str = "person"
    process: str = "vp"
    process_args: tuple[float, ...] = (0.1, 20.0)
    target: str = "v"
    num_steps: int = 19
    spacing: str = "log_snr"
    eta: float = 1.0
    indices: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    refine: float = 0.0
    scale: str = "human size learned from motion capture"
    base: str = ""

    def filled(self, cond: Condition | None) -> Condition | None:
        """The condition with a context of the network's width: what is not given is 0."""
        if cond is None or cond.context is None or (more := self.context - cond.context.shape[-1]) <= 0:
            return cond
        return cond._replace(context=jnp.pad(cond.context, [(0, 0)] * (cond.context.ndim - 1) + [(0, more)]))

    def sde(self) -> SDE:
        """The diffusion process the network was trained under; equal specifications give the same object."""
        return _process(self.process, self.process_args)

    @property
    def space(self) -> Space:
        """The space of the model's states."""
        return MOTIONS if "motion" in self.network.capabilities else SPACES[self.codec]

    @property
    def state_shape(self) -> tuple[int, int]:
        """[J, D] of a state: joints or their rotations, and the numbers of each."""
        return self.space.shape(get_skeleton(self.skeleton))

    @property
    def conditioned(self) -> bool:
        """Whether the network takes a condition: all do but priors over rotations of many steps."""
        return not self.space.representation or bool(self.times)

    @property
    def capabilities(self) -> frozenset[str]:
        """Capabilities that tasks `require`: the space's and the network's; a few-step model has no score."""
        offered = self.network.capabilities | {self.space.capability}
        offered -= set() if self.conditioned else {"condition"}
        offered |= {"poses"} if offered & {"joints", "rotations"} else set()
        if "joints" in offered and self.context >= self.state_shape[0] + 3:
            offered |= {"vertical"}
        return (offered - {"score"}) | {"few_steps"} if self.times else offered | {"any_level"}

    @property
    def num_calls(self) -> int:
        """Network calls of a draw, by the sampler that validation chose."""
        return len(self.times) or self.num_steps + 1


class Recalibration(NamedTuple):
    """Factors on the summary of one task's hypotheses (`python -m experiments.models.recalibrate`).

    covariance: [J] factor on the covariance of each joint over the samples.
    radius:     [J] factor on the samples' own 90 % radius, so that it holds the truth in 90 % of the cases of the fit.
    """

    covariance: Array
    radius: Array


def init_params(key: Key, spec: Spec) -> Any:
    """Fresh weights of the network that `spec` names."""
    context = spec.context if spec.conditioned else None
    inputs = spec.network.example_inputs(spec.state_shape, spec.space.keypoint_width, context)
    return jax.jit(spec.network.init)(key, *inputs)  # one program in place of one for each operation
