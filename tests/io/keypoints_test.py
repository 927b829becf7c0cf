"""Array files in every legal shape are read back; what every format becomes; bad input must name itself."""

import numpy as np
import pytest
from keypoint_files import coco_results, people, same, write
from shared import DATA, needs_keypoints, refuses

from jaxpose.geometry.skeleton import BODY_25B, COCO_17, H36M_17, HALPE_26, MPII_16
from jaxpose.io.keypoints import read_keypoints, rescaled

# Arrays


def test_npz_with_the_keys_of_the_benchmark(tmp_path):
    values = people(3, 17)
    intrinsics = np.array([1145.0, 1143.5, 512.5, 515.25]) + np.arange(3)[:, None]
    np.savez(
        tmp_path / "k.npz",
        keypoints=values[..., :2],
        confidence=values[..., 2],
        intrinsics=intrinsics,
        frame=np.array([220, 10, 220], np.int32),
        name=np.array(["a", "b", "a"]),
        fps=30.0,
        image_size=[1000, 1002],
    )
    kp = read_keypoints(tmp_path / "k.npz", skeleton=H36M_17)
    same(kp, values, H36M_17)
    np.testing.assert_array_equal(kp.intrinsics, intrinsics)
    assert kp.frame.tolist() == [220, 10, 220]
    assert kp.person.tolist() == [0, 0, 1]
    assert (kp.image, kp.fps, kp.image_size) == (("a", "b", "a"), 30.0, (1000, 1002))


@pytest.mark.parametrize("skeleton", [H36M_17, COCO_17, BODY_25B], ids=lambda s: s.name)
@pytest.mark.parametrize("shuffled", [False, True])
def test_npz_joint_names_decide(tmp_path, skeleton, shuffled):
    values = people(2, len(skeleton.joints))
    order = np.random.default_rng(1).permutation(len(skeleton.joints)) if shuffled else slice(None)
    np.savez(tmp_path / "k.npz", keypoints=values[:, order], joints=np.array(skeleton.joints)[order])
    same(read_keypoints(tmp_path / "k.npz"), values, skeleton)
    np.savez(tmp_path / "k.npz", keypoints=values, skeleton=skeleton.name)
    same(read_keypoints(tmp_path / "k.npz"), values, skeleton)


def test_names_select_a_part_but_never_another_set(tmp_path):
    values = people(2, 26)
    np.savez(tmp_path / "k.npz", keypoints=values, joints=HALPE_26.joints)
    same(read_keypoints(tmp_path / "k.npz", skeleton=COCO_17), values[:, :17], COCO_17)
    np.savez(tmp_path / "k.npz", keypoints=values[:, :17], joints=COCO_17.joints)
    with pytest.raises(
        ValueError, match=r"lack \['hip', 'spine', 'thorax', 'neck_nose', 'head'\] of the skeleton h36m17"
    ):
        read_keypoints(tmp_path / "k.npz", skeleton=H36M_17)


def test_a_part_of_a_set_in_any_order_lacks_the_other_joints(tmp_path):
    values = people(2, 17)
    names = ("left_hip", "right_hip", "right_knee", "left_knee", "nose", "left_ankle")
    places = [COCO_17.joints.index(name) for name in names]
    np.savez(tmp_path / "k.npz", keypoints=values[:, places], joints=names)
    hidden = np.zeros_like(values)
    hidden[:, places] = values[:, places]
    for skeleton in (None, COCO_17):
        found = read_keypoints(tmp_path / "k.npz", skeleton=skeleton)
        columns = [found.skeleton.joints.index(name) for name in names]
        same(
            found._replace(xy=found.xy[:, columns], confidence=found.confidence[:, columns]),
            values[:, places],
            found.skeleton,
        )
        assert (found.confidence > 0).sum() == (values[:, places, 2] > 0).sum()
        assert found.ignored == 0


