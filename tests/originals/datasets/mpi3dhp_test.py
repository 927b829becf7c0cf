"""MPI-INF-3DHP's archives, written as P-STMO writes them: joints, units, fitted cameras, missing truth, faults."""

import json

import numpy as np
import pytest

from jaxpose.geometry.skeleton import H36M_17, MPI3DHP_17
from jaxpose.geometry.windows import tile
from jaxpose.originals.datasets.h36m import has_truth, load_frames
from jaxpose.originals.datasets.mpi3dhp import fit_intrinsics, image_size, prepare_3dhp

CAMERAS = ["0", "1", "2", "4", "5", "6", "7", "8"]
# fx, fy, cx, cy of two of the data set's lenses: a chest-high camera of the studio, and TS5's and TS6's
STUDIO, OUTDOORS = (1497.693, 1497.103, 1024.704, 1051.394), (1683.983, 1672.594, 939.858, 560.141)


def person(count, seed=0):
    """[F, 17, 3] millimetres, in the file's joint order: someone about 4 m away, walking through the image."""
    rng = np.random.default_rng(seed)
    root = np.linspace((-900, -100, 4500), (900, 100, 3500), count)[:, None]
    return root + rng.normal(0, 350, (count, 17, 3))


def project(x, intrinsics=STUDIO):
    fx, fy, cx, cy = intrinsics
    return np.stack([fx * x[..., 0] / x[..., 2] + cx, fy * x[..., 1] / x[..., 2] + cy], -1)


def camera_of(seed, shift=0.0, count=8, kind=np.float32):
    x = person(count, seed)
    intrinsics = np.array(STUDIO) + shift
    return {"data_2d": project(x, intrinsics).astype(kind), "data_3d": x.astype(kind)}


def train_tree():
    """Two sequences; every camera has its own person and lens."""
    return {
        "S1 Seq1": [{c: camera_of(i, 10 * i) for i, c in enumerate(CAMERAS)}, 25],
        "S3 Seq2": [{c: camera_of(20 + i, -5 * i, 5) for i, c in enumerate(CAMERAS)}, 50],
    }


def test_tree():
    """A studio and an outdoor sequence in double precision, as h5py reads them; half of the frames are scored."""
    studio, outdoors = person(12, 50), person(6, 51)
    return {
        "TS1": {"data_2d": project(studio), "data_3d": studio, "valid": np.tile([0.0, 1.0], 6)},
        "TS6": {
            "data_2d": project(outdoors, OUTDOORS),
            "data_3d": outdoors,
            "valid": np.array([1, 1, 0, 0, 1, 1], np.uint8),
        },
    }


test_tree.__test__ = False


def write(path, tree):
    np.savez_compressed(path, data=tree)
    return path


def prepare(folder, tree, split):
    lines = list(prepare_3dhp(write(folder / f"data_{split}_3dhp.npz", tree), split, folder / "out"))
    return lines, load_frames(folder / "out")


def test_train_is_one_video_for_each_camera(tmp_path):
    tree = train_tree()
    lines, frames = prepare(tmp_path, tree, "train")
    np.testing.assert_array_equal(frames.video, np.repeat(range(16), [8] * 8 + [5] * 8))
    np.testing.assert_array_equal(frames.subject, np.repeat([1, 3], [64, 40]))
    cameras = np.tile([0, 1, 2, 4, 5, 6, 7, 8], 2)
    np.testing.assert_array_equal(frames.camera_id, np.repeat(cameras, [8] * 8 + [5] * 8))
    np.testing.assert_array_equal(frames.frame, [*range(8)] * 8 + [*range(5)] * 8)
    assert not frames.action.any()
    assert (frames.confidence == 1).all()
    assert has_truth(frames).all()
    assert len(lines) == 17
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert meta["split"] == "train"
    assert meta["videos"][9] == {"name": "S3 Seq2", "camera": 1, "fps": 50.0}


def test_joints_are_taken_by_name_and_in_metres(tmp_path):
    """A joint that both sets name is copied; Human3.6M's thorax, neck/nose and head are neck, head base and head."""
    tree = train_tree()
    _, frames = prepare(tmp_path, tree, "train")
    mine = (frames.subject == 3) & (frames.camera_id == 5)
    source = tree["S3 Seq2"][0]["5"]
    renamed = {"thorax": "neck", "neck_nose": "head_base"}
    renamed |= {f"{side}_foot": f"{side}_ankle" for side in ("left", "right")}
    for j, name in enumerate(H36M_17.joints):
        name = name if name in MPI3DHP_17.joints else renamed[name]
        at = MPI3DHP_17.joints.index(name)
        np.testing.assert_allclose(frames.camera[mine][:, j], source["data_3d"][:, at] / 1000, rtol=1e-6)
        np.testing.assert_array_equal(frames.keypoints[mine][:, j], source["data_2d"][:, at])
    # spec/diffpose.md, 6.4: the file's left and right joints, and its root
    names = [MPI3DHP_17.joints.index(H36M_17.joints[j]) for j in (0, 4, 11, 1, 14)]
    assert names == [14, 11, 5, 8, 2]


def test_cameras_are_found_from_the_projections(tmp_path):
    """Of every sequence and camera; image, ratio and root depth follow (spaces/image_depth.py, written out)."""
    _, frames = prepare(tmp_path, train_tree(), "train")
    for number in range(16):
        row = int(np.argmax(frames.video == number))
        shift = 10 * number if number < 8 else -5 * (number - 8)
        np.testing.assert_allclose(frames.intrinsics[row], np.array(STUDIO) + shift, atol=1e-3, rtol=1e-6)
    x, fx = frames.camera.astype(float), frames.intrinsics[:, :1].astype(float)
    np.testing.assert_allclose(frames.image[..., :2], frames.keypoints, atol=2e-3)
    np.testing.assert_allclose(frames.root_depth, x[:, 0, 2])
    ratio = fx / x[:, :1, 2] + 0.5
    np.testing.assert_allclose(frames.ratio, ratio[:, 0], rtol=1e-6)
    np.testing.assert_allclose(frames.image[..., 2], ratio * (x[..., 2] - x[:, :1, 2]), atol=2e-3)


