"""Every JSON format is written here as its tool writes it, then read back; bad files must name themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
from keypoint_files import coco_results, people, same, write
from shared import DATA, needs_keypoints, refuses

from jaxpose.geometry.skeleton import BODY_25, BODY_25B, COCO_17, H36M_17, HALPE_26, SKELETONS, WHOLEBODY_23
from jaxpose.io import keypoint_json
from jaxpose.io.keypoints import read_keypoints

# Order of OpenPose's COCO model, from its documentation.
OPENPOSE_COCO = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)


def openpose_text(persons: np.ndarray, person_id: int = -1) -> str:
    """One frame as OpenPose 1.7 writes it: no spaces, six significant digits."""
    bodies = [
        f'{{"person_id":[{person_id}],"pose_keypoints_2d":[{",".join(f"{v:.6g}" for v in p.ravel())}],'
        '"face_keypoints_2d":[],"hand_left_keypoints_2d":[],"hand_right_keypoints_2d":[],"pose_keypoints_3d":[],'
        '"face_keypoints_3d":[],"hand_left_keypoints_3d":[],"hand_right_keypoints_3d":[]}'
        for p in persons
    ]
    return f'{{"version":1.3,"people":[{",".join(bodies)}]}}'


def alphapose(persons: np.ndarray, idx: list | None = None) -> list[dict]:
    more = {"category_id": 1, "score": 2.94, "box": [10.0, 20.0, 30.0, 40.0]}
    items = [{"image_id": f"{i // 2}.jpg", "keypoints": p.ravel().tolist(), **more} for i, p in enumerate(persons)]
    return items if idx is None else [item | {"idx": i} for item, i in zip(items, idx, strict=True)]


def instances(persons: np.ndarray) -> list[dict]:
    """As MMPose 1.x: keypoints and scores apart, the box in one list too many."""
    more = {"bbox": [[1.0, 2.0, 3.0, 4.0]], "bbox_score": 0.9}
    return [{"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist(), **more} for p in persons]


def meta(name: str, joints: tuple[str, ...]) -> dict:
    return {
        "dataset_name": name,
        "num_keypoints": len(joints),
        "keypoint_id2name": dict(enumerate(joints)),
        "keypoint_name2id": {joint: i for i, joint in enumerate(joints)},
    }


# COCO


def test_coco_results(tmp_path):
    values = people(4, 17)
    kp = read_keypoints(write(tmp_path / "r.json", coco_results(values)))
    same(kp, values, COCO_17)
    assert kp.frame.tolist() == [40, 40, 41, 41]
    assert kp.person.tolist() == [0, 1, 0, 1]


def test_coco_wholebody_is_read_as_body_and_feet(tmp_path):
    """Of 133: body 0 to 16, feet 17 to 22, face 23 to 90, hands 91 to 132 (MMPose's coco_wholebody)."""
    values = people(2, 133)
    found = read_keypoints(write(tmp_path / "r.json", coco_results(values)))
    same(found, values[:, :23], WHOLEBODY_23)
    assert found.ignored == 68 + 2 * 21
    feet = [f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel")]
    assert WHOLEBODY_23.joints == (*COCO_17.joints, *feet)
    np.save(tmp_path / "r.npy", values)
    same(read_keypoints(tmp_path / "r.npy"), values[:, :23], WHOLEBODY_23)


def test_coco_annotations_turn_visibility_into_confidence(tmp_path):
    values = people(2, 17)
    values[..., 2] = np.arange(34).reshape(2, 17) % 3
    values[values[..., 2] == 0] = 0
    notes = [
        {"id": 9 - i, "image_id": 785, "category_id": 1, "num_keypoints": 11, "keypoints": p.ravel().tolist()}
        for i, p in enumerate(values)
    ]
    crowd = {"id": 3, "image_id": 785, "category_id": 1, "iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 51}
    images = [{"id": 785, "width": 640, "height": 425, "file_name": "000000000785.jpg"}]
    content = {"info": {}, "images": images, "annotations": [crowd, *notes], "categories": []}
    kp = read_keypoints(write(tmp_path / "person_keypoints.json", content))
    same(kp, values * (1, 1, 0.5), COCO_17)
    assert kp.frame.tolist() == [785, 785]
    assert kp.image == ("000000000785.jpg",) * 2
    assert kp.image_size == (640, 425)


# OpenPose


def openpose_folder(folder: Path, frames: dict[int, np.ndarray]) -> Path:
    folder.mkdir()
    for number, persons in frames.items():
        write(folder / f"walk_{number:012d}_keypoints.json", openpose_text(persons))
    return folder


def test_openpose_folder_with_empty_frames(tmp_path):
    values = people(3, 25)
    empty = np.zeros((0, 25, 3))
    kp = read_keypoints(
        openpose_folder(tmp_path / "json", {7: empty, 8: values[:1], 9: empty, 12: values[1:], 13: empty})
    )
    same(kp, values, BODY_25)
    assert kp.frame.tolist() == [8, 12, 12]
    assert kp.person.tolist() == [0, 0, 1]
    assert kp.image == ("walk_000000000008", "walk_000000000012", "walk_000000000012")


@pytest.mark.parametrize("key", ["pose_keypoints_2d", "pose_keypoints"])  # the second before 1.3
def test_openpose_coco_model_loses_only_its_neck(tmp_path, key):
    values = people(2, 18)
    text = openpose_text(values).replace("pose_keypoints_2d", key)
    kp = read_keypoints(write(tmp_path / "x_000000000003_keypoints.json", text))
    same(kp, values[:, [OPENPOSE_COCO.index(joint) for joint in COCO_17.joints]], COCO_17)
    assert kp.frame.tolist() == [3, 3]


def test_body_25b_must_be_named(tmp_path):
    values = people(2, 25)
    path = write(tmp_path / "f.json", openpose_text(values))
    same(read_keypoints(path), values, BODY_25)
    same(read_keypoints(path, skeleton=BODY_25B), values, BODY_25B)


def test_openpose_person_ids(tmp_path):
    values = people(2, 25)
    text = openpose_text(values[:1], 5)[:-2] + "," + openpose_text(values[1:], 3).split("[", 1)[1]
    assert read_keypoints(write(tmp_path / "f.json", text)).person.tolist() == [5, 3]


# AlphaPose


@pytest.mark.parametrize(("num", "skeleton"), [(17, COCO_17), (26, HALPE_26), (136, HALPE_26)])
def test_alphapose(tmp_path, num, skeleton):
    values = people(4, num)
    kp = read_keypoints(write(tmp_path / "alphapose-results.json", alphapose(values)))
    same(kp, values[:, : len(skeleton.joints)], skeleton)
    assert kp.image == ("0.jpg", "0.jpg", "1.jpg", "1.jpg")
    assert kp.frame.tolist() == [0, 0, 1, 1]


def test_alphapose_scores_are_clipped(tmp_path):
    values = people(2, 17)
    values[:, 3, 2] = 2.7
    kp = read_keypoints(write(tmp_path / "a.json", alphapose(values)))
    assert (kp.confidence[:, 3] == 1).all()
    np.testing.assert_allclose(kp.xy, values[..., :2], rtol=1e-6)


@pytest.mark.parametrize(
    ("idx", "person"),
    [
        ([7, 3, 3, 7], [7, 3, 3, 7]),
        ([[7.0], [3.0], [[3.0], [9.0]], [7.0]], [7, 3, 3, 7]),
        ([[0.0]] * 4, [0, 1, 0, 1]),  # no tracker ran: the same number for everyone tells nobody apart
    ],
)
def test_alphapose_idx(tmp_path, idx, person):
    kp = read_keypoints(write(tmp_path / "a.json", alphapose(people(4, 17), idx)))
    assert kp.person.tolist() == person


@pytest.mark.parametrize(("outer", "inner"), [("bodies", "joints"), ("people", "pose_keypoints_2d")])
def test_alphapose_by_image(tmp_path, outer, inner):
    """AlphaPose reorders COCO-17 to OpenPose's 18 with a neck between the shoulders."""
    values = people(4, 17)
    neck = values[:, [5, 6]].mean(1, keepdims=True)
    with_neck = np.concatenate([values, neck], 1)
    order = [(*COCO_17.joints, "neck").index(joint) for joint in OPENPOSE_COCO]
    flat = with_neck[:, order].reshape(4, -1).tolist()
    images = {
        f"{i}.jpg": {"version": "AlphaPose v0.3", outer: [{inner: flat[2 * i]}, {inner: flat[2 * i + 1]}]}
        for i in range(2)
    }
    kp = read_keypoints(write(tmp_path / "alphapose-results.json", images))
    same(kp, values, COCO_17)
    assert kp.image == ("0.jpg", "0.jpg", "1.jpg", "1.jpg")
    folder = tmp_path / "sep-json"
    folder.mkdir()
    for name, image in images.items():
        write(folder / f"{name.split('.')[0]}.json", image)
    kp = read_keypoints(folder)
    same(kp, values, COCO_17)
    assert kp.frame.tolist() == [0, 0, 1, 1]


# MMPose


def test_mmpose_folder_of_images(tmp_path):
    values = people(3, 26)
    for name, persons in (("img_10", values[:1]), ("img_9", values[:0]), ("img_11", values[1:])):
        write(tmp_path / f"{name}.json", instances(persons), indent="  ")
    kp = read_keypoints(tmp_path)
    same(kp, values, HALPE_26)
    assert kp.frame.tolist() == [10, 11, 11]


@pytest.mark.parametrize("wrapped", [False, True])
def test_mmpose_video(tmp_path, wrapped):
    values = people(3, 17)
    frames = [
        {"frame_id": 1, "instances": []},
        {"frame_id": 2, "instances": instances(values[:2])},
        {"frame_id": 4, "instances": instances(values[2:])},
    ]
    content = {"meta_info": meta("coco", COCO_17.joints), "instance_info": frames} if wrapped else frames
    kp = read_keypoints(write(tmp_path / "results_walk.json", content, indent="\t"))
    same(kp, values, COCO_17)
    assert kp.frame.tolist() == [2, 2, 4]


def test_mmpose_track_ids(tmp_path):
    frames = [
        {"frame_id": f, "instances": [i | {"track_id": t} for i, t in zip(instances(people(2, 17)), ids, strict=True)]}
        for f, ids in ((0, (4, 2)), (1, (2, 4)))
    ]
    assert read_keypoints(write(tmp_path / "v.json", frames)).person.tolist() == [4, 2, 2, 4]


def test_mmpose_names_of_another_17_are_not_taken_for_coco(tmp_path):
    values = people(2, 17)
    joints = ("root", *H36M_17.joints[1:])
    content = {"meta_info": meta("h36m", joints), "instance_info": instances(values)}
    path = write(tmp_path / "h.json", content)
    refuses(r"17 joints without names are no joint set of this format.*name the skeleton", read_keypoints, path)
    same(read_keypoints(path, skeleton=H36M_17), values, H36M_17)


def test_json_null_and_nan_were_not_detected(tmp_path):
    values = people(2, 17)
    text = json.dumps(coco_results(values))
    first = json.dumps(values[1, 0].tolist())[1:-1]
    kp = read_keypoints(write(tmp_path / "r.json", text.replace(first, "null, NaN, 0.5")))
    assert kp.confidence[1, 0] == 0
    assert (kp.xy[1, 0] == 0).all()
    np.testing.assert_allclose(kp.xy[1, 1:], values[1, 1:, :2], rtol=1e-6)


# Bad input


def ragged(items: list[dict]) -> list[dict]:
    items[1]["keypoints"] = items[1]["keypoints"][:-3]
    return items


BAD_JSON = {
    "not JSON": ("frame,x,y", "not JSON, or cut off"),
    "unknown dict": ({"shapes": [], "version": 2}, r"dict with keys \['shapes', 'version'\].*known keypoint formats"),
    "no people": ([], "no people in it"),
    "no people, OpenPose": (openpose_text(np.zeros((0, 25, 3))), "no people in it.*openpose"),
    "wrong count": (
        coco_results(people(2, 23)),
        r"23 joints without names are no joint set.*\[16, 17, 18, 25, 26, 33, 133, 136\]",
    ),
    "not threes": ([{"image_id": 0, "keypoints": [1.0, 2.0]}], "person 0 has 2 numbers"),
    "ragged": (ragged(coco_results(people(3, 17))), "person 1 has 16 keypoints, the first person 17"),
    "text": ([{"image_id": 0, "keypoints": ["a", "b", "c"]}], "not a list of numbers"),
    "no keypoints": ([*coco_results(people(1, 17)), {"image_id": 4}], "not a valid coco_results file: KeyError"),
    "frame": ([{"image_id": 2.5, "keypoints": [1.0] * 51}], r"frame 2\.5; needed a whole number"),
    "huge frame": ([{"image_id": 10**30, "keypoints": [1.0] * 51}], "needed a whole number below"),
    "scores": (
        [{"keypoints": [[1, 2]] * 17, "keypoint_scores": [1] * 16}],
        r"keypoints \[17, 2\] with keypoint_scores \[16\]",
    ),
    "normalised": (coco_results(people(2, 17) / (1000, 1000, 1)), "normalised, needed pixels"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json(tmp_path, case):
    content, message = BAD_JSON[case]
    path = write(tmp_path / "bad.json", content)
    with pytest.raises(ValueError, match=message) as error:
        read_keypoints(path)
    assert str(path) in str(error.value)


def test_a_folder_of_files_with_many_frames_each_is_refused(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.json", coco_results(people(2, 17)))
    refuses("give one file", read_keypoints, tmp_path)


def test_one_cut_off_file_of_a_folder_is_named(tmp_path):
    folder = openpose_folder(tmp_path / "json", {0: people(1, 25), 1: people(1, 25)})
    bad = folder / "walk_000000000001_keypoints.json"
    bad.write_text(bad.read_text()[:-30])
    refuses(bad.name, read_keypoints, folder)


def test_the_module_text_names_every_json_format():
    assert all(f"\n    {name} " in keypoint_json.__doc__ for name in keypoint_json.FORMATS)
    assert {"coco", "openpose", "mmpose", "alphapose"} <= set(keypoint_json.FORMATS)
    assert not set(keypoint_json.FORMATS) & {"npz", "npy", "csv", "json"} | set(keypoint_json.FORMATS) & set(SKELETONS)


@needs_keypoints
def test_coco_val2017_sample():
    path = DATA / "keypoints2d" / "coco_val2017_sample.json"
    kp = read_keypoints(path)
    notes = json.loads(path.read_text())["annotations"]
    assert kp.skeleton == COCO_17
    assert (kp.confidence > 0).sum(-1).tolist() == [note["num_keypoints"] for note in notes]
    assert kp.xy[0, 0].tolist() == [367, 81]
    assert set(np.unique(kp.confidence)) == {0, 0.5, 1}
    assert kp.image[0] == "000000000785.jpg"
    assert kp.image_size is None
