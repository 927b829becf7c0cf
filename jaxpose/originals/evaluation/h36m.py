"""Protocols on Human3.6M: DiffPose's per action (spec/diffpose.md, 5.1) and GFPose's (spec/gfpose.md, 6.1).

    mpjpe_mm             protocol #1: mean joint error, all 17 joints, roots aligned (the root's own 0 counts too)
    p_mpjpe_mm           protocol #2: after the best similarity; no reflection
    n_mpjpe_mm           after the best scale about the root
    mpjve_mm_per_frame   error of the velocity between neighbouring frames of one video
    average              mean per action, then the mean of the means of the actions that have frames

`strict=True` averages as the released code does, to be compared with its numbers (items of spec/diffpose.md, 8):

    item 3    with `batch_size`: every pose of a batch gets the batch's mean P-MPJPE, whatever its action (frame
              repository; the video repository evaluates one action at a time, so leave `batch_size` away)
    item 4    an action without frames adds 0 to the average over 15 (frame repository)
    item 12   a velocity between any two rows of a video that follow each other, also from one window to the next and
              where the last window starts again inside the one before; a video counts by its rows, not its velocities

Windows that overlap count some frames twice (item 12 too): that lies in which rows are passed. Not reproduced: item 1,
the root centring on overlapping memory, whose result depends on the device.

GFPose's figures of hypotheses, beside which `gfpose_row` has the usual ones (roots aligned, no reflection):

    mpjpe_gfpose      min over hypotheses of the mean joint error in the camera's frame: no root is aligned, and the
                      true root depth, box ratio and intrinsics went into the hypotheses (spaces/image_depth.py)
    p_mpjpe_gfpose    min over hypotheses of the error after the best similarity, mirror images allowed
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.compiled import check_shape
from jaxpose.evaluation import metrics
from jaxpose.originals.datasets.h36m import ACTIONS

# Columns of the papers' tables in their order, and their names for two of the actions.
TABLE_ORDER = (2, 3, 4, 5, 6, 12, 7, 8, 9, 10, 11, 13, 15, 14, 16)
_TABLE_NAMES = {**ACTIONS, 12: "Photo", 15: "WalkDog"}
_POSES = 4096  # scored at once
_BLOCK = 256  # poses scored at once: 200 hypotheses of them stay below 100 MB
_AXES = ("x", "y", "z")


class ActionMean(NamedTuple):
    """Means of a figure: over the actions' means, by name of the action; and the names of actions without a pose."""

    average: float
    per_action: dict[str, float]
    empty: tuple[str, ...]


def action_mean(values: np.ndarray, action: np.ndarray, *, strict: bool = False) -> ActionMean:
    """Mean per action of values [N], then over actions; action [N] holds ids 2..16. Actions without a pose are named.

    They are left out of the average; `strict` counts them as 0 (item 4). ValueError where an id is none of Human3.6M's,
    or where there is no pose at all.
    """
    values, action = np.asarray(values), np.asarray(action)
    if values.shape != action.shape or values.ndim != 1 or not len(values):
        raise ValueError(f"values and action must be [N], N >= 1, got {values.shape} and {action.shape}")
    if unknown := sorted(set(action.tolist()) - set(ACTIONS)):
        raise ValueError(f"action: unknown ids {unknown}; must be 2..16, Human3.6M's")
    per_action = {name: float(values[action == i].mean()) for i, name in ACTIONS.items() if (action == i).any()}
    empty = tuple(name for name in ACTIONS.values() if name not in per_action)
    average = sum(per_action.values()) / (len(ACTIONS) if strict else len(per_action))
    return ActionMean(average, per_action, empty)


def h36m_row(
    pred: Array | np.ndarray,
    truth: Array | np.ndarray,
    action: np.ndarray,
    *,
    video: np.ndarray | None = None,
    frame: np.ndarray | None = None,
    root: int | None = 0,
    strict: bool = False,
    batch_size: int | None = None,
) -> dict[str, ActionMean]:
    """All figures of poses [N, 17, 3] against truth [N, 17, 3], metres in the camera's frame; action [N], ids 2..16.

    Several hypotheses of a pose are made one before (aggregate.py). With video [N] and frame [N], whole numbers, the
    velocity's figure too. root: the joint that is moved to the origin, or None for poses as they stand. strict, and
    batch_size, the number of neighbouring rows in a batch: see above. ValueError names the argument that does not fit.
    """
    p, g, action = np.asarray(pred), np.asarray(truth), np.asarray(action)
    check_shape("truth", g, ("N", 17, 3))
    check_shape("pred", p, g.shape)
    if (video is None) != (frame is None):
        raise ValueError("video and frame: needed both or none, got one")
    for name, value in (("action", action), ("video", video), ("frame", frame)):
        if value is not None and (np.shape(value) != g.shape[:1] or np.asarray(value).dtype.kind not in "iu"):
            raise ValueError(f"{name}: needed {len(g)} whole numbers, got {np.asarray(value).dtype} {np.shape(value)}")
    if batch_size is not None and (not strict or batch_size < 1):
        raise ValueError(f"batch_size: needs strict=True and a number >= 1, got {batch_size}, strict={strict}")
    if root is not None:
        p, g = p - p[:, root : root + 1], g - g[:, root : root + 1]
    errors = {k: v.astype(np.float64) for k, v in metrics.in_blocks(_pose_errors, p, g, _POSES).items()}
    if batch_size is not None:  # the last batch may be shorter
        batch = np.arange(len(p)) // batch_size
        errors["p_mpjpe_mm"] = (np.bincount(batch, errors["p_mpjpe_mm"]) / np.bincount(batch))[batch]
    row = {name: action_mean(values, action, strict=strict) for name, values in errors.items()}
    if video is not None and frame is not None:
        values, rows = _velocity_errors(p, g, np.asarray(video), np.asarray(frame), strict)
        row["mpjve_mm_per_frame"] = action_mean(values, action[rows], strict=strict)
    return row


