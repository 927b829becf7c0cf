"""One `read` for all files: what each holds is told from it, opened once, and read by the reader of that kind."""

import builtins
import io

import numpy as np
import pytest
from shared import refuses

from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.io import kind_of, read
from jaxpose.io import write as write_file
from jaxpose.io.anny_body import anny_body
from jaxpose.io.body_files import save_body
from jaxpose.io.heatmap_files import Heatmaps
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.markers import Markers
from jaxpose.io.motion import PartialMotion
from jaxpose.io.multiview import MultiView
from jaxpose.io.poses3d import Poses3D
from tests.keypoint_files import coco_results, people, write

RNG = np.random.default_rng(0)
XYZ = RNG.uniform(-0.8, 0.8, (2, 17, 3))
MAPS = RNG.uniform(0, 1, (2, 17, 6, 8)).astype(np.float32)
R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
VIEWS = {
    "keypoints": RNG.uniform(100, 900, (4, 2, 17, 2)),
    "K": np.tile([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]], (2, 1, 1)),
    "R": np.stack([R, R]),
    "t": np.array([[0.0, 0, 4], [1, 0, 4]]),
    "camera": ["front", "side"],
    "joints": np.array(COCO_17.joints),
}
COCO_HEADER = ",".join(f"{joint}_{axis}" for joint in COCO_17.joints for axis in "xy")
FILES = {
    "h.npz": (Heatmaps, lambda p: np.savez(p, heatmaps=MAPS, skeleton="h36m17", image_size=[64, 48])),
    "h.npy": (Heatmaps, lambda p: np.save(p, MAPS)),
    "v.npz": (MultiView, lambda p: np.savez(p, **VIEWS)),
    "m.npz": (PartialMotion, lambda p: np.savez(p, poses=np.zeros((3, 156)), mocap_framerate=60.0)),
    "m.npy": (PartialMotion, lambda p: np.save(p, np.zeros((3, 72)))),
    "j.npz": (Poses3D, lambda p: np.savez(p, joints3d=XYZ)),
    "j.npy": (Poses3D, lambda p: np.save(p, XYZ)),
    "j.csv": (Poses3D, lambda p: write(p, "hip_x,hip_y,hip_z\n1,2,3\n")),
    "j.json": (Poses3D, lambda p: write(p, [{"joints": {"hip": [1, 2, 3]}}])),
    "k.npz": (Keypoints, lambda p: np.savez(p, keypoints=people(3, 17), skeleton="coco17")),
    "k.npy": (Keypoints, lambda p: np.save(p, people(3, 26))),
    "k.csv": (Keypoints, lambda p: write(p, f"frame,{COCO_HEADER}\n1{',9' * 34}\n")),
    "k.json": (Keypoints, lambda p: write(p, coco_results(people(3, 17)))),
    "b.npz": (Body, lambda p: save_body(p, anny_body("smpl"))),
}
GIVEN = {"h.npy": {"image_size": (64, 48), "skeleton": H36M_17}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, (_, make) in FILES.items():
        make(folder / name)
    (folder / "frames").mkdir()
    write(folder / "frames" / "7.json", coco_results(people(1, 17)))
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_told_read_and_opened_once(name, folder, monkeypatch):
    opened, real = [], (builtins.open, io.open)

    def counted(file, *args, **kwargs):
        opened.append(str(file))
        return real[0](file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", counted)
    monkeypatch.setattr(io, "open", counted)
    found = read(folder / name, **GIVEN.get(name, {}))
    assert type(found) is FILES[name][0]
    assert opened.count(str(folder / name)) == 1


def test_a_folder_holds_keypoints_and_a_pickle_a_body(folder, tmp_path):
    assert read(folder / "frames").frame.tolist() == [40]
    assert kind_of(tmp_path / "SMPL.pkl") is Body


def test_the_caller_says_what_is_legal(folder):
    """Pixels and confidence of one file may be metres to another reader; what no reader takes, the last refuses."""
    np.save(folder / "open.npy", XYZ)
    assert kind_of(folder / "open.npy", (Keypoints, Heatmaps)) is Keypoints
    refuses(r"j.npz: lacks keypoints, K, R, t; needed", read, folder / "j.npz", among=(MultiView,))
    refuses(r"among: got .*must be one of Body, Heatmaps, MultiView", read, folder / "j.npz", among=())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("h.npz", {"format": "coco"}, r"h.npz holds heatmaps: format does not apply; must be one of skeleton"),
        ("k.npz", {"up": "y"}, "k.npz holds 2D keypoints: up does not apply"),
        ("j.npz", {"camera": "a"}, "j.npz holds 3D joints: camera does not apply"),
        ("m.npy", {"unit": "mm"}, "m.npy holds joint rotations: unit does not apply"),
        ("b.npz", {"fps": 3}, "b.npz holds a body model: fps does not apply; nothing does"),
    ],
)
def test_an_argument_of_another_kind_is_an_error(folder, name, options, said):
    refuses(said, read, folder / name, **options)


