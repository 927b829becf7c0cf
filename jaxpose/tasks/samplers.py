"""How states are drawn, as values: a solver, its times, and whether a last denoising call follows.

A new sampler is a function like `_flow` and an entry in SAMPLERS, which the command line reads.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from jaxpose.base import Array
from jaxpose.diffusion import SDE, Solver, ancestral, dpmpp_2m, time_grid
from jaxpose.diffusion.solvers import fixed_euler, fixed_times
from jaxpose.model import Model, Spec


class Run(NamedTuple):
    """A solver, its times [T+1], and whether a last denoising call follows.

    paired: of a flow, whose start is its only random number: every second draw starts from the noise of the one before
            with the other sign, so that the mean of few draws errs by less.
    """

    solver: Solver
    times: Array
    finish: bool
    paired: bool = False


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A way to draw states; hashable, so it is a static argument of jit.

    make:        (sampler, specification, process or a part of it) -> Run.
    num_steps:   solver steps, each one network call, and one call more; None: `usual_steps`, or what validation chose.
    temperature: factor on the fresh noise; below 1 the draws keep nearer to the middle of the law.
    calibrated:  whether the recalibration that validation found holds for its draws.
    seeks_mean:  whether each draw approaches the mean of the law.
    """

    name: str
    make: Callable[["Sampler", Spec, SDE], Run]
    num_steps: int | None = None
    temperature: float = 1.0
    usual_steps: int | None = None
    calibrated: bool = False
    seeks_mean: bool = False

    def run(self, spec: Spec, sde: SDE) -> Run:
        """Solver and times of a model under `sde`, the model's process or a part of it."""
        return _few_step_run(self, spec.name, spec.times, sde) if spec.times else self.make(self, spec, sde)

    def network_calls(self, model: Model) -> int:
        """Calls of the network for one pose, one after the other."""

        def calls() -> Array:
            run = self.run(model.spec, model.spec.sde())
            return run.times if run.finish else run.times[1:]

        return len(jax.eval_shape(calls))

    def with_usual_steps(self, num_steps: int) -> Self:
        """Itself with `num_steps` where none are given; not where the sampler or a few-step model has its own."""
        return dataclasses.replace(self, usual_steps=self.usual_steps or num_steps)


def stochastic(num_steps: int | None = None, temperature: float = 1.0) -> Sampler:
    """Draws from p(x0 | condition): the reverse SDE, or a blend with the flow (`Spec.eta`).

    The only sampler whose draws the released models' recalibration is for.
    """
    return Sampler("posterior", _stochastic, num_steps, temperature, calibrated=True)


def probability_flow(num_steps: int | None = None) -> Sampler:
    """Draws from the same law; only the start is random (Song et al., 2021)."""
    return Sampler("probability_flow", _flow, num_steps)


def mean_flow(num_steps: int | None = None) -> Sampler:
    """The reverse SDE's drift without its noise: each draw approaches the mean of the law, and one is enough.

    GFPose calls it --pflow (spec/gfpose.md, 5.4).
    """
    return Sampler("mean_flow", _mean_flow, num_steps, seeks_mean=True)


def original(num_steps: int | None = None) -> Sampler:
    """GFPose's own recipe, 1000 steps unless given (recipes/gfpose.py); for comparison."""
    return Sampler("original", _original, num_steps, usual_steps=1000)


def original_mean_flow(num_steps: int | None = None) -> Sampler:
    """The same without its noise."""
    return Sampler("original_mean_flow", _original, num_steps, usual_steps=1000, seeks_mean=True)


# the name on the command line -> num_steps -> Sampler
SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "posterior": stochastic,
    "probability_flow": probability_flow,
    "mean_flow": mean_flow,
    "original": original,
    "original_mean_flow": original_mean_flow,
}


def sampler_of(name: str, num_steps: int | None = None, **options: float) -> Sampler:
    """The sampler of a name on the command line; ValueError for a name not in SAMPLERS, or an option it lacks."""
    if name not in SAMPLERS:
        raise ValueError(f"sampler: got {name!r}, must be one of {tuple(SAMPLERS)}")
    try:
        return SAMPLERS[name](num_steps, **options)
    except TypeError:
        raise ValueError(f"sampler {name!r} takes no {', '.join(options)}") from None


def _stochastic(sampler: Sampler, spec: Spec, sde: SDE) -> Run:
    return Run(dpmpp_2m(sde, eta=spec.eta, noise=sampler.temperature), _grid(sampler, spec, sde), True, spec.eta == 0)


def _flow(sampler: Sampler, spec: Spec, sde: SDE) -> Run:
    return Run(dpmpp_2m(sde, eta=0.0, noise=sampler.temperature), _grid(sampler, spec, sde), True, True)


def _mean_flow(sampler: Sampler, spec: Spec, sde: SDE) -> Run:
    return Run(dpmpp_2m(sde, eta=1.0, noise=0.0), _grid(sampler, spec, sde), True)


def _original(sampler: Sampler, spec: Spec, sde: SDE) -> Run:
    num_steps = sampler.num_steps or sampler.usual_steps or 1000
    return Run(fixed_euler(sde, num_steps, mean_flow=sampler.seeks_mean), fixed_times(sde, num_steps), False)


def _grid(sampler: Sampler, spec: Spec, sde: SDE) -> Array:
    return time_grid(sde, sampler.num_steps or sampler.usual_steps or spec.num_steps, spec.spacing)


def _few_step_run(sampler: Sampler, name: str, times: tuple[float, ...], sde: SDE) -> Run:
    """The only way of a few-step model: each call draws an x0, which the process' bridge carries to the next time."""
    steps = len(times) - 1
    if sampler.make is not _stochastic or sampler.num_steps not in (None, steps) or sampler.temperature != 1:
        raise ValueError(
            f"{name!r} is a few-step model: it draws by sampler 'posterior' in {steps} steps at temperature 1 "
            f"alone, got {sampler.name!r}, {sampler.num_steps} steps, temperature {sampler.temperature}"
        )
    return Run(ancestral(sde), jnp.asarray(times), True)
