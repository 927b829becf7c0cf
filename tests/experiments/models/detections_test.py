"""Shards of rendered frames as training reads them: places, joints and the frames that are left out."""

import numpy as np
import pytest
from shared import refuses

from experiments.models.detections import load_detections
from jaxpose.files import write_npz
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33

SAME = [name for name in H36M_17.joints if name in MEDIAPIPE_33.joints]


SHIFT = {"lite": np.array([6.0, 8]), "heavy": np.array([2.0, 0])}  # px; others are exact


def shard(**changes):
    """Five frames with landmarks at random places in metres, 4 m away, read exactly by full and nearly by others."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.3, (5, 33, 3)) + np.array([0.2, 0.1, 4])
    intrinsics = np.tile([500.0, 510.0, 320.0, 240.0], (5, 1))
    xy = points[..., :2] / points[..., 2:] * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
    joints = points[:, [MEDIAPIPE_33.joints.index(name) if name in SAME else 0 for name in H36M_17.joints]]
    fields = {"joints": joints, "intrinsics": intrinsics, "R_cam_world": np.tile(np.diag([1.0, -1, -1]), (5, 1, 1))}
    for name in ("full", "lite", "heavy", "mirrored"):
        fields |= {f"{name}.{field}": np.ones((5, 33)) for field in ("visibility", "peak", "second", "spread")}
        fields |= {f"{name}.crop": np.tile([320.0, 240, 300, 0], (5, 1)), f"{name}.presence": np.ones(5)}
        fields |= {f"{name}.xy": xy + SHIFT.get(name, 0)}
    fields |= {"clip": np.arange(5), "seconds": np.zeros(5)}
    return {k: np.asarray(v, np.float32) for k, v in (fields | changes).items()}


def write(folder, **changes):
    (folder / "train").mkdir()
    write_npz(folder / "train" / "00000.npz", shard(**changes))
    return str(folder)


def test_keypoints_are_those_of_the_joints(tmp_path):
    data, _ = load_detections(write(tmp_path), ("full",))
    at = [H36M_17.joints.index(name) for name in SAME]
    truth = np.asarray(data.x_cam)[:, at]
    np.testing.assert_allclose(data.xy[:, 0, at], truth[..., :2] / truth[..., 2:], atol=1e-5)
    np.testing.assert_allclose(data.up_cam, np.tile([0, -1, 0], (5, 1)))
    assert not np.asarray(data.confidence[:, 0, H36M_17.joints.index("spine")]).any(), "BlazePose has no spine"


def test_the_mean_of_two_networks_is_a_detector_and_their_distance_the_evidence(tmp_path):
    """In the unit of the plane: pixels over the focal length."""
    data, _ = load_detections(write(tmp_path), ("full", "lite", "mean"))
    at = [H36M_17.joints.index(name) for name in SAME]
    xy = np.asarray(data.xy)[:, :, at]
    np.testing.assert_allclose(
        xy[:, 2] - xy[:, 0], np.broadcast_to(np.array([3 / 500, 4 / 510]), (5, len(at), 2)), atol=1e-5
    )
    np.testing.assert_allclose(xy[:, 1] - xy[:, 0], 2 * (xy[:, 2] - xy[:, 0]), atol=1e-5)
    np.testing.assert_allclose(data.evidence[:, at, 0], 10 / np.sqrt(500 * 510), rtol=1e-4)


def test_full_stands_in_where_another_network_did_not_read(tmp_path):
    presence = np.array([1, 1, 0.2, np.nan, 1])
    data, _ = load_detections(write(tmp_path, **{"heavy.presence": presence}), ("full", "heavy"))
    at = H36M_17.joints.index("left_knee")
    same = np.abs(np.asarray(data.xy)[:, 1, at] - np.asarray(data.xy)[:, 0, at]).max(-1) < 1e-6
    np.testing.assert_array_equal(same, [False, False, True, True, False])


def test_frames_without_a_person_and_hidden_landmarks_are_left_out(tmp_path):
    visibility, presence = np.ones((5, 33)), np.array([1, np.nan, 0.4, 1, 1])
    visibility[3], visibility[4, MEDIAPIPE_33.joints.index("left_wrist")] = 0.05, 0.05
    changes = {"full.visibility": visibility, "full.presence": presence}
    data, _ = load_detections(write(tmp_path, **changes), ("full",))
    assert len(data.xy) == 2  # the first and the last
    np.testing.assert_array_equal(np.asarray(data.confidence)[:, 0, H36M_17.joints.index("left_wrist")] > 0, [1, 0])


def test_a_folder_without_frames_is_refused(tmp_path):
    refuses("no shard", load_detections, str(tmp_path), ("full",))
    with pytest.raises(ValueError, match="no frame that full read"):
        load_detections(write(tmp_path, **{"full.visibility": np.zeros((5, 33))}), ("full",))


def test_runs_are_rows_of_a_clip_at_equal_distances(tmp_path):
    """Two frames of a clip at 10 a second, of whose third full reads nothing, and two of another at 30."""
    presence = np.array([1, 1, 0, 1, 1])
    changes = {"clip": np.array([4, 4, 4, 5, 5]), "seconds": np.array([0, 0.1, 0.2, 0, 1 / 30])}
    _, runs = load_detections(write(tmp_path, **changes, **{"full.presence": presence}), ("full",))
    np.testing.assert_array_equal(runs.first, [0, 0, 2, 2])
    np.testing.assert_array_equal(runs.last, [1, 1, 3, 3])
    np.testing.assert_array_equal(runs.step, [3, 3, 1, 1])


def test_a_run_ends_where_a_frame_is_missing(tmp_path):
    changes = {"clip": np.zeros(5), "seconds": np.arange(5) / 15, "full.presence": np.array([1, 1, 1, 0, 1])}
    _, runs = load_detections(write(tmp_path, **changes), ("full",))
    np.testing.assert_array_equal(runs.last, [2, 2, 2, 3])
    np.testing.assert_array_equal(runs.step, [2, 2, 2, 1])
