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
from typing import NamedTuple, TypeAlias

import numpy as np

from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.smpl_motion import posed
from jaxpose.io.take import rest_positions, rotation_matrices, rotation_vectors

NOISE = 0.01  # metres, of each coordinate
LEAST_POINTS = 6  # of a frame; fewer do not hold a body
_LEAST_DEVIATION = 0.1  # radians: the solvers of motion capture hold collars and hinges still, which bodies do not
_OPEN = 10.0  # degrees, standard deviation about the least known axis: a rotation that positions do not show
_BONE, _OFFSET = 0.1, 0.04  # deviations of the shape: a share of a bone, metres of an offset
_STEPS, _ROUNDS, _STEPS_OF_SHAPE, _OF_SHAPE = 40, 5, 8, 64  # for poses; of the shape: rounds of steps, frames

_J = {name: j for j, name in enumerate(SMPL_22.joints)}
_PARENTS = SMPL_22.parents
# Points that are no joint of SMPL's: the joint that holds them, and where on an adult of 1.7 m, metres (x left, y up,
# z forward) from it. The fit moves them by a few centimetres.
_HELD: dict[str, tuple[str, tuple[float, float, float]]] = {
    **{
        "spine": ("spine1", (0, 0.06, 0)),
        "thorax": ("spine3", (0, 0.17, -0.01)),
        "upper_neck": ("head_base", (0, 0, 0)),
    },
    **{"neck_nose": ("head_base", (0, -0.02, 0.04)), "head": ("head_base", (0, 0.2, 0.02))},
    "nose": ("head_base", (0, 0.05, 0.11)),
}
for _side, _x in (("left", 1), ("right", -1)):
    _HELD |= {
        **{
            f"{_side}_eye": ("head_base", (0.03 * _x, 0.09, 0.08)),
            f"{_side}_ear": ("head_base", (0.075 * _x, 0.06, 0)),
        },
        f"{_side}_heel": (f"{_side}_ankle", (0, -0.06, -0.05)),
        f"{_side}_big_toe": (f"{_side}_foot", (-0.02 * _x, -0.02, 0.07)),
        f"{_side}_small_toe": (f"{_side}_foot", (0.04 * _x, -0.02, 0.04)),
        f"{_side}_hand": (f"{_side}_wrist", (0.08 * _x, 0, 0)),
    }
_MOVED = ("neck", "head_base", "left_shoulder")  # joints that bodies and marker sets put in other places of the trunk
_LEG = 0.82  # metres, thigh and shin of that adult (io/retarget.py)
# Bones, and the pairs of points (or of middles of points) whose distance shows their lengths.
_SIDES = ("left", "right")
_HIPS, _SHOULDERS = (tuple(f"{side}_{joint}" for side in _SIDES) for joint in ("hip", "shoulder"))
_Ends: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
_MEASURES: list[tuple[list[str], list[_Ends]]] = [
    ([f"{side}_{end}" for side in _SIDES], [((f"{side}_{start}",), (f"{side}_{end}",)) for side in _SIDES])
    for start, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
]
_MEASURES += [
    (["spine1", "spine2", "spine3", "neck", "left_collar", "right_collar"], [(_HIPS, _SHOULDERS)]),
    ([*_HIPS], [((_HIPS[0],), (_HIPS[1],))]),
    ([*_SHOULDERS], [((_SHOULDERS[0],), (_SHOULDERS[1],))]),
]


class _Shape(NamedTuple):
    """Bones [22, 3] from the parent and offsets [K, 3] of points from the joints that hold them."""

    bones: np.ndarray
    offsets: np.ndarray


class _Problem(NamedTuple):
    """holder [K]: the joint of each point; below [22, K]: which joints turn it; the prior's mean, deviation [22, 3]."""

    holder: np.ndarray
    below: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


class _Pose(NamedTuple):
    """vectors [F, 22, 3] rad, the root's first; place [F, 3] of the pelvis."""

    vectors: np.ndarray
    place: np.ndarray


class PointSkeleton(NamedTuple):
    """A skeleton with a person's bones, which holds the points of a joint set.

    rest: [22, 3] m, its joints at rest with the pelvis at 0. unobserved: joints with a rotation that the points leave
    open by more than 10 degrees about some axis, and by how many (standard deviation, median over frames). known [K]
    bool: the points that it holds.
    """

    rest: np.ndarray
    unobserved: dict[str, float]
    known: np.ndarray
    problem: _Problem
    shape: _Shape


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
    known = np.array([name in _J or name in _HELD or name == "hip" for name in names])
    y, used = _held(points, known), [name for name, keep in zip(names, known, strict=True) if keep]
    problem = _problem(used, mean, deviation)
    start, basis = _start_shape(y, used, np.asarray(rest, np.float64))
    few = y[np.unique(np.linspace(0, len(y) - 1, min(len(y), _OF_SHAPE)).astype(int))]
    pose, shape = _start_pose(few, problem, start), start
    for _ in range(_ROUNDS):
        pose = _fit_pose(few, problem, shape, pose, _STEPS_OF_SHAPE)
        coefficients = _fit_shape(few, problem, start, basis, pose)
        shape = _Shape(*(a + np.tensordot(coefficients, b, 1) for a, b in zip(start, basis, strict=True)))
    return PointSkeleton(rest_positions(shape.bones, _PARENTS), _unobserved(few, problem, shape), known, problem, shape)


