"""Straight limbs: the formula, what moves and what stays, and the numbers of the shared data's own program."""

import json

import numpy as np
import pytest

from jaxpose.datasets.mocap import load_mocap, load_rotations
from jaxpose.datasets.straight import Bends, corrected, straight_joints, straight_rotations
from jaxpose.geometry.skeleton import H36M_17, SMPL_22, mirror, mirror_rotations
from jaxpose.io.take import rotation_matrices
from tests.shared import DATA, needs_mocap

LIMBS = [(f"{s}_{a}", f"{s}_{b}", f"{s}_{c}") for s in ("left", "right") for a, b, c in
         (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))]  # fmt: skip
N = 50


@pytest.fixture
def drawn():
    """Joints, rotations and bends of poses drawn at random, every fifth without bend."""
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(N, 17, 3)).astype(np.float32)
    rotations = rng.normal(size=(N, 22, 3)).astype(np.float32)
    bends = Bends(*np.where(np.arange(N) % 5, rng.uniform(5, 30, (2, N)), 0))
    return joints, rotations, bends


def points(joints, limb):
    return [joints[:, H36M_17.joints.index(name)].astype(np.float64) for name in limb]


def flexion(joints, limb):
    """Degrees by the cosine law of the triangle of the three joints."""
    a, b, c = points(joints, limb)
    p, q, d = (np.linalg.norm(u - v, axis=-1) for u, v in ((a, b), (b, c), (a, c)))
    return 180 - np.degrees(np.arccos((p**2 + q**2 - d**2) / (2 * p * q)))


def test_formula_at_numbers_of_the_readme():
    """At 20 degrees and a bend of 18 it takes off about 10, at 90 degrees 2; far above, squares differ."""
    np.testing.assert_allclose(20 - corrected(20.0, 18.0), 10, atol=1)
    np.testing.assert_allclose(90 - corrected(90.0, 18.0), 2, atol=0.2)
    np.testing.assert_allclose(corrected(90.0, 18.0), np.sqrt(90**2 - 18**2), rtol=1e-6)
    np.testing.assert_array_equal(corrected(np.array([0.0, 17, 180]), 0), [0, 17, 180])
    angles = np.linspace(0, 180, 500)
    assert (np.diff(corrected(angles, 25.0)) > 0).all()
    assert corrected(0.0, 25.0) < 0.2


def test_ends_and_ratios_stay_and_angles_are_corrected(drawn):
    joints, _, bends = drawn
    found = straight_joints(joints, bends)
    moved = [H36M_17.joints.index(limb[1]) for limb in LIMBS]
    others = np.setdiff1d(np.arange(17), moved)
    np.testing.assert_array_equal(found[:, others], joints[:, others])
    for limb, bend in zip(LIMBS, (bends.knee, bends.elbow) * 2, strict=True):
        (a, b, c), (_, new, _) = points(joints, limb), points(found, limb)
        ratio = [np.linalg.norm(m - a, axis=-1) / np.linalg.norm(c - m, axis=-1) for m in (b, new)]
        np.testing.assert_allclose(ratio[1], ratio[0], rtol=2e-4)
        np.testing.assert_allclose(flexion(found, limb), corrected(flexion(joints, limb), bend), atol=0.02)
        assert (np.abs(np.linalg.det(np.stack([b - a, c - a, new - a], -1))) < 1e-5).all(), "in the limb's plane"
        assert (np.sum(np.cross(b - a, c - a) * np.cross(new - a, c - a), -1) > 0).all(), "on the same side"


def test_without_bends_all_is_as_it_was(drawn):
    joints, rotations, bends = drawn
    none = Bends(np.zeros(N), np.zeros(N))
    np.testing.assert_array_equal(straight_joints(joints, none), joints)
    np.testing.assert_array_equal(straight_rotations(rotations, joints, none), rotations)
    still = bends.knee == 0
    np.testing.assert_array_equal(straight_joints(joints, bends)[still], joints[still])
    np.testing.assert_array_equal(straight_rotations(rotations, joints, bends)[still], rotations[still])


def test_a_limb_without_a_plane_stays_on_its_line():
    joints = np.zeros((1, 17, 3), np.float32)
    for limb in LIMBS:
        for name, height in zip(limb, (0.9, 0.5, 0.1), strict=True):
            joints[0, H36M_17.joints.index(name), 1] = height
    found = straight_joints(joints, Bends(np.array([20.0]), np.array([20.0])))
    np.testing.assert_allclose(found, joints, atol=1e-5)


