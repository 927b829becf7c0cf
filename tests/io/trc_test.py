"""TRC: read by OpenSim's rules as a parser of its own has them, and read as Pose2Sim and OpenCap write it."""

import numpy as np
import pytest

from jaxpose.io.markers import read_trc, write_trc
from jaxpose.io.poses3d import read_poses3d
from tests.walker import NAMES, walker


def opensim_parser(path):
    """Labels, times and positions [F, K, 3] in the file's unit, by the rules of OpenSim's TRCFileAdapter."""
    lines = path.read_text().split("\n")
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    keys, values = (line.split("\t") for line in lines[1:3])
    meta = dict(zip(keys, values, strict=True))
    assert {"DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units"} <= set(meta)
    columns = lines[3].split("\t")
    assert columns[:2] == ["Frame#", "Time"]
    labels = columns[2::3][: int(meta["NumMarkers"])]
    axes = lines[4].split("\t")
    assert axes[2:] == [f"{a}{k + 1}" for k in range(len(labels)) for a in "XYZ"]
    assert lines[5] == ""
    rows, times = [], []
    for line in lines[6:]:
        if line == "":
            continue
        cells = line.split("\t")
        assert len(cells) == 2 + 3 * len(labels)
        times.append(float(cells[1]))
        rows.append([float(c) if c else np.nan for c in cells[2:]])
    assert len(rows) == int(meta["NumFrames"])
    return labels, np.array(times), np.array(rows).reshape(len(rows), -1, 3), meta


def test_written_files_follow_opensims_rules(tmp_path):
    points = walker(num=5)[0]
    points[2, 3] = np.nan
    write_trc(tmp_path / "a.trc", NAMES, points, 25.0, 10)
    labels, times, xyz, meta = opensim_parser(tmp_path / "a.trc")
    assert tuple(labels) == NAMES
    np.testing.assert_allclose(times, (10 + np.arange(5)) / 25)
    np.testing.assert_allclose(xyz, 1000 * points, atol=1e-4)
    assert meta["Units"] == "mm"
    assert float(meta["DataRate"]) == 25
    again = read_trc(tmp_path / "a.trc")
    assert (again.names, again.fps, again.first, again.unit) == (NAMES, 25, 10, "mm")
    np.testing.assert_allclose(again.xyz, 1000 * points, atol=1e-4)


POSE2SIM = (
    "PathFileType\t4\t(X/Y/Z)\tclip.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
    "60\t60\t2\t4\tm\t60\t0\t1\n"
    "Frame#\tTime\tCHip\t\t\tRHip\t\t\tRKnee\t\t\tLAnkle\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\tX3\tY3\tZ3\tX4\tY4\tZ4\n"
    "\n"
    "0\t0.0\t0.1\t0.9\t0.2\t0.2\t0.9\t0.2\tnan\tnan\tnan\t0.1\t0.1\t0.2\n"
    "1\t0.016667\t0.1\t0.9\t0.2\t0.2\t0.9\t0.2\t0.2\t0.5\t0.2\t\t\t\n"
)
OPENCAP = (
    "PathFileType\t4\t(X/Y/Z)\t  trial.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
    "60.000\t60.000\t1\t5\tmm\t60.000\t1\t1\n"
    "Frame#\tTime\tNeck\t\t\tRHip\t\t\tmidHip\t\t\tLBigToe\t\t\tr.ASIS_study\t\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\tX3\tY3\tZ3\tX4\tY4\tZ4\tX5\tY5\tZ5\n"
    "1\t0.000\t 0.0\t1400.0\t0.0\t100\t900\t0\t0\t900\t0\t-100\t20\t100\t5\t5\t5\t\n"
)


def test_files_of_pose2sim_and_opencap_are_joints_by_their_names(tmp_path):
    (tmp_path / "p.trc").write_text(POSE2SIM)
    poses = read_poses3d(tmp_path / "p.trc")
    x = dict(zip(poses.skeleton.joints, np.moveaxis(poses.joints, 1, 0), strict=True))
    np.testing.assert_allclose(x["right_hip"][0], [0.2, -0.9, -0.2], atol=1e-6)  # metres; camera axes: y down
    assert np.isnan(x["right_knee"][0]).all()
    assert np.isnan(x["left_ankle"][1]).all()
    assert (poses.fps, poses.up, poses.unit) == (60, "y", "m")
    (tmp_path / "o.trc").write_text(OPENCAP)
    poses = read_poses3d(tmp_path / "o.trc")
    assert poses.ignored == ("r.ASIS_study",)
    assert poses.skeleton.name in ("body25", "halpe26")
    x = dict(zip(poses.skeleton.joints, poses.joints[0], strict=True))
    np.testing.assert_allclose(x["neck"], [0, -1.4, 0], atol=1e-6)
    np.testing.assert_allclose(x["left_big_toe"], [-0.1, -0.02, -0.1], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("PathFileType", "Path"), "line 1: needed PathFileType"),
        (("60\t60\t2\t4", "0\t60\t2\t4"), "line 3: needed DataRate"),
        (("\t2\t4\tm", "\t2\t5\tm"), "line 4: needed Frame#, Time and 5 names, got 4"),
        (("0.0\t0.1", "0.0\tleft"), "line 7: 'left' is not a number"),
        (("\tm\t60", "\tfeet\t60"), "unit .--unit.: got 'feet'"),
        (("RKnee", "MARK1"), "needed 3 or more|lacks|are joints"),
    ],
)
def test_faults_name_file_and_line(tmp_path, change, message):
    text = POSE2SIM.replace(*change) if change[0] != "RKnee" else POSE2SIM.replace("RKnee", "A").replace("CHip", "B")
    (tmp_path / "p.trc").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_poses3d(tmp_path / "p.trc")
    assert "p.trc" in str(error.value)