def test_names_of_the_users_own_need_the_skeleton(tmp_path):
    values = people(2, 17)
    np.savez(tmp_path / "k.npz", keypoints=values, joints=[f"marker{i}" for i in range(17)])
    refuses(r"'marker0'.*name the skeleton", read_keypoints, tmp_path / "k.npz")
    same(read_keypoints(tmp_path / "k.npz", skeleton=H36M_17), values, H36M_17)


def test_npz_clips_become_tracks(tmp_path):
    values = people(6, 26).reshape(2, 3, 26, 3)
    intrinsics = [[1000, 1001, 5, 6], [2000, 2001, 7, 8]]
    np.savez(tmp_path / "k.npz", keypoints=values, intrinsics=intrinsics, frame=[243, 0], name=["a", "b"])
    kp = read_keypoints(tmp_path / "k.npz")
    same(kp, values.reshape(6, 26, 3), HALPE_26)
    assert kp.frame.tolist() == [243, 244, 245, 0, 1, 2]
    assert kp.person.tolist() == [0, 0, 0, 1, 1, 1]
    assert kp.image == ("a", "a", "a", "b", "b", "b")
    np.testing.assert_array_equal(kp.intrinsics, np.repeat(intrinsics, 3, 0))


def test_npz_of_several_cameras_gives_the_named_one(tmp_path):
    values = people(6, 26).reshape(3, 2, 26, 3)
    matrix = np.array([[[900, 0, 5], [0, 901, 6], [0, 0, 1]], [[800, 0, 7], [0, 801, 8], [0, 0, 1]]], float)
    sizes = [[1088, 1920], [640, 480]]
    np.savez(tmp_path / "k.npz", keypoints=values, K=matrix, size=sizes, camera=["left", "right"], frame=[4, 5, 6])
    kp = read_keypoints(tmp_path / "k.npz", camera="right")
    same(kp, values[:, 1], HALPE_26)
    np.testing.assert_array_equal(kp.intrinsics, [[800, 801, 7, 8]] * 3)
    assert kp.image_size == (640, 480)
    assert kp.frame.tolist() == [4, 5, 6]
    for camera in (None, "top"):
        refuses(r"--camera-name.* this file has left, right", read_keypoints, tmp_path / "k.npz", camera=camera)
    np.savez(tmp_path / "one.npz", keypoints=values[:, 0])
    refuses(r"--camera-name.* got 'top'; this file has none", read_keypoints, tmp_path / "one.npz", camera="top")


@pytest.mark.parametrize("shape", [(2, 26, 3), (26, 3), (2, 26, 2)])
def test_npy(tmp_path, shape):
    values = people(2, 26)
    np.save(tmp_path / "k.npy", values[0] if len(shape) == 2 else values[..., : shape[-1]])
    expected = values.copy()
    if shape[-1] == 2:
        expected[..., 2] = 1
        expected[0, 1, 2] = 0  # a joint at exactly (0, 0) was not detected
    same(read_keypoints(tmp_path / "k.npy"), expected[: 1 if len(shape) == 2 else 2], HALPE_26)


def csv_text(header: list[str], rows: np.ndarray) -> str:
    return "\r\n".join([",".join(header), *(",".join(f"{v:g}" for v in row) for row in rows)]) + "\r\n"


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_csv_with_header_in_any_order(tmp_path, bom):
    values = people(3, 17)
    joints = H36M_17.joints[::-1]
    header = ["frame", "person", *(f"{j}_{axis}" for j in joints for axis in ("x", "y", "confidence"))]
    rows = np.column_stack([[5, 5, 6], [1, 0, 1], values[:, ::-1].reshape(3, -1)])
    path = tmp_path / "k.csv"
    path.write_text(bom + csv_text(header, rows), "utf-8")
    kp = read_keypoints(path)
    same(kp, values, H36M_17)
    assert (kp.frame.tolist(), kp.person.tolist()) == ([5, 5, 6], [1, 0, 1])


