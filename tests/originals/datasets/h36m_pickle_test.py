"""Human3.6M's pickled lists, written here as LCN's tools write them, against conversions done frame by frame."""

import io
import pickle
import tracemalloc

import numpy as np
import pytest
from shared import refuses

from jaxpose.io.untrusted.pickled_list import PickledList
from jaxpose.originals.datasets.h36m import load_frames
from jaxpose.originals.datasets.h36m_pickle import prepare_pickles

NAMES = ("54138969", "55011271", "58860488", "60457274")


def lcn_frames(lengths, seed=0):
    """Frames of one video for each length, as LCN's tools make them: what they share is shared here."""
    rng = np.random.default_rng(seed)
    calibrated = [
        [rng.normal(size=s) for s in ((3, 3), (3, 1), (2, 1), (2, 1), (3, 1), (2, 1))] + [name] for name in NAMES
    ]
    for _, _, f, c, *_ in calibrated:
        f += 1145
        c += 512
    frames = []
    for video, length in enumerate(lengths):
        R, T, f, c, k, p, name = calibrated[video % 4]
        camera = {"R": R, "T": T, "fx": f[0], "fy": f[1], "cx": c[0], "cy": c[1], "k": k, "p": p, "name": name}
        joints = rng.normal((0, 0, 5000), 300, (length, 17, 3))
        for i in range(length):
            frames.append(lcn_frame(joints[i], camera, video, i))
    return frames


def lcn_frame(joints, camera, video, i):
    fx, fy, cx, cy = (camera[key].item() for key in ("fx", "fy", "cx", "cy"))
    x, y, z = joints[0]
    box = np.array(
        [fx * (x - 1000) / z + cx, fy * (y - 1000) / z + cy, fx * (x + 1000) / z + cx, fy * (y + 1000) / z + cy]
    )
    image = np.zeros_like(joints)
    for j, (X, Y, Z) in enumerate(joints):
        image[j] = fx * X / Z + cx, fy * Y / Z + cy, (box[2] - box[0] + 1) / 2000 * (Z - z)
    return {
        "videoid": video,
        "cameraid": video % 4,
        "camera_param": camera,
        "imageid": i,
        "image_path": f"s_05_act_02_subact_01_ca_01/s_05_act_02_subact_01_ca_01_{video}_{i + 1:06}.jpg",
        "joint_3d_image": image,
        "joint_3d_camera": joints,
        "center": (0.5 * (box[0] + box[2]), 0.5 * (box[1] + box[3])),
        "scale": ((box[2] - box[0]) / 200.0, (box[3] - box[1]) / 200.0),
        "box": box,
        "subject": np.int64(5),
        "action": 2 + video % 15,
        "subaction": 1,
        "root_depth": joints[0, 2],
    }


def detections_of(frames, seed=1):
    rng = np.random.default_rng(seed)
    noisy = np.stack([f["joint_3d_image"] for f in frames]) + rng.normal(0, 5, (len(frames), 17, 3))
    half = len(frames) // 2
    confidence = rng.uniform(size=(len(frames), 17, 1))
    return {
        "train": {"joint3d_image": noisy, "confidence": confidence},
        "test": {"joint3d_image": noisy[:half], "confidence": confidence[:half]},
    }


