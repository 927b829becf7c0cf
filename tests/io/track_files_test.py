"""Files for other programs: what foreign readers find in them are the joints that went in."""

import csv
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.app.commands import exports
from jaxpose.app.commands.models import load_body
from jaxpose.geometry.axes import turn
from jaxpose.geometry.body import full_rotations, stretched
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io import tracks
from jaxpose.io.c3d import read_c3d
from jaxpose.io.smpl_motion import Motion
from jaxpose.io.track_files import FORMATS, write_tracks
from tests.walker import NAMES, walker


def with_rotations(clip):
    """The clip with joint angles, without the lines of progress."""
    work = exports.with_rotations(clip, load_body(None))
    while True:
        try:
            assert "joint angles" in next(work)
        except StopIteration as end:
            return end.value


NUM, FPS, GAP = 24, 60.0, (9, 10, 11)


def result(up="-y", num_hypotheses=6):
    """Arrays as `lift` writes them: the walker 4 m before the camera, seen in every second frame from the 10th on."""
    points = walker(NUM)[0] @ turn("y", up).T
    root = points[:, 0] + np.array([0.2, 0, 0]) @ turn("y", up).T
    noise = np.random.default_rng(0).normal(0, 0.02, (num_hypotheses, NUM, 17, 3))
    samples = points - points[:, :1] + noise
    arrays = {"samples": samples, "mean": samples.mean(0), "root": np.repeat(root[None], num_hypotheses, 0)}
    arrays |= {"pose": points - points[:, :1], "pose_root": root, "radius_90": np.full((NUM, 17), 0.05), "up": up}
    keep = [f for f in range(NUM) if f not in GAP]
    by_row = {"pose": 0, "pose_root": 0, "mean": 0, "radius_90": 0, "samples": 1, "root": 1}
    arrays = {k: np.take(v, keep, by_row[k]) if k in by_row else v for k, v in arrays.items()}
    return {**arrays, "frame": 10 + 2 * np.array(keep), "person": None, "fps": FPS, "joints": NAMES}


