"""C3D: read back by ezc3d, and the bytes of its header as the format has them."""

import struct

import numpy as np
import pytest

from jaxpose.geometry.axes import turn
from jaxpose.io.c3d import read_c3d, write_c3d
from jaxpose.io.poses3d import read_poses3d
from tests.walker import NAMES, walker

ezc3d = pytest.importorskip("ezc3d")


@pytest.fixture
def written(tmp_path):
    points = walker(num=6)[0]
    points[3, 4] = np.nan
    radius = np.linspace(0.004, 0.31, points[..., 0].size).reshape(points.shape[:2])
    write_c3d(tmp_path / "a.c3d", NAMES, points @ turn("y", "z").T, 50.0, radius, 7)
    return tmp_path / "a.c3d", points, radius


def test_ezc3d_reads_points_residuals_units_and_axes(written):
    path, points, radius = written
    file = ezc3d.c3d(str(path))
    point = file["parameters"]["POINT"]
    assert tuple(point["LABELS"]["value"]) == NAMES
    assert point["UNITS"]["value"] == ["mm"]
    assert float(point["RATE"]["value"][0]) == 50
    assert (point["X_SCREEN"]["value"], point["Y_SCREEN"]["value"]) == (["+X"], ["+Z"])
    assert (file["header"]["points"]["first_frame"], file["header"]["points"]["last_frame"]) == (7, 12)
    xyz = file["data"]["points"][:3].transpose(2, 1, 0)  # z up
    np.testing.assert_allclose(xyz[..., 2], 1000 * points[..., 1], atol=1e-3)
    np.testing.assert_allclose(xyz[..., 1], -1000 * points[..., 2], atol=1e-3)
    residual = file["data"]["meta_points"]["residuals"][0].T
    assert residual[3, 4] == -1
    seen = np.isfinite(points[..., 0])
    np.testing.assert_allclose(residual[seen], 1000 * radius[seen], atol=310 / 127 / 2 + 0.01)  # seven bits


def test_the_header_repeats_rate_and_scale_of_the_parameters(written):
    path, _, radius = written
    (scale,) = struct.unpack_from("<f", path.read_bytes(), 12)
    (rate,) = struct.unpack_from("<f", path.read_bytes(), 20)
    assert path.read_bytes()[1] == 0x50
    assert scale == pytest.approx(-1000 * radius.max() / 127, rel=1e-3)
    assert rate == 50


def test_read_again_it_is_the_joints(written):
    path, points, _ = written
    markers = read_c3d(path)
    assert (markers.up, markers.unit, markers.first, markers.fps) == ("z", "mm", 7, 50)
    assert np.isnan(markers.radius[3, 4])
    poses = read_poses3d(path)
    assert (poses.up, poses.unit, poses.fps) == ("z", "mm", 50)
    np.testing.assert_array_equal(poses.frame, np.arange(7, 13))
    place = poses.skeleton.joints.index("left_wrist")
    np.testing.assert_allclose(poses.joints[:, place] * [1, -1, -1], points[:, NAMES.index("left_wrist")], atol=1e-5)


def test_faults_are_named(tmp_path):
    (tmp_path / "bad.c3d").write_bytes(b"no c3d" * 100)
    with pytest.raises(ValueError, match=r"bad\.c3d.*C3D file"):
        read_c3d(tmp_path / "bad.c3d")
    with pytest.raises(ValueError, match="no such file"):
        read_c3d(tmp_path / "none.c3d")
    with pytest.raises(ValueError, match="65535"):
        write_c3d(tmp_path / "a.c3d", ("a",), np.zeros((5, 1, 3)), 30, None, 65534)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.c3d"]


def test_without_ezc3d_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ezc3d", None)
    with pytest.raises(ValueError, match=r'pip install "jaxpose\[c3d\]"'):
        write_c3d(tmp_path / "a.c3d", ("a",), np.zeros((5, 1, 3)), 30)
