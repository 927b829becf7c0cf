"""Results as tracks: for each person, and for each hypothesis that is asked for, joints over time in a world with y up.

Results of joints (lift, fuse, complete, denoise, generate) come as the arrays of their .npz; bodies with their
rotations. Poses that are no motion (generate; images whose numbers are far apart) are frames of one second each.

A take is a motion. Where hypotheses were drawn for each frame by itself, hypothesis h of one frame has nothing to do
with hypothesis h of the next: then take k is mean_f + S_f z_k, with S_f the root of the covariance of all coordinates
of frame f, and z_k normal, the same for all frames. It has the hypotheses' mean and covariance in each frame, and moves
as smoothly as they do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.geometry.axes import turn
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.geometry.windows import rows_of_people, timeline
from jaxpose.io.smpl_motion import Motion, bones_of, posed

ASSUMED_FPS, STILL_FPS = 30.0, 1.0
PLACED = {"joints_world": "root_world", "joints_path": "root_path"}  # a result's one pose on its smoothed root
_COHERENT = 1.5  # times as far as their mean, from frame to frame: hypotheses that are motions already
_PLACED = "the camera, taken as level, stands at the origin; y up, and where the floor is is not known"
_INPUT = "about the origin of the input, its camera taken as level; y up"
_WORLD = "about the origin of the world, turned to y up"
_ROOT = "poses out of nothing, the root joint at the origin; y up"


class Track(NamedTuple):
    """One take of one person.

    take: "" for the one pose, else take_0, ... frame, seconds [F]: the input's numbers and times. number [F]: places on
    the clip's grid of frames, rising, some may be left out. joints [F, J, 3] m, y up. radius [F, J] m or None. motion:
    of the F frames, where rotations are known. typicality: [F] percentiles of the one pose, where they are known.
    """

    person: int
    take: str
    frame: np.ndarray
    seconds: np.ndarray
    number: np.ndarray
    joints: np.ndarray
    radius: np.ndarray | None = None
    motion: Motion | None = None
    typicality: np.ndarray | None = None


class Clip(NamedTuple):
    """All tracks of a result. names: of the J joints. still: frames are poses, not a motion. said: of the summary.

    rest: by person, [22, 3] m, the joints at rest of the skeleton that moves; betas: by person, of the body, or None.
    """

    tracks: list[Track]
    names: tuple[str, ...]
    fps: float
    still: bool
    said: dict[str, Any]
    rest: Mapping[int, np.ndarray] = MappingProxyType({})
    betas: Mapping[int, np.ndarray | None] = MappingProxyType({})

    @property
    def people(self) -> list[int]:
        """The people in the order of their numbers."""
        return sorted({track.person for track in self.tracks})


class _Rows(NamedTuple):
    """rows of each person, in order, and their numbers on the clip's grid of frames; seconds of all rows."""

    of: dict[int, tuple[np.ndarray, np.ndarray]]
    frame: np.ndarray
    seconds: np.ndarray
    fps: float
    still: bool
    said: dict[str, Any]


def of_joints(arrays: dict[str, Any], takes: int = 0, seed: int = 0) -> Clip:
    """The tracks of a result's arrays, with `takes` of its hypotheses.

    joints [J] names; one of PLACED, or `pose` at `pose_root`, or `mean`, or `samples` [N, J, 3] alone (poses out of
    nothing); samples [H, N, J, 3]; root [H, N, 3] that they stand at, or root_paths, whole paths that they stand on;
    radius_90 [N, J]; frame, person, seconds [N], fps; up.
    """
    get = arrays.get
    R, samples, root, paths = turn(str(get("up") or "-y"), "y").T, arrays["samples"], get("root"), get("root_paths")
    alone = np.ndim(samples) == 3
    best = samples if alone else arrays["pose" if get("pose") is not None else "mean"]
    if root is not None:
        best = best + (np.mean(root, 0) if get("pose_root") is None else np.asarray(get("pose_root")))[:, None]
    best = np.asarray(next((arrays[name] for name in PLACED if name in arrays), best), np.float64)
    rows = _rows(arrays, len(best), alone and get("fps") is None)
    camera = _PLACED if root is not None else _INPUT
    axes = _ROOT if alone else camera if get("up") in (None, "-y") else _WORLD
    tracks, radius = [], get("radius_90")
    for person, (at, number) in rows.of.items():
        known, typical = (None if x is None else np.asarray(x)[at] for x in (radius, get("typicality")))
        when = (rows.frame[at], rows.seconds[at], number)
        tracks.append(Track(person, "", *when, best[at] @ R, known, typicality=typical))
        if takes:
            placed = samples[:, at] if root is None or paths is not None else samples[:, at] + root[:, at, None]
            moving = takes_of(np.asarray(placed, np.float64), takes, np.random.default_rng((seed, abs(person))))
            moving = moving if paths is None else moving + paths[:takes, at, None]
            tracks += [Track(person, f"take_{k}", *when, take @ R) for k, take in enumerate(moving)]
    return Clip(tracks, tuple(map(str, arrays["joints"])), rows.fps, rows.still, {"axes": axes, **rows.said})