def test_outliers_do_not_move_the_camera_and_noise_hardly():
    x = person(400, 3)
    rng = np.random.default_rng(4)
    wrong = rng.random((400, 17)) < 0.15
    uv = np.where(wrong[..., None], rng.uniform(0, 2048, (400, 17, 2)), project(x))
    fitted, residual = fit_intrinsics(x, uv)
    np.testing.assert_allclose(fitted, STUDIO, atol=1e-3)
    assert residual < 1e-3
    fitted, residual = fit_intrinsics(x, uv + rng.normal(0, 2, uv.shape))
    np.testing.assert_allclose(fitted, STUDIO, atol=2)
    assert residual == pytest.approx(2 * np.sqrt(2 * np.log(2)), rel=0.3), "the median of a Rayleigh distribution"


def test_frames_of_the_test_that_are_not_scored_are_seen_and_have_no_truth(tmp_path):
    """The clock goes on: a window of video shows frames whether they are scored or not."""
    tree = test_tree()
    tree["TS1"]["data_3d"][4] = 0  # whatever stands where it is not valid
    tree["TS6"]["data_3d"][2] = np.nan
    lines, frames = prepare(tmp_path, tree, "test")
    assert "18 frames, 10 of them with a true pose" in lines[-1]
    np.testing.assert_array_equal(frames.frame, [*range(12), *range(6)])
    np.testing.assert_array_equal(frames.subject, np.repeat([101, 106], [12, 6]))
    scored = np.array([0, 1] * 6 + [1, 1, 0, 0, 1, 1], bool)
    np.testing.assert_array_equal(has_truth(frames), scored)
    for name in ("image", "camera", "ratio", "root_depth"):
        values = getattr(frames, name).reshape(18, -1)
        np.testing.assert_array_equal(np.isnan(values).all(1), ~scored)
        assert np.isfinite(values[scored]).all()
    assert np.isfinite(frames.keypoints).all()
    np.testing.assert_allclose(frames.intrinsics[[0, 12]], [STUDIO, OUTDOORS], atol=1e-3, rtol=1e-6)
    assert [int(x[0]) for x in image_size(frames.subject[:1])] == [2048, 2048]
    assert [int(x[0]) for x in image_size(frames.subject[12:])] == [1920, 1080]


def test_a_frame_without_keypoints_is_a_gap_that_windows_keep_apart(tmp_path):
    tree = test_tree()
    tree["TS1"]["data_2d"][4, 3] = np.nan  # frame 4 is not scored
    _, frames = prepare(tmp_path, tree, "test")
    first = frames.video == 0
    assert frames.frame[first].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    windows = tile(frames.video, frames.frame, 4)
    assert frames.frame[windows.index[:3]].tolist() == [[0, 1, 2, 3], [5, 6, 7, 8], [8, 9, 10, 11]]


def change(path, value):
    """A function that puts `value` at a path of keys, or removes what is there."""

    def apply(tree):
        for key in path[:-1]:
            tree = tree[key]
        if value is None:
            del tree[path[-1]]
        else:
            tree[path[-1]] = value(tree[path[-1]]) if callable(value) else value

    return apply


def with_nan(frame):
    def apply(array):
        array = array.copy()
        array[frame, 0, 0] = np.nan
        return array

    return apply


def with_joint_behind(frame):
    def apply(array):
        array = array.copy()
        array[frame, 2, 2] *= -1
        return array

    return apply


ONE = ("S1 Seq1", 0, "4")
FAULTS = [
    ("train", change(["S1 Seq1"], lambda old: old[:1]), "S1 Seq1: needed a list of a dict of cameras and the frame"),
    ("train", change(["S1 Seq1", 1], "fast"), "S1 Seq1: needed a frame rate, a number above 0, got str 'fast'"),
    ("train", change(["S9 Seq1"], [{}, 25]), r"a sequence 'S9 Seq1'; must be one of S1\.\.S8"),
    ("train", lambda tree: tree.clear(), "'data' is empty; needed sequences S1"),
    ("train", change([*ONE, "data_2d"], lambda x: x[:5]), "camera 4: 5 frames in data_2d, 8 in data_3d"),
    ("train", change([*ONE, "data_3d"], with_nan(3)), "camera 4, data_3d: frame 3 is not finite"),
    ("train", change([*ONE, "data_3d"], lambda x: x / 1000), "camera 4: the person is .* away; needed millimetres"),
    ("train", change([*ONE, "data_3d"], with_joint_behind(5)), "camera 4: frame 5 has a joint behind the camera"),
    ("train", change([*ONE, "data_2d"], lambda x: x / 2048), "camera 4: the best fit has focal length 1,"),
    ("test", change(["TS1", "valid"], lambda x: 0 * x), "TS1, valid: no frame is valid"),
]


@pytest.mark.parametrize(("split", "spoil", "message"), FAULTS)
def test_faults_are_named_and_leave_nothing(tmp_path, split, spoil, message):
    tree = train_tree() if split == "train" else test_tree()
    spoil(tree)
    file = write(tmp_path / "data.npz", tree)
    with pytest.raises(ValueError, match=message) as error:
        list(prepare_3dhp(file, split, tmp_path / "out"))
    assert str(file) in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]
