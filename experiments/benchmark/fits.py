"""Case `fitting` of `experiments.benchmark`: fits in a batch and one by one, and the time to a given energy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.tasks import Bodies, some_bodies
from experiments.benchmark.timing import Row, Setup, interleaved
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.base import Bodies as Fitted
from jaxpose.fitting.engine import POSE_AND_PLACE, BodyParameters, fit, posed_body, start_parameters
from jaxpose.fitting.ik import IKSettings, aligned
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints, one_camera
from jaxpose.fitting.least_squares import LevenbergMarquardt
from jaxpose.fitting.motion import MotionSettings
from jaxpose.fitting.priors import dposer_prior
from jaxpose.fitting.terms import Points, Smoothness
from jaxpose.geometry.body import Body

_PRIOR = "prior21"
_DRAWS = 8  # of the regulariser's noise, for the energies that are compared
_STEPS = (5, 8, 10, 15, 20, 30, 40)  # of second-order fits that are tried
_SHARES = (0.25, 0.5, 1.0)  # of Adam's steps


class Problem(NamedTuple):
    """3D points [N, F, 22, 3] m with a noise, weight of smoothness, settings with Adam's steps."""

    body: Body
    points: Array
    noise: float
    smooth: float
    steps: int


def fitting(setup: Setup) -> list[Row]:
    """256 frames x 500 steps in one batch and one by one (8), and the time to the energy that Adam ends at.

    The latter of inverse kinematics of 64 frames, and of 4 motions of 64 frames: the fewest steps of each method (of
    some that are tried) whose mean energy is no higher, and their seconds. Each method runs its own schedule.
    """
    prior = released.load(_PRIOR)
    bodies = some_bodies(prior, 256)
    noisy = bodies.joints + 0.02 * jax.random.normal(jax.random.key(2), bodies.joints.shape)
    single = Problem(bodies.body, noisy[:64, None], 0.02, 0.0, IKSettings().num_steps)
    smooth = MotionSettings().weights.smooth
    between = jnp.linspace(0, 1, 32)[:, None, None]
    ends = bodies.joints[:12].reshape(4, 3, 22, 3)  # straight paths: more than one body can follow
    paths = [ends[:, i, None] * (1 - between) + ends[:, i + 1, None] * between for i in range(2)]
    moving = jnp.concatenate(paths, 1)
    moving = moving + 0.03 * jax.random.normal(jax.random.key(3), moving.shape)
    motion = Problem(bodies.body, moving, 0.03, smooth, MotionSettings().num_steps)
    return [
        _in_a_batch(setup, prior, bodies),
        _to_an_energy(setup, "inverse kinematics, 64 frames", prior, single),
        _to_an_energy(setup, "motions, 4 x 64 frames", prior, motion),
    ]


def _in_a_batch(setup: Setup, prior: released.Model, bodies: Bodies) -> Row:
    num, singles = 256, 8
    start = start_parameters(num, 1, bodies.body.shapedirs.shape[-1], jnp.zeros((21, 3)))
    start = start._replace(transl=start.transl + jnp.array([0.0, 0.0, 4.0]))
    settings = FitSettings(num_steps=500, method=None)

    @jax.jit
    def run(rows: Array, prior: released.Model, bodies: Bodies) -> Array:
        uv = bodies.keypoints[rows][:, None, None]
        cameras: Camera = one_camera(bodies.intrinsics[rows])
        given: dict[str, Any] = {"noise_px": 3.0, "start": jax.tree.map(lambda x: x[rows], start), "settings": settings}
        seen = uv, jnp.ones(uv.shape[:-1]), cameras, "openpose25"
        return fit_keypoints(jax.random.key(0), bodies.body, *seen, dposer_prior(prior), **given).joints

    times = interleaved(
        setup.sizes.repeats,
        lambda: run(jnp.arange(num), prior, bodies),
        lambda: [run(jnp.array([i]), prior, bodies) for i in range(singles)],
    )
    one_by_one = times[1] * num / singles
    figures = {
        "frames": num,
        "steps": settings.num_steps,
        "seconds": float(np.median(times[0])),
        "one_by_one_seconds": float(np.median(one_by_one)),
        "one_by_one_over_batch": float(np.median(one_by_one / times[0])),
    }
    return Row("fitting", "", figures, higher=("one_by_one_over_batch",))


def _to_an_energy(setup: Setup, name: str, prior: released.Model, problem: Problem) -> Row:
    start, terms = _start_and_terms(prior, problem)

    def run(num_steps: int, method: LevenbergMarquardt | None) -> Callable[[], Fitted]:
        given: dict[str, Any] = {"start": start, "num_steps": num_steps, "free": POSE_AND_PLACE, "method": method}
        return lambda: fit(jax.random.key(1), problem.body, dposer_prior(prior), *terms, **given)

    @jax.jit
    def energy(prior: released.Model, found: Fitted) -> Array:
        parameters = BodyParameters(*(x[0] for x in found[:4]))
        posed, last, regulariser = posed_body(problem.body, parameters), jnp.asarray(1), dposer_prior(prior)
        keys = jax.random.split(jax.random.key(9), _DRAWS)
        likely = jax.lax.map(lambda key: regulariser(key, parameters.body_pose, last, 2).sum(-1), keys).mean(0)
        return (sum(term(posed, parameters, last) for term in terms) + likely).mean()

    def reaching(target: float, makers: dict[int, Callable[[], Fitted]]) -> tuple[int, Callable[[], Fitted], float]:
        """The fewest steps that end no higher, else the most."""
        tried = [(steps, make, float(energy(prior, make()))) for steps, make in makers.items()]
        return next((each for each in tried if each[2] <= target), tried[-1])

    target = float(energy(prior, run(problem.steps, None)()))
    first = {int(share * problem.steps): run(int(share * problem.steps), None) for share in _SHARES}
    second = {steps: run(500, LevenbergMarquardt(steps)) for steps in _STEPS}
    (adam_steps, adam, _), (steps, newton, reached) = (reaching(target, each) for each in (first, second))
    times = interleaved(setup.sizes.repeats, adam, newton, warm=True)
    figures = {
        "energy": target,
        "adam_steps": adam_steps,
        "adam_seconds": float(np.median(times[0])),
        "second_order_energy": reached,
        "second_order_steps": steps,
        "second_order_seconds": float(np.median(times[1])),
        "adam_over_second_order": float(np.median(times[0] / times[1])),
    }
    return Row("fitting", name, figures, higher=("adam_over_second_order",))


def _start_and_terms(prior: released.Model, problem: Problem) -> tuple[BodyParameters, list[Any]]:
    points, mean = problem.points, jnp.asarray(prior.statistics.mean)
    seen = jnp.ones(points.shape[:-1], bool)
    num, num_frames = points.shape[:2]
    start = start_parameters(num, num_frames, problem.body.shapedirs.shape[-1], mean)
    start = aligned(problem.body, start, "smpl22", points, seen)
    terms: list[Any] = [Points(points, seen, jnp.full(points.shape[:-1], problem.noise), None, "smpl22")]
    return start, terms + ([Smoothness(problem.smooth)] if problem.smooth else [])
