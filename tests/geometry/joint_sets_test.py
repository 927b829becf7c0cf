"""Laws of the maps between joint sets, known answers, and what the rules are worth on real motion capture."""

import itertools
import json

import jax
import numpy as np
import pytest
from shared import DATA, needs_mocap

from jaxpose.geometry.joint_sets import COMPOSITIONS, convert_joints, joint_map
from jaxpose.geometry.skeleton import COCO_17, H36M_17, HALPE_26, SKELETONS, SMPL_22, SMPL_24

PAIRS = list(itertools.product(SKELETONS.values(), repeat=2))


def draw(skeleton, seed=0, leading=(3,)):
    return np.random.default_rng(seed).normal(size=(*leading, len(skeleton.joints), 3)).astype(np.float32)


def named(skeleton, points):
    return dict(zip(skeleton.joints, np.asarray(points), strict=True))


def test_known_rows_are_convex_and_unknown_rows_zero():
    for source, target in PAIRS:
        weights, known = joint_map(source, target)
        assert weights.shape == (len(target.joints), len(source.joints))
        np.testing.assert_allclose(weights.sum(1), known.astype(float), atol=1e-12)
        assert (weights >= 0).all()


def test_shared_joints_are_copied_and_a_set_maps_to_itself_exactly():
    for source, target in PAIRS:
        weights, known = joint_map(source, target)
        for t, joint in enumerate(target.joints):
            if joint in source.joints:
                assert known[t]
                assert weights[t, source.joints.index(joint)] == 1.0
        if source is target:
            np.testing.assert_array_equal(weights, np.eye(len(source.joints)))


def test_maps_commute_with_the_swap_of_sides():
    def swap(skeleton):
        order = np.arange(len(skeleton.joints))
        order[list(skeleton.left)], order[list(skeleton.right)] = skeleton.right, skeleton.left
        return order

    for source, target in PAIRS:
        weights, known = joint_map(source, target)
        np.testing.assert_allclose(weights[swap(target)][:, swap(source)], weights, atol=1e-12)
        np.testing.assert_array_equal(known[swap(target)], known)


def test_coco_to_h36m_of_a_hand_made_pose():
    coco = {joint: (0.0, 0.0, 0.0) for joint in COCO_17.joints}
    coco |= {"left_hip": (0.2, 1.0, 0.0), "right_hip": (-0.1, 0.9, 0.2), "nose": (0.0, 1.7, 0.1)}
    coco |= {"left_shoulder": (0.25, 1.5, 0.1), "right_shoulder": (-0.15, 1.4, 0.1), "left_wrist": (0.9, 1.4, 0)}
    confidence = {joint: 0.9 for joint in COCO_17.joints} | {"right_hip": 0.3, "left_shoulder": 0.5}
    points, sure = convert_joints(
        np.array([coco[j] for j in COCO_17.joints], np.float32),
        np.array([confidence[j] for j in COCO_17.joints], np.float32),
        COCO_17,
        H36M_17,
    )
    point, sure = named(H36M_17, points), named(H36M_17, sure)
    expected = {
        "hip": ((0.05, 0.95, 0.1), 0.3),
        "thorax": ((0.05, 1.45, 0.1), 0.5),
        "spine": ((0.0, 0.0, 0.0), 0.0),
        "neck_nose": ((0.029, 1.555, 0.1), 0.5),
        "left_wrist": ((0.9, 1.4, 0.0), 0.9),
        "left_hip": ((0.2, 1.0, 0.0), 0.9),
        "head": ((0.0, 0.0, 0.0), 0.0),
    }
    for joint, (where, how_sure) in expected.items():
        np.testing.assert_allclose(point[joint], where, atol=1e-6, err_msg=joint)
        np.testing.assert_allclose(sure[joint], how_sure, atol=1e-6, err_msg=joint)


