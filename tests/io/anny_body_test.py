"""The default body: ANNY's own people, human in size, and moved by SMPL's joints."""

import hashlib

import jax
import numpy as np
import pytest
from scipy.spatial import cKDTree
from shared import DATA, GOLDEN, refuses

from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.body_joints import MODEL_JOINTS
from jaxpose.geometry.rotations import matrix_from_axis_angle
from jaxpose.geometry.skeleton import H36M_17, SMPL_22
from jaxpose.io.anny_body import ASSET, anny_betas, anny_body

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


def test_the_asset_is_the_one_that_was_checked():
    """Closed, whole in a crouch, vertices picked where they belong: tests/io/anny_body_test.py of commit 301b7c0."""
    checked = "04869b9d0d22a682b2463e3ea99bed2ec9167276bdcd5f23be4158dee3e5cc0b"
    assert hashlib.sha256(ASSET.read_bytes()).hexdigest() == checked


def people_of(golden):
    """Keywords of `anny_betas` of the recorded people."""
    keys = ("gender", "anny_age", "muscle", "weight", "height", "proportions")
    return [dict(zip(keys, row, strict=True)) for row in golden["phenotypes"].tolist()]


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


def test_an_unknown_kind_is_an_error():
    refuses("kind 'star' is unknown; must be one of smpl, smplh, smplx", anny_body, "star")
