"""Virtual cameras, what they see of a body, and noisy 3D joints: training examples of posed bodies, in JAX.

A body with known rotations is a person drawn anew (examples/bodies.py); one of joints alone is mirrored, resized,
re-proportioned or spliced. The virtual detector is that of examples/detectors.py.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Example, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.examples import bodies as anew
from jaxpose.examples.bodies import Bodies, draw_row
from jaxpose.examples.detectors import as_coco, detect_clip
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.camera import look_at, project, world_to_camera
from jaxpose.geometry.products import turned
from jaxpose.geometry.skeleton import H36M_17, mirror
from jaxpose.spaces.person import (
    Statistics,
    View,
    encode_keypoints,
    encode_points,
    encode_pose,
    fit_statistics,
    tell_vertical,
)

PINHOLE = np.array([1.0, 1.0, 0.0, 0.0], np.float32)  # keypoints are on the plane z = 1
_FREE_DISTANCE = (1.3, 25.0)  # metres, log-uniform: strong perspective to nearly none
_FREE_ELEVATION = (-40.0, 80.0)  # degrees of the camera over the person: from the floor, from the ceiling
_FREE_ROLL = 20.0  # degrees, standard deviation


def make_bodies(
    joints: np.ndarray,
    weights: np.ndarray,
    view: ViewRates,
    rotations: np.ndarray | None = None,
    person: np.ndarray | None = None,
) -> Bodies:
    """Bodies with sampling weights [N]; their statistics are those of 20,000 views under one fixed key.

    rotations: [N, 22, 3] axis-angle radians of SMPL's body, the pelvis in the world first. person: [N] labels.
    """
    plain = Statistics(jnp.zeros((17, 3)), jnp.ones((17, 3)))
    bodies = Bodies(jnp.asarray(joints, jnp.float32), jnp.asarray(np.cumsum(weights), jnp.float32), plain)
    if rotations is not None and person is not None:
        carriers, rows = anew.carriers_of(rotations), np.unique(person, return_inverse=True)[1]
        people, apart = anew.people_of(joints, carriers, rows), anew.least_apart(joints)
        bodies = bodies._replace(
            carriers=jnp.asarray(carriers), person=jnp.asarray(rows, jnp.int32), people=people, apart=apart
        )
    keys = jax.random.split(jax.random.key(0), 20_000)
    draw = jax.vmap(lambda key, b: pose_example(key, b, view, MaskRates(0, 0, 0, 0)).x0, (0, None))
    x_view = jax.jit(draw)(keys, bodies)
    return bodies._replace(statistics=fit_statistics(x_view))


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
    """(R_cam_world [3, 3], t_cam [3]) of a camera around a body [17, 3] that looks near the hip.

    About level at the rates' height and distance; in the share `free` anywhere around the person.
    """
    yaw_key, distance_key, height_key, aim_key, roll_key = jax.random.split(key, 5)
    yaw = jax.random.uniform(yaw_key, maxval=2 * jnp.pi)
    distance = jax.random.uniform(distance_key, minval=rates.distance[0], maxval=rates.distance[1])
    height = jax.random.uniform(height_key, minval=rates.height[0], maxval=rates.height[1])
    target = joints[0]
    std_roll = jnp.radians(rates.roll)
    if rates.free:
        free = jax.random.bernoulli(jax.random.fold_in(key, 0), rates.free)
        far = jnp.exp(
            jax.random.uniform(distance_key, minval=np.log(_FREE_DISTANCE[0]), maxval=np.log(_FREE_DISTANCE[1]))
        )
        low, high = np.sin(np.radians(_FREE_ELEVATION))
        up = jax.random.uniform(height_key, minval=low, maxval=high)  # of its sine: alike over the sphere
        height = jnp.where(free, target[1] + far * up, height)
        distance = jnp.where(free, far * jnp.sqrt(1 - up**2), distance)
        std_roll = jnp.where(free, jnp.radians(_FREE_ROLL), std_roll)
    eye = jnp.stack([target[0] + distance * jnp.sin(yaw), height, target[2] + distance * jnp.cos(yaw)])
    miss = jnp.linalg.norm(eye - target) * jnp.tan(jnp.radians(rates.aim)) * jax.random.normal(aim_key, (3,))
    roll = std_roll * jax.random.normal(roll_key)
    forward_yaw = jnp.stack([jnp.cos(yaw), 0.0, -jnp.sin(yaw)])
    up = jnp.array([0.0, 1.0, 0.0]) * jnp.cos(roll) + forward_yaw * jnp.sin(roll)
    return look_at(eye, target + miss, up)


def drawn_body(key: Key, bodies: Bodies, rows: Array, other: Array, view: ViewRates) -> Array:
    """Joints [F, 17, 3] metres, y up, of frames `rows` [F] as one body, perhaps with limbs of frames `other` [F]."""
    if bodies.people is None:  # the same key for all frames: mirrored or not, with one set of bones
        pairs = (jax.vmap(lambda row: anew.joints_at(bodies, row))(r) for r in (rows, other))
        return jax.vmap(lambda x, o: augment_body(key, x, o, view))(*pairs)
    return anew.turn(jax.random.fold_in(key, 1), anew.draw_body(key, bodies, rows, other, view), view)


def before_camera(R_cam_world: Array, t_cam: Array, x_world: Array) -> Array:
    """Joints [..., 3] in the camera's frame, moved away from it where one of them would be nearer than 0.5 m."""
    x_cam = world_to_camera(R_cam_world, t_cam, x_world)
    return x_cam.at[..., 2].add(jnp.maximum(0.5 - x_cam[..., 2].min(), 0.0))


