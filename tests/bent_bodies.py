"""Bodies of 17 joints that are bent by given angles."""

import numpy as np

from jaxpose.geometry.skeleton import H36M_17

J = {name: j for j, name in enumerate(H36M_17.joints)}


def bent(hip, knee, shoulder, elbow):
    """Bodies [..., 17, 3] whose limbs are turned forward (z) by degrees [..., 2], left and right; y is up, x left."""
    hip, knee, shoulder, elbow = (np.radians(np.asarray(x, np.float64)) for x in (hip, knee, shoulder, elbow))
    poses = np.zeros((*hip.shape[:-1], 17, 3))
    for name, height in (("hip", 0.9), ("spine", 1.1), ("thorax", 1.4), ("neck_nose", 1.5), ("head", 1.65)):
        poses[..., J[name], 1] = height
    for s, (side, x) in enumerate((("left", 1), ("right", -1))):
        for names, width, top, lengths, first, second in (
            (("hip", "knee", "ankle"), 0.1, 0.9, (0.4, 0.43), hip[..., s], -knee[..., s]),
            (("shoulder", "elbow", "wrist"), 0.18, 1.4, (0.3, 0.27), shoulder[..., s], elbow[..., s]),
        ):
            at = np.broadcast_to([x * width, top, 0.0], (*hip.shape[:-1], 3))
            for name, length, angle in zip(names, (0, *lengths), (0 * first, first, first + second), strict=True):
                at = at + length * np.stack([0 * angle, -np.cos(angle), np.sin(angle)], -1)
                poses[..., J[f"{side}_{name}"], :] = at
    return poses