def test_csv_without_confidence_and_with_empty_cells(tmp_path):
    values = people(2, 17)
    values[..., 2] = 1
    values[0, 1, 2] = 0
    header = [f"{j}_{axis}" for j in COCO_17.joints for axis in ("x", "y")]
    text = csv_text(header, values[..., :2].reshape(2, -1)).replace("0,0,", ",,", 1)
    same(read_keypoints(write(tmp_path / "k.csv", text)), values, COCO_17)


@pytest.mark.parametrize(("num_joints", "width", "given"), [(26, 3, None), (26, 2, None), (17, 3, COCO_17)])
def test_csv_of_bare_numbers(tmp_path, num_joints, width, given):
    values = people(2, num_joints)
    if width == 2:
        values[..., 2] = values[..., 0] > 0
    rows = values[..., :width].reshape(2, -1)
    text = csv_text([f"{v:g}" for v in rows[0]], rows[1:])
    same(read_keypoints(write(tmp_path / "k.csv", text), skeleton=given), values, given or HALPE_26)


def test_csv_of_48_numbers_has_two_meanings(tmp_path):
    path = write(tmp_path / "k.csv", csv_text(["12"] * 48, np.full((1, 48), 3)))
    refuses("24 joints x 2 or 16 joints x 3", read_keypoints, path)
    assert read_keypoints(path, skeleton=MPII_16).xy.shape == (2, 16, 2)


# What every format becomes


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_not_finite_was_not_detected(tmp_path, bad, axis):
    values = people(2, 26)
    values[1, 4, axis] = bad
    np.save(tmp_path / "k.npy", values)
    kp = read_keypoints(tmp_path / "k.npy")
    values[1, 4] = 0
    same(kp, values, HALPE_26)


def test_sure_is_the_confidence_that_19_in_20_of_the_seen_do_not_exceed():
    found = rescaled(np.concatenate([np.arange(101) / 200, np.zeros(50)]))
    np.testing.assert_allclose(found, np.r_[np.minimum(np.arange(101) / 95.05, 1), np.zeros(50)], rtol=1e-6)
    assert not rescaled(np.zeros((2, 3))).any()


# Bad input


def npz(**arrays):
    return lambda path: np.savez(path, **{"keypoints": people(3, 26), **arrays})


