"""The video row on clips whose motion is known, and the benchmark's file."""

from __future__ import annotations

import numpy as np
import pytest
from shared import BENCH, needs_bench

from jaxpose.evaluation.protocols import lifting_row
from jaxpose.evaluation.video import load_video_bench, video_row

CATEGORY = np.array(["walk", "dance"])


@pytest.fixture(scope="module")
def truth():
    """Two clips of six frames: bodies that move at random, metres before the camera."""
    rng = np.random.default_rng(0)
    return (rng.normal(0, 0.3, (2, 6, 17, 3)) + np.array([0, 0, 5])).astype(np.float32)


def test_a_joint_that_jumps_to_and_fro(truth):
    """Joint 4 is off by +-d along x, turn by turn: velocity off by 2d, acceleration by 4d, of one joint of 17.

    The second hypothesis jumps the other way: their mean is at rest, its motion right.
    """
    jump = np.zeros((2, *truth.shape), np.float32)
    jump[0, :, :, 4, 0] = 0.017 * (-1.0) ** np.arange(6)
    jump[1] = -jump[0]
    row = video_row(truth + jump, truth, CATEGORY, fps=50)
    assert row["single_mm"] == pytest.approx(1, rel=1e-3)
    assert row["velocity_single_mm_per_frame"] == pytest.approx(2, rel=1e-3)
    assert row["acceleration_single_mm_per_frame2"] == pytest.approx(4, rel=1e-3)
    assert row["velocity_single_m_per_s"] == pytest.approx(0.002 * 50, rel=1e-3)
    assert row["acceleration_single_m_per_s2"] == pytest.approx(0.004 * 50**2, rel=1e-3)
    for name in ("velocity_mean_mm_per_frame", "acceleration_mean_mm_per_frame2", "mean_mm"):
        assert row[name] == pytest.approx(0, abs=5e-3)


def test_figures_of_lifting_are_those_of_all_frames(truth):
    """The category follows its clip, and clips do not mix."""
    rng = np.random.default_rng(1)
    samples = truth + rng.normal(0, 0.05, (2, *truth.shape)).astype(np.float32)
    samples[:, 1] += rng.normal(0, 0.1, (2, 6, 17, 3)).astype(np.float32)
    row = video_row(samples, truth, CATEGORY, fps=30)
    frames = [(samples[:, c, f], truth[c, f], CATEGORY[c]) for c in range(2) for f in range(6)]
    s, t, category = (np.stack(x) for x in zip(*frames, strict=True))
    expected = lifting_row(np.moveaxis(s, 0, 1), t, category)
    by_category = expected.pop("category_mean_mm")
    assert row["category_mean_mm"] == pytest.approx(by_category, rel=1e-6)
    assert {k: row[k] for k in expected} == pytest.approx(expected, rel=1e-6)
    by_hand = np.linalg.norm((samples - samples[..., :1, :]).mean(0)[0] - (truth - truth[..., :1, :])[0], axis=-1)
    assert row["category_mean_mm"]["walk"] == pytest.approx(1000 * by_hand.mean(), rel=1e-4)


def test_motion_is_that_of_numpys_differences_within_a_clip(truth):
    samples = truth + np.random.default_rng(2).normal(0, 0.05, (2, *truth.shape)).astype(np.float32)
    row = video_row(samples, truth, CATEGORY, fps=30)
    error = samples.astype(float) - truth
    error -= error[..., :1, :]
    for order, name in ((1, "velocity"), (2, "acceleration")):
        single = np.linalg.norm(np.diff(error, order, axis=2), axis=-1).mean()
        mean = np.linalg.norm(np.diff(error.mean(0), order, axis=1), axis=-1).mean()
        unit = "2" if order == 2 else ""
        assert row[f"{name}_single_m_per_s{unit}"] == pytest.approx(single * 30**order, rel=1e-3)
        assert row[f"{name}_mean_mm_per_frame{unit}"] == pytest.approx(1000 * mean, rel=1e-3)


