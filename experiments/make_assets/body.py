"""Makes the licence-free body: a mannequin of capsules with the structure of SMPL, SMPL-H or SMPL-X.

    surface   one closed mesh around smoothly joined capsules: f(x) = -k log sum_c exp(-d_c(x) / k) = 0
    weights   w_j ~ sum of exp(-d_c / s) over the capsules of joint j; a limb never moves the other side
    joints    J = sum_i r_i v_i exactly, with r_i ~ exp(-|v_i - J|^2 / 2 b^2 + l v_i) > 0 around the joint
    shapes    height, girth, lengths and widths as displacements of space; about one standard deviation of adults each
    poses     linear skinning of a vertex with share s beyond joint j draws it to the axis by s (1 - s) (1 - cos a); the
              same is given back, -s (1 - s) sym(R_j - I) (v - J_j), which is linear in R_j: thickness is kept

The numbers are in capsule_shapes.py and were made for jaxpose. The three kinds share the surface, not the joints;
the hand is a mitten with a thumb, whose fingers bend.

`python -m experiments.make_assets.body` writes `jaxpose/assets/capsule_body.npz`, which `io/capsule_body.py` reads and
describes.
"""

import functools

import numpy as np

from experiments.make_assets import capsule_shapes
from experiments.make_assets.surface_nets import surface_of
from jaxpose.files import write_npz
from jaxpose.geometry.body import PARENTS, Body, Kind, Landmarks, make_body, make_landmarks, vertex_normals
from jaxpose.geometry.body_joints import MODEL_JOINTS, PICKED
from jaxpose.io.capsule_body import ASSET, HEIGHT, LANDMARKS, SHAPES, correctives

_BLEND = 0.010  # metres, k
_SOFT = 0.011  # metres, s
_LEAST = 0.01  # smaller weights are 0
# How much a joint's part grows, in metres along its normals, with one standard deviation of weight.
_GIRTH = {
    **{"pelvis": 0.013, "spine1": 0.017, "spine2": 0.014, "spine3": 0.010, "neck": 0.005, "head_base": 0.002},
    **{"jaw": 0.004, "collar": 0.006, "shoulder": 0.006, "elbow": 0.004, "hip": 0.009, "knee": 0.005},
}


@functools.cache
def make_capsule_body(kind: Kind) -> Body:
    """The mannequin as a body of a kind, computed from the numbers of capsule_shapes.py."""
    vertices, faces = _surface()
    joints = capsule_shapes.rest_joints(kind)
    weights = _weights(vertices, faces, kind)
    regressor = np.stack([_regressor(vertices, joint) for joint in joints])
    is_x = kind == "smplx"
    return make_body(
        kind,
        v_template=vertices,
        shapedirs=_shapes(vertices, faces),
        exprdirs=_expressions(vertices) if is_x else None,
        posedirs=correctives(vertices, joints, weights, PARENTS[kind]).transpose(2, 1, 0),
        J_regressor=regressor,
        weights=weights,
        faces=faces,
        hands_mean=None if kind == "smpl" else _relaxed_hands(),
        picks=_nearest(vertices, capsule_shapes.pick_targets(PICKED)),
        landmarks=_landmarks(vertices, faces) if is_x else None,
    )


def _capsule_distances(x: np.ndarray, capsules: list[capsule_shapes.Capsule]) -> np.ndarray:
    """About the signed distance [N, C] of points [N, 3] to each capsule; exactly 0 on its surface."""
    result = np.empty((len(x), len(capsules)))
    for c, (_, a, b, r_a, r_b, flat_z, flat_y) in enumerate(capsules):
        flat = np.array([1, flat_y, flat_z])
        start, along = np.array(a) * flat, (np.array(b) - a) * flat
        from_a = x * flat - start
        share = np.clip(from_a @ along / max(along @ along, 1e-12), 0, 1)
        away = from_a - share[:, None] * along
        result[:, c] = np.sqrt(np.einsum("nk,nk->n", away, away)) - (r_a + share * (r_b - r_a))
    return result


