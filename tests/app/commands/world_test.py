"""`jaxpose lift --axes world` and `--calibration`; `fuse` and `fit` with calibrations and a file for each camera."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.app.commands import world
from jaxpose.app.commands.values import WorldAxes
from jaxpose.geometry.axes import from_camera
from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.io.poses3d import read_poses3d
from jaxpose.model import ASSETS

CLIP = ASSETS / "demo_clip.npz"
TABLE = """[{name}]
name = "{name}"
size = [ 1000.0, 1200.0]
matrix = [ [ 900.0, 0.0, 500.0], [ 0.0, 900.0, 600.0], [ 0.0, 0.0, 1.0]]
distortions = {bent}
rotation = {rotation}
translation = {translation}
fisheye = false
"""


def toml(path, R, t, bent=(0.0, 0.0, 0.0, 0.0), names=("camA", "camB")):
    tables = [
        TABLE.format(name=n, bent=list(bent), rotation=Rotation.from_matrix(r).as_rotvec().tolist(), translation=x)
        for n, r, x in zip(names, R, np.asarray(t).tolist(), strict=False)
    ]
    path.write_text("\n".join(tables))
    return path


def result(folder, name):
    with np.load(folder / f"{name}.npz") as z:
        return dict(z), json.loads((folder / f"{name}.json").read_text())


def test_results_in_world_axes_are_turned_and_placed(run, tmp_path, capsys):
    run("lift", CLIP, "--out", tmp_path / "camera")
    run("lift", CLIP, "--out", tmp_path / "world", "--axes", "world", "--gravity", "0,0.8,0.6", "--floor", 1.5)
    before, _ = result(tmp_path / "camera", "demo_clip")
    after, said = result(tmp_path / "world", "demo_clip")
    R, t = after["R_world_camera"], after["t_world_camera"]
    np.testing.assert_allclose(R[1], [0, -0.8, -0.6], atol=1e-6)
    assert t[1] == pytest.approx(1.5)
    for name in ("samples", "mean", "pose"):
        np.testing.assert_allclose(after[name], before[name] @ R.T, atol=1e-5)
    for name in ("root", "pose_root"):
        np.testing.assert_allclose(after[name], before[name] @ R.T + t, atol=1e-4)
    np.testing.assert_allclose(after["covariance"][3, 6], R @ before["covariance"][3, 6] @ R.T, atol=1e-6)
    placed = after["pose"] + after["root_world"][:, None]
    assert 0 < np.linalg.norm(after["joints_world"] - placed, axis=-1).mean() < 0.05  # feet do not slide
    assert after["contacts"].shape == (90, len(after["contact_joints"]))
    assert (after["root_radius_90"] > 0).all()
    assert said["world"]["camera_height_m"] == 1.5
    assert said["frame_tag"].startswith("world metres, y up")
    assert "vertical given" in capsys.readouterr().out
    poses = read_poses3d(tmp_path / "world" / "demo_clip.npz")  # what the next command reads
    assert poses.up == "y"
    np.testing.assert_allclose(from_camera(poses.joints, "y"), after["joints_world"], atol=1e-6)


def test_the_root_of_a_video_is_smooth_in_every_export_and_raw_only_when_asked_for(run, refused, tmp_path):
    run("lift", CLIP, "--out", tmp_path / "smooth", "--csv", "--takes", 2)
    run("lift", CLIP, "--out", tmp_path / "raw", "--csv", "--root", "raw")
    steps = {}
    for name in ("smooth", "raw"):
        rows = list(csv.DictReader((tmp_path / name / "demo_clip.csv").open()))
        for take in {row["take"] for row in rows}:
            at = [
                [float(r[k]) for k in ("x_m", "y_m", "z_m")] for r in rows if (r["joint"], r["take"]) == ("hip", take)
            ]
            steps[name, take] = np.median(np.linalg.norm(np.diff(at, 2, axis=0), axis=-1))
    assert set(steps) == {("smooth", "best"), ("smooth", "take_0"), ("smooth", "take_1"), ("raw", "best")}
    assert max(step for (name, _), step in steps.items() if name == "smooth") < 0.5 * steps["raw", "best"]
    arrays, _ = result(tmp_path / "smooth", "demo_clip")
    assert arrays["root_paths"].shape == arrays["root"].shape
    np.testing.assert_allclose(arrays["root_path"], arrays["root_paths"].mean(0), atol=0.3)
    assert "--root: is for --axes camera" in refused(
        "lift", CLIP, "--out", tmp_path / "o", "--axes", "world", "--root", "raw"
    )


@pytest.mark.slow
def test_a_calibration_undoes_the_lens_and_places_the_world(run, tmp_path):
    """The same poses as of keypoints that a camera without distortion saw; the world is the file's, turned to y up."""
    with np.load(CLIP) as z:
        K, confidence = z["intrinsics"], z["confidence"][:20]
        plane = (z["keypoints"][:20] - K[2:]) / K[:2]
    x, y = plane[..., 0], plane[..., 1]
    r2 = x * x + y * y
    radial = 1 - 0.2 * r2 + 0.05 * r2**2
    bent = np.stack([x * radial + 0.002 * x * y, y * radial + 0.001 * (r2 + 2 * y * y)], -1)
    for name, xy in (("straight_camA", plane), ("bent_camA", bent)):
        np.savez(
            tmp_path / f"{name}.npz", keypoints=900 * xy + [500, 600], confidence=confidence, fps=30, skeleton="h36m17"
        )
    R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # looks along y, z up, 1.4 m over the floor
    lens = (-0.2, 0.05, 0.001, 0.0)
    eye = np.array([3.0, -2.0, 1.4])
    file = toml(tmp_path / "calib.toml", [R, R], [-R @ eye, [0, 0, 0]], lens)
    run("lift", tmp_path / "bent_camA.npz", "--calibration", file, "--out", tmp_path / "o")
    run("lift", tmp_path / "straight_camA.npz", "--camera", "900,900,500,600", "--out", tmp_path / "o")
    bent_result, said = result(tmp_path / "o", "bent_camA")
    straight, _ = result(tmp_path / "o", "straight_camA")
    np.testing.assert_allclose(bent_result["keypoints"], straight["keypoints"], atol=0.05)
    np.testing.assert_allclose(bent_result["samples"], straight["samples"], atol=2e-3)
    assert "camA" in said["camera"]
    run("lift", tmp_path / "bent_camA.npz", "--calibration", file, "--out", tmp_path / "w", "--axes", "world")
    world, _ = result(tmp_path / "w", "bent_camA")
    np.testing.assert_allclose(world["t_world_camera"], [3.0, 1.4, 2.0], atol=1e-5)
    np.testing.assert_allclose(world["R_world_camera"], np.diag([1.0, -1, -1]), atol=1e-6)