def dump(path, value, protocol=4):
    with open(path, "wb") as file:
        pickle.dump(value, file, protocol)
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_every_number_is_the_files(tmp_path, protocol):
    frames = lcn_frames([4, 1, 3, 2, 5])
    detections = detections_of(frames)
    poses = dump(tmp_path / "h36m_train.pkl", frames, protocol)
    detected = dump(tmp_path / "h36m_sh_dt_ft.pkl", detections, protocol)
    (line,) = prepare_pickles(poses, detected, "train", tmp_path / "out")
    assert "15 frames, keypoints" in line
    out = load_frames(tmp_path / "out")
    assert len(out.frame) == 15
    for n, frame in enumerate(frames):
        camera = frame["camera_param"]
        np.testing.assert_allclose(out.image[n], frame["joint_3d_image"], rtol=1e-6)
        np.testing.assert_allclose(out.camera[n] * 1000, frame["joint_3d_camera"], rtol=1e-6)
        np.testing.assert_allclose(out.ratio[n], camera["fx"].item() / frame["root_depth"] * 1000 + 0.5, rtol=1e-6)
        np.testing.assert_allclose(out.root_depth[n], frame["joint_3d_camera"][0, 2] / 1000, rtol=1e-6)
        np.testing.assert_allclose(out.intrinsics[n], [camera[k][0] for k in ("fx", "fy", "cx", "cy")], rtol=1e-6)
        ids = [out.action[n], out.subject[n], out.video[n], out.frame[n], out.camera_id[n]]
        assert ids == [frame[k] for k in ("action", "subject", "videoid", "imageid", "cameraid")]
        # the box' ratio turns depth in pixels back into the camera's metres
        depth = out.image[n, :, 2] / out.ratio[n] + out.root_depth[n]
        np.testing.assert_allclose(depth, out.camera[n, :, 2], atol=2e-6)
    np.testing.assert_allclose(out.keypoints, detections["train"]["joint3d_image"][..., :2], rtol=1e-6)
    np.testing.assert_allclose(out.confidence, detections["train"]["confidence"][..., 0], rtol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h36m_sh_dt_ft.pkl", "h36m_train.pkl", "out"]


def test_long_lists_keep_what_videos_share_and_without_detections_show_the_truth(tmp_path):
    """Videos longer than a batch refer to a camera of long before; the fifth to the parts of the first's."""
    lengths = [1200, 900, 700, 300, 400]
    frames = lcn_frames(lengths)
    list(prepare_pickles(dump(tmp_path / "a.pkl", frames, 2), None, "train", tmp_path / "out"))
    out = load_frames(tmp_path / "out")
    np.testing.assert_array_equal(out.video, np.repeat(np.arange(5), lengths))
    fx = [f["camera_param"]["fx"].item() for f in frames]
    np.testing.assert_allclose(out.intrinsics[:, 0], fx, rtol=1e-6)
    np.testing.assert_allclose(out.camera, np.stack([f["joint_3d_camera"] for f in frames]) / 1000, rtol=1e-6)
    np.testing.assert_array_equal(out.keypoints, out.image[..., :2])
    assert (out.confidence == 1).all()


def test_matlab_scalars_are_numbers(tmp_path):
    frames = lcn_frames([3])
    plain = [dict(f) for f in frames]
    for frame in frames:
        for key in ("videoid", "imageid", "action", "root_depth"):
            frame[key] = np.array([[frame[key]]])
        frame["subject"] = np.uint8(5)
    list(prepare_pickles(dump(tmp_path / "a.pkl", frames), None, "train", tmp_path / "a"))
    list(prepare_pickles(dump(tmp_path / "b.pkl", plain), None, "train", tmp_path / "b"))
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {n for n in a if a[n] != b[n]} == {"meta.json"}, "which names the source"


def with_item(key, value):
    return lambda frames: frames[7].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[7].update({"\x1b": f[7].pop("root_depth")}), r"7 lacks 'root_depth'; it has \?, action, box"),
        (lambda f: f.__setitem__(7, [1, 2]), "frame 7: a list; needed a dict"),
        (with_item("joint_3d_image", np.zeros((16, 3))), r"joint_3d_image: .*\(17, 3\), got an array .* \(16, 3\)"),
        (with_item("joint_3d_image", np.full((17, 3), np.nan)), "frame 7, joint_3d_image: a number that is not finite"),
        (with_item("box", np.array([0.0, 0, 1, 1])), "frame 7, box: a width that disagrees with fx / root_depth"),
        (with_item("root_depth", -5.0), "frame 7, root_depth: a root that is not in front of the camera"),
        (with_item("camera_param", "54138969"), "frame 7, camera_param: needed a dict, got str"),
        (with_item("camera_param", {"fx": 0, "fy": 1, "cx": 0, "cy": 0}), "frame 7, camera_param: .*fx and fy > 0"),
    ],
)
def test_a_bad_frame_is_named(tmp_path, change, message):
    frames = lcn_frames([5, 5])
    change(frames)
    poses = dump(tmp_path / "a.pkl", frames)
    with pytest.raises(ValueError, match=message) as error:
        list(prepare_pickles(poses, None, "train", tmp_path / "out"))
    assert str(error.value).startswith(str(poses))
    refuses("split: got 'val', must be one of train, test", list, prepare_pickles(poses, None, "val", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_reference_to_what_was_let_go_raises():
    """Within a batch it is followed; to an element read long before it is an error, never another object."""
    shared = [[i] for i in range(2500)]
    near, far = [*shared, shared[2400]], [*shared, shared[3]]
    letters = [[bytes([i % 100]), chr(i % 100), np.uint8(i % 100)] for i in range(2500)]
    assert read_all(letters) == letters, "of a letter there is one object, wherever it stands"
    assert read_all(near) == near
    with pytest.raises(pickle.UnpicklingError, match="of an element that was read long before"):
        read_all(far)


def test_memory_is_that_of_a_batch():
    """Of 40 MB of elements, each 10 kB with parts of its own, some 1,000 are alive at a time."""
    data = pickle.dumps([{"a": bytes(5000) + bytes([i % 256]), "b": (str(i) * 1000,)} for i in range(4000)], 4)
    tracemalloc.start()
    count = sum(len(batch) for batch in PickledList(io.BytesIO(data)).batches())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000
    assert peak < 0.75 * len(data), f"{peak / 1e6:.0f} MB for a file of {len(data) / 1e6:.0f} MB"


def read_all(value):
    return [element for batch in PickledList(io.BytesIO(pickle.dumps(value))).batches() for element in batch]