def _distance(x: np.ndarray) -> np.ndarray:
    """f(x) [N]: below 0 inside."""
    scaled = _capsule_distances(x, capsule_shapes.capsules()) / -_BLEND
    most = scaled.max(1, keepdims=True)
    return -_BLEND * (most[:, 0] + np.log(np.exp(scaled - most).sum(1)))


@functools.cache
def _surface() -> tuple[np.ndarray, np.ndarray]:
    """The mesh that all kinds share. The grid is finer where the body is: at arms, hands and feet."""
    right = _planes((0.014, 0.182, 0.028), (0.66, 0.037), (0.92, 0.0165))  # cells, so vertices, on the middle
    x = np.concatenate([-right[::-1], right])
    low = ((-0.54, 0.045), (-0.40, 0.032), (-0.12, 0.045))
    y = _planes((-0.99, -0.86, 0.02), *low, (0.37, 0.038), (0.52, 0.0165), (0.80, 0.024))
    z = _planes((-0.18, -0.09, 0.028), (0.09, 0.0165), (0.25, 0.026))
    return surface_of(_distance, (x, y, z))


def _planes(first: tuple[float, float, float], *rest: tuple[float, float]) -> np.ndarray:
    """Planes from a start to ends, with about the given spacing up to each end."""
    start, end, step = first
    parts = [np.array([start])]
    for stop, spacing in ((end, step), *rest):
        num = round((stop - start) / spacing)
        parts.append(np.linspace(start, stop, num + 1)[1:])
        start = stop
    return np.concatenate(parts)


def _owner(joint: str, kind: str) -> str:
    """The joint that moves a capsule in a kind of body that may lack the capsule's own."""
    if joint in MODEL_JOINTS[kind]:
        return joint
    return "head_base" if joint == "jaw" else f"{joint.partition('_')[0]}_hand"


def _weights(vertices: np.ndarray, faces: np.ndarray, kind: str) -> np.ndarray:
    """Skinning weights [V, J]."""
    capsules = capsule_shapes.capsules()
    soft = np.array([_SOFT * min(1, c.r_a / 0.025) for c in capsules])  # fingers stand close together
    near = np.exp(-np.maximum(_capsule_distances(vertices, capsules), -0.02) / soft)
    names = MODEL_JOINTS[kind]
    weights = np.zeros((len(vertices), len(names)))
    for column, capsule in zip(near.T, capsules, strict=True):
        weights[:, names.index(_owner(capsule.joint, kind))] += column
    once = _smooth(weights / weights.sum(1, keepdims=True), faces, 1)
    is_hand = abs(vertices[:, :1]) > capsule_shapes.WRIST_X  # where parts are as small as a few triangles
    weights = np.where(is_hand, once, _smooth(once, faces, 3))
    for j, name in enumerate(names):
        sign = {"left": 1, "right": -1}.get(name.partition("_")[0], 0)
        weights[:, j] *= np.clip(0.5 + sign * vertices[:, 0] / 0.03, 0, 1) if sign else 1
    weights = weights / weights.sum(1, keepdims=True)
    weights[weights < _LEAST] = 0
    return weights / weights.sum(1, keepdims=True)


