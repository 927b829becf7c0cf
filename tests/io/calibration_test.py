"""Calibration files as their tools write them: what is read projects known points to known pixels.

The OpenCV texts were written by cv2.FileStorage (YAML 1.2; `%YAML:1.0` of older versions); the tables are those of
Pose2Sim's and aniposelib's writers. Rotation vectors are turned by SciPy, pixels computed here.
"""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.geometry.camera import project, world_to_camera
from jaxpose.io.calibration import read_calibration, resized, select, stacked
from tests.shared import DATA, needs

K = np.array([[910.5, 0, 640.25], [0, 909.125, 361.0], [0, 0, 1]])
BENT = (-0.12, 0.03, 0.001, -0.0002, 0.005)
VECTOR, T = (0.1, -0.2, 0.3), (0.5, -0.25, 3.0)
POINTS = np.array([[0.1, 0.2, 0.3], [-0.5, 0.4, 1.0], [0.7, -0.6, 0.2]])

YAML = """%YAML:1.0
---
calibration_time: "Sun 22 Nov 2026"
nframes: 12
image_width: 1280
image_height: 720
flags: 0
fisheye_model: 0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 910.5, 0., 640.25, 0., 909.125, 361., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.12, 0.029999999999999999, 0.001, -0.00020000000000000001,
       0.0050000000000000001 ]
avg_reprojection_error: 0.31
names:
   - "01"
   - "02"
rvec: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0.10000000000000001, -0.20000000000000001,
       0.29999999999999999 ]
tvec: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0.5, -0.25, 3. ]
image_points: !!opencv-matrix
   rows: 1
   cols: 2
   dt: "2f"
   data: [ 0., 0., 0., 0. ]
"""
XML = """<?xml version="1.0"?>
<opencv_storage>
<calibration_time>"Sun 22 Nov 2026"</calibration_time>
<image_width>1280</image_width>
<image_height>720</image_height>
<fisheye_model>0</fisheye_model>
<camera_matrix type_id="opencv-matrix">
  <rows>3</rows>
  <cols>3</cols>
  <dt>d</dt>
  <data>
    910.5 0. 640.25 0. 909.125 361. 0. 0. 1.</data></camera_matrix>
<distortion_coefficients type_id="opencv-matrix">
  <rows>5</rows>
  <cols>1</cols>
  <dt>d</dt>
  <data>
    -0.12 0.029999999999999999 0.001 -0.00020000000000000001
    0.0050000000000000001</data></distortion_coefficients>
<names>
  "01" "02"</names>
<rvec type_id="opencv-matrix">
  <rows>3</rows>
  <cols>1</cols>
  <dt>d</dt>
  <data>
    0.10000000000000001 -0.20000000000000001 0.29999999999999999</data></rvec>
<tvec type_id="opencv-matrix">
  <rows>3</rows>
  <cols>1</cols>
  <dt>d</dt>
  <data>
    0.5 -0.25 3.</data></tvec>
<image_points type_id="opencv-matrix">
  <rows>1</rows>
  <cols>2</cols>
  <dt>"2f"</dt>
  <data>
    0. 0. 0. 0.</data></image_points>
</opencv_storage>
"""
POSE2SIM = """[cam_01]
name = "cam_01"
size = [ 1280.0, 720.0]
matrix = [ [ 910.5, 0.0, 640.25], [ 0.0, 909.125, 361.0], [ 0.0, 0.0, 1.0]]
distortions = [ -0.12, 0.03, 0.001, -0.0002]
rotation = [ 0.1, -0.2, 0.3]
translation = [ 0.5, -0.25, 3.0]
fisheye = false

[metadata]
adjusted = false
error = 0.0
"""
ANIPOSE = """[cam_0]
name = "A"
size = [ 1280, 720,]
matrix = [ [ 910.5, 0.0, 640.25,], [ 0.0, 909.125, 361.0,], [ 0.0, 0.0, 1.0,],]
distortions = [ -0.12, 0.03, 0.001, -0.0002, 0.005,]
rotation = [ 0.1, -0.2, 0.3,]
translation = [ 500.0, -250.0, 3000.0,]

[cam_1]
name = "B"
size = [ 1280, 720,]
matrix = [ [ 910.5, 0.0, 640.25,], [ 0.0, 909.125, 361.0,], [ 0.0, 0.0, 1.0,],]
distortions = [ 0.0, 0.0, 0.0, 0.0, 0.0,]
rotation = [ 0.0, 0.0, 0.0,]
translation = [ 0.0, 0.0, 2000.0,]

[metadata]
"""
QUALISYS = """<?xml version="1.0" encoding="UTF-8"?>
<calibration source="x.qca" qtm-version="2021.1" type="regular"><cameras>
<camera active="1" serial="21442" model="Miqus Video" viewrotation="0">
<fov_video left="{left}" top="{top}" right="1919" bottom="1087"/>
<transform x="{x}" y="{y}" z="{z}" {axes}/>
<intrinsic focallength="9.3" sensorMinU="0" sensorMaxU="122879" sensorMinV="0" sensorMaxV="69631"
 focalLengthU="64000" focalLengthV="65280" centerPointU="61440" centerPointV="34816" skew="0" radialDistortion1="-0.05"
 radialDistortion2="0.14" radialDistortion3="0.01" tangentalDistortion1="0.0006" tangentalDistortion2="-0.0004"/>
</camera></cameras></calibration>
"""


