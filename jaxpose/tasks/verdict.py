"""One verdict for a result: reliable, or doubtful because of what it lists.

A doubt is a property of a pose that lifts of people nearly never have and lifts of nonsense mostly have. Its limits
were chosen on the benchmark's validation frames, after a look at the other database, the clips and the walker too.
`python -m experiments.evaluate verdict` prints how often each is raised on right input, and on input that is wrong in
known ways.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Camera, Hypotheses, Numbers
from jaxpose.compiled import check_shape, checked
from jaxpose.geometry.camera import extent_px, project
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.sides import mirrored
from jaxpose.geometry.skeleton import H36M_17, Skeleton, bones, get_skeleton

# What each doubt says, in the order in which they are listed.
DOUBTS = {
    "place": "the root is behind the camera, or not 0.5 to 50 m away",
    "keypoints": "the pose does not meet its keypoints: another joint set, or a wrong camera",
    "sides": "left and right contradict the face or the feet: exchanged, mirrored, or x and y exchanged",
    "order": "the head is not above the feet: the image is turned, x and y are exchanged, or people lie",
    "bones": "bones are unlike those of people",
    "radius": "90 % radius far above the usual 0.1 m",
    "typicality": "unlike training poses",
}
_NEAREST, _FARTHEST = 0.5, 50.0  # metres
_MOST_ERROR = 0.1  # of the person's larger extent in the image, median over joints; validation frames 0.014
_MOST_MISSED = 0.2  # of the extent, of the nearest hypothesis to a joint's keypoint; right poses hardly ever have it
_LEAST_UPRIGHT = 0.15  # cosine to the vertical of head over ankles, and of thorax over hip
_MOST_BONE = 0.9  # of the logarithm of a bone's length over the usual one: a factor of 2.5
_MOST_RADIUS = 0.3  # metres, median over joints; 98 of 100 validation frames are below 0.18
_SHARE = 0.1  # of the poses: more with one doubt make a result doubtful
# Medians of validation frames, metres, from right_hip to right_wrist in the order of h36m17.
_LEG, _ARM = (0.09, 0.39, 0.41), (0.186, 0.279, 0.26)
_USUAL = np.array([*_LEG, *_LEG, 0.226, 0.277, 0.11, 0.144, *_ARM, *_ARM])


class Summary(NamedTuple):
    """The worth of a result.

    verdict: "reliable", or "doubtful: " and why. reliable: whether it is. doubtful: [N] poses with any doubt.
    doubts: [N] by name of `DOUBTS`, those that could be raised, and by the name of a joint whose keypoint all
    hypotheses of a pose miss. radius_90: metres, median over poses and joints.
    """

    verdict: str
    reliable: bool
    doubtful: np.ndarray
    doubts: dict[str, np.ndarray]
    radius_90: float


@checked
def summary(
    result: Hypotheses,
    *,
    keypoints: Numbers | None = None,
    confidence: Numbers | None = None,
    camera: Camera | None = None,
    skeleton: Skeleton | str = H36M_17,
    up: Sequence[float] | Numbers = (0.0, -1.0, 0.0),
) -> Summary:
    """The verdict of a result in camera axes, of `lift` or, with fewer doubts, of another task on joints.

    keypoints, confidence: [N, K, 2] px and [N, K], as the people were detected, in the joint set `skeleton` (its name
    will do): eyes, or heels and toes, tell the sides, and with a camera the poses are compared with the keypoints.
    up: [3] or [N, 3] the vertical in camera axes; that of a level camera unless it is given.
    """
    samples = np.asarray(result.samples)
    skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    radius = np.median(np.asarray(result.radius_90), -1)
    doubts = {"radius": ~(radius <= _MOST_RADIUS)}
    if result.root is not None:
        root = np.median(np.asarray(result.root), 0)
        distance = np.linalg.norm(root, axis=-1)
        doubts["place"] = ~((root[:, 2] > 0) & (distance >= _NEAREST) & (distance <= _FARTHEST))
    if samples.shape[2] == len(H36M_17.joints):
        doubts |= _of_pose(np.asarray(result.mean, np.float64), np.asarray(up, np.float64))
    if keypoints is not None:
        check_shape("keypoints", keypoints, (samples.shape[1], len(skeleton.joints), 2), note=f" of {skeleton.name}")
        sure = np.ones(np.shape(keypoints)[:2], np.float32) if confidence is None else np.asarray(confidence)
        doubts["sides"] = doubtful_sides(np.asarray(keypoints), sure, skeleton)
        if camera is not None and result.root is not None:
            joints = convert_joints(jnp.asarray(keypoints), jnp.asarray(sure), skeleton, H36M_17)
            doubts |= dict(_of_keypoints(result, np.asarray(joints[0]), np.asarray(joints[1]), camera))
    if (unusual := result.out_of_distribution) is not None:
        doubts["typicality"] = np.asarray(unusual)
    return verdict_of(doubts, float(np.median(radius)))


def verdict_of(doubts: Mapping[str, np.ndarray], radius: float = float("nan")) -> Summary:
    """The verdict of doubts [N] by name: a doubt counts where more than a tenth of the poses have it."""
    doubtful = np.any([*doubts.values()], 0)
    words = DOUBTS | {joint: f"all hypotheses miss the keypoint of {joint}" for joint in H36M_17.joints}
    counted = {name: int(doubts[name].sum()) for name in words if name in doubts and doubts[name].mean() > _SHARE}
    why = "; ".join(f"{words[name]} ({count} of {len(doubtful)} poses)" for name, count in counted.items())
    verdict = f"doubtful: {why}" if why else "reliable"
    if not why and doubtful.any():
        verdict += f" but for {doubtful.sum()} of {len(doubtful)} poses, the first in row {np.argmax(doubtful)}"
    return Summary(verdict, not why, doubtful, dict(doubts), radius)


def doubtful_sides(keypoints: np.ndarray, confidence: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Rows [N] whose sides contradict face or feet; all of them where most that tell do."""
    sense = mirrored(keypoints, confidence, skeleton)
    return (sense > 0) | ((sense > 0).sum() > (sense < 0).sum())