def truth():
    """Joints [NUM, 17, 3] y up, by frame, as the result has them."""
    return walker(NUM)[0] + [0.2, 0, 0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("ezc3d")
    out, body = tmp_path_factory.mktemp("files"), load_body(None)
    clip = with_rotations(tracks.of_joints(result(), 2))
    list(write_tracks(FORMATS, out, "clip", clip, body))
    lines = list(exports.lines(clip))
    return out, clip, lines


def test_the_files_and_what_is_said_of_them(written):
    out, clip, lines = written
    names = {f"clip{take}.{kind}" for take in ("", "_take0", "_take1") for kind in ("bvh", "trc", "c3d")}
    assert {p.name for p in out.iterdir()} == names | {"clip.glb", "clip.csv"}
    said = clip.said
    assert (said["fps"], said["fps_source"], said["first_frame"], said["frame_step"]) == (30, "of the input", 10, 2)
    assert said["interpolated_frames"] == {"0": len(GAP)}
    assert said["rotations"]["0"]["position_error_mm"]["95"] < 15
    assert "left_wrist" in said["rotations"]["0"]["rotation_not_observed_deg"]
    assert any("3 frames without it; .bvh and .glb are interpolated" in line for line in lines)
    json.dumps(said)


def test_bvh_by_bvhio_has_the_joints_in_centimetres(written):
    bvhio = pytest.importorskip("bvhio")
    header = bvhio.readAsBvh(str(written[0] / "clip.bvh"))
    assert (header.FrameCount, round(1 / header.FrameTime)) == (NUM, 30)
    tree = bvhio.readAsHierarchy(str(written[0] / "clip.bvh"))
    error = []
    for frame in (0, 5, 10, NUM - 1):  # 10: in the gap
        tree.loadPose(frame)
        found = {joint.Name: np.array(joint.PositionWorld) / 100 for joint, _, _ in tree.layout()}
        for name in set(NAMES) & set(found):
            error.append(np.linalg.norm(found[name] - truth()[frame, NAMES.index(name)]))
    assert len(error) == 4 * 14
    assert np.mean(error) < 0.008
    assert np.max(error) < 0.05


def glb_joints(path, animation, frame):
    """Joints by name, by pygltflib and scipy; and the time of the frame."""
    pygltflib = pytest.importorskip("pygltflib")
    tree = pygltflib.GLTF2().load(str(path))
    blob = tree.binary_blob()

    def array(index):
        accessor = tree.accessors[index]
        view, width = tree.bufferViews[accessor.bufferView], {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
        return np.frombuffer(blob, np.float32, accessor.count * width, view.byteOffset).reshape(-1, width)

    (moving,) = [a for a in tree.animations if a.name == animation]
    value = {(c.target.node, c.target.path): array(moving.samplers[c.sampler].output)[frame] for c in moving.channels}
    found = {}

    def walk(index, place, above):
        node = tree.nodes[index]
        place = place + above.apply(value.get((index, "translation"), node.translation))
        here = above * Rotation.from_quat(value.get((index, "rotation"), node.rotation))
        found[node.name] = place
        for child in node.children or []:
            walk(child, place, here)

    walk(0, np.zeros(3), Rotation.identity())
    return found, float(array(moving.samplers[0].input)[frame, 0])


def test_glb_by_pygltflib_has_an_animation_for_each_take(written):
    pygltflib = pytest.importorskip("pygltflib")
    path = written[0] / "clip.glb"
    assert [a.name for a in pygltflib.GLTF2().load(str(path)).animations] == ["motion", "take_0", "take_1"]
    for frame in (0, 10, NUM - 1):
        found, time = glb_joints(path, "motion", frame)
        error = [np.linalg.norm(found[n] - truth()[frame, NAMES.index(n)]) for n in set(NAMES) & set(found)]
        assert np.mean(error) < 0.008
        assert time == pytest.approx((10 + 2 * frame) / 60)
    take, _ = glb_joints(path, "take_1", 5)
    away = [np.linalg.norm(take[n] - truth()[5, NAMES.index(n)]) for n in set(NAMES) & set(take)]
    assert 0.008 < np.mean(away) < 0.1  # another motion, not far


def test_c3d_by_ezc3d_has_joints_and_radii(written):
    ezc3d = pytest.importorskip("ezc3d")
    file = ezc3d.c3d(str(written[0] / "clip.c3d"))
    xyz = file["data"]["points"][:3].transpose(2, 1, 0) @ turn("z", "y").T / 1000
    residual = file["data"]["meta_points"]["residuals"][0].T
    for frame in range(NUM):
        if frame in GAP:
            assert (residual[frame] == -1).all()
        else:
            np.testing.assert_allclose(xyz[frame], truth()[frame], atol=1e-5)
            np.testing.assert_allclose(residual[frame], 50, atol=0.5)


def test_trc_leaves_missing_frames_empty(written):
    lines = (written[0] / "clip.trc").read_text().splitlines()
    rows = [line.split("\t") for line in lines[6:]]
    assert [int(row[0]) for row in rows] == list(
        range(6, 6 + NUM)
    )  # frame 10 of step 2 is number 5, and files count from 1
    for frame, row in enumerate(rows):
        if frame in GAP:
            assert not any(row[2:])
        else:
            np.testing.assert_allclose(np.array(row[2:], float).reshape(-1, 3) / 1000, truth()[frame], atol=1e-6)


def test_csv_is_a_row_for_each_joint(written):
    with open(written[0] / "clip.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * (NUM - len(GAP)) * 17
    row = next(r for r in rows if (r["frame"], r["take"], r["joint"]) == ("14", "best", "left_wrist"))
    np.testing.assert_allclose([float(row[f"{a}_m"]) for a in "xyz"], truth()[2, NAMES.index("left_wrist")], atol=1e-5)
    assert (float(row["time_s"]), float(row["radius_90_m"]), row["person"]) == (
        pytest.approx(14 / 60, rel=1e-5),
        0.05,
        "0",
    )


@pytest.mark.parametrize("up", ["y", "z"])
def test_any_worlds_axes_are_turned_to_y_up(up):
    (track,) = tracks.of_joints(result(up)).tracks
    np.testing.assert_allclose(track.joints, np.delete(truth(), GAP, 0), atol=1e-9)


@pytest.mark.parametrize("name", ["joints_world", "joints_path"])
def test_a_smooth_path_of_the_root_places_the_pose_and_takes_stand_on_paths_of_their_own(name):
    arrays = result("y")
    path = arrays["pose_root"] + [0, 0, 1]
    placed = np.asarray(arrays["pose"]) + path[:, None]
    arrays |= {name: placed, "root_paths": path + np.array([0.5, -0.5])[:, None, None] * [0, 0, 1]}
    best, *takes = tracks.of_joints(arrays, 2).tracks
    np.testing.assert_allclose(best.joints, np.delete(truth(), GAP, 0) + np.array([0, 0, 1]), atol=1e-9)
    away = [np.mean(take.joints - best.joints, (0, 1)) for take in takes]
    np.testing.assert_allclose(away, [[0, 0, 0.5], [0, 0, -0.5]], atol=0.03)


def test_takes_move_smoothly_and_have_the_hypotheses_mean_and_spread():
    arrays = result(num_hypotheses=200)
    arrays["samples"] = arrays["mean"] + 4 * (arrays["samples"] - arrays["mean"])
    best, *takes = tracks.of_joints(arrays, 100).tracks
    jump = np.linalg.norm(np.diff(best.joints, axis=0), axis=-1).mean()
    own = np.mean([np.linalg.norm(np.diff(t.joints, axis=0), axis=-1).mean() for t in takes])
    drawn = np.linalg.norm(np.diff(arrays["samples"], axis=1), axis=-1).mean()
    assert own < 1.5 * jump < drawn
    joints = np.stack([t.joints for t in takes])
    placed = (arrays["samples"] + arrays["root"][:, :, None]) @ turn("-y", "y").T
    np.testing.assert_allclose(joints.mean(0), placed.mean(0), atol=0.04)  # 0.08 / sqrt(100), five times
    np.testing.assert_allclose(joints.std(0).mean(), placed.std(0).mean(), rtol=0.05)


def test_hypotheses_that_are_motions_are_the_takes():
    arrays = result()
    arrays["samples"] = arrays["samples"].mean(1, keepdims=True) * 0.01 + arrays["mean"]
    _, take = tracks.of_joints(arrays, 1).tracks
    np.testing.assert_allclose(take.joints, (arrays["samples"] + arrays["root"][:, :, None])[0] @ turn("-y", "y").T)


def test_people_have_files_of_their_own_and_start_where_they_come_in(tmp_path):
    arrays = result()
    num = len(arrays["frame"])
    twice = {
        k: np.concatenate([v, v], {"samples": 1, "root": 1}.get(k, 0)) for k, v in arrays.items() if np.ndim(v) > 1
    }
    frame = np.concatenate([arrays["frame"], arrays["frame"] + 8])
    arrays |= {**twice, "frame": frame, "person": np.repeat([0, 7], num)}
    clip = with_rotations(tracks.of_joints(arrays))
    assert clip.said["starts"] == {"0": 0, "7": 4}
    list(write_tracks(("bvh", "glb", "trc"), tmp_path, "x", clip, load_body(None)))
    kinds = {f"x_person{p}.{kind}" for p in (0, 7) for kind in ("bvh", "glb", "trc")}
    assert {p.name for p in tmp_path.iterdir()} == kinds
    assert glb_joints(tmp_path / "x_person7.glb", "motion", 0)[1] == pytest.approx(18 / 60)
    assert (tmp_path / "x_person7.trc").read_text().splitlines()[6].split("\t")[0] == str(10 // 2 + 4 + 1)


def test_every_file_has_the_times_of_the_source_also_where_they_are_uneven(tmp_path):
    """A point that moves at 1 m/s from second 2 on, seen at uneven times, is at its true place at each written time."""
    pytest.importorskip("ezc3d")
    steps = np.random.default_rng(0).choice([0.5, 1.0, 2.0, 2.5], NUM) / 30
    seconds, points = 2 + np.cumsum(steps), walker(NUM)[0] * 0
    points[..., 0] = seconds[:, None]
    pose = {
        "pose": points * 0,
        "pose_root": points[:, 0],
        "mean": points,
        "samples": points[None],
        "root": points[None, :, 0],
    }
    clip = tracks.of_joints({**pose, "frame": 60 + np.arange(NUM), "fps": 30.0, "seconds": seconds, "joints": NAMES})
    list(write_tracks(("trc", "c3d", "csv"), tmp_path, "x", clip, None))
    trc = np.array([r.split("\t")[1:3] for r in (tmp_path / "x.trc").read_text().splitlines()[6:]], float)
    np.testing.assert_allclose(trc[:, 1] / 1000, trc[:, 0], atol=1e-3)
    np.testing.assert_allclose(trc[[0, -1], 0], seconds[[0, -1]], atol=1 / 60)
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        rows = [(float(r["time_s"]), float(r["x_m"])) for r in csv.DictReader(file) if r["joint"] == "hip"]
    np.testing.assert_allclose(rows, np.stack([seconds, seconds], 1), atol=1e-5)
    c3d = read_c3d(tmp_path / "x.c3d")
    np.testing.assert_allclose(c3d.xyz[:, 0, 0] / 1000, (c3d.first + np.arange(len(c3d.xyz))) / 30, atol=1 / 60)


def test_a_person_twice_in_a_frame_and_images_without_order():
    arrays = result()
    with pytest.raises(ValueError, match=r"person 0 is twice in frame 10; .*--track"):
        tracks.of_joints(arrays | {"frame": np.full(len(arrays["frame"]), 10)})
    images = tracks.of_joints(arrays | {"frame": 1000 * np.arange(NUM - 3) ** 2 + 7, "fps": None})
    assert images.still
    assert images.fps == tracks.STILL_FPS
    assert tracks.of_joints(arrays | {"fps": None}).said["fps_source"] == "assumed"


def test_the_body_of_a_skeleton_has_its_joints_and_its_faces_hold():
    body = load_body(None)
    rest = np.asarray(body.joint_template[:22]) * [1.1, 0.95, 1.0]
    other = stretched(body, rest)
    np.testing.assert_allclose(other.joint_template[:22], rest, atol=1e-6)
    posed = other.shape().pose(full_rotations(other, np.zeros((21, 3))))
    np.testing.assert_allclose(posed.joints[:22], rest, atol=1e-6)
    assert np.asarray(other.v_template)[:, 1].max() < 0.98 * np.asarray(body.v_template)[:, 1].max()
    edge = [
        np.linalg.norm(np.diff(np.asarray(b.v_template)[np.asarray(b.faces)[:, :2]], axis=1), axis=-1)
        for b in (body, other)
    ]
    # wider shoulders open the armpits, whose edges are some millimetres long: 1.30 at 99 %
    assert 0.8 < np.quantile(edge[1] / edge[0], 0.01) < np.quantile(edge[1] / edge[0], 0.99) < 1.35


def test_bodies_are_tracks_with_their_rotations():
    _, joints, vectors = walker(6)
    body = load_body(None)
    moving = (vectors[None, :, 1:], vectors[None, :, 0], joints[None, :, 0])
    clip = tracks.of_bodies(body, *moving, {"frame": np.arange(6), "person": None, "fps": 25.0})
    (track,) = clip.tracks
    assert isinstance(track.motion, Motion)
    posed = body.shape().pose(full_rotations(body, moving[0][0].astype(np.float32), moving[1][0].astype(np.float32)))
    expected = np.asarray(posed.joints)[:, :22]
    np.testing.assert_allclose(track.joints - track.joints[:, :1], expected - expected[:, :1], atol=1e-5)
    assert clip.names == SMPL_22.joints
    assert clip.said["axes"].startswith("about the origin of the world")
    seen = tracks.of_bodies(body, *moving, {"frame": np.arange(6), "person": None, "fps": 25.0, "up": "-y"})
    assert "camera, taken as level" in seen.said["axes"], "bodies in camera axes have no world and no floor"
