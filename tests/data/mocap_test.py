"""The mocap reader: splits honoured, units, weights, errors; on files the test writes, and on the real ones."""

import json

import numpy as np
import pytest

from jaxpose.data.mocap import balanced_weights, data_root, load_mocap


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "mocap"
    folder.mkdir()
    (folder / "splits.json").write_text(json.dumps({"train": ["a", "c"], "val": ["b"]}))
    joints = np.arange(10 * 17 * 3, dtype=np.int16).reshape(10, 17, 3)
    np.savez(
        folder / "x.npz",
        joints17=joints,
        pos_scale=0.0005,
        seq_start=[0, 3, 7],
        seq_length=[3, 4, 3],
        seq_subject=["a", "b", "c"],
        seq_category=["walk", "run", "dance"],
        seq_name=["a_1", "b_1", "c_1"],
    )
    return tmp_path


def test_splits_frames_and_units(root):
    train = load_mocap(root, "train", ("x",))
    assert train.subject.tolist() == ["a", "c"]
    assert train.sequence.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(
        train.joints[:, 0, 0], np.array([0, 51, 102, 357, 408, 459]) * 0.0005, rtol=1e-6
    )
    both = load_mocap(root, "val", ("x", "x"))
    assert both.sequence.tolist() == [0] * 4 + [1] * 4
    assert len(both.name) == 2


def test_balanced_weights(root):
    mocap = load_mocap(root, "train", ("x",))
    np.testing.assert_allclose(balanced_weights(mocap, 1.0), 1 / 6)
    uneven = mocap._replace(joints=mocap.joints[:4], sequence=np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(balanced_weights(uneven, 0.0), [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    np.testing.assert_allclose(balanced_weights(uneven, 0.5)[3], 1 / (1 + np.sqrt(3)))
    with pytest.raises(ValueError, match=r"power must be in \[0, 1\], got 2"):
        balanced_weights(mocap, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: load_mocap(r, "test", ("x",)), r"split: got 'test', legal are \['train', 'val'\]"),
        (lambda r: load_mocap(r, "val", ("y",)), r"y\.npz: no such file"),
        (lambda r: load_mocap(r / "nowhere", "val"), "no splits.json there"),
        (
            lambda r: (np.savez(r / "mocap" / "z.npz", a=1), load_mocap(r, "val", ("z",))),
            r"z\.npz: lacks \['joints17'",
        ),
    ],
)
def test_errors_name_what_is_wrong(root, change, message):
    with pytest.raises(ValueError, match=message):
        change(root)


@pytest.mark.skipif(not (data_root() / "mocap").is_dir(), reason="JAXPOSE_DATA (../shared/data) is absent")
def test_real_files_have_human_bones_and_disjoint_subjects():
    train, val = load_mocap(data_root(), "train"), load_mocap(data_root(), "val")
    assert not set(train.subject) & set(val.subject)
    assert len(train.joints) + len(val.joints) == 80_350 + 14_013
    thigh = np.median(np.linalg.norm(train.joints[:, 2] - train.joints[:, 1], axis=-1))
    assert 0.36 < thigh < 0.44  # metres; the README's median is 0.40
