"""Groups of the motion capture that a training can leave out, to be scored on: people, databases, kinds of movement.

    databases   train on CMU and ReActIdle, score on HDM05
    floor       leave out floor exercises, acrobatics and climbing
    people      leave out every fifth subject of the training people, by the order of their names

Validation subjects of `splits.json` are in none of them: what is chosen here is scored there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.datasets.mocap import Mocap, Rotations, balanced_weights
from jaxpose.examples import bodies, detectors, views
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.camera import project, world_to_camera
from jaxpose.geometry.windows import piece_ends

GROUPS = ("databases", "floor", "people")
# As the benchmark sees: cameras 3 to 7 m away, about level; one detector, whose confidence can be relied on.
BENCH = ViewRates(
    distance=(3.0, 7.0), height=(0.8, 2.2), aim=3.0, roll=0.0, noise=(1.0, 1.0), no_confidence=0.0, mirror=0.0
)
PINHOLE = np.array([1.0, 1.0, 0.0, 0.0], np.float32)
_FIFTH = 5


class Seen(NamedTuple):
    """Poses as a camera sees them: keypoints [N, 17, 2] on the plane z = 1, confidence [N, 17], joints_cam [N, 17, 3]
    m.

    keypoints_true: [N, 17, 2] without errors. subject: [N].
    """

    keypoints: np.ndarray
    confidence: np.ndarray
    keypoints_true: np.ndarray
    joints_cam: np.ndarray
    subject: np.ndarray


def see(
    mocap: Mocap, rates: ViewRates, num: int, seed: int, *, num_frames: int = 1, rows: np.ndarray | None = None
) -> Seen:
    """About `num` poses as captured, categories and subjects balanced, turned and seen at `rates`.

    num_frames: of clips, which lie one after the other; at the ends of a sequence its last frame is repeated.
    rows: the middle frame of each clip, in place of frames that are drawn.
    """
    weights = balanced_weights(mocap, 0.5, 0.5, {"idle": 0.2})
    rng = np.random.default_rng(seed)
    if rows is None:
        rows = np.sort(rng.choice(len(weights), min(-(-num // num_frames), len(weights)), replace=False, p=weights))
    first, last = piece_ends(mocap.sequence, np.arange(len(mocap.sequence)))
    rows = np.clip(rows[:, None] + np.arange(num_frames) - num_frames // 2, first[rows, None], last[rows, None])

    @jax.jit
    @jax.vmap
    def seen(key: Key, x: Array) -> tuple[Array, ...]:
        turn_key, camera_key, detector_key, coco_key, neck_key = jax.random.split(key, 5)
        x = bodies.turn(turn_key, x, rates)
        R, t = views.draw_camera(camera_key, x[num_frames // 2], rates)
        x_cam = world_to_camera(R, t, x)
        x_cam = x_cam.at[..., 2].add(jnp.maximum(0.5 - x_cam[..., 2].min(), 0.0))
        exact = project(jnp.asarray(PINHOLE), x_cam)
        xy, confidence = detectors.detect_clip(detector_key, exact, rates)
        if rates.coco:
            coco = jax.random.bernoulli(coco_key, rates.coco)
            as_coco = jax.vmap(lambda x, c: detectors.as_coco(neck_key, x, c))
            pair = zip(as_coco(xy, confidence), (xy, confidence), strict=True)
            xy, confidence = (jnp.where(coco, a, b) for a, b in pair)
        return xy, confidence, exact, x_cam

    views_seen = seen(jax.random.split(jax.random.key(seed), len(rows)), jnp.asarray(mocap.joints[rows]))
    xy, confidence, exact, x_cam = (np.concatenate(np.asarray(x)) for x in views_seen)
    return Seen(xy, confidence, exact, x_cam, mocap.subject[mocap.sequence[rows.ravel()]])


def some_people(mocap: Mocap | Rotations, num: int, seed: int) -> np.ndarray:
    """Which sequences [S] (bool) are of `num` subjects drawn with `seed`: the first of one random order.

    ValueError for fewer than 1 or more than there are.
    """
    names = np.unique(mocap.subject)
    if not 1 <= num <= len(names):
        raise ValueError(f"config.data.num_people: needed 1 to {len(names)}, or 0 for all, got {num}")
    return np.isin(mocap.subject, np.random.default_rng(seed).permutation(names)[:num])


def left_out(mocap: Mocap | Rotations, group: str) -> np.ndarray:
    """Which sequences [S] (bool) a group leaves out; ValueError for a name that is none of GROUPS."""
    if group not in GROUPS:
        raise ValueError(f"leave_out: got {group!r}, must be one of {GROUPS}")
    if group == "databases":
        return np.char.startswith(mocap.subject.astype(str), "hdm_")
    if group == "floor":
        return np.isin(mocap.category, ("floor", "acrobatics", "climb"))
    names = np.unique(mocap.subject)
    return np.isin(mocap.subject, names[_FIFTH // 2 :: _FIFTH])
