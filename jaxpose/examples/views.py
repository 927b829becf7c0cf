"""Virtual cameras, a virtual 2D detector and noisy 3D joints: training examples of posed bodies, in JAX.

The detector's errors follow published figures of a real one on Human3.6M, per joint (J. Y. Chang, G. Moon, K. M. Lee,
AbsPoseLifter, arXiv:1910.12029), in pixels of a 256 x 256 crop around the person: a bias, a spread, and a share of
outliers. Its confidence falls with its error, as a calibrated detector's does; a share of the examples has no
confidence, so that a model does not depend on it. Another share may have the errors of BlazePose, as
`python -m experiments.evaluate blazepose --table=jaxpose/assets/detector_blazepose.json` measured them.
"""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Example, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.geometry.camera import look_at, project, world_to_camera
from jaxpose.geometry.skeleton import H36M_17, mirror
from jaxpose.model import ASSETS
from jaxpose.spaces.person import Statistics, View, encode_keypoints, encode_points, encode_pose, fit_statistics

# Detection minus truth, pixels of a 256 x 256 crop, joints of H36M_17 in order: mean x, mean y, std x, std y, inliers.
DETECTOR = np.array(
    [
        (-0.06, -2.37, 1.33, 2.13, 1.00),
        (-0.83, -2.07, 3.41, 2.69, 1.00),
        (-0.04, -1.01, 1.74, 2.20, 0.95),
        (0.52, -3.40, 1.39, 2.14, 0.93),
        (0.78, -2.79, 3.26, 2.28, 1.00),
        (0.42, -0.15, 1.53, 1.99, 0.94),
        (-0.15, -3.78, 1.39, 2.39, 0.93),
        (-0.05, 0.10, 1.36, 1.74, 0.99),
        (0.14, -2.56, 1.18, 1.15, 0.99),
        (0.13, -0.26, 0.78, 0.59, 0.98),
        (0.09, 0.49, 1.35, 0.87, 0.99),
        (-0.19, 0.31, 2.51, 1.48, 0.99),
        (0.11, -0.60, 1.79, 1.76, 0.95),
        (-0.02, 0.88, 2.02, 2.10, 0.91),
        (0.52, -0.12, 2.23, 1.73, 0.99),
        (0.06, -0.44, 1.93, 1.63, 0.95),
        (0.05, 0.16, 2.02, 2.24, 0.90),
    ],
    np.float32,
)


def _limb_table(path: Path) -> np.ndarray:
    """A table like DETECTOR of a file of the limbs: hip and thorax are middles of pairs, what is left is as thorax."""
    rows = {row["joint"]: [row[key] for key in _COLUMNS] for row in json.loads(path.read_text())["joints"]}
    for middle, side in (("hip", "hip"), ("thorax", "shoulder")):
        rows[middle] = np.mean([rows[f"left_{side}"], rows[f"right_{side}"]], 0).tolist()
    return np.array([rows.get(joint, rows["thorax"]) for joint in H36M_17.joints], np.float32)


_COLUMNS = ("mean_x", "mean_y", "std_x", "std_y", "inlier")
BLAZEPOSE = _limb_table(ASSETS / "detector_blazepose.json")
# The next constants were chosen by eye from the errors and confidences of the benchmark's validation frames.
CROP = 1.2  # the crop's side over the person's larger extent
OUTLIER_STD_PX = 13.5  # px of the crop
_LEAST = 0.08  # confidence of a detection that is far off
_CONFIDENCE_MID, _CONFIDENCE_WIDTH, _CONFIDENCE_STD = 9.5, 4.2, 0.1  # px of the crop, px of the crop, 1


class ViewRates(NamedTuple):
    """Ranges from which a virtual camera and detector are drawn; (low, high) are uniform.

    distance, height: metres from the person and above the floor. aim: degrees by which the axis misses the person,
    standard deviation. roll: degrees, standard deviation. noise: factor on the detector's bias and spread.
    no_confidence: share of examples without confidences (all 1). mirror: share of mirrored bodies.
    coco: share of examples seen through COCO's joint set, which most detectors give (`as_coco`).
    exact: share of 3D conditions without noise. point_noise: metres per coordinate of the others, log-uniform.
    blazepose: share of examples with BlazePose's errors. size, bone: standard deviations of the logarithm of body size
    and of each bone's length. splice: share of bodies whose legs are another frame's.
    """

    distance: tuple[float, float] = (2.5, 8.0)
    height: tuple[float, float] = (0.4, 2.6)
    aim: float = 4.0
    roll: float = 2.0
    noise: tuple[float, float] = (0.7, 1.3)
    no_confidence: float = 0.2
    mirror: float = 0.5
    coco: float = 0.0
    exact: float = 0.4
    point_noise: tuple[float, float] = (0.005, 0.25)
    size: float = 0.0
    bone: float = 0.0
    splice: float = 0.0
    blazepose: float = 0.0


