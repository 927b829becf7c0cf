"""Rows of completion and denoising on poses whose errors are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.evaluation.protocols import HIDDEN_PARTS, denoising_row, hidden_joints, hidden_row
from jaxpose.geometry.skeleton import H36M_17


def test_only_hidden_joints_count():
    truth = jnp.asarray(np.random.default_rng(0).normal(size=(4, 17, 3)), jnp.float32)
    hidden = jnp.asarray(hidden_joints("left leg", 4))
    error = jnp.array([0.03, 0.01, 0.05])[:, None, None, None] * jnp.array([0.0, 1.0, 0.0])
    samples = truth + jnp.where(hidden[None, ..., None], error, 7.0)
    row = hidden_row(samples, truth, hidden)
    assert row["best_of_10_mm"] == pytest.approx(10, abs=1e-3)
    assert row["single_mm"] == pytest.approx(30, abs=1e-3)
    assert row["mean_mm"] == pytest.approx(30, abs=1e-3)
    assert set(row) == {"mean_mm", "single_mm", "best_of_10_mm", "best_of_3_mm"}


def test_parts_are_named_as_they_are():
    names = {part: {H36M_17.joints[j] for j in joints} for part, joints in HIDDEN_PARTS.items()}
    assert names["left leg"] == {"left_hip", "left_knee", "left_ankle"}
    assert names["arms"] == {f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist")}
    assert names["trunk"] == {"hip", "spine", "thorax", "neck_nose", "head"}
    assert hidden_joints("legs", 2).sum() == 12


def test_denoising_tells_a_moved_root_from_a_wrong_pose():
    """Noise on the root alone: as given one joint of 17 is off, with roots aligned 16 of 17 are."""
    truth = jnp.asarray(np.random.default_rng(1).normal(size=(5, 17, 3)), jnp.float32)
    noisy = truth.at[:, 0, 1].add(0.17)
    halved = truth.at[:, 0, 1].add(0.085)
    row = denoising_row(noisy, jnp.stack([halved, halved]), truth)
    assert row["before_as_given_mm"] == pytest.approx(10, rel=1e-3)
    assert row["before_mm"] == pytest.approx(160, rel=1e-3)
    assert row["ratio"] == pytest.approx(0.5, rel=1e-3)
    assert row["ratio_as_given"] == pytest.approx(0.5, rel=1e-3)
