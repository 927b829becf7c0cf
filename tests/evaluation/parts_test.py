"""Completion's figures on hypotheses at known distances, and which vertices a joint moves."""

import numpy as np
import pytest

from jaxpose.evaluation.protocols import HIDDEN_PARTS, completion_row, hidden_joints
from jaxpose.geometry.skeleton import H36M_17

TRUTH = np.random.default_rng(0).normal(size=(2, 22, 3)).astype(np.float32)
HIDDEN = [1, 4, 7, 10]


def displaced(distances):
    """Hypotheses whose hidden joints lie `distances` [H] metres from the truth, along x."""
    samples = np.repeat(TRUTH[None], len(distances), axis=0)
    samples[:, :, HIDDEN, 0] += np.asarray(distances, np.float32)[:, None, None]
    return samples


def test_min_mean_std_and_apd_of_known_distances():
    samples = displaced([0.01, 0.02, 0.06])
    samples[:, :, 0] += 100  # what is seen does not count
    row = completion_row(samples, TRUTH, HIDDEN)
    wanted = {"mpjpe_min_mm": 10, "mpjpe_mean_mm": 30, "mpjpe_std_mm": np.std([10, 20, 60])}
    assert row == pytest.approx(wanted | {"apd_mm": (10 + 40 + 50) / 3}, rel=1e-3)


def test_parts_are_named_as_they_are():
    names = {part: {H36M_17.joints[j] for j in joints} for part, joints in HIDDEN_PARTS.items()}
    assert names["left leg"] == {"left_hip", "left_knee", "left_ankle"}
    assert names["arms"] == {f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist")}
    assert names["trunk"] == {"hip", "spine", "thorax", "neck_nose", "head"}
    assert hidden_joints("legs", 2).sum() == 12
