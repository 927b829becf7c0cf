"""Motion capture as training files: rate, floor, cuts, and that what is written is what is read."""

import json

import numpy as np
import pytest

from jaxpose.datasets.mocap import load_mocap, load_rotations
from jaxpose.datasets.prepare_mocap import Labels, Piece, Recorded, at_rate, on_floor, pieces, split, write_mocap
from jaxpose.io.smpl_motion import Motion

LABELS = Labels("anna/walk", "anna", "walk", "motion")
ANKLES = [3, 6]


def recorded(num=60, fps=30.0, speed=1.0, **others):
    """A body that walks along x at `speed` m/s with its ankles at 0.08 m; the root turns about y at 0.5 rad/s."""
    t = np.arange(num) / fps
    body = np.random.default_rng(0).normal((0, 1.2, 0), 0.3, (17, 3))
    body[ANKLES, 1] = 0.08
    path = np.stack([speed * t, 0 * t, 0 * t], -1)
    root = np.stack([0 * t, 0.5 * t, 0 * t], -1).astype(np.float32)
    pose = np.random.default_rng(1).normal(0, 0.3, (1, 21, 3)).repeat(num, 0).astype(np.float32)
    motion = Motion(pose, root, (path + np.array([0, 1, 0])).astype(np.float32), fps)
    return Recorded(motion, (body + path[:, None]).astype(np.float32), "test", **others)


@pytest.mark.parametrize("fps", [120.0, 100.0, 24.0, 30.0])
def test_a_take_at_another_rate_is_the_same_motion(fps):
    found = at_rate(recorded(num=int(2 * fps), fps=fps), 30.0)
    assert found.motion.fps == 30
    assert len(found.joints) == len(found.motion.transl)
    assert abs(len(found.joints) - 60) <= 2
    wanted = recorded(num=len(found.joints))
    np.testing.assert_allclose(found.joints, wanted.joints, atol=1e-5)
    np.testing.assert_allclose(found.motion.global_orient, wanted.motion.global_orient, atol=1e-5)
    np.testing.assert_allclose(found.motion.transl, wanted.motion.transl, atol=1e-5)


def test_a_missing_frame_is_missing_at_another_rate():
    take = recorded(num=100, fps=50.0)
    take.joints[40] = np.nan
    bad = np.flatnonzero(~np.isfinite(at_rate(take, 30.0).joints).all((1, 2)))
    np.testing.assert_array_equal(bad, [24])  # frame 24 of 30 fps is frame 40 of 50; its neighbours are not made of it


@pytest.mark.parametrize(
    ("floor", "raised_by", "own", "lift"),
    [
        ("file", 3, True, 0),
        ("feet", 3, True, -3),
        ("auto", 3, True, -3),
        ("auto", 0.1, True, 0),
        ("auto", 0.1, False, -0.1),
    ],
)
def test_the_floor_is_where_it_is_asked_for(floor, raised_by, own, lift):
    take = recorded(own_bones=own)
    up = np.float32([0, raised_by, 0])
    take = take._replace(joints=take.joints + up, motion=take.motion._replace(transl=take.motion.transl + up))
    found, said = on_floor(take, floor)
    assert said == pytest.approx(lift, abs=1e-5)
    np.testing.assert_allclose(found.joints - take.joints, np.broadcast_to((0, lift, 0), (60, 17, 3)), atol=1e-5)
    np.testing.assert_allclose(found.motion.transl - take.motion.transl, np.tile((0, lift, 0), (60, 1)), atol=1e-5)


def test_a_take_is_cut_where_frames_are_missing_or_jump():
    take = recorded(num=60)
    take.joints[20] = np.nan
    for moved in (take.joints, take.motion.transl):
        moved[40:] += (0, 0, 1.0)  # 30 m/s
    found, lost = pieces(LABELS, take)
    assert [(p.labels.name, len(p.recorded.joints)) for p in found] == [
        ("anna/walk#0", 20),
        ("anna/walk#1", 19),
        ("anna/walk#2", 20),
    ]
    assert lost == 1
    for piece in found:
        np.testing.assert_allclose(piece.recorded.joints[0, 0, [0, 2]], 0, atol=1e-6)
        step = piece.recorded.motion.transl[0] - piece.recorded.joints[0, 0]
        np.testing.assert_allclose(step, take.motion.transl[0] - take.joints[0, 0], atol=1e-5)
    assert len(found[0].recorded.motion.body_pose) == 20


def test_a_throw_is_whole_where_it_may_be_as_fast():
    take = recorded(num=60)
    take.joints[30:, 16] += (0.8, 0, 0)  # 25 m/s with the walk
    assert [len(pieces(LABELS, take, fastest)[0]) for fastest in (15.0, 30.0)] == [2, 1]


def test_short_pieces_are_left_out_and_whole_takes_keep_their_name():
    take = recorded(num=60)
    take.joints[9] = np.nan
    found, lost = pieces(LABELS, take)
    assert [(p.labels.name, len(p.recorded.joints)) for p in found] == [("anna/walk", 50)]
    assert lost == 10


def test_a_long_way_is_cut_where_the_integers_end():
    found, lost = pieces(LABELS, recorded(num=400, speed=3.0))
    assert lost == 0
    assert len(found) == 3
    assert max(np.abs(p.recorded.joints).max() for p in found) < 32767 * 0.0005


def test_what_is_written_is_what_training_reads(tmp_path):
    takes = [recorded(num=20 + 10 * i) for i in range(3)]
    turned = takes[1].motion._replace(body_pose=takes[1].motion.body_pose.copy())
    turned.body_pose[:, 0] = (5.0, 0, 0)  # more than half a turn, which AMASS has
    takes[1] = takes[1]._replace(motion=turned)
    labels = [Labels("a/1", "a", "1", "walk"), Labels("b/1", "b", "1", "run"), Labels("a/2#0", "a", "2", "run")]
    found = [Piece(label, take) for label, take in zip(labels, takes, strict=True)]
    write_mocap(tmp_path, found, 30.0, split(found, ["b"]))
    train, val = load_mocap(tmp_path, "train"), load_rotations(tmp_path, "val")
    assert train.name.tolist() == ["a/1", "a/2#0"]
    assert train.category.tolist() == ["walk", "run"]
    np.testing.assert_allclose(train.joints, np.concatenate([takes[0].joints, takes[2].joints]), atol=0.00026)
    assert val.subject.tolist() == ["b"]
    np.testing.assert_allclose(val.body_pose[:, 1:], turned.body_pose[:, 1:], atol=6e-5)
    np.testing.assert_allclose(val.body_pose[:, 0], np.tile((5 - 2 * np.pi, 0, 0), (30, 1)), atol=6e-5)
    with np.load(tmp_path / "mocap" / "mocap.npz") as z:
        assert z["fps"] == 30
        assert z["seq_start"].tolist() == [0, 20, 50]
        np.testing.assert_allclose(
            z["transl"] * z["pos_scale"], np.concatenate([t.motion.transl for t in takes]), atol=3e-4
        )
        assert set(z) >= {"global_orient", "seq_action", "seq_source", "seq_skeleton", "seq_feet_neutral"}
    assert json.loads((tmp_path / "mocap" / "splits.json").read_text())["files"] == ["mocap"]