def test_the_mirror_image_is_corrected_to_the_mirror_image(drawn):
    joints, rotations, bends = drawn
    other = np.asarray(mirror(joints, H36M_17)), np.asarray(mirror_rotations(rotations, SMPL_22))
    np.testing.assert_allclose(
        straight_joints(other[0], bends), mirror(straight_joints(joints, bends), H36M_17), atol=2e-6
    )
    expected = mirror_rotations(straight_rotations(rotations, joints, bends), SMPL_22)
    pair = (rotation_matrices(np.asarray(v)) for v in (straight_rotations(other[1], other[0], bends), expected))
    np.testing.assert_allclose(*pair, atol=2e-5)


def test_ends_of_the_limbs_keep_their_orientation_in_the_world(drawn):
    """Bones turn by what brings their old direction to the new one; pelvis, trunk, hands and feet stay."""
    joints, rotations, bends = drawn
    found = straight_rotations(rotations, joints, bends)
    straight = straight_joints(joints, bends)

    def world(local, name):
        j, product = SMPL_22.joints.index(name), np.eye(3)
        while j >= 0:
            product, j = rotation_matrices(local[j]) @ product, SMPL_22.parents[j]
        return product

    changed = {name for limb in LIMBS for name in limb}
    for j in (j for j, name in enumerate(SMPL_22.joints) if name not in changed):
        np.testing.assert_array_equal(found[:, j], rotations[:, j])
    for limb in LIMBS:
        for n in range(0, N, 7):
            np.testing.assert_allclose(world(found[n], limb[2]), world(rotations[n], limb[2]), atol=1e-5)
            ends = [points(x[n : n + 1], limb) for x in (joints, straight)]
            for i in range(2):
                turn = world(found[n], limb[i]) @ world(rotations[n], limb[i]).T
                old, new = ((p[i + 1] - p[i])[0] / np.linalg.norm(p[i + 1] - p[i]) for p in ends)
                np.testing.assert_allclose(turn @ old, new, atol=1e-5)
                np.testing.assert_allclose((np.trace(turn) - 1) / 2, old @ new, atol=1e-5)  # no turn about the bone


@pytest.fixture
def root(tmp_path, drawn):
    """A folder as the shared data: one person of 30 frames with bends, one of 20 without."""
    joints, rotations, _ = drawn
    (tmp_path / "mocap").mkdir()
    (tmp_path / "mocap" / "splits.json").write_text(json.dumps({"train": ["a", "b"], "out_of_database": ["u"]}))
    arrays = {
        "joints17": np.round(joints / 0.0005).astype(np.int16),
        "global_orient": np.round(rotations[:, 0] / 0.0001).astype(np.int16),
        "body_pose": np.round(rotations[:, 1:].reshape(N, 63) / 0.0001).astype(np.int16),
        "pos_scale": np.float32(0.0005),
        "rot_scale": np.float32(0.0001),
        "seq_start": [0, 30],
        "seq_length": [30, 20],
        "seq_subject": ["a", "b"],
        "seq_category": ["walk", "walk"],
        "seq_name": ["a_1", "b_1"],
    }
    np.savez(tmp_path / "mocap" / "plain.npz", **arrays)
    np.savez(tmp_path / "mocap" / "bent.npz", **arrays, seq_knee_bend=[18.0, 0.0], seq_elbow_bend=[12.0, 0.0])
    return tmp_path


def test_files_that_tell_of_bends_are_corrected_by_default(root):
    captured = load_mocap(root, "train", ("bent",), rotations=True, straight=False)
    found, plain = (load_mocap(root, "train", (file,), rotations=True) for file in ("bent", "plain"))
    for field in ("joints", "rotations"):
        np.testing.assert_array_equal(getattr(plain, field), getattr(captured, field))
        np.testing.assert_array_equal(getattr(found, field)[30:], getattr(captured, field)[30:])
    bends = Bends(np.repeat([18.0, 0], [30, 20]), np.repeat([12.0, 0], [30, 20]))
    np.testing.assert_array_equal(found.joints, straight_joints(captured.joints, bends))
    np.testing.assert_array_equal(found.rotations, straight_rotations(captured.rotations, captured.joints, bends))
    np.testing.assert_array_equal(load_rotations(root, "train", ("bent",)).body_pose, found.rotations[:, 1:])
    as_captured = load_rotations(root, "train", ("bent",), straight=False).body_pose
    np.testing.assert_array_equal(as_captured, captured.rotations[:, 1:])


@needs_mocap
def test_people_of_the_shared_data_stand_on_straight_legs():
    """The lowest tenth of CMU's and HDM05's knee angles: 20 degrees where captured, of straight people below 12."""
    lowest = {}
    for straight in (False, True):
        joints = load_mocap(DATA, "val", straight=straight).joints
        angles = np.concatenate([flexion(joints, limb) for limb in LIMBS if "knee" in limb[1]])
        lowest[straight] = np.percentile(angles, 10)
    assert lowest[False] > 18
    assert lowest[True] < 12