def write_path(path, R, t, kind):
    """A path of world to camera rotations and translations, 30 frames/s, as TUM's text, images.txt or .npz."""
    turn = Rotation.from_matrix(R)
    if kind == "npz":
        np.savez(path, rotation=R, translation=t, seconds=np.arange(len(R)) / 30)
    elif kind == "tum":
        rows = np.concatenate([turn.inv().apply(-t), turn.inv().as_quat()], 1)
        path.write_text("".join(f"{n / 30:.6f} {' '.join(map(repr, row))}\n" for n, row in enumerate(rows.tolist())))
    else:
        rows = np.concatenate([np.roll(turn.as_quat(), 1, 1), t], 1).tolist()
        lines = [f"{n} {' '.join(map(repr, row))} 1 im_{n + 1:04d}.png\n\n" for n, row in enumerate(rows)]
        path.write_text("# Image list\n" + "".join(lines))
    return path


def test_a_moving_cameras_path_gives_the_same_world_in_each_format(run, refused, tmp_path, capsys):
    share = np.linspace(0, 1, 90)[:, None]
    R = Rotation.from_euler("yx", np.concatenate([25 * share, 5 * share], 1), degrees=True).as_matrix()
    t, flags = share * [0.5, 0.0, -0.4], ("lift", CLIP, "--axes", "world", "--gravity", "0,1,0", "--floor", 1.5)
    results = []
    for kind, name in (("npz", "a.npz"), ("tum", "a.txt"), ("colmap", "images.txt")):
        scale = 2 if kind == "tum" else 1
        file = write_path(tmp_path / name, R, t / scale, kind)
        run(*flags, "--out", tmp_path / kind, "--camera-path", file, "--camera-scale", scale)
        results.append(result(tmp_path / kind, "demo_clip")[0])
    assert f"camera path {tmp_path / 'images.txt'}: 90 poses at 0 to 89 frames" in capsys.readouterr().out
    for name in ("root_world", "joints_world", "samples", "R_world_camera", "t_world_camera"):
        for other in results[1:]:
            np.testing.assert_allclose(other[name], results[0][name], atol=1e-4)
    run("lift", CLIP, "--out", tmp_path / "camera")
    before, after = result(tmp_path / "camera", "demo_clip")[0], results[0]
    W, w = after["R_world_camera"], after["t_world_camera"]
    np.testing.assert_allclose(W[50], W[0] @ R[0] @ R[50].T, atol=1e-5)
    np.testing.assert_allclose(after["samples"][:, 50], before["samples"][:, 50] @ W[50].T, atol=1e-5)
    np.testing.assert_allclose(after["root"][:, 50], before["root"][:, 50] @ W[50].T + w[50], atol=1e-4)
    np.testing.assert_allclose(after["covariance"][50, 6], W[50] @ before["covariance"][50, 6] @ W[50].T, atol=1e-6)
    path, short, place = tmp_path / "a.npz", write_path(tmp_path / "short.npz", R[:60], t[:60], "npz"), tmp_path / "o"
    in_world, calibrated = (
        ("--axes", "world"),
        ("--calibration", toml(tmp_path / "c.toml", R, t), "--camera-name", "camA"),
    )
    for message, *arguments in (
        ("--camera-path: is for --axes world", path),
        ("short.npz: poses of seconds 0 to 1.966666667, and people are seen in 0 to 2.9", short, *in_world),
        ("--up: is for", path, *in_world, "--gravity", "0,1,0", "--up", "z"),
        ("--camera-path: the camera of --calibration", path, *in_world, *calibrated),
    ):
        assert message in refused("lift", CLIP, "--out", place, "--camera-path", *arguments)
    assert "--camera-scale: is for --camera-path" in refused(*flags, "--out", place, "--camera-scale", 2)
    assert not place.exists()