def joint_angles(skeleton: PointSkeleton, points: np.ndarray) -> JointAngles:
    """The joint angles of points [F, K, 3] metres, y up, NaN where missing, of a skeleton that holds them.

    ValueError where a frame has fewer than six points that it holds.
    """
    y, problem, shape = _held(points, skeleton.known), skeleton.problem, skeleton.shape
    pose = _fit_pose(y, problem, shape, _start_pose(y, problem, shape))
    error = np.full(points.shape[:2], np.nan)
    error[:, skeleton.known] = np.linalg.norm(_points(problem, shape, pose)[0] - y, axis=-1)
    vectors = rotation_vectors(rotation_matrices(pose.vectors)).astype(np.float32)
    return JointAngles(vectors[:, 1:], vectors[:, 0], pose.place.astype(np.float32), error)


def points_of(
    rest: np.ndarray, body_pose: np.ndarray, global_orient: np.ndarray, pelvis: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """The points [F, K, 3] metres of a moving body: joints of SMPL's, and others where an adult's joints hold them.

    rest: [22, 3] m, the joints at rest, facing z. The rest as of `JointAngles`. ValueError for an unknown name.
    """
    if unknown := [name for name in names if name not in _J and name not in _HELD and name != "hip"]:
        raise ValueError(f"names: got {', '.join(unknown)}; must be one of {', '.join([*_J, *_HELD, 'hip'])}")
    bones = np.asarray(rest, np.float64) - np.asarray(rest, np.float64)[np.maximum(_PARENTS, 0)]
    offsets = _table_offsets(names, bones)
    if "hip" in names:
        offsets[list(names).index("hip")] = bones[[_J[name] for name in _HIPS]].mean(0)
    vectors = np.concatenate([global_orient[:, None], body_pose], 1).astype(np.float64)
    problem = _problem(names, np.zeros((21, 3)), np.ones((21, 3)))
    return _points(problem, _Shape(bones, offsets), _Pose(vectors, np.asarray(pelvis, np.float64)))[0]


def _table_offsets(names: Sequence[str], bones: np.ndarray) -> np.ndarray:
    """Offsets [K, 3] of points from the joints that hold them, by the table, for a person with these legs."""
    metres = np.linalg.norm(bones[[_J["left_knee"], _J["left_ankle"]]], axis=-1).sum() / _LEG  # of the table's metres
    return np.array([_HELD[n][1] if n in _HELD and n not in _J else (0.0, 0, 0) for n in names]) * metres


def _held(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    y = np.asarray(points, np.float64)[:, known]
    count = np.isfinite(y).all(-1).sum(-1)
    if not len(y) or count.min() < LEAST_POINTS:
        lacks = f"frame {count.argmin()} has {count.min()}" if len(y) else "there is no frame"
        raise ValueError(f"points: needed {LEAST_POINTS} that a skeleton holds in each frame; {lacks}")
    return y


def _problem(names: Sequence[str], mean: np.ndarray, deviation: np.ndarray) -> _Problem:
    holder = np.array([_J[name] if name in _J else _J[_HELD.get(name, ("pelvis",))[0]] for name in names])
    above = np.eye(22, dtype=bool)
    for j, parent in enumerate(_PARENTS[1:], 1):
        above[j] |= above[parent]  # joint and its ancestors
    free = np.zeros((1, 3)), np.full((1, 3), np.inf)
    spread = np.maximum(np.asarray(deviation, np.float64), _LEAST_DEVIATION)
    return _Problem(holder, above[holder].T, np.concatenate([free[0], mean]), np.concatenate([free[1], spread]))


def _start_shape(y: np.ndarray, names: Sequence[str], rest: np.ndarray) -> tuple[_Shape, _Shape]:
    """The shape at coefficients 0, of the person's size, and its change by each of S coefficients: [S, ...]."""
    bones = np.concatenate([np.zeros((1, 3)), rest[1:22] - rest[list(_PARENTS[1:])]])
    bones = bones * _factors(y, names, rest_positions(bones, _PARENTS))[:, None]
    offsets = _table_offsets(names, bones)
    changes: list[tuple[np.ndarray, np.ndarray]] = []

    def add(of_bones: dict[int, np.ndarray], of_points: dict[int, np.ndarray]) -> None:
        change = np.zeros_like(bones), np.zeros_like(offsets)
        for array, rows in zip(change, (of_bones, of_points), strict=True):
            for row, value in rows.items():
                array[row] = value
        changes.append(change)

    for name, j in _J.items():
        other = _J.get(name.replace("left_", "right_"), j)
        if j and not name.startswith("right_"):
            add({k: _BONE * bones[k] for k in (j, other)}, {})
    hips = (_J["left_hip"], _J["right_hip"])
    # the hips' distance; their other directions would be a tilt of the pelvis
    add({hips[0]: np.array([_OFFSET, 0, 0]), hips[1]: np.array([-_OFFSET, 0, 0])}, {})
    for name in (moved for moved in _MOVED if moved in names):
        j, other = _J[name], _J[name.replace("left_", "right_")]
        for axis in np.eye(3)[0 if name.startswith("left_") else 1 :]:  # what has no side stays in the middle
            add({other: _OFFSET * axis * (-1, 1, 1), j: _OFFSET * axis}, {})
    for k, name in enumerate(names):
        if name in _HELD and name not in _J:
            for axis in np.eye(3):
                add({}, {k: _OFFSET * axis})
    basis = _Shape(*(np.stack(x) for x in zip(*changes, strict=True)))
    if "hip" in names:  # the middle of the hips, which the pelvis holds
        k = names.index("hip")
        offsets[k] = bones[list(hips)].mean(0)
        basis.offsets[:, k] = basis.bones[:, list(hips)].mean(1)
    return _Shape(bones, offsets), basis


def _factors(y: np.ndarray, names: Sequence[str], rest: np.ndarray) -> np.ndarray:
    """How much longer [22] than at rest [22, 3] each bone is, by medians of the distances of points that show it."""
    factors = np.full(22, np.nan)
    for scaled, pairs in _MEASURES:
        ratios = []
        for ends in pairs:
            if all(name in names for end in ends for name in end):
                shown, resting = (
                    np.linalg.norm(np.subtract(*(np.mean([x[..., at(n), :] for n in end], 0) for end in ends)), axis=-1)
                    for x, at in ((y, names.index), (rest, _J.__getitem__))
                )
                ratios += [np.nanmedian(shown) / resting] if np.isfinite(shown).any() else []
        if ratios:
            factors[[_J[name] for name in scaled]] = np.mean(ratios)
    return np.where(np.isfinite(factors), factors, np.nanmedian(factors) if np.isfinite(factors).any() else 1.0)


def _points(problem: _Problem, shape: _Shape, pose: _Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [F, K, 3], joints and global rotations."""
    p, G = posed(shape.bones, pose.vectors, pose.place)
    held = problem.holder
    return p[:, held] + np.einsum("fkij,kj->fki", G[:, held], shape.offsets), p, G


def _start_pose(y: np.ndarray, problem: _Problem, shape: _Shape) -> _Pose:
    """The prior's mean pose, turned and moved onto the points (Kabsch)."""
    vectors = np.repeat(problem.mean[None], len(y), 0)
    x, p, _ = _points(problem, shape, _Pose(vectors, np.zeros((len(y), 3))))
    trunk = np.isin(problem.holder, [_J[n] for n in _J if not n.endswith(("knee", "ankle", "foot", "elbow", "wrist"))])
    visible = np.isfinite(y).all(-1)
    enough = (visible & trunk).sum(-1) >= 4
    weight = (visible & (trunk | ~enough[:, None]))[..., None].astype(np.float64)
    x_mid, y_mid = ((weight * np.nan_to_num(v)).sum(1, keepdims=True) / weight.sum(1, keepdims=True) for v in (x, y))
    U, _, Vt = np.linalg.svd(np.einsum("fki,fkj->fij", weight * np.nan_to_num(y - y_mid), x - x_mid))
    U[..., 2] *= np.linalg.det(U @ Vt)[:, None]
    R = U @ Vt
    vectors[:, 0] = rotation_vectors(R)
    return _Pose(vectors, (y_mid - np.einsum("fij,fkj->fki", R, x_mid - p[:, :1]))[:, 0])


def _fit_pose(y: np.ndarray, problem: _Problem, shape: _Shape, pose: _Pose, num_steps: int = _STEPS) -> _Pose:
    """Levenberg-Marquardt: each frame has its own damping, and takes a step that lowers its energy."""
    damping, cost = np.full(len(y), 1.0), _energy(y, problem, shape, pose)
    for _ in range(num_steps):
        A, b = _normal_equations(y, problem, shape, pose)
        diagonal = np.einsum("fii->fi", A)
        step = np.linalg.solve(A + (damping[:, None] * diagonal)[..., None] * np.eye(69), b[..., None])[..., 0]
        tried = _Pose(pose.vectors + step[:, :66].reshape(-1, 22, 3), pose.place + step[:, 66:])
        now = _energy(y, problem, shape, tried)
        better = now < cost
        gain = np.where(better, cost - now, 0).max()
        pose = _Pose(
            *(np.where(better.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(pose, tried, strict=True))
        )
        cost, damping = np.where(better, now, cost), np.where(better, damping / 5, np.minimum(damping * 4, 1e6))
        if better.any() and gain < 1e-3:
            break
    return pose


def _energy(y: np.ndarray, problem: _Problem, shape: _Shape, pose: _Pose) -> np.ndarray:
    away = np.nan_to_num(_points(problem, shape, pose)[0] - y) / NOISE
    off = (pose.vectors - problem.mean) / problem.deviation
    return (away**2).sum((1, 2)) / 2 + (off**2).sum((1, 2)) / 2


def _normal_equations(y: np.ndarray, problem: _Problem, shape: _Shape, pose: _Pose) -> tuple[np.ndarray, np.ndarray]:
    """Hessian [F, 69, 69] and negative gradient [F, 69] of the energy: 22 rotations, then the pelvis' place."""
    x, p, G = _points(problem, shape, pose)
    num, K = x.shape[:2]
    above = np.concatenate([np.broadcast_to(np.eye(3), (num, 1, 3, 3)), G[:, list(_PARENTS[1:])]], 1)
    turned = above @ _left_jacobian(pose.vectors)  # [F, 22, 3, 3]: turn in the world by a change of v_j
    lever = x[:, None] - p[:, :, None]  # [F, 22, K, 3]
    J = (_cross(-lever) @ turned[:, :, None]) * problem.below[None, :, :, None, None]
    J = J.transpose(0, 2, 3, 1, 4)
    J = np.concatenate([J.reshape(num, K, 3, 66), np.broadcast_to(np.eye(3), (num, K, 3, 3))], -1)
    visible = np.isfinite(y).all(-1)
    J = (J * (visible / NOISE)[..., None, None]).reshape(num, 3 * K, 69)
    away = (np.nan_to_num(y - x) / NOISE).reshape(num, 3 * K, 1)
    precision = 1 / problem.deviation**2
    A, b = np.swapaxes(J, 1, 2) @ J, (np.swapaxes(J, 1, 2) @ away)[..., 0]
    A[:, np.arange(66), np.arange(66)] += precision.ravel()
    b[:, :66] -= (precision * (pose.vectors - problem.mean)).reshape(num, 66)
    return A, b


def _fit_shape(y: np.ndarray, problem: _Problem, shape: _Shape, basis: _Shape, pose: _Pose) -> np.ndarray:
    """Coefficients [S] of the shape for given rotations; where the pelvis stands is left free in each frame."""
    still = _Pose(pose.vectors, np.zeros_like(pose.place))
    visible = np.isfinite(y).all(-1)[..., None]
    total = np.maximum(visible.sum(1, keepdims=True), 1)

    def relative(v: np.ndarray) -> np.ndarray:
        v = np.where(visible, v, 0)
        return (v - visible * v.sum(1, keepdims=True) / total).ravel() / NOISE

    columns = [relative(_points(problem, _Shape(*one), still)[0]) for one in zip(*basis, strict=True)]
    A, b = np.stack(columns, 1), relative(y - _points(problem, shape, still)[0])
    return np.linalg.solve(A.T @ A + np.eye(A.shape[1]), A.T @ b)


def _unobserved(y: np.ndarray, problem: _Problem, shape: _Shape) -> dict[str, float]:
    pose = _fit_pose(y, problem, shape, _start_pose(y, problem, shape))
    covariance = np.linalg.inv(_normal_equations(y, problem, shape, pose)[0])
    open_joints = {}
    for j, name in enumerate(SMPL_22.joints[1:], 1):
        block = covariance[:, 3 * j : 3 * j + 3, 3 * j : 3 * j + 3]
        degrees = float(np.degrees(np.median(np.sqrt(np.linalg.eigvalsh(block)[:, -1]))))
        if degrees > _OPEN:
            open_joints[name] = round(degrees, 1)
    return open_joints


def _cross(v: np.ndarray) -> np.ndarray:
    """The matrices [..., 3, 3] of the products v x."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*v.shape, 3)


def _left_jacobian(v: np.ndarray) -> np.ndarray:
    """J [..., 3, 3] with exp(v + d) = exp(J d) exp(v) to first order."""
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    cross, safe = _cross(v), np.maximum(angle, 1e-4)
    first = np.sinc(angle / (2 * np.pi)) ** 2 / 2
    second = np.where(angle > 1e-4, (safe - np.sin(safe)) / safe**3, 1 / 6)
    return np.eye(3) + first * cross + second * (cross @ cross)
