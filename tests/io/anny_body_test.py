"""The default body: ANNY's own people, closed, human in size, and moved by SMPL's joints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from shared import DATA, GOLDEN, refuses

from jaxpose.geometry.body import full_rotations, vertex_normals
from jaxpose.geometry.body_joints import MODEL_JOINTS, PICKED
from jaxpose.geometry.rotations import matrix_from_axis_angle
from jaxpose.geometry.skeleton import H36M_17, SMPL_22
from jaxpose.io.anny_body import anny_betas, anny_body

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


def at_rest(betas):
    """Joints by name and vertices of a person in T-pose, in one program for all tests."""
    joints, vertices = skinned(anny_body(), np.asarray(betas, np.float32), turned())
    return dict(zip(SMPL, np.asarray(joints), strict=True)), np.asarray(vertices)


def test_anny_poses_its_people_alike():
    """ANNY's own package shapes, poses and skins five people from infant to elder: in T-pose and in three poses of the
    limbs, the vertices are the same to some millimetres. So are the joints of shoulders, hips, neck and head; those of
    elbows to wrists and knees to ankles tell a swapped side, a swapped joint or an axis of another sign."""
    golden = np.load(GOLDEN / "anny" / "io.npz")
    names = golden["names"].tolist()
    betas = np.stack([anny_betas(**person) for person in people_of(golden)])
    joints, vertices = skinned(anny_body(), betas[:, None].astype(np.float32), golden["pose"].astype(np.float32))
    joints, vertices = np.asarray(joints), np.asarray(vertices)[:, :, golden["ids"]]
    offset = (vertices[:, :1] - golden["vertices"][:, :1]).mean(2, keepdims=True)  # the origins of rest
    away = 1000 * np.linalg.norm(vertices - golden["vertices"] - offset, axis=-1)
    assert np.median(away[:, 0]) < 1
    assert np.quantile(away[:, 0], 0.99) < 10
    assert np.median(away[:, 1:], (1, 2)).max() < 7
    assert np.quantile(away[:, 1:], 0.95) < 15
    heads = joints[:, :, [SMPL.index(name) for name in names]]
    assert 1000 * np.linalg.norm(heads - golden["heads"] - offset, axis=-1).mean((0, 1)).max() < 12


def people_of(golden):
    """Keywords of `anny_betas` of the recorded people."""
    keys = ("gender", "anny_age", "muscle", "weight", "height", "proportions")
    return [dict(zip(keys, row, strict=True)) for row in golden["phenotypes"].tolist()]


def test_the_surface_is_closed():
    """Each edge belongs to two faces that run along it in opposite directions; one piece without handles."""
    body = anny_body()
    faces = np.asarray(body.faces)
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)
    np.testing.assert_array_equal(np.unique(directed, axis=0), np.unique(directed[:, ::-1], axis=0))
    assert len(body.v_template) - len(directed) // 2 + len(faces) == 2
    assert len(np.unique(faces)) == len(body.v_template)
    assert 0.055 < volume_of(body.v_template, faces) < 0.075


def test_left_is_right_in_a_mirror():
    """The surface; and the joints, of the mean and of a shape: by the names that `skeleton.py` swaps."""
    vertices = np.asarray(anny_body().v_template)
    assert cKDTree(vertices).query(vertices * [-1, 1, 1])[0].max() < 1e-5
    for betas in (np.zeros(20), np.linspace(-1, 1, 20)):
        joints, _ = at_rest(betas)
        for name in SMPL:
            if name.startswith("left_"):
                mirrored = joints[name.replace("left_", "right_")] * [-1, 1, 1]
                np.testing.assert_allclose(joints[name], mirrored, atol=2e-3)
                assert joints[name][0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_tables_obey_the_rules(kind):
    """Rows sum to 1, weights are positive, none crosses the middle, each joint moves something."""
    body = anny_body(kind)
    weights = np.asarray(body.weights)
    assert weights.min() >= 0
    assert (weights > 0).sum(1).max() <= 4
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(np.asarray(body.J_regressor).sum(1), 1, atol=1e-4)
    np.testing.assert_allclose(body.joint_template[0], 0, atol=1e-5)
    x = np.asarray(body.v_template)[:, 0]
    for j, name in enumerate(MODEL_JOINTS[kind]):
        if name.startswith(("left_", "right_")):
            sign = 1 if name.startswith("left_") else -1
            assert weights[sign * x < -0.03, j].max() == 0, name
        assert weights[:, j].max() > 0.4, name


def test_people_have_human_sizes():
    """Statures of the mean adult, a man, a woman and children, against ANSUR II and the growth charts of the WHO."""
    statures = {
        "mean": np.ptp(at_rest(np.zeros(20))[1][:, 1]),
        "man": np.ptp(at_rest(anny_betas(years=35, gender=0))[1][:, 1]),
        "woman": np.ptp(at_rest(anny_betas(years=35, gender=1))[1][:, 1]),
        "child": np.ptp(at_rest(anny_betas(years=4))[1][:, 1]),
        "infant": np.ptp(at_rest(anny_betas(years=1))[1][:, 1]),
    }
    known = {"mean": 1.69, "man": 1.756, "woman": 1.628, "child": 1.03, "infant": 0.75}
    for name, stature in statures.items():
        assert abs(stature - known[name]) < 0.06, (name, stature)


@pytest.mark.parametrize("stature", [1.6, 1.9])
def test_a_given_stature_is_met(stature):
    assert abs(np.ptp(at_rest(anny_betas(years=40, gender=0, stature=stature))[1][:, 1]) - stature) < 0.01


def test_phenotypes_do_what_their_names_say():
    """Weight adds volume and no stature; years of a child add stature; people are within 3 of most betas."""
    faces = np.asarray(anny_body().faces)
    light, heavy = (at_rest(anny_betas(years=40, gender=0, weight=w))[1] for w in (0.2, 0.8))
    assert volume_of(heavy, faces) > 1.08 * volume_of(light, faces)
    assert abs(np.ptp(heavy[:, 1]) - np.ptp(light[:, 1])) < 0.06
    assert np.abs(anny_betas(years=40, gender=1, weight=0.8, muscle=0.3)).max() < 3


def test_phenotypes_out_of_range_are_errors():
    refuses(r"weight: got 1.5; must be 0 to 1", anny_betas, weight=1.5)
    refuses(r"stature: got 3 m; must be 1\.\d\d to 2\.\d\d", anny_betas, years=30, stature=3)
    refuses("'wait' is no phenotype; must be one of gender", anny_betas, wait=0.5)


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
    """In a crouch, no edge grows beyond 4 times its length and 4 cm; correctives win back a third of the volume."""
    body = anny_body()
    faces, rest = np.asarray(body.faces), np.asarray(body.v_template)
    bent = np.asarray(skinned(body, np.zeros(20, np.float32), turned(**BENT))[1])
    linear = body.replace(posedirs=jnp.zeros_like(body.posedirs))
    without = np.asarray(skinned(linear, np.zeros(20, np.float32), turned(**BENT))[1])
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    before, after = (np.linalg.norm(v[edges[:, 0]] - v[edges[:, 1]], axis=-1) for v in (rest, bent))
    # ANNY's edges of some millimetres in armpits and groins open; a torn surface has edges of a limb's length
    assert (after < np.maximum(4 * before, before + 0.04)).all()
    volume = volume_of(rest, faces)
    loss, loss_without = 1 - volume_of(bent, faces) / volume, 1 - volume_of(without, faces) / volume
    assert loss_without > 0.01
    assert abs(loss) < 0.67 * loss_without


def test_motion_capture_of_smpl_rotations_points_the_limbs_the_same_way():
    """Limbs of recorded people, whose joints and SMPL rotations are both known: directions agree to some degrees."""
    path = DATA / "mocap" / "cmu.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    z = np.load(path)
    rows = np.linspace(0, len(z["joints17"]) - 1, 200).astype(int)
    scale = float(z["rot_scale"])
    pose, root = z["body_pose"][rows].reshape(-1, 21, 3) * scale, z["global_orient"][rows] * scale
    known = z["joints17"][rows] * float(z["pos_scale"])
    body = anny_body()
    posed = jax.jit(lambda b, p, r: b.shape().pose(full_rotations(b, p, r)).joints)(body, pose, root)
    found = np.asarray(posed)
    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            bones = []
            for points, skeleton in ((found, SMPL_22), (known, H36M_17)):
                ends = [points[:, skeleton.joints.index(f"{side}_{joint}")] for joint in (a, b)]
                bones.append((ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0], axis=-1, keepdims=True))
            angle = np.degrees(np.arccos(np.clip((bones[0] * bones[1]).sum(-1), -1, 1)))
            assert np.median(angle) < 5, (side, a, np.median(angle))


def test_picked_vertices_are_where_they_belong():
    """On the surface's extremes, which are told without the table: the nose is the foremost of the head, ..."""
    body = anny_body()
    vertices, picks = np.asarray(body.v_template), dict(zip(PICKED, np.asarray(body.picks).tolist(), strict=True))
    assert len(set(picks.values())) == len(PICKED)
    joints = dict(zip(SMPL, np.asarray(body.joint_template), strict=True))
    at = {name: vertices[i] for name, i in picks.items()}
    head = vertices[vertices[:, 1] > joints["head_base"][1]]
    assert head[:, 2].max() - at["nose"][2] < 0.015
    assert abs(at["nose"][0]) < 0.01
    normals = vertex_normals(vertices, np.asarray(body.faces))
    for side, sign in (("left", 1), ("right", -1)):
        eye, ear = at[f"{side}_eye"], at[f"{side}_ear"]
        assert 0.025 < sign * eye[0] < 0.04
        assert eye[1] > at["nose"][1]
        assert normals[picks[f"{side}_eye"], 2] > 0.5
        assert 0.06 < sign * ear[0] < 0.10
        assert eye[2] - ear[2] > 0.05
        foot = vertices[sign * vertices[:, 0] > 0]
        assert at[f"{side}_heel"][2] - foot[foot[:, 1] < vertices[:, 1].min() + 0.1][:, 2].min() < 0.02
        assert foot[:, 2].max() - at[f"{side}_big_toe"][2] < 0.03
        assert sign * (at[f"{side}_small_toe"] - at[f"{side}_big_toe"])[0] > 0.03
        tips = {finger: at[f"{side}_{finger}_tip"] for finger in ("thumb", "index", "middle", "ring", "pinky")}
        assert foot[:, 0][np.argmax(sign * foot[:, 0])] == tips["middle"][0]
        assert tips["thumb"][2] > tips["index"][2] > tips["middle"][2] > tips["ring"][2] > tips["pinky"][2]


def test_an_unknown_kind_is_an_error():
    refuses("kind 'star' is unknown; must be one of smpl, smplh, smplx", anny_body, "star")
