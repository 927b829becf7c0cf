"""Skinned bodies: SMPL, SMPL-H and SMPL-X, with one type for each stage: body, shaped, posed.

    body.shape(betas) -> ShapedBody          .joints at rest, .vertices at rest
        .pose(rotations, transl) -> PosedBody      .joints, .global_rotations
            .skin() -> vertices

With w the skinning weights, J the rest joints, R the local and G the global rotations of the joints:

    rest    v_s = v_template + shapedirs betas + exprdirs expression,      J = J_regressor v_s
    pose    x_j, G_j by forward kinematics of R from J                     (about the pelvis, not the origin)
    skin    v_p = v_s + posedirs (R_1 - I, ..., R_{J-1} - I)               joint after joint, each row after row
            v_i = sum_j w_ij (G_j (v_p,i - J_j) + x_j) + transl

J is linear in betas, so joints need no mesh. In `skin` the vertices are the last axis: a body costs two matrix products
and sums along memory. For B bodies it holds about 20 B V floats; beyond some thousand split the batch, with
`jax.lax.map(..., batch_size=)`. Pass a `Body`, a pytree, to a jitted function; closed over, its 20 MB become constants.

Source: Loper et al., SMPL (2015); Pavlakos et al., SMPL-X (2019); layout of the files as in spec/dposer.md, 8.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.products import times
from jaxpose.geometry.rotations import (
    bodies_first,
    bodies_last,
    forward_kinematics,
    matrix_from_axis_angle,
    offsets_of,
    over_joints,
)
from jaxpose.geometry.skeleton import SMPL_22, SMPL_24

Kind: TypeAlias = Literal["smpl", "smplh", "smplx"]

_BODY = SMPL_22.parents


def _hand(wrist: int, first: int) -> tuple[int, ...]:
    """Parents of index, middle, pinky, ring and thumb, three joints each, the first of them joint `first`."""
    return tuple(wrist if j % 3 == 0 else first + j - 1 for j in range(15))


PARENTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "smpl": SMPL_24.parents,
        "smplh": (*_BODY, *_hand(20, 22), *_hand(21, 37)),
        "smplx": (*_BODY, 15, 15, 15, *_hand(20, 25), *_hand(21, 40)),
    }
)


@flax.struct.dataclass
class Landmarks:
    """Points of the face on triangles: 51 fixed, and a contour of 17 that moves as the head turns.

    vertices: [U] int32, the vertices that any landmark needs; triangles [51, 3] and contour_triangles [79, 17, 3]
    count in them. bary, contour_bary: barycentric coordinates, of the same shapes. The 79 rows of the contour are
    yaws of the neck: 0..39 degrees, then -1..-39. faces [51], contour_faces [79, 17]: the triangles in Body.faces.
    """

    vertices: Array
    triangles: Array
    bary: Array
    contour_triangles: Array
    contour_bary: Array
    faces: Array
    contour_faces: Array


@flax.struct.dataclass
class Body:
    """A body model; make one with `make_body`, `io.body_files.load_body` or `io.anny_body.anny_body`.

    v_template [V, 3] m, shapedirs [V, 3, S], exprdirs [V, 3, E], posedirs [9(J-1), 3, V], J_regressor [J, V],
    weights [V, J], faces [F, 3] int32; joint_*: J_regressor times those. hands_mean [30, 3] radians, left then right;
    hands_components [2, 45, 45] rows are the principal components of hand poses. picks [21] int32: the vertices that
    stand for nose, eyes, ears, toes, heels and finger tips (geometry/body_joints.py), or [0] where the body has none.
    """

    v_template: Array
    shapedirs: Array
    exprdirs: Array
    posedirs: Array
    J_regressor: Array
    weights: Array
    faces: Array
    joint_template: Array
    joint_shapedirs: Array
    joint_exprdirs: Array
    hands_mean: Array
    hands_components: Array
    picks: Array
    landmarks: Landmarks | None
    kind: Kind = flax.struct.field(pytree_node=False)
    parents: tuple[int, ...] = flax.struct.field(pytree_node=False)

    def shape(self, betas: Array | None = None, expression: Array | None = None) -> "ShapedBody":
        """The body with shape coefficients betas [..., <= S], expression [..., <= E]; without them, the template.

        Leading axes broadcast. ValueError for more coefficients than the body has.
        """
        betas = _coefficients("betas", betas, self.shapedirs)
        expression = _coefficients("expression", expression, self.exprdirs)
        joints = self.joint_template + _blend(self.joint_shapedirs, betas)
        return ShapedBody(self, betas, expression, joints + _blend(self.joint_exprdirs, expression))


@flax.struct.dataclass
class ShapedBody:
    """A body of given shape at rest: joints [..., J, 3] metres; `vertices` are computed on access."""

    body: Body
    betas: Array
    expression: Array
    joints: Array

    @property
    def vertices(self) -> Array:
        """Vertices at rest [..., V, 3], metres."""
        return _rest_vertices(self.body, self.betas, self.expression)

    def pose(self, rotations: Array, transl: Array | None = None) -> "PosedBody":
        """The posed body: local rotations [..., J, 3, 3] (`full_rotations`), transl [..., 3] metres, or none.

        Leading axes broadcast with the shape's. ValueError for another number of joints.
        """
        rotations = jnp.asarray(rotations)
        transl = jnp.zeros(3) if transl is None else jnp.asarray(transl)
        if transl.shape[-1:] != (3,):
            raise ValueError(f"transl: needed [..., 3], got {list(transl.shape)}")
        offsets = offsets_of(self.joints, self.body.parents)
        joints, turned = forward_kinematics(rotations, offsets, self.body.parents)
        return PosedBody(self, rotations, transl, joints, turned)


@flax.struct.dataclass
class PosedBody:
    """A posed body: `joints` [..., J, 3] and, by `skin`, vertices.

    rotations, global_rotations: [..., J, 3, 3]; joints_rooted [..., J, 3]: before the translation transl [..., 3].
    """

    shaped: ShapedBody
    rotations: Array
    transl: Array
    joints_rooted: Array
    global_rotations: Array

    @property
    def body(self) -> Body:
        """The model itself."""
        return self.shaped.body

    @property
    def joints(self) -> Array:
        """Joints [..., J, 3], metres."""
        return self.joints_rooted + self.transl[..., None, :]

    def skin(self, ids: Array | None = None) -> Array:
        """Vertices [..., V, 3] metres, or those of `ids` [K] alone, [..., K, 3], at the price of K vertices."""
        if ids is not None:
            return _skin_few(self, _rows(self.body, ids))
        body = self.body
        rest = jnp.swapaxes(_rest_vertices(body, self.shaped.betas, self.shaped.expression), -1, -2)
        change = (self.rotations[..., 1:, :, :] - jnp.eye(3)).reshape(*self.rotations.shape[:-3], -1)
        moved = jnp.matmul(change, body.posedirs.reshape(len(body.posedirs), -1), precision="highest")
        v = rest + moved.reshape(*moved.shape[:-1], 3, -1)
        G = self.global_rotations
        at_rest = (G * self.shaped.joints[..., None, :]).sum(-1)
        A = jnp.concatenate([G, (self.joints_rooted - at_rest)[..., None]], -1)
        T = jnp.einsum("...jrc,vj->...rcv", A, body.weights, precision="highest")
        shift = T[..., 3, :] + self.transl[..., None]  # by rows: gradients of broadcasts are slow in XLA's CPU code
        rows = [sum((T[..., r, c, :] * v[..., c, :] for c in range(3)), shift[..., r, :]) for r in range(3)]
        return jnp.stack(rows, -1)


def _skin_few(posed: PosedBody, body: Body) -> Array:
    """`skin` of a body of few vertices: the bodies are the last axis, as in forward kinematics."""
    shaped, lead = posed.shaped, posed.joints.shape[:-2]
    rest = jnp.broadcast_to(_rest_vertices(body, shaped.betas, shaped.expression), (*lead, len(body.weights), 3))
    at_rest = jnp.broadcast_to(shaped.joints, posed.joints_rooted.shape)
    G, x, J0, v = (
        bodies_last(part, num)
        for part, num in ((posed.global_rotations, 3), (posed.joints_rooted, 2), (at_rest, 2), (rest, 2))
    )
    R = bodies_last(jnp.broadcast_to(posed.rotations, posed.global_rotations.shape), 3)
    change = (R[1:] - jnp.eye(3)[..., None]).reshape(-1, R.shape[-1])
    v = v + jnp.swapaxes(jnp.tensordot(body.posedirs, change, ((0,), (0,)), precision="highest"), 0, 1)
    A = jnp.concatenate([G, (x[:, :, None] - times(G, J0[:, :, None]))], 2)
    T = over_joints(body.weights, A)
    turned = times(T[:, :, :3], v[:, :, None])[:, :, 0] + T[:, :, 3]
    return bodies_first(turned, lead) + posed.transl[..., None, :]


def make_body(
    kind: Kind,
    *,
    faces: np.ndarray,
    picks: np.ndarray | None = None,
    landmarks: Landmarks | None = None,
    **tables: np.ndarray | None,
) -> Body:
    """A float32 Body of tables laid out as in the published files: posedirs [V, 3, 9(J-1)], others as in `Body`.

    tables: v_template, shapedirs, posedirs, J_regressor, weights, and where the body has them exprdirs, hands_mean,
    hands_components.
    """
    given: dict[str, Any] = {name: table for name, table in tables.items() if table is not None}
    given["posedirs"] = np.transpose(given["posedirs"], (2, 1, 0))
    given = {
        "exprdirs": np.zeros((*given["v_template"].shape, 0)),
        **{"hands_mean": np.zeros((30, 3)), "hands_components": np.stack([np.eye(45)] * 2)},
        **given,
    }
    regress = np.asarray(given["J_regressor"], np.float64)
    for name in ("template", "shapedirs", "exprdirs"):
        given[f"joint_{name}"] = np.tensordot(regress, given["v_template" if name == "template" else name], 1)
    return Body(
        **{name: jnp.asarray(np.ascontiguousarray(table, np.float32)) for name, table in given.items()},
        faces=jnp.asarray(faces, jnp.int32),
        picks=jnp.asarray(np.zeros(0) if picks is None else picks, jnp.int32),
        landmarks=landmarks,
        kind=kind,
        parents=PARENTS[kind],
    )


def skeleton_body(rest_joints: Array | np.ndarray) -> Body:
    """An SMPL body without a mesh or shapes, of rest joints [22, 3] or [24, 3] metres: a tree of bones to fit.

    Its vertices are its joints. With 22 joints, the hands lie at the wrists.
    """
    joints = np.asarray(rest_joints, np.float64)
    if joints.shape not in ((22, 3), (24, 3)):
        raise ValueError(f"rest_joints: needed [22, 3] or [24, 3], got {list(joints.shape)}")
    joints = joints if len(joints) == 24 else joints[[*range(22), 20, 21]]
    one = np.eye(24)
    return make_body(
        "smpl",
        v_template=joints,
        shapedirs=np.zeros((24, 3, 0)),
        posedirs=np.zeros((24, 3, 207)),
        J_regressor=one,
        weights=one,
        faces=np.zeros((0, 3), int),
    )


def stretched(body: Body, rest_joints: Array | np.ndarray) -> Body:
    """A body without shapes or correctives whose first 22 joints rest at rest_joints [22, 3] metres.

    Its shape coefficients, N(0, 1), bring its bones as near to these as 1 cm; what is then left of the way moves each
    vertex by the weights of its joints. Fingers keep their places in the hand.
    """
    target, parents = np.asarray(rest_joints, np.float64), np.array(body.parents)
    if target.shape != (22, 3):
        raise ValueError(f"rest_joints: needed [22, 3], got {list(target.shape)}")
    joints, by_betas = np.asarray(body.joint_template, np.float64), np.asarray(body.joint_shapedirs, np.float64)
    A, b = (x[1:22] - x[parents[1:22]] for x in (by_betas, np.concatenate([target, joints[22:]]) - joints))
    A, b = A.reshape(63, -1) / 0.01, b.ravel() / 0.01
    betas = np.linalg.solve(A.T @ A + np.eye(A.shape[1]), A.T @ b)
    joints = joints + by_betas @ betas
    move = np.zeros_like(joints)
    move[:22] = target - joints[:22]
    for j in range(22, len(joints)):
        move[j] = move[parents[j]]
    vertices = np.asarray(body.v_template) + np.asarray(body.shapedirs) @ betas + np.asarray(body.weights) @ move
    none = jnp.zeros((*vertices.shape, 0)), jnp.zeros((*joints.shape, 0))
    return body.replace(  # type: ignore[attr-defined] # flax's
        v_template=jnp.asarray(vertices, jnp.float32),
        joint_template=jnp.asarray(joints + move, jnp.float32),
        posedirs=jnp.zeros_like(body.posedirs),
        **{"shapedirs": none[0], "exprdirs": none[0], "joint_shapedirs": none[1], "joint_exprdirs": none[1]},
    )


def make_landmarks(
    body_faces: np.ndarray, faces: np.ndarray, bary: np.ndarray, contour_faces: np.ndarray, contour_bary: np.ndarray
) -> Landmarks:
    """Landmarks on triangles of body_faces [F, 3]: faces [51], contour_faces [79, 17], and where on each of them."""
    corners = [np.asarray(body_faces)[np.asarray(index, np.int64)] for index in (faces, contour_faces)]
    vertices, place = np.unique(np.concatenate([c.ravel() for c in corners]), return_inverse=True)
    split = corners[0].size
    whole = (vertices, place[:split].reshape(corners[0].shape), place[split:].reshape(corners[1].shape))
    used, triangles, contour_triangles = (jnp.asarray(table, jnp.int32) for table in whole)
    return Landmarks(
        vertices=used,
        triangles=triangles,
        bary=jnp.asarray(bary, jnp.float32),
        contour_triangles=contour_triangles,
        contour_bary=jnp.asarray(contour_bary, jnp.float32),
        faces=jnp.asarray(faces, jnp.int32),
        contour_faces=jnp.asarray(contour_faces, jnp.int32),
    )


@jax.jit
def posed(
    body: Body, body_pose: Array, global_orient: Array, betas: Array | None = None, transl: Array | None = None
) -> PosedBody:
    """Bodies in poses of `full_rotations`, [..., 21, 3] and [..., 3], at transl [..., 3] metres."""
    return body.shape(betas).pose(full_rotations(body, body_pose, global_orient), transl)


def full_rotations(
    body: Body,
    body_pose: Array,
    global_orient: Array | None = None,
    *,
    hands: Literal["flat", "mean"] = "flat",
    hand_pose: Array | None = None,
    face_pose: Array | None = None,
) -> Array:
    """Local rotations of all joints [..., J, 3, 3] of the 21 of a body pose.

    body_pose: [..., 21, 3] axis-angle, radians, or [..., 21, 3, 3] matrices; global_orient in the same form, [..., 3]
    or [..., 3, 3]. hand_pose [..., 30, 3] (SMPL-H, SMPL-X: 15 left, 15 right) and face_pose [..., 3, 3] (SMPL-X: jaw,
    left and right eyeball) are axis-angle; hands "mean" adds the model's mean pose to hand_pose. What is not given is
    the identity; so are SMPL's two hand joints. ValueError for joints that the kind of body does not have.
    """
    if hands not in ("flat", "mean"):
        raise ValueError(f"hands: needed 'flat' or 'mean', got {hands!r}")
    body_pose = jnp.asarray(body_pose)
    is_matrix = body_pose.shape[-3:] == (21, 3, 3)
    if not is_matrix and body_pose.shape[-2:] != (21, 3):
        raise ValueError(f"body_pose: needed [..., 21, 3] or [..., 21, 3, 3], got {list(body_pose.shape)}")
    turned = body_pose if is_matrix else matrix_from_axis_angle(body_pose)
    root = jnp.eye(3, dtype=turned.dtype)
    if global_orient is not None:
        root = jnp.asarray(global_orient) if is_matrix else matrix_from_axis_angle(global_orient)
    if hand_pose is not None and body.kind == "smpl":
        raise ValueError("hand_pose: an SMPL body has no fingers; needed none")
    if face_pose is not None and body.kind != "smplx":
        raise ValueError(f"face_pose: a body of kind {body.kind!r} has no jaw; needed none")
    fingers = body.kind != "smpl"
    rest = body.hands_mean if fingers and hands != "flat" else jnp.zeros((30 if fingers else 2, 3))
    rest = rest if hand_pose is None else rest + hand_pose
    parts = [root[..., None, :, :], turned, matrix_from_axis_angle(rest)]
    if body.kind == "smplx":
        face = jnp.zeros((3, 3)) if face_pose is None else face_pose
        parts.insert(2, matrix_from_axis_angle(face))
    lead = jnp.broadcast_shapes(*(part.shape[:-3] for part in parts))
    return jnp.concatenate([jnp.broadcast_to(p, (*lead, *p.shape[-3:])) for p in parts], -3)


def _coefficients(name: str, values: Array | None, dirs: Array) -> Array:
    if values is None:
        return jnp.zeros(0)
    values = jnp.asarray(values)
    if values.ndim < 1 or values.shape[-1] > dirs.shape[-1]:
        raise ValueError(f"{name}: needed [..., n] with n <= {dirs.shape[-1]}, got {list(values.shape)}")
    return values


def _blend(dirs: Array, coefficients: Array) -> Array:
    """dirs [N, 3, L] times as many coefficients [..., l] as there are: [..., N, 3]."""
    used = dirs[..., : coefficients.shape[-1]]
    return jnp.einsum("nkl,...l->...nk", used, coefficients, precision="highest")


def _rest_vertices(body: Body, betas: Array, expression: Array) -> Array:
    return body.v_template + _blend(body.shapedirs, betas) + _blend(body.exprdirs, expression)


def _rows(body: Body, ids: Array) -> Body:
    """The body with the vertices `ids` alone, for skinning: its faces and regressor do not follow."""
    return body.replace(  # type: ignore[attr-defined] # flax's
        v_template=body.v_template[ids],
        shapedirs=body.shapedirs[ids],
        exprdirs=body.exprdirs[ids],
        posedirs=body.posedirs[..., ids],
        weights=body.weights[ids],
    )


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3] of vertices [V, 3], outwards, means over triangles [F, 3] weighted by their areas."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(total, triangles[:, i], across)
    return total / np.linalg.norm(total, axis=-1, keepdims=True)
