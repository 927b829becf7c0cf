"""What one posterior function gives on real and validation data: zero-shot lifting, fused cameras, mixed measurements.

    python -m experiments.evaluate posterior --task=lift --stride=40 --out=runs/posterior
    python -m experiments.evaluate posterior --task=fuse --stride=10 --hypotheses=48 --out=runs/posterior
    python -m experiments.evaluate posterior --task=parts --stride=40 --hypotheses=50 --out=runs/posterior

lift   2D of the benchmark's frames, K known: pose17 given the keypoints as its condition, and the same network
       unconditional, whose law of poses meets the keypoints in `posterior`; also with the focal length unknown to it.
fuse   keypoints of 1 to 4 calibrated cameras, as `jaxpose fuse` takes them (`experiments/evaluate/fusion.py`).
parts  validation poses from 3D joints with noise, some exact joints, bone lengths, limb directions and end effectors,
       each alone and all together.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, fusion, harness
from experiments.evaluate.harness import Column, Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.evaluation.protocols import lifting_row
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.tasks import observations
from jaxpose.tasks.lift import lift
from jaxpose.tasks.methods import METHODS
from jaxpose.tasks.posterior import Observed
from jaxpose.tasks.posterior import posterior as draw_posterior
from jaxpose.tasks.priors import Prior, fitted, prior_of


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    """Of the posterior."""

    task: str = option("lift", "What to evaluate.", legal=("lift", "fuse", "parts"))
    hypotheses: int = option(200, "Draws of each posterior.", low=2)
    steps: int | None = option(None, "Solver steps of `posterior`; by default its own.", low=1)
    stride: int = option(40, "Every n-th pose or frame only.", low=1)
    noise: float = option(observations.SURE, "Of a sure keypoint, share of the person's extent.")
    robust: float | None = option(None, "Degrees of freedom of Student's t for keypoints; None: Gaussian.")

    @property
    def variant(self) -> str:
        return self.task


def posterior(model: released.Model, options: Options) -> Iterator[Item]:
    """The table of --task."""
    prior = fitted(jax.random.key(options.seed), prior_of(model))
    tables: dict[str, Any] = {"lift": lifting, "fuse": fusion.fusion, "parts": parts}
    yield from tables[options.task](model, prior, options)


def lifting(model: released.Model, prior: Prior, options: Options) -> Iterator[Item]:
    """Rows of (method, whether the focal length is known); the first is the network told the keypoints."""
    data = bench.load_frames(options.stride)
    keypoints, confidence, intrinsics, truth = bench.on_device(data)

    def conditional() -> Array:
        key, num = jax.random.key(options.seed), options.hypotheses
        return lift(key, model, keypoints, confidence, camera=Camera(intrinsics), num_hypotheses=num).samples

    def told_nothing(method: str, smc: bool = False, known_focal: bool = True) -> Callable[[], Array]:
        def one(row: tuple[Array, ...]) -> Array:
            index, uv, sure, camera = row
            noise = observations.keypoint_noise_px(uv, sure, options.noise)
            view = observations.sight(uv[None], noise[None], sure[None], Camera(camera[None]))
            seen = observations.seen_by(view, known_focal=known_focal)
            key = jax.random.fold_in(jax.random.key(options.seed), index)
            drawn = draw(key, prior, (seen,), method, options, smc)
            return jnp.einsum("ji,hkj->hki", view.R_view_world, drawn)

        rows = (jnp.arange(len(keypoints)), keypoints, confidence, intrinsics)
        return jax.jit(lambda: jnp.swapaxes(jax.lax.map(one, rows), 0, 1))

    rows = {
        "told the keypoints (lift)": conditional,
        "told nothing, pseudo_inverse": told_nothing("pseudo_inverse"),
        "told nothing, pseudo_inverse, smc": told_nothing("pseudo_inverse", smc=True),
        "told nothing, dps": told_nothing("dps"),
        "told nothing, dps, smc": told_nothing("dps", smc=True),
        "told nothing, pseudo_inverse, focal unknown": told_nothing("pseudo_inverse", known_focal=False),
    }
    told = {name: "2D detected, principal point" if "focal" in name else "2D detected, intrinsics" for name in rows}
    yield from table(model, rows, told, truth, data.category, options)


def draw(
    key: Array, prior: Prior, seen: tuple[Observed, ...], method: str, options: Options, smc: bool = False
) -> Array:
    """Joints [H, J, 3] of equally likely draws: those with weights are drawn again by them, systematically."""
    num, steps = options.hypotheses, {} if options.steps is None else {"num_steps": options.steps}
    chosen = METHODS[method](**steps, smc=smc, robust=options.robust)
    drawn = draw_posterior(key, prior, *seen, method=chosen, num_hypotheses=num)
    at = (jnp.arange(num) + jax.random.uniform(key)) / num
    again = jnp.minimum(jnp.searchsorted(jnp.cumsum(drawn.weights), at), num - 1)
    return drawn.samples[again]


def table(
    model: released.Model,
    rows: dict[str, Callable[[], Array]],
    told: dict[str, str],
    truth: Array,
    category: np.ndarray,
    options: Options,
) -> Iterator[Item]:
    """A line of errors for what each row draws [H, N, J, 3]; seconds include compilation."""
    shown = ("mean", "geometric_median", "best_of_10", "best_of_N", "p_mean", "p_best_of_N", "energy_score")
    columns: dict[str, Column] = {k: f"{k.replace('_N', f'_{options.hypotheses}')}_mm:.1f" for k in shown}
    columns |= {"coverage_90": "coverage_90:.2f", "ECE": "ece:.3f", "s/pose": "seconds_per_pose:.2f"}
    yield Table(
        f"{len(truth)} poses; mm", f"{bench.NO_DEPTH}; best_of_* choose by the truth", bench.tuned(model), columns
    )
    for name, samples_of in rows.items():
        if options.wants(name):
            started = time.perf_counter()
            samples = jax.block_until_ready(samples_of())
            row = lifting_row(samples, truth, category)
            yield Row(name, row | {"seconds_per_pose": (time.perf_counter() - started) / len(truth)}, told[name])


LIMBS = [(1, 2), (2, 3), (4, 5), (5, 6), (11, 12), (12, 13), (14, 15), (15, 16), (0, 8)]
ENDS = (3, 6, 10, 13, 16)
CORE = (1, 4, 8, 11, 14)


def parts(model: released.Model, prior: Prior, options: Options) -> Iterator[Item]:
    """Each measurement alone, and all: noise as said in the names."""
    data = bench.load_frames(options.stride)
    keypoints, intrinsics, truth = (
        jnp.asarray(x, jnp.float32) for x in (data.keypoints_true, data.intrinsics, data.joints_cam)
    )
    operators = {
        "all joints, 50 mm": (observations.joints(range(17)), 0.05),
        "hips and shoulders, 10 mm": (observations.joints(CORE), 0.01),
        "bone lengths, 10 mm": (observations.bone_lengths(H36M_17), 0.01),
        "directions of 9 limbs, 0.1": (observations.directions(LIMBS), 0.1),
        "hands, feet and head from the hip, 10 mm": (observations.end_effectors(ENDS), 0.01),
    }

    def drawn(names: tuple[str, ...]) -> Callable[[], Array]:
        def one(row: tuple[Array, ...]) -> Array:
            index, uv, camera, x_cam = row
            key = jax.random.fold_in(jax.random.key(options.seed), index)
            view = observations.sight(uv[None], jnp.ones((1, 17)), jnp.ones((1, 17)), Camera(camera[None]))
            x = (x_cam - x_cam.mean(0)) @ view.R_view_world.T
            seen = []
            for i, name in enumerate(operators):
                operator, noise = operators[name]
                value = operator(x)
                value += noise * jax.random.normal(jax.random.fold_in(key, i), value.shape)
                seen += [Observed(value, operator, jnp.asarray(noise))] if name in names else []
            drawn = draw(key, prior, tuple(seen), "pseudo_inverse", options)
            return jnp.einsum("ji,hkj->hki", view.R_view_world, drawn)

        rows = (jnp.arange(len(truth)), keypoints, intrinsics, truth)
        return jax.jit(lambda: jnp.swapaxes(jax.lax.map(one, rows), 0, 1))

    rows = {name: drawn((name,)) for name in operators} | {"all of them": drawn(tuple(operators))}
    told = dict.fromkeys(rows, "measurements made of the true pose, with the noise told; axes that look at the person")
    yield from table(model, rows, told, truth, data.category, options)