def _smooth(values: np.ndarray, faces: np.ndarray, times: int) -> np.ndarray:
    """Values [V, N] evened out along the mesh."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = np.bincount(edges[:, 0], minlength=len(values))[:, None]
    order = np.argsort(edges[:, 0], kind="stable")
    starts = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(int)
    for _ in range(times):
        values = (values + np.add.reduceat(values[edges[order, 1]], starts) / count) / 2
    return values


def _regressor(vertices: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """A row [V] of positive weights of vertices around a joint whose mean is the joint exactly."""
    away = vertices - joint
    square = (away**2).sum(1)
    width = np.sqrt(np.sort(square)[40])  # some 40 vertices around
    for _ in range(20):  # wider, until the joint is well between them
        prior = np.where(square < (3 * width) ** 2, np.exp(-square / (2 * width**2)), 0)
        slope, row = np.zeros(3), prior / prior.sum()
        for _ in range(50):
            mean = row @ away
            spread = np.einsum("v,vi,vj->ij", row, away, away) - np.outer(mean, mean)
            slope = slope - np.linalg.solve(spread + 1e-9 * np.eye(3), mean)
            tilted = np.log(np.maximum(prior, 1e-300)) + away @ slope
            row = np.where(prior > 0, np.exp(tilted - tilted.max()), 0)
            row /= row.sum()
            if np.abs(row @ away).max() < 1e-13:
                return row
        width *= 1.3
    raise ValueError(f"joint {joint}: not inside the surface")


def _shapes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Displacements [V, 3, 10] in metres for one standard deviation of each of `SHAPES`."""
    x, y, z = vertices.T
    side, reach = np.sign(x), abs(x)
    joint = dict(zip(MODEL_JOINTS["smplx"], capsule_shapes.rest_joints("smplx"), strict=True))
    weights = _weights(vertices, faces, "smplx")
    part = {name: weights[:, i] for i, name in enumerate(MODEL_JOINTS["smplx"])}
    shoulder, wrist, neck = joint["left_shoulder"], joint["left_wrist"], joint["neck"]
    hip, ankle = joint["left_hip"], joint["left_ankle"]
    nothing = np.zeros_like(x)

    def ramp(values: np.ndarray, start: float, end: float) -> np.ndarray:
        return np.clip((values - start) / (end - start), 0, 1)

    girth = sum(part[name] * _GIRTH.get(name.removeprefix("left_").removeprefix("right_"), 0.001) for name in part)
    head = part["head_base"] + part["jaw"] + part["left_eyeball"] + part["right_eyeball"]
    extremity = nothing[:, None] * vertices
    for name in ("left", "right"):
        hand = sum(w for key, w in part.items() if key.startswith(name) and key[-1] in "123") + part[f"{name}_wrist"]
        foot = part[f"{name}_ankle"] + part[f"{name}_foot"]
        extremity = extremity + hand[:, None] * (vertices - joint[f"{name}_wrist"])
        extremity = extremity + foot[:, None] * (vertices - joint[f"{name}_ankle"])
    belly = np.exp(-(((y - 0.06) / 0.10) ** 2)) * ramp(z, -0.04, 0.10) * (reach < 0.25)
    upper = ramp(y, 0.22, 0.40)
    fields = {
        "height": vertices * 0.07 / HEIGHT,
        "weight": vertex_normals(vertices, faces) * np.asarray(girth)[:, None],
        "leg_length": np.stack([nothing, -0.03 * ramp(-y, -hip[1], -ankle[1]), nothing], -1),
        "arm_length": np.stack([side * 0.025 * ramp(reach, shoulder[0], wrist[0]), nothing, nothing], -1),
        "torso_length": np.stack([nothing, 0.025 * ramp(y, 0, neck[1] - 0.06), nothing], -1),
        "shoulder_width": np.stack([side * 0.014 * ramp(reach, 0, shoulder[0]) * upper, nothing, nothing], -1),
        "hip_width": np.stack([side * 0.010 * ramp(reach, 0, hip[0]) * ramp(-y, -0.14, 0.05), nothing, nothing], -1),
        "head_size": 0.04 * head[:, None] * (vertices - joint["head_base"]),
        "belly": np.stack([nothing, nothing, 0.022 * belly], -1),
        "hand_and_foot_size": 0.05 * extremity,
    }
    return np.stack([fields[name] for name in SHAPES], -1)


def _expressions(vertices: np.ndarray) -> np.ndarray:
    """Displacements [V, 3, 10]: bumps of a few millimetres about points of the face, alike on both sides."""
    bumps = [
        ((0.026, 0.602), (0.004, 0.002, 0)),
        ((0.026, 0.602), (0.002, -0.004, 0)),
        ((0, 0.595), (0, -0.006, 0)),
        ((0, 0.602), (0, 0, 0.005)),
        ((0.034, 0.692), (0, 0.004, 0)),
        ((0.034, 0.692), (-0.002, -0.003, 0.001)),
        ((0.045, 0.625), (0.003, 0, 0.003)),
        ((0.032, 0.668), (0, -0.002, 0.001)),
        ((0, 0.645), (0, 0.003, 0.001)),
        ((0, 0.575), (0, 0.003, 0.003)),
    ]
    result = np.zeros((*vertices.shape, len(bumps)))
    for e, ((x, y), move) in enumerate(bumps):
        for sign in (1, -1):
            square = ((vertices - [sign * x, y, 0.10]) ** 2 / [0.022**2, 0.018**2, 0.05**2]).sum(1)
            result[..., e] += np.exp(-square / 2)[:, None] * move * np.array([sign, 1, 1]) / (1 if x else 2)
    return result