def test_cameras_of_several_views(tmp_path):
    keypoints = VIEWS["keypoints"].copy()
    keypoints[1, 0, 3] = np.nan
    np.savez(tmp_path / "v.npz", **VIEWS | {"keypoints": keypoints}, dist=np.full((2, 4), 0.1), up="y", fps=25)
    found = read(tmp_path / "v.npz", cameras=["side", "0"])
    assert found.cameras == ("side", "front")
    assert (found.points, found.up, found.fps, found.num_cameras) == ("coco17", "y", 25, 2)
    np.testing.assert_allclose(found.xy[0], VIEWS["keypoints"][0, ::-1], rtol=1e-6)
    np.testing.assert_array_equal(found.confidence[1, 1], np.arange(17) != 3)
    np.testing.assert_array_equal(found.xy[1, 1, 3], 0)
    np.testing.assert_allclose(found.camera.intrinsics, [[500, 510, 320, 240]] * 2)
    np.testing.assert_allclose(found.camera.t_cam, VIEWS["t"][::-1])
    np.testing.assert_allclose(found.camera.R_cam_world, VIEWS["R"])
    np.testing.assert_allclose(found.camera.distortion, [[0.1] * 4 + [0]] * 2)
    confidence = np.concatenate([VIEWS["keypoints"], np.full((4, 2, 17, 1), 0.4)], -1)
    np.savez(tmp_path / "c.npz", **VIEWS | {"keypoints": confidence})
    assert read(tmp_path / "c.npz", min_confidence=0.5).confidence.max() == 0
    np.testing.assert_allclose(read(tmp_path / "c.npz", min_confidence=0.3).confidence, 0.4)


BAD_VIEWS = {
    "rotation": ({"R": 2 * VIEWS["R"]}, {}, "R is no rotation matrix"),
    "shape": ({"t": np.zeros((3, 3))}, {}, r"t is \[3, 3\]; needed \[2, 3\]"),
    "lens": ({"dist": np.zeros(4)}, {}, r"dist is \[4\]; needed \[2, 4\] or \[2, 5\]"),
    "axis": ({"up": "x"}, {}, r"up \(--up\): got 'x'; must be one of -y, y, z"),
    "joints": ({"joints": np.array(H36M_17.joints)}, {}, r"17 keypoints hip, right_hip, .* are not, in this order"),
    "camera": ({}, {"cameras": ["top"]}, "--cameras: got 'top'; must be one of 0 to 1, or front, side, once"),
    "twice": ({}, {"cameras": ["0", "front"]}, "--cameras: got 'front'"),
    "points": ({}, {"points": "smpl22"}, "17 keypoints .* are not, in this order, smpl22"),
}


@pytest.mark.parametrize("case", BAD_VIEWS)
def test_faults_of_several_views_are_named(case, tmp_path):
    change, options, said = BAD_VIEWS[case]
    np.savez(tmp_path / "v.npz", **VIEWS | change)
    refuses(said, read, tmp_path / "v.npz", **options)


def test_unknown_rotations_are_marked_and_turns_are_unwound(tmp_path):
    """NaN marks a gap; a root that is missing takes the nearest frame's; 6.9 rad is the same turn as 6.9 - 2 pi."""
    poses = np.zeros((3, 72), np.float32)
    poses[:, :3] = [[0.1, 0, 0], [np.nan, 0, 0], [0.3, 0, 0]]
    poses[1, 3:6] = np.nan
    poses[2, 6] = 6.9
    np.savez(tmp_path / "m.npz", poses=poses, up="y", fps=30)
    motion, known = read(tmp_path / "m.npz", gaps=True)
    assert np.argwhere(~known).tolist() == [[1, 0]]
    np.testing.assert_array_equal(motion.body_pose[1], 0)
    np.testing.assert_allclose(motion.global_orient[:, 0], [0.1, 0.1, 0.3])
    np.testing.assert_allclose(motion.body_pose[2, 1], [6.9 - 2 * np.pi, 0, 0], atol=1e-6)
    refuses("1 frames hold NaN", read, tmp_path / "m.npz")


@pytest.mark.parametrize("suffix", ["trc", "c3d"])
def test_markers_that_are_written_are_the_joints_that_are_read(tmp_path, suffix):
    """In millimetres and z up, from which each format turns to its own axes."""
    if suffix == "c3d":
        pytest.importorskip("ezc3d")
    path = tmp_path / f"a.{suffix}"
    write_file(Markers(H36M_17.joints, 1000 * XYZ, 25.0, "mm", "z", 4), path)
    poses = read(path)
    np.testing.assert_allclose(poses.joints, XYZ[..., [0, 2, 1]] * [1, -1, 1], atol=1e-5)
    assert (poses.fps, poses.frame.tolist()) == (25.0, [4, 5])


def test_rows_of_several_cameras_are_taken_with_their_times():
    place = np.arange(4)
    views = MultiView(place, place, None, ("a",), 1, "coco17", place, "y", None, place, 0.5 * place)
    taken = views.taken(place % 2 == 1)
    np.testing.assert_array_equal([taken.xy, taken.frame, taken.person, 2 * taken.seconds], [[1, 3]] * 4)
    assert views._replace(seconds=None).taken(place > 1).seconds is None
