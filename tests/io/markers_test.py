"""Names of markers as tools write them."""

import numpy as np
import pytest

from jaxpose.geometry.skeleton import SKELETONS
from jaxpose.io.markers import Markers, joint_of, joints_of_markers


@pytest.mark.parametrize(
    ("marker", "joint"),
    [
        *(("RHip", "right_hip"), ("R_Knee", "right_knee"), ("right ankle", "right_ankle"), ("knee_l", "left_knee")),
        *(("LBigToe", "left_big_toe"), ("LSmallToe", "left_small_toe"), ("RHeel", "right_heel"), ("Lear", "left_ear")),
        *(("midHip", "hip"), ("CHip", "hip"), ("Hip", "hip"), ("Nose", "nose"), ("Neck", "neck"), ("Head", "head")),
        *(("RHJC", "right_hip"), ("LElbow", "left_elbow"), ("head_base", "head_base"), ("neck_nose", "neck_nose")),
        *(("r_knee_study", None), ("RASI", None), ("T10", None), ("CLAV", None), ("", None), ("LKNE", None)),
    ],
)
def test_joint_of_a_name(marker, joint):
    assert joint_of(marker) == joint


def test_every_joint_of_every_set_keeps_its_name():
    for skeleton in SKELETONS.values():
        assert tuple(joint_of(name) for name in skeleton.joints) == skeleton.joints


def test_subjects_are_people_and_the_first_of_two_markers_counts(tmp_path):
    names = ("Anna:RHip", "Anna:RKnee", "Anna:RAnkle", "Anna:RHJC", "Ben:RHip", "Ben:RKnee", "Ben:RAnkle")
    xyz = np.arange(2 * 7 * 3, dtype=float).reshape(2, 7, 3)
    xyz[0, 4:] = np.nan  # Ben comes later
    (tmp_path / "f").touch()
    found = joints_of_markers(tmp_path / "f", Markers(names, xyz, 30.0, "mm", first=5))
    assert set(found["joints"]) == {"right_hip", "right_knee", "right_ankle"}
    np.testing.assert_array_equal(found["person"], [0, 0, 1])
    np.testing.assert_array_equal(found["frame"], [5, 6, 6])
    hip = found["joints"].tolist().index("right_hip")
    np.testing.assert_array_equal(found["joints3d"][:, hip], [xyz[0, 0], xyz[1, 0], xyz[1, 4]])
    assert found["ignored"].tolist() == ["Anna:RHJC"]
