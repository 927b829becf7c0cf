"""The benchmark's file of clips."""

import numpy as np
import pytest
from shared import BENCH, needs_bench, refuses

from jaxpose.evaluation.protocols import load_video_bench


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
        ({"fps": None}, r"lacks fps"),
        ({"keypoints": np.zeros((2, 5, 17, 2))}, r"'keypoints' must be .*\(2, 4, 17, 2\), got \(2, 5, 17, 2\)"),
        ({"joints_cam": np.zeros((2, 4, 16, 3))}, r"'joints_cam' must be .*\(2, 4, 17, 3\), got \(2, 4, 16, 3\)"),
        ({"name": np.full(3, "a/b")}, r"'name' must be .*\(2,\), got \(3,\)"),
        ({"fps": np.zeros(2)}, r"fps \[0.0, 0.0\]; needed one positive number"),
        ({"fps": np.float32(0)}, "fps 0.0; needed one positive number"),
        ({"name": np.array([{}, {}])}, "Object arrays"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, change, message):
    path = tmp_path / "clips.npz"
    np.savez(path, **{k: v for k, v in (arrays() | change).items() if v is not None})
    refuses(f"clips.npz: .*{message}", load_video_bench, path)
