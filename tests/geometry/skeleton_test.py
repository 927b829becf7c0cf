"""Every registered joint set against its publisher's definition, and the laws of mirrors and bones."""

import json

import numpy as np
import pytest
from shared import DATA, needs_keypoints, needs_mocap, refuses

from jaxpose.geometry import skeleton as sk

ALL = pytest.mark.parametrize("skeleton", sk.SKELETONS.values(), ids=sk.SKELETONS)


def pose_of(skeleton: sk.Skeleton, num_dims: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, len(skeleton.joints), num_dims)).astype(np.float32)


@ALL
def test_registered_skeletons_are_valid_and_named_by_their_size(skeleton):
    """Distinct names, one root from which all hang, and parts that hold each joint once."""
    num = len(skeleton.joints)
    assert len(set(skeleton.joints)) == num == len(skeleton.parents)
    reached = {-1}
    for _ in range(num):
        reached |= {j for j, parent in enumerate(skeleton.parents) if parent in reached}
    assert reached == {-1, *range(num)}
    assert skeleton.parents.count(-1) == 1
    assert sorted(j for part in skeleton.parts for j in part) == list(range(num))
    assert sk.get_skeleton(skeleton.name) is skeleton
    assert skeleton.name.rstrip("b").endswith(str(len(skeleton.joints)))
    assert hash(skeleton) == hash(sk.get_skeleton(skeleton.name))


@ALL
def test_every_sided_joint_has_a_partner_whose_parent_is_its_parents_partner(skeleton):
    partner = dict(zip(skeleton.left, skeleton.right, strict=True))
    partner |= {right: left for left, right in partner.items()}
    sided = {j for j, name in enumerate(skeleton.joints) if name.startswith(("left_", "right_"))}
    assert sided == set(partner)
    for j, parent in enumerate(skeleton.parents):
        other = skeleton.parents[partner.get(j, j)]
        assert partner.get(parent, parent) == other


def test_h36m_agrees_with_the_video_pose_3d_convention():
    assert sk.H36M_17.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert sk.H36M_17.left == (4, 5, 6, 11, 12, 13)
    assert sk.H36M_17.right == (1, 2, 3, 14, 15, 16)
    assert sk.H36M_17.parts == ((1, 2, 3), (4, 5, 6), (11, 12, 13), (14, 15, 16), (0, 7, 8, 9, 10))


def test_mpi3dhp_agrees_with_p_stmo():
    assert sk.MPI3DHP_17.parents == (1, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, -1, 14, 1)
    assert set(sk.MPI3DHP_17.left) == {5, 6, 7, 11, 12, 13}
    assert set(sk.MPI3DHP_17.right) == {2, 3, 4, 8, 9, 10}


def test_the_first_joints_of_halpe_and_body25b_are_cocos():
    assert sk.HALPE_26.joints[:17] == sk.BODY_25B.joints[:17] == sk.COCO_17.joints


def test_body25_equals_the_smpl_joints_that_the_smplx_code_maps_onto_it():
    # spec/dposer.md 8.4: SMPL index of OpenPose joints 1..14 but 8 (mid hip against pelvis).
    smpl = {1: 12, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 9: 2, 10: 5, 11: 8, 12: 1, 13: 4, 14: 7}
    assert {j: sk.SMPL_24.joints.index(sk.BODY_25.joints[j]) for j in smpl} == smpl


@needs_mocap
def test_parents_and_names_are_those_of_the_mocap_files():
    file = json.loads((DATA / "mocap/skeletons.json").read_text())
    assert tuple(file["joints17"]["parents"]) == sk.H36M_17.parents
    assert tuple(file["smpl22_generic"]["parents"]) == sk.SMPL_22.parents
    ours = {"Head": "head_base"}
    for theirs, joint in zip(file["smpl22_generic"]["names"], sk.SMPL_22.joints, strict=True):
        side = {"L": "left_", "R": "right_"}.get(theirs[0], "") if theirs[1] == "_" else ""
        assert joint == ours.get(theirs, side + theirs.removeprefix("L_").removeprefix("R_").lower())


@needs_keypoints
def test_coco_order_is_that_of_the_walker_and_of_the_annotations():
    walker = np.load(DATA / "keypoints2d/walker_4cam.npz")
    assert tuple(walker["joints"].tolist()) == sk.COCO_17.joints
    category = json.loads((DATA / "keypoints2d/coco_val2017_sample.json").read_text())["categories"][0]
    assert tuple(category["keypoints"]) == sk.COCO_17.joints


def test_unknown_name_lists_the_legal_ones():
    refuses(r"'h36m' is unknown; must be one of h36m17, .*smpl24", sk.get_skeleton, "h36m")


@ALL
@pytest.mark.parametrize("num_dims", [2, 3])
def test_mirror_twice_is_identity_and_once_keeps_lengths_of_partner_bones(skeleton, num_dims):
    pose = pose_of(skeleton, num_dims)
    once = sk.mirror(pose, skeleton)
    np.testing.assert_array_equal(sk.mirror(once, skeleton), pose)
    assert not np.array_equal(once, pose)
    order = np.arange(len(skeleton.joints))
    order[list(skeleton.left)], order[list(skeleton.right)] = skeleton.right, skeleton.left
    np.testing.assert_allclose(np.linalg.norm(once, axis=-1), np.linalg.norm(pose, axis=-1)[:, order], rtol=1e-6)


def test_mirror_moves_a_raised_right_hand_to_the_left():
    pose = np.zeros((17, 3), np.float32)
    right, left = (sk.H36M_17.joints.index(f"{side}_wrist") for side in ("right", "left"))
    pose[right] = 0.5, 2.0, 0.1
    expected = np.zeros_like(pose)
    expected[left] = -0.5, 2.0, 0.1
    np.testing.assert_array_equal(sk.mirror(pose, sk.H36M_17), expected)


@ALL
def test_bones_are_one_per_joint_but_the_root(skeleton):
    found = sk.bones(skeleton)
    assert len(found) == len(skeleton.joints) - 1
    assert all(skeleton.parents[child] == parent for parent, child in found)
