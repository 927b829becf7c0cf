"""Our released models by their own samplers, for the work of each of the originals' recipes, and how good it is.

    GFPose, recipe        lifting, 200 hypotheses                       best of 200, mm
    DiffPose, 5 x 5       lifting, 5 hypotheses                         error of their mean, mm; recipe: diffpose17's
    MixSTE                the encoder of diffpose17_video, 243 frames   time alone
    DPoser, generation    50 poses a person                             Frechet distance to validation poses
    DPoser, completion    10 completions without the left leg           best of 10 over the leg, mm
    DPoser, denoising     a fit to 60 frames with 40 mm of noise        error of the joints, mm

The quality of a recipe is that of the recipe on our weights (pose17, diffpose17, prior21), on the benchmark's
validation people, none of whom trained them. Without that data there are times alone.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.against.draws import completed, denoised
from experiments.benchmark.sampling import best_figures, best_mm, lift_program, recipe_inputs
from experiments.benchmark.timing import Run, Setup, compiled, example_inputs, over_devices, replicated
from experiments.evaluate import bench
from experiments.evaluate.body import denoised_joints
from jaxpose import model as released
from jaxpose.base import Array, Camera, Condition
from jaxpose.evaluation.generation import frechet_distance
from jaxpose.evaluation.metrics import align_root, mpjpe
from jaxpose.evaluation.protocols import hidden_errors
from jaxpose.files import ASSETS
from jaxpose.fitting.motion import MotionSettings
from jaxpose.fitting.priors import dposer_prior
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.io.anny_body import anny_body
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks.complete_rotations import PARTS, Guided, complete_rotations
from jaxpose.tasks.diffpose import encode_rows
from jaxpose.tasks.lift import lift
from jaxpose.tasks.rotations import generate_rotations, to_state
from jaxpose.tasks.samplers import original, stochastic

_STRIDE = 20  # of validation poses
_SETS, _SET = 4, 500  # generated sets, and the poses of each
_POSES, _HYPOTHESES, _SAMPLES, _COMPLETIONS = 50, 200, 5, 10
_CLIPS, _NOISE = 6, 0.04  # every so many validation motions; metres on each coordinate
_STEPS = 9  # of completion: 10 calls
_COMPLETION = 200


class Ours(NamedTuple):
    """A way of ours: its name, network calls, the program for so many persons, and its quality beside the recipe's."""

    name: str
    calls: int
    run: Callable[[int], Run]
    figures: dict[str, float]


def lifting(setup: Setup) -> Iterator[Ours]:
    """200 hypotheses, by pose17 and by few steps."""
    inputs, truth = recipe_inputs(setup)
    slow = best_mm(lift_program(setup.model, inputs, _HYPOTHESES, sampler=original()).run().samples, truth)
    for name, model in models(setup).items():
        figures = {}
        if slow is not None:
            errors = best_mm(lift_program(model, inputs, _HYPOTHESES).run().samples, truth)
            assert errors is not None, "the same truth"
            figures = beside(slow, errors)
        yield Ours(name, stochastic().network_calls(model), _lifts(model, _HYPOTHESES), figures)


def mean_pose(setup: Setup) -> Iterator[Ours]:
    """The mean of 5 hypotheses, by pose17 and by few steps."""
    measured = _has_bench()
    if measured:
        keypoints, confidence, intrinsics, joints = bench.on_device(bench.load_frames(_STRIDE))
        truth = align_root(joints)

        def error(model: released.Model, **how: Any) -> np.ndarray:
            draw = lambda m: lift(  # noqa: E731
                jax.random.key(0), m, keypoints, confidence, camera=Camera(intrinsics), num_hypotheses=_SAMPLES, **how
            ).samples.mean(0)
            return np.asarray(1000 * mpjpe(align_root(jax.jit(draw)(model)), truth))

        slow = error(released.load("diffpose17"), sampler=stochastic(5))
    for name, model in models(setup).items():
        figures = beside(slow, error(model)) if measured else {}
        yield Ours(name, stochastic().network_calls(model), _lifts(model, _SAMPLES), figures)


def video(setup: Setup) -> Iterator[Ours]:
    """Poses of 243 frames, by the encoder of diffpose17_video, window by window."""
    del setup
    model = released.load("diffpose17_video")

    def run(persons: int) -> Run:
        keypoints, confidence, intrinsics = example_inputs(243)
        cond = encode_keypoints(intrinsics, keypoints, confidence)[0]
        return compiled(lambda m, cond: encode_rows(m, cond).pose, replicated(model), replicated(cond)).run

    yield Ours("diffpose17_video", 1, run, {})


def generation(setup: Setup) -> Iterator[Ours]:
    """Poses of the prior by its own sampler."""
    del setup
    if measured := _has_bench():
        real = bench.load_poses(1).body_pose.reshape(-1, 63)

        def distances(model: released.Model, **how: Any) -> np.ndarray:
            draw = jax.jit(lambda key, m: generate_rotations(key, m, _SET, **how))
            keys = (jax.random.key(n) for n in range(_SETS))
            return np.array([frechet_distance(np.asarray(draw(key, model)).reshape(-1, 63), real) for key in keys])

        slow = distances(released.load("prior21"), sampler=original())
    for name in priors():
        model = released.load(name)
        figures = beside(slow, distances(model)) if measured else {}

        def run(persons: int, model: released.Model = model) -> Run:
            draw = lambda key, m: generate_rotations(key, m, persons * _POSES)  # noqa: E731
            return compiled(draw, *replicated((jax.random.key(0), model))).run

        yield Ours(name, stochastic().network_calls(model), run, figures)


