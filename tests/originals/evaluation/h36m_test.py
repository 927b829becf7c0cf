"""Human3.6M's protocols: DiffPose's own numbers, averages by hand, the original's quirks beside honest figures."""

import numpy as np
import pytest
from shared import GOLDEN, refuses

from jaxpose.originals.evaluation import h36m

NAMES = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm")
# spec/diffpose.md 5.1
PAPER = [
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases", "Sitting"),
    *("SittingDown", "Smoking", "Waiting", "WalkDog", "Walking", "WalkTogether"),
]


@pytest.fixture(scope="module")
def poses():
    """Eight poses a little off their truth, metres, somewhere before the camera."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.3, (8, 17, 3)) + np.array([0, 0, 5])
    return (truth + rng.normal(0, 0.05, truth.shape)).astype(np.float32), truth.astype(np.float32)


def off_by(truth, mm):
    """The truth with joint 4 of pose i moved so that its MPJPE is mm[i]."""
    pred = np.array(truth, np.float32)
    pred[:, 4, 0] += 0.017 * np.asarray(mm, np.float32)
    return pred


def test_diffposes_own_numbers():
    """One action, one video, poses as they stand: the averages are then plain means."""
    z = np.load(GOLDEN / "diffpose/metrics.npz")
    ones, frame = np.ones(9, int), np.arange(9)
    for action in (2, 16):
        row = h36m.h36m_row(z["pred"], z["target"], action * ones, video=ones, frame=frame, root=None)
        got = [row[name].average / 1000 for name in (*NAMES, "mpjve_mm_per_frame")]
        np.testing.assert_allclose(got, [z[k] for k in ("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve")], atol=1e-6)
    each = h36m.h36m_row(z["pred"], z["target"], np.arange(2, 11), root=None)["p_mpjpe_mm"].per_action
    np.testing.assert_allclose(np.array(list(each.values())) / 1000, z["p_mpjpe_each"], atol=1e-6)


def test_roots_are_aligned_and_the_root_itself_counts(poses):
    """All joints but the root off by 17 mm: 16 mm over 17 joints. A shift of everything changes nothing."""
    _, truth = poses
    pred = truth + np.float32([0, 0, 0.017])
    pred[:, 0] = truth[:, 0]
    action = np.full(8, 3)
    for moved in (pred, pred + np.float32([0.2, -0.1, 0.4])):
        row = h36m.h36m_row(moved, truth, action)
        assert row["mpjpe_mm"].average == pytest.approx(16, rel=1e-3)
        assert set(row) == set(NAMES)
    as_it_stands = h36m.h36m_row(truth + np.float32([0.3, 0, 0.4]), truth, action, root=None)
    assert as_it_stands["mpjpe_mm"].average == pytest.approx(500, rel=1e-4)


def test_actions_weigh_alike_and_strict_counts_the_absent_as_zero(poses):
    """Errors 10, 20, 30 mm in Eating, 100 in WalkTogether: (20 + 100) / 2 honestly, / 15 in the original (item 4)."""
    _, truth = poses
    action = np.array([4, 4, 4, 16])
    pred = off_by(truth[:4], [10, 20, 30, 100])
    honest = h36m.h36m_row(pred, truth[:4], action)["mpjpe_mm"]
    strict = h36m.h36m_row(pred, truth[:4], action, strict=True)["mpjpe_mm"]
    assert honest.average == pytest.approx(60, rel=1e-4)
    assert strict.average == pytest.approx(120 / 15, rel=1e-4)
    assert honest.per_action == pytest.approx({"Eating": 20.0, "WalkTogether": 100.0}, rel=1e-4)
    assert strict.per_action == honest.per_action
    assert len(honest.empty) == 13
    assert "TakingPhoto" in honest.empty


def test_strict_books_a_batchs_mean_p_mpjpe_for_every_action_in_it(poses):
    """Item 3. Batches of 3 of 8 poses: rows 0-2, 3-5, 6-7; P1 stays right."""
    pred, truth = poses
    action = np.array([2, 2, 3, 3, 3, 5, 5, 5])
    each = np.array([h36m.h36m_row(pred[i : i + 1], truth[i : i + 1], [7])["p_mpjpe_mm"].average for i in range(8)])
    mean = [each[:3].mean()] * 3 + [each[3:6].mean()] * 3 + [each[6:].mean()] * 2
    expected = {"Directions": mean[0], "Discussion": np.mean(mean[2:5]), "Greeting": np.mean(mean[5:])}
    strict = h36m.h36m_row(pred, truth, action, strict=True, batch_size=3)
    honest = h36m.h36m_row(pred, truth, action)
    assert strict["p_mpjpe_mm"].per_action == pytest.approx(expected, rel=1e-5)
    assert strict["p_mpjpe_mm"].average == pytest.approx(sum(expected.values()) / 15, rel=1e-5)
    assert honest["p_mpjpe_mm"].per_action["Directions"] == pytest.approx(each[:2].mean(), rel=1e-5)
    assert strict["mpjpe_mm"].per_action == honest["mpjpe_mm"].per_action
    alone = h36m.h36m_row(pred, truth, np.full(8, 3), strict=True, batch_size=3)["p_mpjpe_mm"].per_action
    assert alone["Discussion"] == pytest.approx(each.mean(), rel=1e-5)


# Pose i of video v is off by mm; a velocity's error is the difference of neighbours' (joint 4 moves along one axis).
VIDEO = np.array([7, 7, 7, 7, 9, 9, 9])
FRAME = np.array([0, 1, 2, 5, 0, 1, 2])
MM = np.array([0.0, 1, 3, 50, 10, 14, 10])


def test_velocities_are_within_a_video_and_between_neighbouring_frames(poses):
    """Video 7: 1, 2 (2 -> 5 is no step), each booked where it ends. Video 9: 4, 4. In any order of the rows."""
    truth = np.repeat(poses[1][:1], 7, 0)
    pred, action = off_by(truth, MM), np.array([2, 2, 5, 5, 6, 6, 6])
    for order in (np.arange(7), np.random.default_rng(3).permutation(7)):
        got = h36m.h36m_row(pred[order], truth[order], action[order], video=VIDEO[order], frame=FRAME[order])[
            "mpjve_mm_per_frame"
        ]
        assert got.per_action == pytest.approx({"Directions": 1, "Greeting": 2, "Phoning": 4}, rel=1e-3)
        assert got.average == pytest.approx(7 / 3, rel=1e-3)


def test_strict_takes_velocities_across_gaps_and_weighs_videos_by_rows(poses):
    """Item 12. Video 7: 1, 2, 47 over 4 rows, video 9: 4, 4 over 3 rows, all in one action."""
    truth = np.repeat(poses[1][:1], 7, 0)
    row = h36m.h36m_row(off_by(truth, MM), truth, np.full(7, 2), video=VIDEO, frame=FRAME, strict=True)
    expected = (4 * (1 + 2 + 47) / 3 + 3 * 4) / 7
    assert row["mpjve_mm_per_frame"].per_action["Directions"] == pytest.approx(expected, rel=1e-3)
    assert row["mpjve_mm_per_frame"].average == pytest.approx(expected / 15, rel=1e-3)


def test_windows_that_overlap_need_strict(poses):
    """Frames 0..2 as windows of two, [0, 1] and [1, 2]: steps 0 -> 1, 1 -> 1, 1 -> 2."""
    truth = np.repeat(poses[1][:1], 4, 0)
    labels = {"video": np.zeros(4, int), "frame": np.array([0, 1, 1, 2])}
    pred = off_by(truth, [0, 6, 6, 9])
    refuses("frame 1 of video 0 occurs twice", h36m.h36m_row, pred, truth, np.full(4, 2), **labels)
    strict = h36m.h36m_row(pred, truth, np.full(4, 2), **labels, strict=True)["mpjve_mm_per_frame"]
    assert strict.per_action["Directions"] == pytest.approx((6 + 0 + 3) / 3, rel=1e-3)


def test_the_report_is_in_the_papers_order():
    """Values are the actions' ids: read back by column they say which action stands where."""
    ids = np.arange(2, 17)
    table = h36m.report({"ids": h36m.action_mean(ids.astype(float), ids)})
    header, row = (line.split() for line in table.splitlines())
    assert header == [*PAPER, "Avg"]
    # 12: taking a photo, 15: walking the dog
    assert row[0] == "ids"
    assert [float(cell) for cell in row[1:]] == [2, 3, 4, 5, 6, 12, 7, 8, 9, 10, 11, 13, 15, 14, 16, 9]


def test_the_report_tells_what_is_absent():
    result = h36m.action_mean(np.array([30.0, 41.26]), np.array([3, 12]))
    lines = h36m.report({"P1": result, "P2, longer": result}).splitlines()
    assert lines[0].split() == [*PAPER, "Avg"]
    assert lines[1].split() == ["P1", "-", "30.0", "-", "-", "-", "41.3", *"-" * 9, "35.6"]
    assert {len(line) for line in lines[:3]} == {len(lines[0])}
    absent = [name for name in PAPER if name not in ("Discussion", "Photo")]
    assert lines[3:5] == ["", f"P1: no frames of {', '.join(absent)}"]
    refuses("at least one result", h36m.report, {})
