"""What a model of motions makes of the benchmark's clips while it trains: the mean it would draw about, in one call.

At the process' end the state is noise, and x0 is predicted from the condition alone: it is the posterior's mean.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models.job import validation
from experiments.models.training import show
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.evaluation import metrics
from jaxpose.evaluation.protocols import load_video_bench
from jaxpose.spaces.person import decode_pose, encode_pose, encode_track, tell_vertical
from jaxpose.training.step import TrainState

_GAP = 15  # frames hidden in the middle of each window


def motion_evaluators(spec: released.Spec, export: Callable[[Any], released.Model]) -> dict[str, Any]:
    """Errors on windows of `val_video.npz`: of the mean (all frames seen, and 15 hidden), and of noisy states."""
    path = validation("val_video.npz")
    if path is None:
        return {}
    bench, length = load_video_bench(path), spec.network.window
    assert length is not None, "a model of motions has windows"
    num = bench.joints_cam.shape[1] // length
    keypoints, confidence, truth = (
        jnp.asarray(x[:, : num * length].reshape(-1, length, *x.shape[2:]))
        for x in (bench.keypoints, bench.confidence, bench.joints_cam)
    )
    intrinsics = jnp.repeat(jnp.asarray(bench.intrinsics), num, 0)
    sde, away = spec.sde(), (length - _GAP) // 2
    hidden = (np.arange(length) >= away) & (np.arange(length) < away + _GAP)

    @jax.jit
    def figures(params: Any) -> dict[str, Array]:
        model = export(params)
        predict, statistics = model.predict_fn(), model.statistics

        def seen(sure: Array, t: Array) -> Array:
            cond, view = jax.vmap(encode_track)(intrinsics, keypoints, sure)
            cond = jax.vmap(tell_vertical)(cond, view, jnp.zeros((len(truth), 3)))
            noise = jax.random.normal(jax.random.key(0), truth.shape)
            x = sde.alpha(t) * encode_pose(statistics, view, truth) + sde.sigma(t) * noise
            poses = decode_pose(statistics, view, predict(x, t, cond).x0)
            return 1000 * metrics.mpjpe(poses, metrics.align_root(truth))

        end = jnp.float32(sde.t_max)
        gap, mean = seen(confidence * ~hidden[:, None], end), seen(confidence, end)
        return {
            "mean_mm": mean.mean(),
            "gap_mm": gap[:, hidden].mean(),
            "seen_mm": mean[:, hidden].mean(),
            "noisy_mm": seen(confidence, end / 4).mean(),
        }

    def validate(state: TrainState) -> dict[str, float]:
        row = {k: float(v) for k, v in figures(state.ema_params).items()}
        show(row)
        return row

    return {"val": validate}
