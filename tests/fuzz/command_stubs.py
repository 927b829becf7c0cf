"""What takes the place of fits and downloads while commands are fuzzed: their programs take long to compile.

A stub gives results of the right shapes that depend on what it is given, so that what is not finite goes on.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from jaxpose.base import Bodies


def _bodies(num: int, clips: int, frames: int, place: np.ndarray, width: int) -> Bodies:
    """Bodies that stand at `place` [clips, frames, 3]."""
    shape = num, clips, frames
    joints = np.random.default_rng(0).normal(0, 0.3, (22, 3)).astype(np.float32)
    stand = np.broadcast_to(np.asarray(place, np.float32), (*shape, 3))
    return Bodies(
        np.full((*shape, 21, 3), 0.1, np.float32),  # type: ignore[arg-type]  # numpy's
        np.zeros((*shape, 3), np.float32),  # type: ignore[arg-type]
        stand,  # type: ignore[arg-type]
        np.zeros((num, clips, width), np.float32),  # type: ignore[arg-type]
        joints + stand[..., None, :],  # type: ignore[arg-type]
        np.zeros(shape[:2], np.float32),  # type: ignore[arg-type]
        np.zeros(shape[:2], np.int32),  # type: ignore[arg-type]
    )


def _middle(values: Any) -> np.ndarray:
    """The mean of points [N, F, K, 3] that are seen."""
    values = np.asarray(values, np.float32)
    return np.where(np.isnan(values), 0, values).mean(2)


def _ik(key: Any, body: Any, targets: Any, *_: Any, num_hypotheses: int = 1, **__: Any) -> Bodies:
    return _bodies(num_hypotheses, *targets.shape[:2], _middle(targets), body.shapedirs.shape[-1])


def _denoise_motion(key: Any, body: Any, targets: Any, *_: Any, **__: Any) -> Bodies:
    return _bodies(1, *targets.shape[:2], _middle(targets), body.shapedirs.shape[-1])


def _fit_keypoints(key: Any, body: Any, uv_px: Any, *_: Any, **__: Any) -> Bodies:
    seen = np.asarray(uv_px)[:, 0]
    place = np.concatenate([seen, np.full((*seen.shape[:-1], 1), 4)], -1).mean(2) * np.float32([1e-3, 1e-3, 1])
    return _bodies(1, len(seen), seen.shape[1], place, body.shapedirs.shape[-1])


def _joint_spread(body: Any, best: Any, *_: Any) -> tuple[np.ndarray, np.ndarray]:
    clips, frames = best.transl.shape[:2]
    return np.tile(np.eye(3), (clips, frames, 22, 1, 1)), np.tile(np.eye(3), (clips, frames, 1, 1))


def _error_px(body: Any, found: Any, xy: Any, *_: Any, **__: Any) -> np.ndarray:
    return np.zeros((xy.shape[0] * xy.shape[2], xy.shape[1]), np.float32)


def _none(*_: Any, **__: Any) -> Any:
    raise ValueError("not fetched: a stub")


def _fuse_rows(key: Any, prior: Any, uv: Any, *_: Any, num_hypotheses: int, **__: Any) -> dict[str, np.ndarray]:
    num, cameras = np.shape(uv)[:2]
    samples = np.random.default_rng(0).normal(0, 0.3, (num_hypotheses, num, 17, 3)).astype(np.float32)
    middle = np.asarray(uv, np.float32)[..., :2].mean((1, 2))
    root = 1e-3 * np.concatenate([middle, np.full((num, 1), 4e3)], -1)
    return {
        "samples": samples,
        "root": np.broadcast_to(root, (num_hypotheses, num, 3)),
        "mean": samples.mean(0),
        "covariance": np.tile(np.eye(3), (num, 17, 1, 1)),
        "radius_90": np.ones((num, 17)),
        "weights": np.ones((num_hypotheses, num)),
        "error_px": np.ones((num, cameras)),
    }


_STUBS = {
    "tasks.fuse.fitted": lambda *_: None,
    "tasks.fuse.fuse_rows": _fuse_rows,
    "fit.ik_task.ik": _ik,
    "fit.fit_keypoints": _fit_keypoints,
    "fit.joint_spread": _joint_spread,
    "fit.observed": lambda *_: None,
    "fit._error_px": _error_px,
    "denoise.motion_task.denoise_motion": _denoise_motion,
    "denoise.skeleton_of": lambda xyz, rest, level: _none(),
    "clips.weights.fetch": _none,
    "view.Server.serve_forever": _none,
    "models.can_judge": lambda model: False,
}


@contextlib.contextmanager
def stubs(folder: Path) -> Iterator[None]:
    """The stubs in place, and a cache of this process' own."""
    with contextlib.ExitStack() as stack:
        for place, stub in _STUBS.items():
            module = "" if place.startswith("tasks.") else "app.commands."
            stack.enter_context(mock.patch(f"jaxpose.{module}{place}", stub))
        stack.enter_context(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")))
        yield