def detected(key: Key, xy: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Keypoints and confidences ([F, J, 2], [F, J]) of projected joints xy [F, J, 2], in the unit of xy."""
    coco_key, neck_key = jax.random.split(jax.random.fold_in(key, 1))
    xy, confidence = detect_clip(key, xy, rates)
    if not rates.coco:
        return xy, confidence
    coco = jax.vmap(lambda x, c: as_coco(neck_key, x, c))(xy, confidence)
    is_coco = jax.random.bernoulli(coco_key, rates.coco)
    return jnp.where(is_coco, coco[0], xy), jnp.where(is_coco, coco[1], confidence)


def observe_points(key: Key, x: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Noisy 3D joints [17, 3] and the noise of each [17], metres; half have one level for all joints."""
    exact_key, level_key, shared_key, noise_key = jax.random.split(key, 4)
    low, high = (float(np.log(v)) for v in rates.point_noise)
    level = jnp.exp(jax.random.uniform(level_key, (17,), minval=low, maxval=high))
    level = jnp.where(jax.random.bernoulli(shared_key), level[0], level)
    level = jnp.where(jax.random.bernoulli(exact_key, rates.exact), 0.0, level)
    return x + level[:, None] * jax.random.normal(noise_key, x.shape), level


def pose_example(key: Key, bodies: Bodies, view: ViewRates, masks: MaskRates, rows: Array | None = None) -> Example:
    """One training example: state and condition of a random body seen by a random camera.

    The condition is 2D detections or, at the rate `masks.depth`, 3D joints with noise. Joints are hidden before either
    is normalised, so that a hidden joint does not change the person's centre and extent.

    rows: [2] of the body and of another, whose limbs it may get; None: drawn by their weights.
    """
    body_key, other_key, augment_key, camera_key, detect_key, mask_key = jax.random.split(key, 6)
    row, other = (draw_row(k, bodies) for k in (body_key, other_key)) if rows is None else rows
    joints = drawn_body(augment_key, bodies, row[None], other[None], view)[0]
    R_cam_world, t_cam = draw_camera(camera_key, joints, view)
    x_cam = before_camera(R_cam_world, t_cam, joints)
    seen = draw_joints(mask_key, masks, H36M_17)
    xy, confidence = detected(detect_key, project(jnp.asarray(PINHOLE), x_cam)[None], view)
    cond, turned = encode_keypoints(jnp.asarray(PINHOLE), xy[0], confidence[0] * seen)
    if masks.depth:
        points_key, kind_key = jax.random.split(jax.random.fold_in(mask_key, 1))
        noisy, level = observe_points(points_key, x_cam, view)
        is_3d = jax.random.bernoulli(kind_key, float(masks.depth))
        pair = (encode_points(noisy, seen, level), View(jnp.eye(3))), (cond, turned)
        cond, turned = jax.tree.map(lambda a, b: jnp.where(is_3d, a, b), *pair)
    if view.told:
        told = jax.random.bernoulli(jax.random.fold_in(camera_key, 5), view.told)
        cond = tell_vertical(cond, turned, jnp.where(told, R_cam_world[:, 1], 0.0))
    return Example(encode_pose(bodies.statistics, turned, x_cam), cond)


def _rescale_bones(joints: Array, scale: Array) -> Array:
    """Bone j, which ends at joint j, `scale[j]` times as long; the lowest joint keeps its height."""
    bones = joints - joints[np.maximum(H36M_17.parents, 0)]
    result = anew.chained(joints[0], scale[:, None] * bones)
    return result.at[:, 1].add(joints[:, 1].min() - result[:, 1].min())


def _splice(joints: Array, other: Array) -> Array:
    """The legs of `other`, turned about the vertical so that the hip lines agree, under the trunk of `joints`."""
    legs = np.array(H36M_17.parts[0] + H36M_17.parts[1])
    hip = lambda x: jnp.arctan2(x[4, 2] - x[1, 2], x[4, 0] - x[1, 0])  # noqa: E731
    angle = hip(joints) - hip(other)
    c, s = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    moved = turned(turn, other[legs] - other[0]) + joints[0]
    return joints.at[legs].set(moved)
