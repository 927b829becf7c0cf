"""Joint angles of joint positions: any joint set in, rotations of SMPL's 22 joints on bones of one length each out.

A point k of the joint set is held by joint a of a skeleton, at an offset o_k from it (0 where it is that joint):

    x_k = p_a + G_a o_k,      p_j = p_parent + G_parent t_j,      G_j = G_parent exp(v_j)

Bones t and offsets o are linear in a shape s, alike on both sides and common to all frames; rotations v and the place
of the pelvis are each frame's own. With the mean m and deviation d of rotations in motion capture,

    E = sum |x_k - y_k|^2 / (2 noise^2) + sum_j |(v_j - m_j) / d_j|^2 / 2 + |s|^2 / 2

is minimised by Levenberg-Marquardt steps over poses in turn with linear solutions for the shape. The Hessian at the end
gives the covariance of the rotations: where positions do not show a rotation (a straight arm's twist, the feet and
hands of 17 joints), it keeps the spread d of the prior, and the pose takes the prior's mean there. Frames are
independent of each other; the result is as smooth in time as the positions.

numpy in float64: 100 frames take 2 to 4 s; a fit by engine.py takes thirty, most of them to be compiled.

Source: Gauss-Newton and its damping: Nocedal, Wright, Numerical Optimization (2006), chapter 10; derivative of exp:
Sola et al., A micro Lie theory (2018), equation 145.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.rotations import ancestors
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.retarget import HELD_BY_HEAD, LEG
from jaxpose.io.smpl_motion import bones_of, posed
from jaxpose.io.take import rest_positions, rotation_matrices, rotation_vectors

NOISE = 0.01  # metres, of each coordinate
BLOCK = 256  # frames that are well solved at once
LEAST_POINTS = 6  # of a frame; fewer do not hold a body
_LEAST_DEVIATION = 0.1  # radians: the solvers of motion capture hold collars and hinges still, which bodies do not
_OPEN = 10.0  # degrees, standard deviation about the least known axis: a rotation that positions do not show
_BONE, _OFFSET = 0.1, 0.04  # deviations of the shape: a share of a bone, metres of an offset
_STEPS, _ROUNDS, _STEPS_OF_SHAPE, _OF_SHAPE = 40, 5, 8, 64  # for poses; of the shape: rounds of steps, frames

_J = {name: j for j, name in enumerate(SMPL_22.joints)}
_PARENTS = list(SMPL_22.parents)
_SIDES = ("left", "right")
_HIPS, _SHOULDERS = ([f"{side}_{joint}" for side in _SIDES] for joint in ("hip", "shoulder"))
# The joint that holds a point, and where on an adult of 1.7 m, metres (x left, y up, z forward) from it: that of a
# point that is no joint of SMPL's is moved by the fit, by a few centimetres; hip is the middle of the hips.
_HELD: dict[str, tuple[str, tuple[float, float, float]]] = {
    **{name: (name, (0, 0, 0)) for name in _J},
    "hip": ("pelvis", (0, 0, 0)),
    "spine": ("spine1", (0, 0.06, 0)),
    "thorax": ("spine3", (0, 0.17, -0.01)),
    "upper_neck": ("head_base", (0, 0, 0)),
    "nose": ("head_base", (0, 0.05, 0.11)),
    **{name: ("head_base", offset) for name, offset in HELD_BY_HEAD.items()},
}
for _side, _x in zip(_SIDES, (1, -1), strict=True):
    _HELD |= {
        f"{_side}_eye": ("head_base", (0.03 * _x, 0.09, 0.08)),
        f"{_side}_ear": ("head_base", (0.075 * _x, 0.06, 0)),
        f"{_side}_heel": (f"{_side}_ankle", (0, -0.06, -0.05)),
        f"{_side}_big_toe": (f"{_side}_foot", (-0.02 * _x, -0.02, 0.07)),
        f"{_side}_small_toe": (f"{_side}_foot", (0.04 * _x, -0.02, 0.04)),
        f"{_side}_hand": (f"{_side}_wrist", (0.08 * _x, 0, 0)),
    }
_MOVED = ("neck", "head_base", "left_shoulder")  # joints that bodies and marker sets put in other places of the trunk
# Bones, and the pairs of points whose distance shows their lengths; hips, shoulders: the middles of both.
_MEASURES = [
    ([f"{side}_{end}" for side in _SIDES], [(f"{side}_{start}", f"{side}_{end}") for side in _SIDES])
    for start, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
] + [
    (["spine1", "spine2", "spine3", "neck", "left_collar", "right_collar"], [("hips", "shoulders")]),
    *((both, [(both[0], both[1])]) for both in (_HIPS, _SHOULDERS)),
]


class PointSkeleton(NamedTuple):
    """A skeleton with a person's bones, which holds the points of a joint set.

    rest: [22, 3] m, its joints at rest with the pelvis at 0. unobserved: joints with a rotation that the points leave
    open by more than 10 degrees about some axis, and by how many (standard deviation, median over frames). known [K]
    bool: the points that it holds. holder [K]: the joint of each of these; shape [22 + K, 3]: bones from the parent,
    then offsets of points from their holders; mean, deviation [69]: the prior of a pose, infinite where it has none.
    """

    rest: np.ndarray
    unobserved: dict[str, float]
    known: np.ndarray
    holder: np.ndarray
    shape: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


class JointAngles(NamedTuple):
    """body_pose [F, 21, 3], global_orient [F, 3] axis-angle rad and pelvis [F, 3] m, in a world with y up.

    error [F, K] m, of each given point, NaN where it is missing or not held.
    """

    body_pose: np.ndarray
    global_orient: np.ndarray
    pelvis: np.ndarray
    error: np.ndarray


def fit_skeleton(
    points: np.ndarray, names: Sequence[str], rest: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> PointSkeleton:
    """The skeleton of one person's points [F, K, 3] metres, y up, NaN where missing; `names` of the K points.

    rest: [22, 3] m, the joints of a body at rest that faces z, whose bone directions are taken, and the lengths of
    bones that no point shows. mean, deviation: [21, 3] rad, of each rotation in motion capture. Points that are no
    joint of SMPL's and that no joint is known to hold are left out. ValueError where a frame has fewer than six others.
    """
    known = np.array([name in _HELD for name in names])
    y, used = _held(points, known), [name for name in names if name in _HELD]
    bones = bones_of(rest)
    bones *= _factors(y, used, rest_positions(bones, _PARENTS))[:, None]
    start, basis = _start_shape(used, bones)
    spread = np.maximum(np.asarray(deviation, np.float64), _LEAST_DEVIATION).ravel()
    free = np.full(3, np.inf)
    prior = np.pad(np.asarray(mean, np.float64).ravel(), 3), np.concatenate([free, spread, free])
    skeleton = PointSkeleton(rest, {}, known, _holders(used), start, *prior)
    few = y[np.unique(np.linspace(0, len(y) - 1, min(len(y), _OF_SHAPE)).astype(int))]
    pose = _start_pose(few, skeleton)
    for _ in range(_ROUNDS):
        pose = _fit_pose(few, skeleton, pose, _STEPS_OF_SHAPE)[0]
        skeleton = skeleton._replace(shape=start + _fit_shape(few, skeleton._replace(shape=start), basis, pose))
    hessian = _fit_pose(few, skeleton, _start_pose(few, skeleton))[1]
    return skeleton._replace(rest=rest_positions(skeleton.shape[:22], _PARENTS), unobserved=_unobserved(hessian))


def joint_angles(skeleton: PointSkeleton, points: np.ndarray) -> JointAngles:
    """The joint angles of points [F, K, 3] metres, y up, NaN where missing, of a skeleton that holds them.

    ValueError where a frame has fewer than six points that it holds.
    """
    y = _held(points, skeleton.known)
    pose, _ = _fit_pose(y, skeleton, _start_pose(y, skeleton))
    error = np.full(points.shape[:2], np.nan)
    error[:, skeleton.known] = np.linalg.norm(_points(skeleton.holder, skeleton.shape, pose)[0] - y, axis=-1)
    vectors = rotation_vectors(rotation_matrices(pose[:, :66].reshape(-1, 22, 3))).astype(np.float32)
    return JointAngles(vectors[:, 1:], vectors[:, 0], pose[:, 66:].astype(np.float32), error)


def points_of(
    rest: np.ndarray, body_pose: np.ndarray, global_orient: np.ndarray, pelvis: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """The points [F, K, 3] metres of a moving body: joints of SMPL's, and others where an adult's joints hold them.

    rest: [22, 3] m, the joints at rest, facing z. The rest as of `JointAngles`. ValueError for an unknown name.
    """
    if unknown := [name for name in names if name not in _HELD]:
        raise ValueError(f"names: got {', '.join(unknown)}; must be one of {', '.join(_HELD)}")
    pose = np.concatenate([global_orient, body_pose.reshape(-1, 63), pelvis], 1).astype(np.float64)
    return _points(_holders(names), _start_shape(names, bones_of(rest))[0], pose)[0]


def _holders(names: Sequence[str]) -> np.ndarray:
    return np.array([_J[_HELD[name][0]] for name in names])


def _held(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    y = np.asarray(points, np.float64)[:, known]
    count = np.isfinite(y).all(-1).sum(-1)
    if not len(y) or count.min() < LEAST_POINTS:
        lacks = f"frame {count.argmin()} has {count.min()}" if len(y) else "there is no frame"
        raise ValueError(f"points: needed {LEAST_POINTS} that a skeleton holds in each frame; {lacks}")
    return y


def _start_shape(names: Sequence[str], bones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shape [22 + K, 3] at coefficients 0, by the table, and its change by each: [S, 22 + K, 3]."""
    metres = np.linalg.norm(bones[[_J["left_knee"], _J["left_ankle"]]], axis=-1).sum() / LEG  # of the table's metres
    shape = np.concatenate([bones, np.array([_HELD[name][1] for name in names]) * metres])
    right, eye = {j: _J[name.replace("left_", "right_")] for name, j in _J.items()}, np.eye(3)
    hips = [_J[name] for name in _HIPS]
    lengths = [{k: _BONE * bones[k] for k in (j, right[j])} for name, j in _J.items() if not name.startswith("right_")]
    # the hips' distance; their other directions would be a tilt of the pelvis
    changes = [*lengths[1:], {hips[0]: _OFFSET * eye[0], hips[1]: -_OFFSET * eye[0]}]
    for name in (moved for moved in _MOVED if moved in names):
        axes = eye[0 if name.startswith("left_") else 1 :]  # what has no side stays in the middle
        changes += [{right[_J[name]]: _OFFSET * axis * (-1, 1, 1), _J[name]: _OFFSET * axis} for axis in axes]
    free = [22 + k for k, name in enumerate(names) if name not in _J and name != "hip"]
    changes += [{k: _OFFSET * axis} for k in free for axis in eye]
    basis = np.zeros((len(changes), *shape.shape))
    for change, rows in zip(basis, changes, strict=True):
        change[list(rows)] = list(rows.values())
    if "hip" in names:
        k = 22 + list(names).index("hip")
        shape[k], basis[:, k] = shape[hips].mean(0), basis[:, hips].mean(1)
    return shape, basis


