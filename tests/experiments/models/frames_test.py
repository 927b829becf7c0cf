"""Weights of the frames that a training draws from."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.models.frames import weigh
from jaxpose.datasets.mocap import Mocap
from jaxpose.geometry.skeleton import H36M_17


@pytest.mark.parametrize(("joint", "end"), [("knee", "ankle"), ("elbow", "wrist")])
def test_a_pose_with_a_straight_limb_counts_by_the_factor(joint, end):
    joints = np.zeros((3, 17, 3), np.float32)
    at = {name: joints[:, j] for j, name in enumerate(H36M_17.joints)}
    degrees = {"left": [14, 16, 90], "right": [80, 16, 16]}
    for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder"):
        at[name][:, 1] = 1.0
    for side in degrees:  # both limbs are bent but where it is said
        for bent, last in (("knee", "ankle"), ("elbow", "wrist")):
            at[f"{side}_{bent}"][:, 1], at[f"{side}_{last}"][:] = 0.6, [0, 0.6, 0.4]
    for side, angles in degrees.items():
        turned = np.radians(angles)
        at[f"{side}_{end}"][:] = at[f"{side}_{joint}"] + 0.4 * np.stack(
            [0 * turned, -np.cos(turned), np.sin(turned)], -1
        )
    one = np.array(["a"])
    frames = Mocap(joints, np.zeros(3, int), one, one, one)
    plain, weighted = (
        weigh(ConfigDict({"category_power": 0.5, f"straight_{joint}_factor": f}), frames) for f in (1.0, 6.0)
    )
    np.testing.assert_allclose(plain, 1 / 3)
    np.testing.assert_allclose(weighted, [6 / 8, 1 / 8, 1 / 8])