MATRIX = np.array([[900.0, 0, 5], [0, 900, 6], [0, 0, 1]])
BAD_NPZ = {
    "objects": (npz(keypoints=np.array([{"a": 1}], object)), "readable numpy file.*Object arrays"),
    "no keypoints": (
        lambda path: np.savez(path, poses=people(2, 26)),
        "lacks keypoints; needed keypoints; it has poses",
    ),
    "shape": (npz(keypoints=np.ones((3, 26, 4))), r"keypoints are \[3, 26, 4\]"),
    "no rows": (npz(keypoints=np.ones((0, 26, 2))), "no people in it"),
    "text": (npz(keypoints=np.full((3, 26, 2), "a")), "keypoints of type <U1"),
    "confidence": (npz(keypoints=np.ones((3, 26, 2)), confidence=np.ones((3, 25))), r"\[3, 25\]; needed \[3, 26\]"),
    "open joint set": (
        npz(keypoints=people(3, 17)),
        "17 joints without names are h36m17 or coco17 or mpi3dhp17.*name the skel",
    ),
    "unknown joint set": (npz(keypoints=people(3, 19)), "19 joints without names are no joint set"),
    "skeleton": (npz(skeleton="alien"), "skeleton 'alien'; must be one of"),
    "too few names": (npz(joints=HALPE_26.joints[:-1]), "25 distinct joint names for 26"),
    "focal length 0": (npz(intrinsics=[900, 0, 5, 6]), "intrinsics: focal lengths must be positive"),
    "intrinsics nan": (npz(intrinsics=[[900, 900, 5, 6]] * 2 + [[900, 900, 5, np.nan]]), "intrinsics has nan"),
    "intrinsics rows": (npz(intrinsics=np.ones((2, 4))), r"intrinsics is \[2, 4\]; needed.*\[3, 4\]"),
    "skew": (npz(K=MATRIX + np.eye(3, k=1)), "skew"),
    "frames": (npz(frame=[0, 1]), r"frame is \[2\]; needed \[3\]"),
    "fps": (npz(fps=0), "fps 0.0; needed one positive"),
    "image size": (npz(image_size=[0, 480]), "image_size .*needed width, height"),
    "cameras": (npz(keypoints=np.ones((3, 4, 26, 3)), camera=["a", "b"]), r"this file has a, b"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz(tmp_path, case):
    make, message = BAD_NPZ[case]
    make(tmp_path / "bad.npz")
    with pytest.raises(ValueError, match=message) as error:
        read_keypoints(tmp_path / "bad.npz")
    assert "bad.npz" in str(error.value)


BAD_CSV = {
    "ragged": ("1,2,3\n1,2\n", "line 2 has 2 cells, the first has 3"),
    "header": ("x,y\n1,2\n", "<joint>_x"),
    "some confidences": ("a_x,a_y,a_confidence,b_x,b_y\n1,2,3,4,5\n", "1 confidences of 2 joints"),
    "header only": (",".join(f"{j}_{a}" for j in COCO_17.joints for a in "xy") + "\n", "no people|no lines"),
    "width": ("1,2,3,4\n", "rows of 4 numbers"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv(tmp_path, case):
    text, message = BAD_CSV[case]
    refuses(message, read_keypoints, write(tmp_path / "bad.csv", text))


def test_bad_paths_and_arguments(tmp_path):
    good = write(tmp_path / "r.json", coco_results(people(2, 17)))
    (tmp_path / "empty").mkdir()
    for path, kwargs, message in (
        (tmp_path / "none.json", {}, "no such file or folder"),
        (tmp_path / "empty", {}, "no .json file in this folder"),
        (tmp_path / "empty", {"format": "npz"}, "a folder; needed one npz file"),
        (write(tmp_path / "k.pkl", "x"), {}, "suffix '.pkl'; must be"),
        (good, {"format": "pickle"}, "format: 'pickle'; must be one of"),
        (good, {"format": "openpose"}, "not a valid openpose file"),
        (good, {"camera": "left"}, "only .npz files hold several cameras"),
        (good, {"skeleton": HALPE_26}, "17 joints per person; the skeleton halpe26 has 26"),
        (write(tmp_path / "e.npy", ""), {}, "the file is empty"),
        (write(tmp_path / "t.npz", "not a zip file"), {}, "readable numpy file"),
    ):
        refuses(message, read_keypoints, path, **kwargs)
    same(read_keypoints(good, format="coco_results"), people(2, 17), COCO_17)


# Real files


@needs_keypoints
def test_walker_as_coco_results_equals_walker_as_npz():
    folder = DATA / "keypoints2d"
    results = read_keypoints(folder / "walker_cam03_coco_results.json")
    camera = read_keypoints(folder / "walker_4cam.npz", camera="cam03")
    assert results.frame.tolist() == camera.frame.tolist() == list(range(100))
    assert results.skeleton == camera.skeleton == COCO_17
    np.testing.assert_allclose(results.xy, camera.xy, atol=0.006)
    np.testing.assert_allclose(results.confidence, camera.confidence, atol=0.006)
    assert (camera.fps, camera.image_size) == (60.0, (1088, 1920))
    with np.load(folder / "walker_4cam.npz") as z:
        k = z["K"][2]
    np.testing.assert_allclose(np.asarray(camera.intrinsics), [[k[0, 0], k[1, 1], k[0, 2], k[1, 2]]] * 100, rtol=1e-6)
