"""Rendering, truth and readings against what must be seen."""

import numpy as np
import pytest
from shared import refuses

from experiments.rendered import people, produce, scenes, shards
from experiments.rendered.raster import Mesh, joined, render
from jaxpose.app.detect.people import Region
from jaxpose.files import write_npz
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33, SMPL_24

K = np.array([100.0, 100.0, 50.0, 50.0], np.float32)


def square(z: float, half: float, layer: int) -> Mesh:
    """A square of half side `half` metres that faces the camera at depth z."""
    points = np.array([(-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)], np.float32)
    faces = np.array([(0, 2, 1), (0, 3, 2)])
    return Mesh(points, faces, np.full((4, 3), 0.2 * layer, np.float32), np.full(2, layer, np.uint8))


def test_the_nearest_surface_is_seen_from_its_front():
    picture = render(joined([square(2.0, 0.205, 1), square(4.0, 1.0, 2)]), K, 100, 100)
    assert (picture.layer == 1).sum() == 21**2  # 10.25 px on each side of the centre
    assert picture.layer[50, 50] == 1
    np.testing.assert_allclose(picture.depth[50, [50, 70]], [2, 4], rtol=1e-5)
    np.testing.assert_allclose(picture.rgb[50, 70], 0.4, rtol=1e-5)
    assert picture.layer[50, 90] == 0
    back = square(2.0, 0.205, 1)
    assert not render(back._replace(faces=back.faces[:, ::-1]), K, 100, 100).layer.any()


def test_the_interpolated_depth_of_a_tilted_surface_is_that_of_its_plane():
    mesh = square(2.0, 1.0, 1)
    mesh.points[:, 2] += 0.5 * mesh.points[:, 0]  # z = 2 + x / 2, and x = (u - 50) / 100 z
    depth = render(mesh, K, 100, 100).depth[50, 30:71]
    np.testing.assert_allclose(depth, 2 / (1 - 0.5 * (np.arange(30, 71) - 50) / 100), rtol=1e-5)


def test_what_hides_a_point():
    person, box = square(3.0, 1.0, 1), square(2.0, 0.1, 2)
    picture = render(joined([person, box]), K, 100, 100)
    x = np.full((17, 3), (0.5, 0.0, 3.05), np.float32)
    x[:4] = (0, 0, 3.05), (0.5, 0, 3.3), (9, 0, 3), (0.5, 0, 2.5)
    expected = (scenes.COVERED, scenes.SELF, scenes.OUTSIDE, scenes.VISIBLE, scenes.VISIBLE)
    assert tuple(scenes._hidden(x, K, picture)[:5]) == expected


def test_a_posed_person_keeps_bones_and_stands_at_the_root():
    person = people.draw_person(np.random.default_rng(0))
    rotations = 0.4 * np.random.default_rng(1).normal(size=(2, 22, 3)).astype(np.float32)
    root = np.array([(0, 1, 0), (1, 1, 2)], np.float32)
    posed = people.pose(person, rotations, root)
    np.testing.assert_allclose(posed.joints[:, 0], root, atol=1e-5)
    for a, b in (("left_hip", "left_knee"), ("right_elbow", "right_wrist")):
        length = np.linalg.norm(np.subtract(*(posed.joints[:, H36M_17.joints.index(j)] for j in (a, b))), axis=-1)
        rest = np.linalg.norm(np.subtract(*(person.joints[SMPL_24.joints.index(j)] for j in (a, b))))
        np.testing.assert_allclose(length, rest, rtol=1e-4)


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_the_mirrored_reading_of_a_symmetric_network_is_the_plain_one(angle):
    """A network that puts every landmark at the brightest pixel, whatever its name."""

    def run(x: np.ndarray) -> list[np.ndarray]:
        row, column = divmod(int(x.sum(-1).argmax()), 256)
        landmarks = np.tile(np.array([column, row, 0, 2.0, 0], np.float32), (39, 1))
        return [landmarks, np.array([0.9]), np.zeros(1), np.full((64, 64, 39), -20.0), np.zeros((39, 3))]

    image = np.zeros((120, 120, 3), np.uint8)
    image[70, 40] = 255
    region = Region(np.array([60.0, 60.0]), 110.0, angle)
    plain, mirrored = (produce.read_crop(run, image, region, mirrored=m)[0]["xy"] for m in (False, True))
    np.testing.assert_allclose(plain[0], (40, 70), atol=0.5)
    np.testing.assert_allclose(mirrored, plain, atol=0.02)


def test_readings_of_shards_are_on_the_plane_with_their_evidence(tmp_path):
    rng, n = np.random.default_rng(0), 4
    joints = (rng.normal(size=(n, 17, 3)) * 0.3 + [0, 0, 4]).astype(np.float32)
    intrinsics = np.tile(np.array([300, 300, 160, 160], np.float32), (n, 1))
    uv = shards.truth_px({"joints": joints, "intrinsics": intrinsics})
    xy = np.zeros((n, 33, 2), np.float32)
    xy[:, shards.LIMBS] = uv[:, shards.SAME]
    data = {"joints": joints, "intrinsics": intrinsics, "clip": np.array([0, 0, 1, 2])}
    for name, off in (("full", 0), ("lite", 2), ("mirrored", np.nan)):
        data |= {f"{name}.xy": xy + np.float32(off), f"{name}.presence": np.array([0.9, 0.9, 0.9, 0.2])}
        data |= {f"{name}.crop": np.tile([160, 160, 512.0, 0], (n, 1))}
        data |= {f"{name}.{field}": np.full((n, 33), 0.7) for field in shards.EVIDENCE[:4]}
    (tmp_path / "train").mkdir()
    write_npz(tmp_path / "train" / "00000.npz", data)
    read = shards.readings(shards.load(tmp_path, "train"))
    knee = H36M_17.joints.index("left_knee")
    assert read.rows.tolist() == [0, 1, 2]  # nobody is there in the last
    np.testing.assert_allclose(read.xy[:, knee], joints[:3, knee, :2] / joints[:3, knee, 2:], atol=1e-5)
    evidence = dict(zip(shards.EVIDENCE, np.asarray(read.evidence[:, knee]).T, strict=True))
    np.testing.assert_allclose(
        evidence["disagreement"], 2**0.5 * 2 / 2, rtol=1e-4
    )  # 2 px each way, 2 px a crop's pixel
    assert np.isnan(evidence["mirrored"]).all()
    assert np.isfinite(evidence["movement"]).tolist() == [False, True, False]
    assert MEDIAPIPE_33.joints[shards.LIMBS[0]] == H36M_17.joints[shards.SAME[0]]
    refuses("val: no shard", shards.load, tmp_path, "val")