def report(rows: Mapping[str, ActionMean]) -> str:
    """A table of named results in the papers' order of actions, then the average; actions without frames are named.

    One decimal, in columns. Example: `report({"P1": row["mpjpe_mm"]})`. ValueError if empty.
    """
    if not rows:
        raise ValueError("rows: needed at least one result, got none")
    header = ["", *(_TABLE_NAMES[i] for i in TABLE_ORDER), "Avg"]
    cells = [header]
    for name, result in rows.items():
        known = [result.per_action.get(ACTIONS[i]) for i in TABLE_ORDER]
        cells.append([name, *("-" if x is None else f"{x:.1f}" for x in (*known, result.average))])
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [[c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, width, strict=True))] for r in cells]
    text = ["  ".join(line).rstrip() for line in lines]
    absent = {k: [_TABLE_NAMES[i] for i in TABLE_ORDER if ACTIONS[i] in r.empty] for k, r in rows.items() if r.empty}
    notes = [f"{name}: no frames of {', '.join(actions)}" for name, actions in absent.items()]
    return "\n".join(text + (["", *notes] if notes else [])) + "\n"


@jax.jit
def _pose_errors(pred: Array, truth: Array) -> dict[str, Array]:
    return {
        "mpjpe_mm": 1000 * metrics.mpjpe(pred, truth),
        "p_mpjpe_mm": 1000 * metrics.p_mpjpe(pred, truth),
        "n_mpjpe_mm": 1000 * metrics.n_mpjpe(pred, truth),
    }


# the velocity's error of each pair of poses [P, 2, J, 3], millimetres per frame
_pair_errors = jax.jit(lambda pred, truth: {"mpjve_mm_per_frame": 1000 * metrics.velocity_error(pred, truth)})


def _velocity_errors(
    pred: np.ndarray, truth: np.ndarray, video: np.ndarray, frame: np.ndarray, strict: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Errors [P], and the row whose action each belongs to: where the step ends; all rows of a video if strict."""
    # In the order given if strict: a window that starts again inside the one before is then a step like others.
    order = np.argsort(video, kind="stable") if strict else np.lexsort((frame, video))
    same, step = np.diff(video[order]) == 0, np.diff(frame[order])
    if not strict and (twice := same & (step == 0)).any():
        row = order[np.argmax(twice)]
        raise ValueError(f"frame: frame {frame[row]} of video {video[row]} occurs twice; needed distinct frames")
    first = np.flatnonzero(same if strict else same & (step == 1))
    if not len(first):
        raise ValueError(
            f"frame: none of the {len(frame)} rows follows another in its video, so nothing has a velocity"
        )
    pairs = np.stack([order[first], order[first + 1]], 1)
    errors = metrics.in_blocks(_pair_errors, pred[pairs], truth[pairs], _POSES)["mpjve_mm_per_frame"].astype(np.float64)
    if not strict:
        return errors, pairs[:, 1]
    _, of = np.unique(video, return_inverse=True)
    count = np.bincount(of[pairs[:, 1]], minlength=of.max() + 1)
    total = np.bincount(of[pairs[:, 1]], errors, minlength=of.max() + 1)
    rows = np.flatnonzero(count[of] > 0)
    return total[of[rows]] / count[of[rows]], rows


def gfpose_row(samples: Array | np.ndarray, truth: Array | np.ndarray, action: np.ndarray) -> dict[str, Any]:
    """All figures of hypotheses [H, N, J, 3] against truth [N, J, 3], metres in the camera's frame; action [N].

    Every figure ending in _mm is the mean of the actions' means, but for `diversity_mm`: the deviation over hypotheses
    of root-relative joints along x, y and z, plain mean over poses. `*_best_*` and `*_gfpose_*` read the truth.
    """
    samples, truth = jnp.asarray(samples), jnp.asarray(truth)
    check_shape("samples", samples, ("H", *truth.shape))
    per_pose = metrics.in_blocks(_figures, samples, truth, _BLOCK)
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
        raise ValueError(f"image_noise: unknown kind {kind!r}; must be one of {', '.join(NOISE_KINDS)}")
    draw, _ = NOISE_KINDS[kind]
    return uvd_px + std * draw(key, uvd_px.shape)


@jax.jit
def _figures(samples: Array, truth: Array) -> dict[str, Array]:
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
