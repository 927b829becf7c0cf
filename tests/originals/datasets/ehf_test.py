"""EHF's folder, written as it is published: ascii and binary meshes, OpenPose's files, the calibration."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.originals.datasets.ehf import DPOSER_SCRIPT, IMAGE_SIZE, PUBLISHED, load_ehf, read_ply, to_camera

FACES = [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]
VERTICES = np.array([[0, 0, 0], [1, 0, 0.25], [0, 1, -0.5], [0, 0.125, 1]])


def ply_bytes(vertices, form, *, kind="float", faces=FACES, colours=False):
    """A mesh as MeshLab and the `mesh` package write it."""
    colour = "property uchar red\nproperty uchar green\nproperty uchar blue\n" if colours else ""
    head = (
        f"ply\nformat {form} 1.0\ncomment by a test\nelement vertex {len(vertices)}\n"
        f"property {kind} x\nproperty {kind} y\nproperty {kind} z\n{colour}"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    ).encode()
    if form == "ascii":
        rows = [" ".join(map(repr, map(float, v))) + (" 255 0 7" if colours else "") for v in vertices]
        rows += [f"{len(f)} " + " ".join(map(str, f)) for f in faces]
        return head + ("\n".join(rows) + "\n").encode()
    body = b""
    for v in vertices:
        body += np.asarray(v, "<f4" if kind == "float" else "<f8").tobytes()
        body += bytes([255, 0, 7]) if colours else b""
    for f in faces:
        body += bytes([len(f)]) + np.asarray(f, "<i4").tobytes()
    return head + body


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("colours", [False, True])
def test_a_mesh_in_every_form(tmp_path, form, kind, colours):
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(VERTICES, form, kind=kind, colours=colours))
    np.testing.assert_array_equal(read_ply(path), VERTICES)


def person(start, confidence):
    rows = [[start + j, 2.0 * start + j, confidence] for j in range(25)]
    return {"pose_keypoints_2d": np.ravel(rows).tolist(), "face_keypoints_2d": [], "person_id": [-1]}


@pytest.fixture
def folder(tmp_path):
    for i, (name, suffix) in enumerate((("01", "jpg"), ("02", "png"))):
        (tmp_path / f"{name}_img.{suffix}").write_bytes(b"")
        people = [person(500, 0.1), person(100 * i, 0.9)]
        (tmp_path / f"{name}_2Djnt.json").write_text(json.dumps({"version": 1.2, "people": people}))
        (tmp_path / f"{name}_align.ply").write_bytes(ply_bytes(VERTICES + i, "binary_little_endian"))
    return tmp_path


def test_a_folder(folder):
    data = load_ehf(folder, ("01", "02"))
    assert [path.name for path in data.image] == ["01_img.jpg", "02_img.png"]
    np.testing.assert_array_equal(data.vertices[1], VERTICES + 1)
    np.testing.assert_array_equal(data.keypoints[1, 3], [103, 203, 0.9])
    np.testing.assert_array_equal(data.keypoints[0, 3], [3, 3, 0.9])


def test_the_published_camera_sees_a_person_upright_in_the_image():
    """R by another library, and 0.6 m of upright person about the world's origin."""
    R = Rotation.from_rotvec(PUBLISHED.rotation).as_matrix()
    points = np.random.default_rng(0).normal(size=(5, 7, 3))
    np.testing.assert_allclose(to_camera(PUBLISHED, points), points @ R.T + PUBLISHED.t_cam, atol=1e-12)
    # others carry the matrix instead; its diagonal there
    np.testing.assert_allclose(R[[0, 1, 2], [0, 1, 2]], [0.99924469, -0.98820433, -0.98751025], atol=1e-7)
    head, feet = to_camera(PUBLISHED, np.array([[0, 0.3, 0], [0, -0.3, 0]]))
    assert head[1] + 0.55 < feet[1]
    fx, fy, cx, cy = PUBLISHED.intrinsics
    for x, y, z in (head, feet):
        assert 0 < fx * x / z + cx < IMAGE_SIZE[0]
        assert 0 < fy * y / z + cy < IMAGE_SIZE[1]


def test_the_scripts_camera_is_the_images_diagonal_and_middle():
    width, height = IMAGE_SIZE
    np.testing.assert_allclose(DPOSER_SCRIPT.intrinsics, [np.hypot(width, height)] * 2 + [width / 2, height / 2])