def pixels(bent=BENT, vector=VECTOR, t=T, intrinsics=K, points=POINTS):
    """Where OpenCV's pinhole camera sees the points, by its published formula."""
    x, y, z = (Rotation.from_rotvec(vector).apply(points) + t).T
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = bent
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([intrinsics[0, 0] * xd + intrinsics[0, 2], intrinsics[1, 1] * yd + intrinsics[1, 2]], -1)


def seen(camera, points=POINTS):
    x_cam = world_to_camera(camera.R_cam_world, camera.t_cam, points.astype(np.float32))
    return np.asarray(project(camera.intrinsics, x_cam, camera.distortion))


@pytest.mark.parametrize(
    ("name", "text", "words", "camera", "bent"),
    [
        ("c.yml", YAML, "OpenCV", "c", BENT),
        ("c.yaml", YAML.replace("%YAML:1.0", "%YAML 1.2"), "OpenCV", "c", BENT),
        ("c.xml", XML, "OpenCV", "c", BENT),
        ("c.toml", POSE2SIM, "Pose2Sim", "cam_01", (*BENT[:4], 0.0)),
        ("c.txt", ANIPOSE, "Anipose", "A", BENT),
    ],
)
def test_a_file_is_told_by_its_content_and_projects_as_opencv_does(tmp_path, name, text, words, camera, bent):
    (tmp_path / name).write_text(text)
    found = read_calibration(tmp_path / name)
    assert (found.format, found.names[0], found.cameras[0].size) == (words, camera, (1280, 720))
    np.testing.assert_allclose(seen(found.cameras[0]), pixels(bent), atol=2e-3)


def test_units(tmp_path):
    """Anipose's are those of the board: millimetres, where cameras are farther apart than 100; or as told."""
    path = tmp_path / "c.toml"
    path.write_text(ANIPOSE)
    found = read_calibration(path)
    assert found.unit == "mm"
    np.testing.assert_allclose(found.cameras[1].t_cam, [0, 0, 2])
    np.testing.assert_allclose(read_calibration(path, unit="cm").cameras[1].t_cam, [0, 0, 20])
    path.write_text(ANIPOSE.replace("000.0", ".0").replace("500.0", "0.5").replace("250.0", "0.25"))
    assert read_calibration(path).unit == "m"
    refuses("unit of the calibration: got 'inch'; must be one of m, cm, mm", read_calibration, path, unit="inch")


def test_qualisys_cameras_look_along_minus_z_with_y_up(tmp_path):
    """A camera at (1, -2, 1.5) m that looks along world y: what is right, above and ahead is where it should be."""
    axes = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # its right, up and back, in a world with z up
    told = " ".join(f'r{i + 1}{j + 1}="{axes[i, j]}"' for i in range(3) for j in range(3))
    path = tmp_path / "calib.qca.txt"
    path.write_text(QUALISYS.format(left=40, top=8, x=1000, y=-2000, z=1500, axes=told))
    (camera,) = read_calibration(path).cameras
    assert read_calibration(path).names == ("21442",)
    assert camera.size == (1880, 1080)
    np.testing.assert_allclose(camera.intrinsics, [1000, 1020, 920, 536])
    np.testing.assert_allclose(camera.distortion, [-0.05, 0.14, 0.0006, -0.0004, 0.01])
    x_cam = np.asarray(world_to_camera(camera.R_cam_world, camera.t_cam, np.float32([[1.3, 2.0, 1.9]])))
    np.testing.assert_allclose(x_cam, [[0.3, -0.4, 4.0]], atol=1e-6)  # right 0.3, up 0.4, ahead 4


@needs(DATA / "video", DATA / "keypoints2d")
def test_the_walkers_qualisys_file_agrees_with_the_cameras_of_its_keypoints():
    """R and t are the same; pixels of the person differ by the distortion, which the .npz has divided by 64."""
    found = read_calibration(DATA / "video" / "walker" / "calib.qca.txt")
    with np.load(DATA / "keypoints2d" / "walker_4cam.npz") as z:
        points, sizes, bent = z["points3d"], z["size"], z["dist"]
        assert found.names == tuple(z["camera"])
        cameras = stacked(found.cameras)
        np.testing.assert_allclose(cameras.R_cam_world, z["R"], atol=1e-6)
        np.testing.assert_allclose(cameras.t_cam, z["t"], atol=1e-5)
        away = []
        for c, camera in enumerate(found.cameras):
            assert camera.size == tuple(sizes[c])
            np.testing.assert_allclose(camera.distortion[:4] / 64, bent[c], atol=1e-7)
            x = points[np.isfinite(points).all(-1)].astype(float)
            vector = Rotation.from_matrix(z["R"][c]).as_rotvec()
            theirs = pixels((*bent[c], 0.0), vector, z["t"][c], z["K"][c], x)
            inside = ((theirs > 0) & (theirs < sizes[c])).all(-1)
            away.append(np.linalg.norm(seen(camera, x) - theirs, axis=-1)[inside])
        assert np.median(np.concatenate(away)) < 1
        assert np.concatenate(away).max() < 4