def _of_pose(pose: np.ndarray, up: np.ndarray) -> dict[str, np.ndarray]:
    """Doubts about poses [N, 17, 3] metres alone."""
    at = dict(zip(H36M_17.joints, np.moveaxis(pose, 1, 0), strict=True))
    body, trunk = at["head"] - (at["left_ankle"] + at["right_ankle"]) / 2, at["thorax"] - at["hip"]
    size = np.linalg.norm(up, axis=-1)
    upright = [(v * up).sum(-1) / np.linalg.norm(v, axis=-1) / size for v in (body, trunk)]
    parent, child = np.array(bones(H36M_17)).T
    lengths = np.linalg.norm(pose[:, child] - pose[:, parent], axis=-1)
    with np.errstate(divide="ignore"):
        unlike = abs(np.log(lengths / _USUAL)).max(-1)
    return {"order": ~(np.maximum(*upright) >= _LEAST_UPRIGHT), "bones": ~(unlike <= _MOST_BONE)}


def _of_keypoints(
    result: Hypotheses, uv: np.ndarray, confidence: np.ndarray, camera: Camera
) -> Iterator[tuple[str, np.ndarray]]:
    """Doubts by keypoints [N, 17, 2] px: of mean poses that lie off them, and of joints that no hypothesis meets."""
    assert result.root is not None, "of poses with a place"
    mean, samples, root = (np.asarray(x, np.float32) for x in (result.mean, result.samples, result.root))
    placed = np.concatenate([(mean + root.mean(0)[:, None])[None], samples + root[:, :, None]])
    placed[..., 2] = np.maximum(placed[..., 2], 0.01)  # what is behind the camera is projected as if nearest to it
    lens = None if camera.distortion is None else np.asarray(camera.distortion)
    visible = (confidence > 0) & np.isfinite(uv).all(-1)
    uv = np.where(visible[..., None], uv, np.nan)
    away = np.linalg.norm(np.asarray(project(np.asarray(camera.intrinsics), placed, lens)) - uv, axis=-1)
    with np.errstate(all="ignore"):
        away /= extent_px(uv, visible)[:, None]
        missed = ~(np.nanmedian(away[0], -1) < _MOST_ERROR)
    yield "keypoints", missed
    for joint, rows in zip(H36M_17.joints, (away[1:].min(0) > _MOST_MISSED).T & ~missed, strict=True):
        if rows.any():
            yield joint, rows