def test_the_vertical_of_a_moving_camera_is_told_frame_by_frame():
    """`--gravity` is that of the first frame, `--up` an axis of the path's world."""
    R = Rotation.from_euler("x", [[20], [10], [-30]], degrees=True).as_matrix()
    camera = SimpleNamespace(R_cam_world=R, t_cam=np.zeros((3, 3)))
    data = SimpleNamespace(calibrated=camera, source=SimpleNamespace(frame=np.array([5, 4, 6])))
    level = world.upward(data, WorldAxes(axes="world", gravity=(0.0, 1.0, 0.0)))
    np.testing.assert_allclose(level, R @ R[1].T @ [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(world.upward(data, WorldAxes(axes="world", up="z")), R[..., 2], atol=1e-6)
    assert world.upward(data, WorldAxes(axes="world")) is None


def test_what_falls_along_gravity_is_down(monkeypatch):
    given = WorldAxes(axes="world", gravity=(0.0, 3.0, 4.0))
    np.testing.assert_allclose(world.upward(SimpleNamespace(calibrated=None), given), [0, -0.6, -0.8], atol=1e-6)
    monkeypatch.setattr(world, "to_world", lambda *_, gravity, **__: gravity)
    data = SimpleNamespace(source=SimpleNamespace(frame=None, person=None, fps=30.0), calibrated=None)
    np.testing.assert_array_equal(world.find(data, {"pose": 0, "root": 0}, H36M_17, given), [0, 3, 4])


def test_what_means_nothing_is_refused(refused, tmp_path):
    R = np.eye(3)
    file = toml(tmp_path / "calib.toml", [R, R], [[0, 0, 0], [1, 0, 0]])
    out = ("--out", tmp_path / "o")
    for message, flags in {
        "--gravity without --axes world needs a model that can be told the vertical": ("--gravity", "0,1,0"),
        "--up: is for a calibration file": ("--axes", "world", "--up", "z"),
        "--gravity: needed a length from 0.001 to 1000, not all 0": ("--axes", "world", "--gravity", "0,0,0"),
        "--camera: needed none beside --calibration": ("--calibration", file, "--camera", "900,900,1,1"),
        "has the cameras camA, camB: say by --camera-name": ("--calibration", file),
        "--camera-name: got 'x'; must be one of 0 to 1": ("--calibration", file, "--camera-name", "x"),
        "images are 640 x 480": ("--calibration", file, "--camera-name", "camA", "--image-size", "640,480"),
        "no such file": ("--calibration", tmp_path / "no.toml"),
    }.items():
        assert message in refused("lift", CLIP, *out, *flags)
    assert not (tmp_path / "o").exists()


def files_of(folder, keypoints, names):
    for c, name in enumerate(names):
        own = {"keypoints": np.nan_to_num(keypoints[:, c]), "joints": np.array(COCO_17.joints), "frame": [7, 9]}
        own["keypoints"][..., 2] = np.isfinite(keypoints[:, c, :, 0])
        np.savez(folder / f"{name}.npz", **own, image_size=[1000, 1200])
    return [folder / f"{name}.npz" for name in names]


def test_files_that_do_not_fit_the_cameras_are_refused(two_cameras, refused, refused_prior, tmp_path):
    keypoints, R, t = (two_cameras[0][name] for name in ("keypoints", "R", "t"))
    calibration = toml(tmp_path / "calib.toml", R, t)
    one, two = files_of(tmp_path, keypoints, ("one", "two"))
    np.savez(tmp_path / "pair.npz", keypoints=np.tile([5.0, 9, 1], (2, 17, 1)), joints=COCO_17.joints, frame=[7, 7])
    np.savez(tmp_path / "set.npz", keypoints=np.tile([5.0, 9, 1], (1, 17, 1)), joints=H36M_17.joints)
    (tmp_path / "lens.toml").write_text(calibration.read_text().replace("rotation", "r").replace("translation", "t"))
    flags = ("--calibration", calibration, "--out", tmp_path / "o")
    for message, arguments in {
        "1 files of keypoints for 2 cameras": (one, *flags),
        "--cameras: got 'camC'": (one, two, *flags, "--cameras", "camC"),
        "frame 7 has 2 people": (one, tmp_path / "pair.npz", *flags),
        "needed one joint set": (one, tmp_path / "set.npz", *flags),
        "tells no camera's place": (one, two, "--calibration", tmp_path / "lens.toml", "--out", tmp_path / "o"),
        "no such file": (one, tmp_path / "no.npz", *flags),
    }.items():
        assert message in refused("fuse", *arguments)
    assert "2 files: needed --calibration" in refused_prior("fit", one, two)
    assert "--fov: is for keypoints of one camera" in refused_prior("fit", one, two, *flags[:2], "--fov", 60)
    assert not (tmp_path / "o").exists()


def test_fit_takes_a_file_of_each_camera_by_name_or_order(two_cameras, tmp_path):
    """By name, else by order: the rows that `fit` works on are those of one file of both cameras."""
    from jaxpose.app.commands import fit, models
    from jaxpose.app.commands.options import Fit
    from jaxpose.app.commands.values import FitOutput, KeypointFile

    arrays, _ = two_cameras
    keypoints, R, t = (arrays[name] for name in ("keypoints", "R", "t"))
    np.savez(tmp_path / "whole.npz", **arrays, frame=[7, 9])
    body, whole = models.load_body(None), (tmp_path / "whole.npz",)
    given = KeypointFile(calibration=toml(tmp_path / "c.toml", R, t, names=("camB", "camA")))
    expected, *_ = fit._read(whole, body, Fit(whole, output=FitOutput(out=tmp_path)))
    for names, turned in ((("camB_walk", "camA_walk"), 1), (("one", "two"), 1), (("camA_walk", "camB_walk"), -1)):
        files = tuple(files_of(tmp_path, keypoints[:, ::turned], names))
        found, *_ = fit._read(files, body, Fit(files, keypoints=given, output=FitOutput(out=tmp_path)))
        for name in ("xy", "confidence"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[:, ::turned], rtol=1e-5)
        np.testing.assert_array_equal(found.frame, expected.frame)
        R_found = np.asarray(found.camera.R_cam_world)
        np.testing.assert_allclose(R_found, np.asarray(expected.camera.R_cam_world)[:, ::turned], atol=1e-6)
        assert (found.points, found.up) == (expected.points, expected.up)
