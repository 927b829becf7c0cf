"""What --hide means, joint by joint."""

import numpy as np
import pytest
from shared import refuses

from jaxpose.app.commands.complete import hidden_joints
from jaxpose.geometry.skeleton import H36M_17


def names(mask):
    return {H36M_17.joints[j] for j in np.flatnonzero(mask)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("head", {"head"}),
        ("left_knee, right_wrist", {"left_knee", "right_wrist"}),
        ("left_leg", {"left_hip", "left_knee", "left_ankle"}),
        ("right_leg", {"right_hip", "right_knee", "right_ankle"}),
        ("left_arm", {"left_shoulder", "left_elbow", "left_wrist"}),
        ("right_arm,right_wrist", {"right_shoulder", "right_elbow", "right_wrist"}),
        ("trunk", {"hip", "spine", "thorax", "neck_nose", "head"}),
        (None, set()),
    ],
)
def test_names_and_parts(text, expected):
    mask = hidden_joints(text, H36M_17, 0)(2)
    assert [names(row) for row in mask] == [expected, expected]


def test_random_joints_are_distinct_limb_joints_each_as_likely_and_a_poses_own():
    mask = hidden_joints("head,random:2", H36M_17, 0)(800)
    limbs = [j for j, n in enumerate(H36M_17.joints) if n.split("_")[-1] in ("knee", "ankle", "elbow", "wrist")]
    assert (mask[:, limbs].sum(-1) == 2).all()
    assert mask.sum() == 800 * 3
    rate = mask[:, limbs].mean(0)  # 2 of 8 joints: 0.25, and four standard errors around it
    np.testing.assert_allclose(rate, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 800))
    np.testing.assert_array_equal(mask[:5], hidden_joints("head,random:2", H36M_17, 0)(5))
    assert (mask != hidden_joints("head,random:2", H36M_17, 1)(800)).any()


@pytest.mark.parametrize("text", ["", "tail", "left_knee,", "random", "random:0", "random:-1", "random:1,random:2"])
def test_what_is_no_name_is_refused(text):
    refuses(r"--hide: (must be|needed)", hidden_joints, text, H36M_17, 0)
