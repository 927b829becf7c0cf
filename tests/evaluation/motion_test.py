"""Figures of motion on curves whose derivatives are known."""

import numpy as np
import pytest

from jaxpose.evaluation.motion import jitter, motion_row

FPS = 20.0
TIME = np.arange(12) / FPS


def along_x(curve):
    """Two joints [F, 2, 3]: the first on the curve, the second at rest."""
    points = np.zeros((len(TIME), 2, 3))
    points[:, 0, 0] = curve
    return points


def test_cubic_motion_has_its_third_derivative_and_a_parabola_none():
    """x = t^3 has x''' = 6 everywhere; the mean with a joint at rest is 3."""
    assert float(jitter(along_x(TIME**3), FPS)) == pytest.approx(3, rel=1e-3)
    assert float(jitter(along_x(4 * TIME**2 + TIME), FPS)) == pytest.approx(0, abs=0.02)


def test_every_figure_of_a_known_error():
    truth, pred = along_x(TIME**3), along_x(TIME**3 + 0.5 * TIME**2)
    pred[:, 1, 2] = 0.03
    row = motion_row(pred, truth, FPS, hidden=[1], vertices=truth + np.array([0, 0.004, 0.003]), true_vertices=truth)
    seen = 1000 * np.mean(0.5 * TIME**2)
    assert row == pytest.approx(
        {
            "mpjpe_mm": (seen + 30) / 2,
            "mpjpe_visible_mm": seen,
            "mpjpe_hidden_mm": 30,
            "mpvpe_mm": 5,
            "acceleration_m_per_s2": 0.5,  # 1 of one joint, 0 of the other
            "jitter_m_per_s3": 3,
            "jitter_of_truth_m_per_s3": 3,
        },
        rel=2e-3,
    )


def test_without_hidden_joints_nothing_is_said_of_them():
    truth = along_x(TIME)
    names = motion_row(truth, truth, FPS)
    assert "mpjpe_visible_mm" not in names
    assert "mpvpe_mm" not in names
    assert names["mpjpe_mm"] == 0


def test_faults_are_named():
    truth = along_x(TIME)
    with pytest.raises(ValueError, match="F >= 4 frames"):
        jitter(truth[:3], FPS)
    with pytest.raises(ValueError, match="joints must be"):
        motion_row(truth[1:], truth, FPS)
    with pytest.raises(ValueError, match="fps must be > 0"):
        motion_row(truth, truth, 0)
    with pytest.raises(ValueError, match="needed both or neither"):
        motion_row(truth, truth, FPS, vertices=truth)
    with pytest.raises(ValueError, match=r"joints 0\.\.1, got \[2\]"):
        motion_row(truth, truth, FPS, hidden=[2])
