"""C3D: read back by ezc3d, and the bytes of its header as the format has them."""

import struct

import numpy as np
import pytest
from shared import refuses

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


POINTS = np.array([[[10, -20, 30], [5, 0, -7]], [[11, -21, 31], [4, 1, -6]], [[12, -22, 32], [3, 2, -5]]], float)
WORDS = np.array([[0, 3], [-1, 127], [5, 0]])  # residuals; -1 is missing


def c3d_bytes(processor, is_float):
    """Two points in frames 4 to 6 with one analog channel of two samples, as the format's manual lays it out."""
    order, scale = ">" if processor == 86 else "<", -0.5 if is_float else 0.25

    def real(values):
        raw = np.asarray(values, f"{order}f4")
        if processor != 85:
            return raw.tobytes()
        return (4 * raw.astype("<f4")).view("<u2").reshape(-1, 2)[:, ::-1].tobytes()

    def integers(values):
        return np.asarray(values, f"{order}i2").tobytes()

    def parameter(group, name, kind, axes, raw):
        body = struct.pack("<bB", kind, len(axes)) + bytes(axes) + raw + b"\x00"
        return struct.pack("<bb", len(name), group) + name + struct.pack(f"{order}H", 2 + len(body)) + body

    section = struct.pack("<bb", 5, -1) + b"POINT" + struct.pack(f"{order}H", 3) + b"\x00"
    section += parameter(1, b"USED", 2, (), integers(2)) + parameter(1, b"FRAMES", 2, (), integers(3))
    section += parameter(1, b"SCALE", 4, (), real([scale])) + parameter(1, b"RATE", 4, (), real([100.0]))
    section += parameter(1, b"DATA_START", 2, (), integers(4)) + parameter(1, b"LABELS", -1, (4, 2), b"RHipLHip")
    section += parameter(1, b"UNITS", -1, (2,), b"cm") + struct.pack("<bb", 6, -2) + b"ANALOG"
    section += struct.pack(f"{order}H", 3) + b"\x00" + parameter(2, b"USED", 2, (), integers(1))
    section += parameter(2, b"RATE", 4, (), real([200.0])) + parameter(2, b"GEN_SCALE", 4, (), real([1.0]))
    section += parameter(2, b"OFFSET", 2, (1,), integers([0])) + parameter(2, b"SCALE", 4, (1,), real([1.0]))
    section += parameter(2, b"LABELS", -1, (2, 1), b"Fx") + bytes(2)
    header = bytes([2, 0x50]) + integers([2, 2, 4, 6, 0]) + real([scale]) + integers([4, 2]) + real([100.0])
    values = np.concatenate([POINTS / (1 if is_float else scale), WORDS[..., None]], -1).reshape(3, -1)
    rows = np.concatenate([values, np.ones((3, 2))], -1)
    data = real(rows) if is_float else integers(rows)
    return header.ljust(512, b"\x00") + (bytes([1, 0x50, 2, processor]) + section).ljust(1024, b"\x00") + data


@pytest.mark.parametrize("is_float", [True, False])
@pytest.mark.parametrize("processor", [84, 85, 86])
def test_every_form_of_numbers_is_read(tmp_path, processor, is_float):
    path = tmp_path / "a.c3d"
    path.write_bytes(c3d_bytes(processor, is_float))
    found = read_c3d(path)
    wanted = np.where(WORDS[..., None] < 0, np.nan, POINTS)
    np.testing.assert_array_equal(found.xyz, wanted)
    np.testing.assert_array_equal(found.radius, np.where(WORDS < 0, np.nan, WORDS * (0.5 if is_float else 0.25)))
    assert (found.names, found.fps, found.unit, found.first) == (("RHip", "LHip"), 100.0, "cm", 3)
    if processor == 84:  # what this ezc3d reads right
        file = ezc3d.c3d(str(path))
        np.testing.assert_allclose(file["data"]["points"][:3].transpose(2, 1, 0), wanted)


def test_faults_are_named(tmp_path):
    (tmp_path / "bad.c3d").write_bytes(b"no c3d" * 100)
    refuses(r"bad\.c3d.*C3D file", read_c3d, tmp_path / "bad.c3d")
    refuses("no such file", read_c3d, tmp_path / "none.c3d")
    refuses("65535", write_c3d, tmp_path / "a.c3d", ("a",), np.zeros((5, 1, 3)), 30, None, 65534)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.c3d"]


def test_without_ezc3d_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ezc3d", None)
    refuses(r'pip install "jaxpose\[c3d\]"', write_c3d, tmp_path / "a.c3d", ("a",), np.zeros((5, 1, 3)), 30)
