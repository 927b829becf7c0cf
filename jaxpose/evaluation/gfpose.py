"""GFPose's protocol on Human3.6M, and the usual figures beside it (spec/gfpose.md, 6.1).

    mpjpe_gfpose      min over hypotheses of the mean joint error in the camera's frame: no root is aligned, and the
                      true root depth, box ratio and intrinsics went into the hypotheses (spaces/image_depth.py)
    p_mpjpe_gfpose    min over hypotheses of the error after the best similarity, mirror images allowed
    average           mean per action, then the mean of the actions' means

The other figures align the root, allow no reflection, and separate the best of H, which reads the truth, from one
hypothesis and from the mean pose. Poses are [N, J, 3] metres in the camera's frame; rows are millimetres.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.evaluation import metrics
from jaxpose.evaluation.h36m import action_mean

_BLOCK = 256  # poses scored at once: 200 hypotheses of them stay below 100 MB
_AXES = ("x", "y", "z")


def gfpose_row(samples: Array | np.ndarray, truth: Array | np.ndarray, action: np.ndarray) -> dict[str, Any]:
    """All figures of hypotheses [H, N, J, 3] against truth [N, J, 3], metres in the camera's frame; action [N].

    Every figure ending in _mm is the mean of the actions' means, but for `diversity_mm`: the deviation over hypotheses
    of root-relative joints along x, y and z, plain mean over poses. `*_best_*` and `*_gfpose_*` read the truth.
    """
    samples, truth = jnp.asarray(samples), jnp.asarray(truth)
    if samples.ndim != 4 or samples.shape[1:] != truth.shape:
        raise ValueError(f"samples must be [H, N, J, 3] of truth [N, J, 3], got {samples.shape} and {truth.shape}")
    per_pose = _in_blocks(_figures, samples, truth)
    means = {name: action_mean(values, action) for name, values in per_pose.items()}
    first = means["mpjpe_gfpose_mm"]
    row: dict[str, Any] = {name: m.average for name, m in means.items()}
    row["mpjpe_gfpose_per_action_mm"] = first.per_action
    row["p_mpjpe_gfpose_per_action_mm"] = means["p_mpjpe_gfpose_mm"].per_action
    spread = 1000 * np.asarray(metrics.diversity(samples)).mean(0)
    row["diversity_mm"] = dict(zip(_AXES, spread.tolist(), strict=True))
    return row | {"hypotheses": samples.shape[0], "poses": len(truth), "empty_actions": list(first.empty)}


def denoising_row(
    noisy: Array | np.ndarray, denoised: Array | np.ndarray, truth: Array | np.ndarray, action: np.ndarray
) -> dict[str, Any]:
    """The original's denoising figure, p_mpjpe_gfpose before and after, beside the usual ones; poses [N, J, 3] metres.

    The best similarity removes a wrong size and place, which denoising at the wrong dt makes; `mpjpe` does not.
    """
    row: dict[str, Any] = {}
    for when, poses in (("before", noisy), ("after", denoised)):
        whole = gfpose_row(jnp.asarray(poses)[None], truth, action)
        row |= {
            f"p_mpjpe_gfpose_{when}_mm": whole["p_mpjpe_gfpose_mm"],
            f"p_mpjpe_{when}_mm": whole["p_mpjpe_single_mm"],
            f"mpjpe_{when}_mm": whole["mpjpe_single_mm"],
        }
    return row | {"poses": whole["poses"], "empty_actions": whole["empty_actions"]}


# kind -> how it is drawn at std 1, and the standard deviation that it then has
NOISE_KINDS: dict[str, tuple[Callable[[Key, tuple[int, ...]], Array], float]] = {
    "gaussian": (lambda key, shape: jax.random.normal(key, shape), 1.0),
    "uniform": (lambda key, shape: jax.random.uniform(key, shape) - 0.5, 12**-0.5),
}


def image_noise(key: Key, uvd_px: Array, std: float, kind: str = "gaussian") -> Array:
    """(u, v, d) pixels [..., J, 3] with the denoising task's noise; also the depth's is in pixels.

    kind "gaussian": of standard deviation `std`; "uniform": within +-std / 2, of deviation std / sqrt(12).
    """
    if kind not in NOISE_KINDS:
        raise ValueError(f"image_noise: unknown kind {kind!r}; legal are {', '.join(NOISE_KINDS)}")
    draw, _ = NOISE_KINDS[kind]
    return uvd_px + std * draw(key, uvd_px.shape)


@jax.jit
def _figures(samples: Array, truth: Array) -> dict[str, Array]:
    """Figures of each pose [N], millimetres."""
    rooted, rooted_truth = metrics.align_root(samples), metrics.align_root(truth)
    absolute, relative = metrics.mpjpe(samples, truth), metrics.mpjpe(rooted, rooted_truth)
    # one hypothesis at a time: the decompositions of 200 at once are slower on CPU
    mirrored = jax.lax.map(lambda x: metrics.p_mpjpe(x, truth, allow_reflection=True), samples)
    turned = jax.lax.map(lambda x: metrics.p_mpjpe(x, truth), samples)
    mean = rooted.mean(0)
    figures = {
        "mpjpe_gfpose": metrics.best_of(absolute),
        "p_mpjpe_gfpose": metrics.best_of(mirrored),
        "mpjpe_best": metrics.best_of(relative),
        "mpjpe_single": relative.mean(0),
        "mpjpe_mean": metrics.mpjpe(mean, rooted_truth),
        "p_mpjpe_best": metrics.best_of(turned),
        "p_mpjpe_single": turned.mean(0),
        "p_mpjpe_mean": metrics.p_mpjpe(mean, rooted_truth),
    }
    return {f"{name}_mm": 1000 * value for name, value in figures.items()}


def _in_blocks(figures: Any, samples: Array, truth: Array) -> dict[str, np.ndarray]:
    blocks = [figures(samples[:, i : i + _BLOCK], truth[i : i + _BLOCK]) for i in range(0, len(truth), _BLOCK)]
    return {name: np.concatenate([np.asarray(block[name]) for block in blocks]) for name in blocks[0]}
