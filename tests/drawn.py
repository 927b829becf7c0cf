"""What the tests of pictures share: random poses, and the bones that a figure draws, read back from its traces."""

import itertools
from typing import Any

import numpy as np

from jaxpose.geometry.skeleton import H36M_17, Skeleton

H, N, J = 5, 4, 17


def random_pose_set(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Samples [H, N, J, 3], keypoints [N, J, 2], confidence [N, J] and a truth [N, J, 3]."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.5, (H, N, J, 3)).astype(np.float32)
    keypoints = rng.uniform(100, 900, (N, J, 2)).astype(np.float32)
    return samples, keypoints, rng.uniform(0, 1, (N, J)), samples.mean(0) + 0.1


def bones(points: np.ndarray, skeleton: Skeleton, joints: Any) -> set:
    """Every bone above one of `joints` as a rounded pair of its ends; those with a gap are left out."""
    pairs = [(points[skeleton.parents[j]], points[j]) for j in joints if skeleton.parents[j] >= 0]
    return {_pair(a, b) for a, b in pairs if np.isfinite([a, b]).all()}


def drawn(traces: list[Any]) -> set:
    """The segments that line traces draw, in camera axes or pixels."""
    return {
        _pair(a, b) for trace in traces for a, b in itertools.pairwise(points_of(trace)) if np.isfinite([a, b]).all()
    }


def points_of(trace: Any) -> np.ndarray:
    """The points of a trace, [*, 3] metres in camera axes or [*, 2] px."""
    if trace.type == "scatter":
        return np.stack([np.asarray(trace[k], float) for k in "xy"], -1)
    x, y, z = (np.asarray(trace[k], float) for k in "xyz")
    return np.stack([x, -z, y], -1)


def traces_of(figure: Any, name: str, mode: str = "lines", row: int | None = None) -> list[Any]:
    """The traces of a layer as the figure opens, or as a row (a frame) draws them."""
    numbers = [i for i, t in enumerate(figure.data) if t.name == name and t.mode == mode and t.x[0] is not None]
    if row is None:
        return [figure.data[i] for i in numbers]
    frame = figure.frames[row]
    moved = dict(zip(frame.traces, frame.data, strict=True))
    return [moved[i] for i in numbers]


def groups() -> list[Any]:
    """The joints of H36M_17 at the left, at the right and in the middle."""
    middle = sorted(set(range(J)) - set(H36M_17.left) - set(H36M_17.right))
    return [H36M_17.left, H36M_17.right, middle]


def _pair(a: np.ndarray, b: np.ndarray) -> tuple:
    return tuple(sorted(tuple(np.round(np.asarray(p, float), 2) + 0.0) for p in (a, b)))
