"""Rotations to train from: the shared motion capture beside its joint positions, and what goes wrong."""

import json

import numpy as np
import pytest
from shared import refuses

from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap, load_rotations


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "mocap"
    folder.mkdir()
    (folder / "splits.json").write_text(json.dumps({"train": ["a", "c"], "val": ["b"]}))
    np.savez(
        folder / "x.npz",
        body_pose=np.arange(10 * 63, dtype=np.int16).reshape(10, 63),
        rot_scale=np.float32(0.0001),
        seq_start=[0, 3, 7],
        seq_length=[3, 4, 3],
        seq_subject=["a", "b", "c"],
        seq_category=["walk", "run", "dance"],
        seq_name=["a_1", "b_1", "c_1"],
    )
    return tmp_path


def test_splits_frames_and_units(root):
    train = load_rotations(root, "train", ("x", "x"))
    assert train.name.tolist() == ["a_1", "c_1"] * 2
    assert train.sequence.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    rows = np.array([0, 1, 2, 7, 8, 9] * 2)
    np.testing.assert_allclose(train.body_pose[:, 2, 1], (63 * rows + 7) * 1e-4, rtol=1e-6)
    for name in ("val", "valid"):
        assert load_rotations(root, name, ("x",)).subject.tolist() == ["b"]
    # as many frames of each of two categories: weights cannot differ
    np.testing.assert_allclose(balanced_weights(train), 1 / 12)


def test_faults_are_named(root, tmp_path):
    refuses(r"split: got 'test'; must be one of \['train', 'val'\]", load_rotations, root, "test", ("x",))
    refuses(r"y\.npz: no such file", load_rotations, root, "val", ("x", "y"))
    refuses("files: got none", load_rotations, root, "val", ())
    np.savez(root / "mocap" / "y.npz", body_pose=np.zeros((1, 63)))
    refuses(r"y\.npz: lacks rot_scale, seq_start", load_rotations, root, "val", ("y",))
    refuses(r"found neither, needed mocap/splits\.json", load_rotations, tmp_path / "nowhere", "val")


def test_the_shared_data_row_for_row_with_its_joints():
    """The bend of the knee's rotation is the angle between thigh and shin, frame by frame."""
    if not (data_root() / "mocap" / "cmu.npz").is_file():
        pytest.skip("shared mocap data is not here")
    rotations, mocap = load_rotations(data_root(), "val"), load_mocap(data_root(), "val")
    np.testing.assert_array_equal(rotations.name, mocap.name)
    np.testing.assert_array_equal(rotations.sequence, mocap.sequence)
    np.testing.assert_array_equal(balanced_weights(rotations), balanced_weights(mocap))
    hip, knee, ankle = (mocap.joints[:, j] for j in (1, 2, 3))
    thigh, shin = knee - hip, ankle - knee
    cosine = (thigh * shin).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shin, axis=-1)
    knee_rotation = rotations.body_pose[:, 4].astype(float)
    angle = np.linalg.norm(knee_rotation, axis=-1)
    axis = knee_rotation / angle[:, None]
    # down (0, -1, 0) after the knee's rotation: its y is -(cos a + (1 - cos a) n_y^2)
    bend = np.cos(angle) + (1 - np.cos(angle)) * axis[:, 1] ** 2
    assert np.median(np.abs(np.degrees(np.arccos(bend) - np.arccos(cosine)))) < 3
