"""A person that swings arms and legs while turning, posed by scipy: rotations and bones are known."""

import numpy as np
from scipy.spatial.transform import Rotation

from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.retarget import GENERIC_OFFSETS

NAMES = (
    *("hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "thorax", "neck"),
    *("head_base", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
)


def bones(size=1.0):
    """Offsets [22, 3] m of the generic adult, arms longer and trunk shorter than usual, times `size`."""
    offsets = np.array(GENERIC_OFFSETS)
    for name, factor in {"elbow": 1.1, "wrist": 1.1, "spine1": 0.9, "spine2": 0.9, "knee": 1.05}.items():
        offsets[[j for j, joint in enumerate(SMPL_22.joints) if joint.endswith(name)]] *= factor
    return size * offsets


def rotations(num):
    """Local rotation vectors [num, 22, 3]; the root's first."""
    t = np.linspace(0, 2 * np.pi, num, endpoint=False)
    v = np.zeros((num, 22, 3))
    at = SMPL_22.joints.index
    v[:, 0, 1] = 0.4 + 0.3 * np.sin(t)
    for side, sign in (("left", 1), ("right", -1)):
        v[:, at(f"{side}_hip"), 0] = -0.4 + 0.4 * sign * np.sin(t)
        v[:, at(f"{side}_knee"), 0] = 0.8 + 0.3 * np.cos(t)
        v[:, at(f"{side}_shoulder"), 2] = -1.1 * sign
        v[:, at(f"{side}_shoulder"), 1] = -0.3 * np.sin(t)
        v[:, at(f"{side}_elbow"), 1] = -sign * (1.0 + 0.3 * np.sin(t))
    v[:, at("spine1"), 0] = 0.15
    return v


def forward(offsets, vectors, place):
    """Joints [F, 22, 3] m of bones [22, 3], rotation vectors [F, 22, 3] and the pelvis at [F, 3]."""
    p, G = np.zeros((*vectors.shape[:2], 3)), [None] * 22
    for j, parent in enumerate(SMPL_22.parents):
        R = Rotation.from_rotvec(vectors[:, j])
        G[j] = R if j == 0 else G[parent] * R
        p[:, j] = place if j == 0 else p[:, parent] + G[parent].apply(offsets[j])
    head = p[:, 15] + G[15].apply([0, 0.2, 0.02])
    return p, head


def walker(num=40, size=1.0):
    """Points [num, 17, 3] m of NAMES, y up; the joints [num, 22, 3] and rotation vectors that made them."""
    vectors, at = rotations(num), SMPL_22.joints.index
    place = np.stack([np.linspace(0, 1, num), np.full(num, 0.95 * size), 0.1 * np.ones(num)], -1)
    joints, head = forward(bones(size), vectors, place)
    made = {name: joints[:, at(name)] for name in SMPL_22.joints}
    made |= {"hip": (made["left_hip"] + made["right_hip"]) / 2, "head": head}
    made["thorax"] = (made["left_shoulder"] + made["right_shoulder"]) / 2
    return np.stack([made[name] for name in NAMES], 1), joints, vectors