class Bodies(NamedTuple):
    """joints [N, 17, 3] metres, y up; cumulative [N], running sum of the weights; statistics of the state."""

    joints: Array
    cumulative: Array
    statistics: Statistics


def make_bodies(joints: np.ndarray, weights: np.ndarray, view: ViewRates) -> Bodies:
    """Bodies with sampling weights [N]; their statistics are those of 20,000 views under one fixed key."""
    plain = Statistics(jnp.zeros((17, 3)), jnp.ones((17, 3)))
    bodies = Bodies(jnp.asarray(joints, jnp.float32), jnp.asarray(np.cumsum(weights), jnp.float32), plain)
    keys = jax.random.split(jax.random.key(0), 20_000)
    x_view = jax.jit(jax.vmap(lambda k: pose_example(k, bodies, view, MaskRates(0, 0, 0, 0)).x0))(keys)
    return bodies._replace(statistics=fit_statistics(x_view))


def draw_row(key: Key, bodies: Bodies) -> Array:
    """The row of one body, by its weight."""
    u = jax.random.uniform(key, ()) * bodies.cumulative[-1]
    index = jnp.searchsorted(bodies.cumulative, u, side="right")
    return jnp.minimum(index, bodies.joints.shape[0] - 1)


def draw_body(key: Key, bodies: Bodies) -> Array:
    """One body [17, 3] by its weight."""
    return bodies.joints[draw_row(key, bodies)]


def augment_body(key: Key, joints: Array, other: Array, rates: ViewRates) -> Array:
    """A mirrored, resized, re-proportioned or spliced body [17, 3], with its lowest joint at the same height."""
    mirror_key, size_key, bone_key, splice_key = jax.random.split(key, 4)
    if rates.splice:
        joints = jnp.where(jax.random.bernoulli(splice_key, rates.splice), _splice(joints, other), joints)
    if rates.size or rates.bone:
        own = jax.random.normal(bone_key, (17,))
        # Both sides have the left's scale; bones of the trunk have their own.
        own = own.at[np.array(H36M_17.right)].set(own[np.array(H36M_17.left)])
        log_scale = rates.bone * own + rates.size * jax.random.normal(size_key)
        joints = _rescale_bones(joints, jnp.exp(log_scale))
    return jnp.where(jax.random.bernoulli(mirror_key, rates.mirror), mirror(joints, H36M_17), joints)


def draw_camera(key: Key, joints: Array, rates: ViewRates) -> tuple[Array, Array]:
    """(R_cam_world [3, 3], t_cam [3]) of a camera around a body [17, 3], about upright, looking near the hip."""
    yaw_key, distance_key, height_key, aim_key, roll_key = jax.random.split(key, 5)
    yaw = jax.random.uniform(yaw_key, maxval=2 * jnp.pi)
    distance = jax.random.uniform(distance_key, minval=rates.distance[0], maxval=rates.distance[1])
    height = jax.random.uniform(height_key, minval=rates.height[0], maxval=rates.height[1])
    target = joints[0]
    eye = jnp.stack([target[0] + distance * jnp.sin(yaw), height, target[2] + distance * jnp.cos(yaw)])
    miss = distance * jnp.tan(jnp.radians(rates.aim)) * jax.random.normal(aim_key, (3,))
    roll = jnp.radians(rates.roll) * jax.random.normal(roll_key)
    forward_yaw = jnp.stack([jnp.cos(yaw), 0.0, -jnp.sin(yaw)])
    up = jnp.array([0.0, 1.0, 0.0]) * jnp.cos(roll) + forward_yaw * jnp.sin(roll)
    return look_at(eye, target + miss, up)