def test_what_cannot_be_known_is_unknown():
    def unknown(source, target):
        return {j for j, k in zip(target.joints, joint_map(source, target)[1], strict=True) if not k}

    assert unknown(COCO_17, H36M_17) == {"head", "spine"}
    assert unknown(HALPE_26, H36M_17) == {"spine"}
    assert unknown(SMPL_22, SMPL_24) == {"left_hand", "right_hand"}
    assert unknown(H36M_17, COCO_17) == {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}


@pytest.mark.parametrize("spoil", ["nan point", "inf point", "zero confidence", "nan confidence", "negative"])
def test_an_unseen_joint_spoils_only_what_is_made_of_it(spoil):
    points, confidence = draw(COCO_17), np.full((3, 17), 0.8, np.float32)
    clean, _ = convert_joints(points, confidence, COCO_17, H36M_17)
    hip = COCO_17.joints.index("left_hip")
    if "point" in spoil:
        points[1, hip, 0] = np.nan if "nan" in spoil else np.inf
    else:
        confidence[1, hip] = {"zero confidence": 0.0, "nan confidence": np.nan, "negative": -1.0}[spoil]
        points[1, hip] = np.nan
    out, sure = (np.asarray(x) for x in convert_joints(points, confidence, COCO_17, H36M_17))
    lost = [H36M_17.joints.index(j) for j in ("hip", "left_hip")]
    assert np.isfinite(out).all()
    assert (sure[1, lost] == 0).all()
    assert (out[1, lost] == 0).all()
    kept = np.ones((3, 17), bool)
    kept[1, lost] = False
    np.testing.assert_array_equal(out[kept], np.asarray(clean)[kept])
    assert (sure[kept].reshape(-1)[sure[kept] > 0] == np.float32(0.8)).all()


def test_conversion_is_the_same_under_jit_and_vmap_and_of_whole_pixels():
    points, confidence = draw(HALPE_26), np.ones((3, 26), np.float32)
    plain = convert_joints(points, confidence, HALPE_26, SMPL_22)
    convert = jax.jit(jax.vmap(lambda p, c: convert_joints(p, c, HALPE_26, SMPL_22)))
    for a, b in zip(plain, convert(points, confidence), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    whole, _ = convert_joints(np.array([[1, 2]] * 16 + [[2, 3]]), np.ones(17), COCO_17, H36M_17)
    np.testing.assert_allclose(named(H36M_17, whole)["hip"], [1, 2])


@needs_mocap
@pytest.mark.parametrize("file", ["cmu", "hdm05"])
def test_the_millimetres_stated_in_the_table_hold_on_real_motion(file):
    """Hide Human3.6M's trunk joints, compose them again, and compare with the mocap: mean distance in mm."""
    mocap = np.load(DATA / f"mocap/{file}.npz")
    real = named(H36M_17, np.moveaxis(mocap["joints17"][::5] * np.float32(mocap["pos_scale"]), 1, 0))
    stated = {"cmu": {"hip": 0.3, "thorax": 30, "neck_nose": 31}}
    stated["hdm05"] = {"hip": 0.3, "thorax": 20, "neck_nose": 38}
    for joint, limit in stated[file].items():
        rule = next(c for c in COMPOSITIONS if c.joint == joint and real.keys() >= c.weights.keys())
        composed = sum(w * real[name] for name, w in rule.weights.items())
        error = 1000 * np.linalg.norm(composed - real[joint], axis=-1).mean()
        assert error == pytest.approx(limit, abs=0.6), joint
        assert f"{limit}" in rule.reason


@needs_mocap
def test_smpl_trunk_rules_match_the_rest_pose_of_the_generic_skeleton():
    generic = json.loads((DATA / "mocap/skeletons.json").read_text())["smpl22_generic"]
    rest = np.zeros((22, 3))
    for j, parent in enumerate(generic["parents"][1:], 1):
        rest[j] = rest[parent] + generic["offsets_m"][j]
    hidden = ("pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar")
    source = SMPL_22._replace(joints=tuple("_" + j if j in hidden else j for j in SMPL_22.joints))
    weights, known = joint_map(source, SMPL_22)
    assert known.all()
    error = np.linalg.norm(weights @ rest - rest, axis=-1)
    assert error.max() < 0.045
