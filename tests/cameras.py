"""Two calibrated cameras that see the joints which COCO's set and the model's share."""

import numpy as np

from jaxpose.geometry.skeleton import COCO_17, H36M_17

SHARED = [joint for joint in COCO_17.joints if joint in H36M_17.joints and joint != "nose"]
OURS, THEIRS = ([skeleton.joints.index(joint) for joint in SHARED] for skeleton in (H36M_17, COCO_17))


def two_cameras(poses):
    """Arrays of a file of two cameras, 4 m away at a right angle, and the poses [N, 17, 3] in a world with z up."""
    z_up = (poses - poses.mean(1, keepdims=True)) @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    world = z_up + np.array([5.0, -3.0, 0.9])
    R = np.array([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, -1.0, 0], [0, 0, -1], [1, 0, 0]]])
    t = np.array([0, 0, 4.0]) - R @ [5.0, -3.0, 0.9]
    K = np.tile(np.array([[900.0, 0, 500], [0, 900, 600], [0, 0, 1]]), (2, 1, 1))
    x = np.einsum("cij,fkj->fcki", R, world) + t[:, None]
    keypoints = np.full((2, 2, 17, 3), np.nan)
    keypoints[:, :, THEIRS, :2] = (900 * x[..., :2] / x[..., 2:] + [500, 600])[:, :, OURS]
    keypoints[..., 2] = 1
    return {"keypoints": keypoints, "K": K, "R": R, "t": t, "joints": np.array(COCO_17.joints)}, world