def of_bodies(
    body: Body,
    body_pose: np.ndarray,
    global_orient: np.ndarray,
    pelvis: np.ndarray,
    arrays: dict[str, Any],
    takes: int = 0,
    *,
    betas: np.ndarray | None = None,
    rests: dict[int, np.ndarray] | None = None,
    still: bool = False,
) -> Clip:
    """The tracks of bodies [H, F, 21, 3], [H, F, 3] radians and [H, F, 3] m, y up, the first the best; `takes` of them.

    arrays: frame, person, seconds, fps, up before they were turned; radius_90 [F, 22], typicality. betas: [F, S] or
    [S]. rests: [22, 3] m by person, where bones are not the body's.
    """
    rows, radius = _rows(arrays, body_pose.shape[1], still), arrays.get("radius_90")
    tracks, shapes = [], {}
    for person, (at, number) in rows.of.items():
        shape = shapes[person] = betas if betas is None or betas.ndim == 1 else betas[at].mean(0)
        coefficients = None if shape is None else jnp.asarray(shape)
        rest = rests[person] if rests else np.asarray(body.shape(coefficients).joints)[:22]
        for h, take in [(0, ""), *((k, f"take_{k}") for k in range(takes))]:
            moving = Motion(body_pose[h, at], global_orient[h, at], pelvis[h, at], rows.fps, shape)
            typical = None if take or "typicality" not in arrays else arrays["typicality"][at]
            sure = None if take or radius is None else np.asarray(radius)[at]
            when = (rows.frame[at], rows.seconds[at], number)
            vectors = np.concatenate([moving.global_orient[:, None], moving.body_pose], 1)
            joints, _ = posed(bones_of(rest), vectors, moving.transl)
            tracks.append(Track(person, take, *when, joints, sure, moving, typical))
    axes = _PLACED if arrays.get("up") == "-y" else _WORLD
    return Clip(tracks, SMPL_22.joints, rows.fps, rows.still, {"axes": axes, **rows.said}, rests or {}, shapes)


def _rows(arrays: dict[str, Any], num: int, still: bool) -> _Rows:
    """The clip's grid has a place each `step` frames, the largest that divides all of them.

    Without `seconds` the frames are even, at the rate of their numbers.
    """
    frame, person, fps, seconds = (arrays.get(name) for name in ("frame", "person", "fps", "seconds"))
    frame = np.arange(num) if frame is None else np.asarray(frame)
    person = np.zeros(num, int) if person is None else np.asarray(person)
    number, step, of_grid = timeline(frame, None if fps is None else float(fps))
    still = still or are_images(number, fps)
    of = {}
    for who, of_person in rows_of_people(person, frame):
        twice = np.flatnonzero(np.diff(frame[of_person]) == 0)
        if twice.size and not still:
            at = f"person {who} is twice in frame {frame[of_person][twice[0]]}"
            raise ValueError(f"{at}; files of motions need a number for each person (--track)")
        of[who] = of_person, np.arange(len(of_person)) if still else number[of_person]
    rate = STILL_FPS if still else ASSUMED_FPS if of_grid is None else of_grid
    summary: dict[str, Any] = {
        "fps": round(rate, 6),
        "fps_source": "poses, one a second" if still else "of the input" if fps is not None else "assumed",
        **{"first_frame": 0 if still else int(frame.min()), "frame_step": 1 if still else step},
        "starts": {str(p): int(a[0]) for p, (_, a) in of.items()},
        "interpolated_frames": {str(p): int(a[-1] - a[0] + 1 - len(a)) for p, (_, a) in of.items()},
    }
    seconds = frame / (fps or ASSUMED_FPS) if seconds is None else np.asarray(seconds, np.float64)
    return _Rows(of, frame, np.arange(num) / STILL_FPS if still else seconds, rate, still, summary)


def are_images(number: np.ndarray, fps: float | None) -> bool:
    """Whether places [N] on the grid of frames (`timeline`) are those of images, not of the frames of a motion."""
    return fps is None and bool(number.max() + 1 > 4 * len(number))


def are_motions(samples: np.ndarray) -> bool:
    """Whether hypotheses [H, F, J, 3] move as their mean does, and were not drawn for each frame by itself."""
    if samples.shape[1] < 2:
        return True
    jump, of_mean = (np.linalg.norm(np.diff(x, axis=-3), axis=-1).mean() for x in (samples, samples.mean(0)))
    return bool(jump <= _COHERENT * of_mean)


def takes_of(samples: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """`num` motions [num, F, J, 3] of samples [H, F, J, 3], by the draws of `rng`: takes (module docstring)."""
    if are_motions(samples):
        return samples[:num]
    mean = samples.mean(0)
    away = np.moveaxis(samples - mean, 0, 1).reshape(len(mean), len(samples), -1)
    value, vector = np.linalg.eigh(np.swapaxes(away, 1, 2) @ away / max(len(samples) - 1, 1))
    z = rng.normal(size=(num, away.shape[-1]))
    root = (vector * np.sqrt(np.maximum(value, 0))[:, None]) @ np.swapaxes(vector, 1, 2)
    return mean + np.einsum("fij,kj->kfi", root, z).reshape(num, *mean.shape)
