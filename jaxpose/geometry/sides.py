"""Left and right of people in images: whether a detector has them exchanged.

Over time: d_f are the offsets of all left joints from their right ones in a frame. Who turns round passes through
offsets of about 0, by a few degrees a frame; where d_f turns into about -d_f within a frame, and back within half a
second, left and right of the frames between were exchanged.

In one image: toes point down in the image where a person looks at the camera, up where they look away, and then the
left shoulder is right or left of the other; eyes that are seen look at the camera. Along the body's own axis, so that
no turn in the image matters. A mirror image, exchanged x and y, and exchanged sides contradict this.
"""

import itertools

import numpy as np

from jaxpose.geometry.camera import extent_px
from jaxpose.geometry.skeleton import Skeleton, other_side
from jaxpose.geometry.windows import rows_of_people

_APART = 0.06  # of the person's extent, offsets that tell a side; shoulders seen from the front are 0.2 apart
_TURNED = -0.5  # cosine of d_f and d_f-1; of a person who turns, 30 frames a second, it is above 0.9 where d is large
_LONGEST, _STEP = 0.5, 0.12  # seconds of an exchange, and between frames that are compared
_SURE, _UNSEEN = 0.5, 0.1  # confidence of joints that tell, and of those of a face that looks away
_RATE = 30.0
_TELLS = 0.08  # of the body's length, by which shoulders, feet or eyes are apart that tell


def exchanged(
    xy: np.ndarray,
    confidence: np.ndarray,
    skeleton: Skeleton,
    *,
    frame: np.ndarray,
    person: np.ndarray,
    fps: float | None = None,
) -> np.ndarray:
    """Which rows [N] of people in a video have left and right exchanged for a moment.

    xy: [N, J, 2] px, confidence [N, J]. frame, person: [N]. fps: frames a second (None: 30).
    """
    left, right = list(skeleton.left), list(skeleton.right)
    wrong, seconds = np.zeros(len(xy), bool), np.asarray(frame) / (fps or _RATE)
    for _, rows in rows_of_people(person, seconds):
        known = np.minimum(confidence[rows][:, left], confidence[rows][:, right]) >= _SURE
        size = np.maximum(extent_px(xy[rows], confidence[rows] > 0), 1.0)[:, None, None]
        offset = np.where(known[..., None], xy[rows][:, left] - xy[rows][:, right], 0) / size
        both = (known[1:] & known[:-1])[..., None]
        before, after = offset[:-1] * both, offset[1:] * both
        product, sizes = (before * after).sum((1, 2)), [np.sqrt((x**2).sum((1, 2))) for x in (before, after)]
        least = _APART * np.sqrt(np.maximum(both.sum((1, 2)), 1))
        flips = (product < _TURNED * sizes[0] * sizes[1]) & (np.minimum(*sizes) > least)
        at = np.flatnonzero(flips & (np.diff(seconds[rows]) <= _STEP)) + 1
        for first, last in itertools.pairwise(at):
            if seconds[rows[last]] - seconds[rows[first]] <= _LONGEST and not wrong[rows[first - 1]]:
                wrong[rows[first:last]] = True
    return wrong


def mirrored_sides(x: np.ndarray, skeleton: Skeleton, rows: np.ndarray) -> np.ndarray:
    """x [N, J, ...] with left and right joints of some rows in each other's place."""
    return np.where(rows.reshape(-1, *(1,) * (x.ndim - 1)), x[:, other_side(skeleton)], x)


def mirrored(xy: np.ndarray, confidence: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Whether the sides of people contradict what shows where they look: [N] 1 yes, -1 no, 0 where nothing tells.

    By the feet where the joints have heels and toes, else by the eyes. xy: [N, J, 2] px, confidence [N, J].
    """
    names, at = skeleton.joints, {}
    toe = next((toe for toe in ("foot_index", "big_toe") if {f"left_{toe}", "left_heel"} <= set(names)), "eye")
    needed = ("eye", "nose", "shoulder", "hip") if toe == "eye" else ("heel", toe, "shoulder", "hip")
    for part in needed:
        for name in (part,) if part == "nose" else (f"left_{part}", f"right_{part}"):
            if name not in names:
                return np.zeros(len(xy), int)
            at[name] = xy[:, names.index(name)].astype(float)
    trust = confidence[:, [names.index(name) for name in at]]
    sure = trust.min(-1) >= _SURE
    middle = {part: (at[f"left_{part}"] + at[f"right_{part}"]) / 2 for part in needed if part != "nose"}
    if toe == "eye":  # seen, they look at the camera; not seen, while the body is, they look away
        hidden = (trust[:, :3].max(-1) < _UNSEEN) & (trust[:, 3:].min(-1) >= _SURE)
        sure, ahead = sure | hidden, np.where(hidden, -1.0, 1.0)
        down = np.where(hidden[:, None], middle["hip"] - middle["shoulder"], middle["shoulder"] - at["nose"])
        shoulders = at["left_shoulder"] - at["right_shoulder"]
        across = np.where(hidden[:, None], shoulders, at["left_eye"] - at["right_eye"])
    else:
        down, across = middle["hip"] - middle["shoulder"], at["left_shoulder"] - at["right_shoulder"]
        ahead = ((middle[toe] - middle["heel"]) * down).sum(-1) / np.maximum((down**2).sum(-1), 1e-9)
    facing = (across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]) / np.maximum((down**2).sum(-1), 1e-9)
    tells = sure & (abs(facing) > _TELLS) & (abs(ahead) > _TELLS)
    return np.where(tells, -np.sign(facing * ahead), 0).astype(int)