def completion(setup: Setup) -> Iterator[Ours]:
    """Completions without the left leg, by the sampler held to what is known, in 10 calls."""
    del setup
    model, leg = released.load("prior21"), jnp.array(PARTS["left_leg"])
    known = jnp.ones(21).at[leg].set(0)
    method, figures = Guided(_STEPS), {}
    if _has_bench():
        poses, body = jnp.asarray(bench.load_poses(_STRIDE).body_pose), bench.generic_body()
        truth, hidden = bench.joints_of(body, poses), np.asarray(leg) + 1
        best = lambda samples: np.asarray(hidden_errors(bench.joints_of(body, samples), truth, hidden)["min"])  # noqa: E731
        ours = complete_rotations(jax.random.key(0), model, poses, known, num_hypotheses=_COMPLETIONS, method=method)
        figures = beside(best(jax.jit(by_descent)(model, poses, known)), best(ours))

    def run(persons: int) -> Run:
        poses = jnp.zeros((persons, 21, 3))
        draw = lambda key, m, x: complete_rotations(  # noqa: E731
            key, m, x, known, num_hypotheses=_COMPLETIONS, method=method
        )
        return compiled(draw, *replicated((jax.random.key(0), model)), over_devices(poses)).run

    yield Ours("prior21", _STEPS + 1, run, figures)


def denoising(setup: Setup) -> Iterator[Ours]:
    """Motions of 60 frames under 40 mm of noise, root known, by our fit to joints."""
    del setup
    model, figures = released.load("prior21"), {}
    start, body = jnp.asarray(model.statistics.mean), anny_body("smpl")
    if _has_bench():
        body, clips = bench.generic_body(), bench.load_motions(_CLIPS)
        truth = jnp.asarray(clips.joints)
        noisy = truth + _NOISE * jnp.asarray(clips.unit_noise)
        error = lambda joints: 1000 * np.asarray(mpjpe(joints, truth).mean(-1))  # noqa: E731
        begin = start + 0.01 * jax.random.normal(jax.random.key(0), (*truth.shape[:2], 21, 3))
        scale = jnp.broadcast_to(model.statistics.std, start.shape)
        recipe = jax.jit(
            lambda m, y: bench.joints_of(body, denoised(m, body, jax.random.key(1), begin, y, start, scale))
        )
        figures = beside(error(recipe(model, noisy)), error(_fitted(model, body, noisy, start)))

    def run(persons: int) -> Run:
        pose = jnp.broadcast_to(start, (persons, 60, 21, 3))
        noisy = body.shape().pose(full_rotations(body, pose)).joints[..., :22, :]
        return compiled(_fitted, *replicated((model, body)), over_devices(noisy), replicated(start)).run

    yield Ours("prior21", MotionSettings().num_steps, run, figures)


def _fitted(model: released.Model, body: Body, noisy: Array, start: Array) -> Array:
    return denoised_joints(model, body, noisy, start, make=dposer_prior, noise=_NOISE, seed=0)


def by_descent(model: released.Model, poses: Array, known: Array) -> Array:
    """Completions [10, N, 21, 3] by DPoser's own recipe; hypotheses begin at the same noise, as its evaluation does."""
    value = to_state(model, poses)
    mask = jnp.broadcast_to(known[:, None], value.shape)
    start = jnp.where(mask > 0, value, jax.random.normal(jax.random.key(1), value.shape))
    one = lambda key: completed(model, key, start, Condition(mask * value, mask), _COMPLETION)  # noqa: E731
    states = jax.lax.map(one, jax.random.split(jax.random.key(2), _COMPLETIONS))
    return jnp.where(known[:, None] > 0, poses, model.decode(states))


def beside(recipe: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Means of two errors [N], ours over the recipe's, and the standard error of that over the N (paired)."""
    figures = best_figures(recipe, found)
    return dict(zip(("recipe_quality", "quality", "quality_ratio", "standard_error"), figures.values(), strict=True))


def models(setup: Setup) -> dict[str, released.Model]:
    """The model of lifting, and that of few steps where it is."""
    chosen = [setup.model] + ([] if setup.fast is None else [setup.fast])
    return {model.spec.name: model for model in chosen}


def priors() -> list[str]:
    """The bundled priors over rotations that generate, the one of few steps last."""
    return [name for name in ("prior21", "prior21_fast") if (ASSETS / f"{name}.safetensors").is_file()]


def _lifts(model: released.Model, num: int) -> Callable[[int], Run]:
    return lambda persons: lift_program(model, example_inputs(persons), num).run


def _has_bench() -> bool:
    try:
        bench.bench_file("val_frames.npz")
    except ValueError as error:
        print(f"equal_quality: times alone, {error}", flush=True)
        return False
    return True


# the beginning of a pair's setting (pairs.py) -> our ways to do that work
BESIDE: dict[str, Callable[[Setup], Iterator[Ours]]] = {
    "GFPose, recipe": lifting,
    "DiffPose, 5 x 5": mean_pose,
    "MixSTE": video,
    "DPoser, generation": generation,
    "DPoser, completion": completion,
    "DPoser, denoising": denoising,
}