def test_a_moving_camera_does_not_matter_to_root_relative_motion(truth):
    drift = np.float32([0.1, 0, 0.2]) * np.arange(6, dtype=np.float32)[:, None, None]
    row = video_row(np.stack([truth, truth]) + drift, truth, CATEGORY, fps=30)
    assert row["velocity_mean_mm_per_frame"] == pytest.approx(0, abs=5e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": np.zeros((2, 2, 6, 17, 3))[0]}, r"\[H, C, F, J, 3\].*\(2, 6, 17, 3\)"),
        ({"samples": np.zeros((0, 2, 6, 17, 3))}, r"\(0, 2, 6, 17, 3\)"),
        ({"samples": np.zeros((2, 2, 2, 17, 3)), "truth": np.zeros((2, 2, 17, 3))}, "F >= 3 frames.*got 2"),
        ({"category": np.array(["walk"])}, r"category be \[2\].*\(1,\)"),
        ({"fps": 0}, "fps must be > 0"),
    ],
)
def test_wrong_input_is_named(change, message):
    given = {"samples": np.zeros((2, 2, 6, 17, 3)), "truth": np.zeros((2, 6, 17, 3)), "category": CATEGORY, "fps": 30}
    with pytest.raises(ValueError, match=message):
        video_row(**given | change)


@needs_bench
def test_the_benchmarks_clips_are_projected_onto_their_detections():
    """Camera, joints and detections belong together: 5 px apart on average (shared/bench/README.md), 320 px tall."""
    bench = load_video_bench(BENCH / "val_video.npz")
    assert bench.joints_cam.shape == (16, 243, 17, 3)
    assert bench.fps == 30
    f, c = bench.intrinsics[:, None, None, :2], bench.intrinsics[:, None, None, 2:]
    uv_px = f * bench.joints_cam[..., :2] / bench.joints_cam[..., 2:] + c
    assert np.median(np.linalg.norm(uv_px - bench.keypoints, axis=-1)) < 10
    assert len(set(bench.category)) > 1


def arrays(clips=2, frames=4):
    return {
        "keypoints": np.zeros((clips, frames, 17, 2)),
        "confidence": np.ones((clips, frames, 17)),
        "intrinsics": np.ones((clips, 4)),
        "joints_cam": np.zeros((clips, frames, 17, 3)),
        "category": np.full(clips, "walk"),
        "name": np.full(clips, "a/b"),
        "fps": np.float32(25),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": None}, r"lacks \['fps'\]"),
        ({"keypoints": np.zeros((2, 5, 17, 2))}, r"'confidence' must be .*\(2, 5, 17\), got \(2, 4, 17\)"),
        ({"joints_cam": np.zeros((2, 4, 16, 3))}, r"'joints_cam' must be .*\(2, 4, 17, 3\), got \(2, 4, 16, 3\)"),
        ({"name": np.full(3, "a/b")}, r"'name' must be .*\(2,\), got \(3,\)"),
        ({"fps": np.zeros(2)}, r"'fps' must be .*got \(2,\)"),
        ({"fps": np.float32(0)}, "'fps' must be > 0"),
        ({"name": np.array([{}, {}])}, "allow_pickle"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, change, message):
    path = tmp_path / "clips.npz"
    np.savez(path, **{k: v for k, v in (arrays() | change).items() if v is not None})
    with pytest.raises(ValueError, match=f"clips.npz: not a video benchmark: .*{message}"):
        load_video_bench(path)


def test_a_file_that_is_none_is_named(tmp_path):
    np.savez(tmp_path / "right.npz", **arrays())
    assert load_video_bench(tmp_path / "right.npz").fps == 25
    with pytest.raises(ValueError, match=r"absent\.npz: no such file"):
        load_video_bench(tmp_path / "absent.npz")
    whole = (tmp_path / "right.npz").read_bytes()
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name, content in {
        "text.npz": b"joints",
        "empty.npz": b"",
        "cut.npz": whole[: len(whole) // 2],
        "one.npz": (tmp_path / "one.npy").read_bytes(),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a video benchmark"):
            load_video_bench(tmp_path / name)