def _factors(y: np.ndarray, names: Sequence[str], rest: np.ndarray) -> np.ndarray:
    """How much longer [22] than at rest [22, 3] each bone is, by medians of the distances of points that show it."""
    factors = np.full(22, np.nan)
    shown, resting = (dict(zip(of, np.moveaxis(x, -2, 0), strict=True)) for x, of in ((y, names), (rest, _J)))
    for points in (shown, resting):
        for middle, ends in (("hips", _HIPS), ("shoulders", _SHOULDERS)):
            if points.keys() >= set(ends):
                points[middle] = (points[ends[0]] + points[ends[1]]) / 2
    for scaled, pairs in _MEASURES:
        ratios = []
        for a, b in pairs:
            length = np.linalg.norm(shown[a] - shown[b], axis=-1) if shown.keys() >= {a, b} else np.full(1, np.nan)
            if np.isfinite(length).any():
                ratios.append(np.nanmedian(length) / np.linalg.norm(resting[a] - resting[b]))
        if ratios:
            factors[[_J[name] for name in scaled]] = np.mean(ratios)
    return np.where(np.isfinite(factors), factors, np.nanmedian(factors) if np.isfinite(factors).any() else 1.0)


def _points(holder: np.ndarray, shape: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [F, K, 3], joints and global rotations."""
    p, G = posed(shape[:22], pose[:, :66].reshape(-1, 22, 3), pose[:, 66:])
    return p[:, holder] + np.einsum("fkij,kj->fki", G[:, holder], shape[22:]), p, G


def _start_pose(y: np.ndarray, skeleton: PointSkeleton) -> np.ndarray:
    """The prior's mean pose [F, 69], turned and moved onto the points (Kabsch)."""
    pose = np.repeat(skeleton.mean[None], len(y), 0)
    x, p, _ = _points(skeleton.holder, skeleton.shape, pose)
    limbs = [j for name, j in _J.items() if name.endswith(("knee", "ankle", "foot", "elbow", "wrist"))]
    trunk = ~np.isin(skeleton.holder, limbs)
    visible = np.isfinite(y).all(-1)
    enough = (visible & trunk).sum(-1) >= 4
    weight = (visible & (trunk | ~enough[:, None]))[..., None].astype(np.float64)
    x_mid, y_mid = ((weight * np.nan_to_num(v)).sum(1, keepdims=True) / weight.sum(1, keepdims=True) for v in (x, y))
    U, _, Vt = np.linalg.svd(np.einsum("fki,fkj->fij", weight * np.nan_to_num(y - y_mid), x - x_mid))
    U[..., 2] *= np.linalg.det(U @ Vt)[:, None]
    R = U @ Vt
    pose[:, :3] = rotation_vectors(R)
    pose[:, 66:] = (y_mid - np.einsum("fij,fkj->fki", R, x_mid - p[:, :1]))[:, 0]
    return pose


def _fit_pose(
    y: np.ndarray, skeleton: PointSkeleton, pose: np.ndarray, num_steps: int = _STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Levenberg-Marquardt: each frame has its own damping, and takes a step that lowers its energy.

    The poses [F, 69], 22 rotations and then the pelvis' place, and the Hessians [F, 69, 69] at them.
    """
    damping, (cost, A, b) = np.full(len(y), 1.0), _normal_equations(y, skeleton, pose)
    for _ in range(num_steps):
        damped = A + (damping[:, None] * np.einsum("fii->fi", A))[..., None] * np.eye(69)
        tried = pose + np.linalg.solve(damped, b[..., None])[..., 0]
        now, *equations = _normal_equations(y, skeleton, tried)
        better = now < cost
        gain = np.where(better, cost - now, 0).max()
        damping = np.where(better, damping / 5, np.minimum(damping * 4, 1e6))
        for kept, new in zip((pose, cost, A, b), (tried, now, *equations), strict=True):
            kept[better] = new[better]
        if better.any() and gain < 1e-3:
            break
    return pose, A


def _normal_equations(
    y: np.ndarray, skeleton: PointSkeleton, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The energy [F], its Hessian [F, 69, 69] and negative gradient [F, 69]."""
    holder = skeleton.holder
    x, p, G = _points(holder, skeleton.shape, pose)
    num, K = x.shape[:2]
    parents = np.concatenate([np.broadcast_to(np.eye(3), (num, 1, 3, 3)), G[:, _PARENTS[1:]]], 1)
    turned = parents @ _left_jacobian(pose[:, :66].reshape(-1, 22, 3))  # turn in the world by a change of v_j
    turns = ancestors(SMPL_22.parents)[holder].T[..., None]  # [22, K, 1]: 1 where the joint turns the point
    lever = (x[:, None] - p[:, :, None]) * turns
    J = (_cross(-lever) @ turned[:, :, None]).transpose(0, 2, 3, 1, 4).reshape(num, K, 3, 66)
    J = np.concatenate([J, np.broadcast_to(np.eye(3), (num, K, 3, 3))], -1)
    J = (J * (np.isfinite(y).all(-1) / NOISE)[..., None, None]).reshape(num, 3 * K, 69)
    away = (np.nan_to_num(y - x) / NOISE).reshape(num, 3 * K, 1)
    off = (pose - skeleton.mean) / skeleton.deviation
    A = np.swapaxes(J, 1, 2) @ J + np.diag(skeleton.deviation**-2.0)
    b = (np.swapaxes(J, 1, 2) @ away)[..., 0] - off / skeleton.deviation
    return ((away**2).sum((1, 2)) + (off**2).sum(1)) / 2, A, b


def _fit_shape(y: np.ndarray, skeleton: PointSkeleton, basis: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The change [22 + K, 3] of the shape for given rotations; where the pelvis stands is left free in each frame."""
    still = pose * (np.arange(69) < 66)
    visible = np.isfinite(y).all(-1)[..., None]
    total = np.maximum(visible.sum(1, keepdims=True), 1)

    def relative(v: np.ndarray) -> np.ndarray:
        v = np.where(visible, v, 0)
        return (v - visible * v.sum(1, keepdims=True) / total).ravel() / NOISE

    columns = [relative(_points(skeleton.holder, one, still)[0]) for one in basis]
    A, b = np.stack(columns, 1), relative(y - _points(skeleton.holder, skeleton.shape, still)[0])
    return np.tensordot(np.linalg.solve(A.T @ A + np.eye(A.shape[1]), A.T @ b), basis, 1)


def _unobserved(hessian: np.ndarray) -> dict[str, float]:
    covariance = np.linalg.inv(hessian)
    blocks = {name: covariance[:, 3 * j : 3 * j + 3, 3 * j : 3 * j + 3] for name, j in _J.items() if j}
    degrees = {
        name: float(np.degrees(np.median(np.sqrt(np.linalg.eigvalsh(block)[:, -1])))) for name, block in blocks.items()
    }
    return {name: round(value, 1) for name, value in degrees.items() if value > _OPEN}


def _cross(v: np.ndarray) -> np.ndarray:
    """The matrices [..., 3, 3] of the products v x."""
    return np.cross(np.eye(3), v[..., None, :])


def _left_jacobian(v: np.ndarray) -> np.ndarray:
    """J [..., 3, 3] with exp(v + d) = exp(J d) exp(v) to first order."""
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    cross, safe = _cross(v), np.maximum(angle, 1e-4)
    first = np.sinc(angle / (2 * np.pi)) ** 2 / 2
    second = np.where(angle > 1e-4, (safe - np.sin(safe)) / safe**3, 1 / 6)
    return np.eye(3) + first * cross + second * (cross @ cross)
