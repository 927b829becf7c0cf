"""Cases of `experiments.benchmark` on parts of networks: the norm against flax's, and DiffPose's graph network."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.plain_graph import denoise
from experiments.benchmark.timing import Row, Setup, cpu_seconds, example_inputs, interleaved
from jaxpose import model as released
from jaxpose.diffusion.sampling import in_slices
from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.layers import GroupNorm
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks.diffpose import ROWS_AT_ONCE, draw_poses
from jaxpose.tasks.samplers import stochastic


def group_norm(setup: Setup) -> list[Row]:
    """Forward and backward of our norm over the last axis, and of flax's, as a ratio."""
    width, groups = setup.model.spec.network.hidden, setup.model.spec.network.num_groups
    x = jax.random.normal(jax.random.key(0), (2048, width))
    runs = []
    for norm in (GroupNorm(groups), nn.GroupNorm(groups, epsilon=1e-5, reduction_axes=(-1,))):
        params = norm.init(jax.random.key(0), x)
        gradient = jax.jit(jax.grad(lambda x, norm=norm, params=params: nn.silu(norm.apply(params, x)).sum()))
        runs.append(lambda gradient=gradient: [gradient(x) for _ in range(20)])
    ours, flax_own = interleaved(setup.sizes.repeats, *runs)
    figures = {
        "ours_ms": 50 * float(np.median(ours)),
        "flax_ms": 50 * float(np.median(flax_own)),
        "flax_over_ours": float(np.median(flax_own / ours)),
    }
    return [Row("group_norm", "", figures, higher=("flax_over_ours",))]


def graph(setup: Setup) -> list[Row]:
    """DiffPose's denoiser, 96 wide and 5 deep, on 1024 poses: folded against term by term; and 5 samples in 5 steps.

    cpu: seconds of all cores together, which other work on the machine disturbs less. at_once: rows that the network
    sees together (`tasks.diffpose.ROWS_AT_ONCE`). Sampling is `draw_poses`: encoder, and one call more than steps.
    """
    poses, t, network = 1024, jnp.float32(0.5), GraphDenoiser()
    x = jax.random.normal(jax.random.key(0), (poses, 17, 5))
    params = jax.jit(network.init)(jax.random.key(1), x[0], t)

    def folded(size: int) -> Callable[[], Any]:
        run = jax.jit(lambda params, x: in_slices(lambda rows: network.apply(params, rows, t), x, size))
        return lambda: run(params, x)

    # weights are arguments: XLA would copy constants for every pose when it compiles, which a user's do not get
    per_term = jax.jit(lambda params, x: denoise(network, params["params"], x, jnp.full(poses, t)))
    slices = sorted({32, 128, 512, poses, ROWS_AT_ONCE})
    runs = {"per_term": lambda: per_term(params, x), **{f"folded_{n}_at_once": folded(n) for n in slices}}
    expected = runs["per_term"]()
    for run in runs.values():
        np.testing.assert_allclose(run(), expected, atol=2e-5)
    times = dict(zip(runs, interleaved(setup.sizes.repeats, *runs.values()), strict=True))
    cpu = {name: cpu_seconds(run, setup.sizes.repeats) for name, run in runs.items()}
    ours = f"folded_{ROWS_AT_ONCE}_at_once"

    keypoints, confidence, intrinsics = example_inputs(poses)
    whole, cond = official_size(setup.model), encode_keypoints(intrinsics, keypoints, confidence)[0]
    draw = jax.jit(lambda m: draw_poses(jax.random.key(0), m, cond, num_hypotheses=5, sampler=stochastic(5)))
    sampling = interleaved(setup.sizes.repeats, lambda: draw(whole))[0]
    figures = {
        **{f"{name}_seconds": float(np.median(v)) for name, v in times.items()},
        **{f"{name}_cpu_seconds": v for name, v in cpu.items()},
        "per_term_over_folded": float(np.median(times["per_term"] / times[ours])),
        "per_term_over_folded_cpu": cpu["per_term"] / cpu[ours],
        "sampling_5x5_seconds": float(np.median(sampling)),
        "sampling_5x5_cpu_seconds": cpu_seconds(lambda: draw(whole), setup.sizes.repeats),
    }
    return [Row("graph", "", figures, higher=("per_term_over_folded", "per_term_over_folded_cpu"))]


def official_size(model: released.Model) -> released.Model:
    """A DiffPose model of single frames with networks of the original's size and random weights."""
    network = DiffPose(GraFormer(), None, GraphDenoiser(), context_width=96 + 13)
    spec = released.Spec("official size", network, target="edm")
    params = jax.jit(lambda: released.init_params(jax.random.key(0), spec))()
    return released.Model(params, model.statistics, spec)