def detect(key: Key, xy: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Noisy keypoints and confidences ([17, 2], [17]) of projected joints xy [17, 2], in the unit of xy."""
    spread_key, outlier_key, choice_key, gain_key, confidence_key, plain_key = jax.random.split(key, 6)
    crop_px = 256 / (CROP * jnp.max(xy.max(0) - xy.min(0)))
    gain = jax.random.uniform(gain_key, minval=rates.noise[0], maxval=rates.noise[1])
    table = jnp.asarray(DETECTOR)
    if rates.blazepose:
        table = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 6), rates.blazepose), BLAZEPOSE, table)
    error = gain * (table[:, :2] + table[:, 2:4] * jax.random.normal(spread_key, xy.shape))
    inlier = jax.random.bernoulli(choice_key, table[:, 4])
    error = jnp.where(inlier[:, None], error, OUTLIER_STD_PX * jax.random.normal(outlier_key, xy.shape))
    confidence = draw_confidence(confidence_key, error)
    plain = jax.random.bernoulli(plain_key, rates.no_confidence)
    return xy + error / crop_px, jnp.where(plain, 1.0, confidence)


def draw_confidence(key: Key, error: Array) -> Array:
    """Confidences [...] of detections whose error [..., 2] is known, in pixels of a 256 x 256 crop."""
    size = jnp.linalg.norm(error, axis=-1)
    mean = _LEAST + (1 - _LEAST) * jax.nn.sigmoid((_CONFIDENCE_MID - size) / _CONFIDENCE_WIDTH)
    return jnp.clip(mean + _CONFIDENCE_STD * jax.random.normal(key, size.shape), 0.05, 1.0)


def as_coco(key: Key, xy: Array, confidence: Array) -> tuple[Array, Array]:
    """Keypoints [17, 2] and confidences [17] as `convert_joints` makes them of COCO's 17.

    Hip and thorax are the middles of hips and shoulders; spine and head are not seen. The neck needs COCO's nose, which
    the motion capture lacks: it is kept in half of the examples.
    """
    keep_neck = jax.random.bernoulli(key).astype(confidence.dtype)
    for joint, left, right in ((0, 4, 1), (8, 11, 14)):
        xy = xy.at[joint].set(0.5 * (xy[left] + xy[right]))
        confidence = confidence.at[joint].set(jnp.minimum(confidence[left], confidence[right]))
    return xy, confidence.at[9].multiply(keep_neck).at[np.array([7, 10])].set(0.0)


def observe_points(key: Key, x: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Noisy 3D joints [17, 3] and the noise of each [17], metres; half have one level for all joints."""
    exact_key, level_key, shared_key, noise_key = jax.random.split(key, 4)
    low, high = (float(np.log(v)) for v in rates.point_noise)
    level = jnp.exp(jax.random.uniform(level_key, (17,), minval=low, maxval=high))
    level = jnp.where(jax.random.bernoulli(shared_key), level[0], level)
    level = jnp.where(jax.random.bernoulli(exact_key, rates.exact), 0.0, level)
    return x + level[:, None] * jax.random.normal(noise_key, x.shape), level


def pose_example(key: Key, bodies: Bodies, view: ViewRates, masks: MaskRates) -> Example:
    """One training example: state and condition of a random body seen by a random camera.

    The condition is 2D detections or, at the rate `masks.depth`, 3D joints with noise. Joints are hidden before either
    is normalised, so that a hidden joint does not change the person's centre and extent.
    """
    body_key, other_key, augment_key, camera_key, detect_key, mask_key = jax.random.split(key, 6)
    joints = draw_body(body_key, bodies)
    joints = augment_body(augment_key, joints, draw_body(other_key, bodies) if view.splice else joints, view)
    x_cam = world_to_camera(*draw_camera(camera_key, joints, view), joints)
    x_cam = x_cam.at[:, 2].add(jnp.maximum(0.5 - x_cam[:, 2].min(), 0.0))  # no joint behind the camera
    seen = draw_joints(mask_key, masks, H36M_17)
    cond, turned = _seen_in_2d(detect_key, x_cam, seen, view)
    if masks.depth:
        points_key, kind_key = jax.random.split(jax.random.fold_in(mask_key, 1))
        noisy, level = observe_points(points_key, x_cam, view)
        is_3d = jax.random.bernoulli(kind_key, float(masks.depth))
        pair = (encode_points(noisy, seen, level), View(jnp.eye(3))), (cond, turned)
        cond, turned = jax.tree.map(lambda a, b: jnp.where(is_3d, a, b), *pair)
    return Example(encode_pose(bodies.statistics, turned, x_cam), cond)


def _seen_in_2d(key: Key, x_cam: Array, seen: Array, view: ViewRates) -> tuple[Condition, View]:
    coco_key, neck_key = jax.random.split(jax.random.fold_in(key, 1))
    pinhole = jnp.array([1.0, 1.0, 0.0, 0.0])
    xy, confidence = detect(key, project(pinhole, x_cam), view)
    if view.coco:
        coco = jax.random.bernoulli(coco_key, view.coco)
        pair = zip(as_coco(neck_key, xy, confidence), (xy, confidence), strict=True)
        xy, confidence = (jnp.where(coco, a, b) for a, b in pair)
    return encode_keypoints(pinhole, xy, confidence * seen)


def _rescale_bones(joints: Array, scale: Array) -> Array:
    """Bone j, which ends at joint j, `scale[j]` times as long; the lowest joint keeps its height."""
    placed = [joints[0]]
    for j, parent in enumerate(H36M_17.parents[1:], 1):
        placed.append(placed[parent] + scale[j] * (joints[j] - joints[parent]))
    result = jnp.stack(placed)
    return result.at[:, 1].add(joints[:, 1].min() - result[:, 1].min())


def _splice(joints: Array, other: Array) -> Array:
    """The legs of `other`, turned about the vertical so that the hip lines agree, under the trunk of `joints`."""
    legs = np.array(H36M_17.parts[0] + H36M_17.parts[1])
    hip = lambda x: jnp.arctan2(x[4, 2] - x[1, 2], x[4, 0] - x[1, 0])  # noqa: E731
    angle = hip(joints) - hip(other)
    c, s = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    moved = (other[legs] - other[0]) @ turn.T + joints[0]
    return joints.at[legs].set(moved)