def opencv(**matrices):
    def block(name, value):
        value = np.atleast_2d(np.asarray(value, float))
        data = ", ".join(map(repr, value.ravel().tolist()))
        rows, cols = value.shape
        return f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: [ {data} ]\n"

    return "%YAML:1.0\n---\n" + "".join(block(name, value) for name, value in matrices.items())


def test_several_cameras_of_opencv_files_in_one_folder(tmp_path):
    """EasyMocap's intri.yml and extri.yml, whose R is a rotation vector; and OpenCV's stereo pair in one file."""
    other = (0.0, 1.0, 0.0)
    (tmp_path / "intri.yml").write_text(opencv(K_1=K, dist_1=[BENT], K_2=K, dist_2=[BENT]))
    both = {"R_1": np.c_[VECTOR], "T_1": np.c_[T], "R_2": np.c_[other], "T_2": np.c_[T]}
    (tmp_path / "extri.yml").write_text(opencv(**both))
    found = read_calibration(tmp_path)
    assert found.names == ("1", "2")
    np.testing.assert_allclose(seen(found.cameras[0]), pixels(), atol=2e-3)
    np.testing.assert_allclose(seen(found.cameras[1]), pixels(vector=other), atol=2e-3)
    R = Rotation.from_rotvec(VECTOR).as_matrix()
    pair = tmp_path / "stereo.yml"
    pair.write_text(opencv(M1=K, D1=[BENT], M2=K, D2=[BENT], R=R, T=np.c_[T]))
    first, second = read_calibration(pair).cameras
    np.testing.assert_array_equal(first.R_cam_world, np.eye(3))
    np.testing.assert_allclose(seen(second), pixels(), atol=2e-3)


def test_a_file_of_a_lens_alone_has_no_place(tmp_path):
    (tmp_path / "lens.yml").write_text(opencv(camera_matrix=K, distortion_coefficients=[BENT]))
    (camera,) = read_calibration(tmp_path / "lens.yml").cameras
    assert camera.R_cam_world is None
    assert camera.size is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POSE2SIM.replace("fisheye = false", "fisheye = true"), "camera cam_01 has a fisheye lens"),
        (opencv(camera_matrix=K, distortion_coefficients=[[*BENT, 0.1, 0, 0]]), "8 coefficients of distortion"),
        (opencv(camera_matrix=K * [[1, 0, 1]] + [[0, 5.0, 0], [0, 1, 0], [0, 0, 0]]), "has skew 5"),
        (POSE2SIM.replace("translation", "place"), "camera cam_01 lacks the translation"),
        (POSE2SIM.replace("910.5", "-910.5"), "focal lengths must be positive"),
        (POSE2SIM.replace("[ 0.1, -0.2, 0.3]", "[ 0.1, -0.2]"), "rotation and translation are"),
        (opencv(camera_matrix=K, R=np.diag([1, 1, -1.0]), T=np.c_[T]), "is no rotation matrix"),
        (ANIPOSE.replace('"B"', '"A"'), "two cameras have the same name"),
        (QUALISYS.format(left=0, top=0, x=0, y=0, z=0, axes="").replace('n="0"', 'n="90"'), "viewrotation 90"),
        ("<html></html>", "XML of <html>"),
        ("frame,person\n1,2\n", "no calibration file; must be one of TOML"),
        ("[a]\nb = 1\n", "TOML without a table of a camera"),
        ("%YAML:1.0\n---\nnframes: 3\n", "lacks camera_matrix, K, M1 and M2, or K_NAME; it has nframes"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, message):
    path = tmp_path / "calib"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_calibration(path)
    assert str(path) in str(error.value)


def test_cameras_are_chosen_and_follow_the_size_of_their_images(tmp_path):
    (tmp_path / "c.toml").write_text(ANIPOSE)
    found = read_calibration(tmp_path / "c.toml")
    assert select(found, ["B", "0"]).names == ("B", "A")
    refuses("--cameras: got 'C'; must be one of 0 to 1, or A, B, once", select, found, ["C"])
    camera = found.cameras[0]
    half = resized(camera, (640, 360), "clip.json")
    np.testing.assert_allclose(seen(half), 0.5 * pixels(), atol=2e-3)
    assert resized(camera, None, "clip.json") is camera
    with pytest.raises(ValueError, match=r"clip.json: images are 720 x 1280, and the calibration is of 1280 x 720"):
        resized(camera, (720, 1280), "clip.json")