def _relaxed_hands() -> np.ndarray:
    """A mean hand pose [30, 3], radians: fingers bent a little towards the palm, which faces down."""
    bend = np.array([[0.25, 0.25, 0.15]] * 4 + [[0.05, 0.10, 0.10]])
    left = np.zeros((5, 3, 3))
    left[..., 2] = -bend
    return np.concatenate([left.reshape(15, 3), (left * [1, -1, -1]).reshape(15, 3)])


def _nearest(vertices: np.ndarray, points: np.ndarray) -> np.ndarray:
    return ((points[:, None] - vertices) ** 2).sum(-1).argmin(1)


def _landmarks(vertices: np.ndarray, faces: np.ndarray) -> Landmarks:
    """51 landmarks and a contour of 17, which here is the same for every yaw."""
    found = []
    for points, depth in zip(capsule_shapes.face_targets(), (0.1, 1.0), strict=True):
        squeeze = np.array([1, 1, depth])  # landmarks are found by what is behind them, not by nearness
        corners = (vertices * squeeze)[faces]
        chosen = _nearest(corners.mean(1), points * squeeze)
        a, b, c = corners[chosen].swapaxes(0, 1)
        sides = np.stack([b - a, c - a], -1)
        share = (np.linalg.pinv(sides) @ (points * squeeze - a)[..., None])[..., 0]
        bary = np.column_stack([1 - share.sum(1), share]).clip(0)
        found.append((chosen, bary / bary.sum(1, keepdims=True)))
    (fixed, bary), (contour, contour_bary) = found
    return make_landmarks(faces, fixed, bary, np.tile(contour, (79, 1)), np.tile(contour_bary, (79, 1, 1)))


def baked() -> dict[str, np.ndarray]:
    """The arrays of the asset, from which `capsule_body` restores what `make_capsule_body` makes, bit by bit."""
    vertices, faces = _surface()
    kinds: tuple[Kind, ...] = ("smpl", "smplh", "smplx")
    bodies = {kind: make_capsule_body(kind) for kind in kinds}
    whole = bodies["smplx"]
    # of each joint, a kind that has it: its regressor is the same in all
    where = {joint: (kind, j) for kind in kinds for j, joint in enumerate(MODEL_JOINTS[kind])}

    def rows(field: str) -> np.ndarray:
        return np.stack([np.asarray(getattr(bodies[kind], field))[j] for kind, j in where.values()])

    arrays = {
        "vertices": vertices,
        "faces": faces.astype(np.uint16),
        "shapedirs": np.moveaxis(np.asarray(whole.shapedirs), -1, 0),
        "exprdirs": np.moveaxis(np.asarray(whole.exprdirs), -1, 0),
        "picks": whole.picks,
        "hands_mean": whole.hands_mean,
        **{f"landmarks_{field}": getattr(whole.landmarks, field) for field in LANDMARKS},
        "joints": np.array(list(where)),
        "rest": np.stack([capsule_shapes.rest_joints(kind)[j] for kind, j in where.values()]),
        **{field: rows(field) for field in ("J_regressor", "joint_template", "joint_shapedirs")},
        "joint_exprdirs": whole.joint_exprdirs,
        **{f"{kind}/weights": _weights(vertices, faces, kind).T for kind in kinds},
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


if __name__ == "__main__":
    write_npz(ASSET, baked(), compress=True)
    print(f"wrote {ASSET}, {ASSET.stat().st_size:,} bytes")
