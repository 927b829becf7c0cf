"""ASF/AMC: a small skeleton by scipy, the database's files, faults by line."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.io.asf_amc import asf_beside, read_amc, read_asf
from jaxpose.io.take import world

ASF = """# by hand
:version 1.10
:name small
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   any words: begin end
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 1 0
   orientation 0 0 0
:bonedata
  begin
     id 2
     name shin
     direction 0 -2 0
     length 4
     axis 10 20 30 XYZ
     dof rx
     limits (-10.0 170.0)
  end
  begin
     id 1
     name thigh
     direction 0.6 -0.8 0
     length 5
     axis 0 0 20 ZYX
     dof rz rx ry
  end
  begin
     id 3
     name toe
     direction 0 0 1
     length 1e0
     axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root thigh
    thigh shin
    shin toe
  end
"""
AMC = """#!OML:ASF any
:FULLY-SPECIFIED
:DEGREES
1
root 0 0 0 0 0 0
thigh 0 0 0
shin 0
2
shin 400
thigh 30 40 50
root 1 2 3 10 20 30
"""


def write(tmp_path, asf=ASF, amc=AMC):
    paths = tmp_path / "small.asf", tmp_path / "small_01.amc"
    for path, text in zip(paths, (asf, amc), strict=True):
        path.write_bytes(text.encode())
    return paths


def read(tmp_path, asf=ASF, amc=AMC):
    asf_path, amc_path = write(tmp_path, asf, amc)
    return read_amc(amc_path, read_asf(asf_path))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_small_skeleton_agrees_with_scipy(tmp_path, newline):
    """Bones before their parents, dofs in another order, an axis ZYX, an angle beyond a turn, a bone that is fixed."""
    take = read(tmp_path, ASF.replace("\n", newline), AMC.replace("\n", newline))
    assert dict(zip(take.names, take.parents, strict=True)) == {"root": -1, "thigh": 0, "shin": 1, "toe": 2}
    assert take.fps == 120
    positions, rotations = world(take)
    np.testing.assert_allclose(positions[0], [[0, 1, 0], [0, 1, 0], [3, -3, 0], [3, -7, 0]], atol=1e-12)
    np.testing.assert_allclose(rotations[0], np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-12)
    # scipy's small letters are turns about fixed axes, the first named is applied first
    root = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    axis = Rotation.from_euler("zyx", [20, 0, 0], degrees=True)
    thigh = root * axis * Rotation.from_euler("zyx", [30, 50, 40], degrees=True) * axis.inv()
    axis = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    shin = thigh * axis * Rotation.from_euler("x", 40, degrees=True) * axis.inv()
    for joint, wanted in enumerate((root, thigh, shin, shin)):
        np.testing.assert_allclose(rotations[1, joint], wanted.as_matrix(), atol=1e-12)
    knee = np.array([1, 3, 3]) + thigh.apply([3, -4, 0])
    np.testing.assert_allclose(positions[1, 2:], [knee, knee + shin.apply([0, -4, 0])], atol=1e-12)


def test_radians_are_the_same_motion(tmp_path):
    degrees = read(tmp_path)
    asf = ASF.replace("angle deg", "angle rad")
    for old in ("10 20 30 XYZ", "0 0 20 ZYX"):
        *angles, order = old.split()
        asf = asf.replace(old, " ".join(repr(np.deg2rad(float(a)).item()) for a in angles) + f" {order}")
    lines = []
    for line in AMC.replace(":DEGREES", ":RADIANS").splitlines():
        name, *values = line.split()
        moved = 3 if name == "root" else 0
        turned = [repr(np.deg2rad(float(v)).item()) for v in values[moved:]] if name[0].isalpha() else []
        lines.append(" ".join([name, *values[:moved], *turned]))
    radians = read(tmp_path, asf, "\n".join(lines))
    np.testing.assert_allclose(radians.rotations, degrees.rotations, atol=1e-12)
    np.testing.assert_allclose(radians.translations, degrees.translations, atol=1e-12)


ASF_FAULTS = {
    "section": (":hierarchy", ":hierarchie", "line 40", ":hierarchy"),
    "no root": (":root\n", ":skin\n", "", "no section :root"),
    "unit": ("angle deg", "angle grad", "line 7", "must be one of deg, rad"),
    "no end": ("length 1e0\n     axis 0 0 0 XYZ\n  end", "length 1e0\n     axis 0 0 0 XYZ", "line 33", "has no end"),
    "no length": ("     length 4\n", "", "line 16", "'length'"),
    "direction": ("direction 0 -2 0", "direction 0 0 0", "line 19", "direction"),
    "axis": ("10 20 30 XYZ", "10 20 30 XYX", "line 21", "'XYX'"),
    "duplicate": ("name toe", "name shin", "line 33", "'shin'"),
    "unknown bone": ("thigh shin\n", "thigh shin foot\n", "line 43", "'foot'"),
    "two parents": ("shin toe", "shin toe thigh", "line 44", "'thigh'"),
    "not joined": ("    shin toe\n", "", "", "toe"),
}


@pytest.mark.parametrize(("old", "new", "line", "said"), ASF_FAULTS.values(), ids=ASF_FAULTS)
def test_a_fault_of_the_skeleton_is_named(tmp_path, old, new, line, said):
    assert ASF.count(old) == 1
    path, _ = write(tmp_path, ASF.replace(old, new))
    refuses(rf"small\.asf.*{line}.*{re.escape(said)}", read_asf, path)


AMC_FAULTS = {
    "unknown bone": ("shin 400", "shn 400", "line 9", "'shn'"),
    "number": ("thigh 30 40 50", "thigh 30 40", "line 10", "needed 3 numbers, got 2"),
    "twice": ("root 1 2", "shin 1\nroot 1 2", "line 11", "twice in one frame"),
    "missing": ("shin 400\n", "", "line 8", "'shin'"),
    "no frame": ("1\nroot", "root", "line 4", "number of a frame"),
}


@pytest.mark.parametrize(("old", "new", "line", "said"), AMC_FAULTS.values(), ids=AMC_FAULTS)
def test_a_fault_of_the_motion_is_named(tmp_path, old, new, line, said):
    assert AMC.count(old) == 1
    asf, amc = write(tmp_path, amc=AMC.replace(old, new))
    skeleton = read_asf(asf)
    refuses(rf"small_01\.amc, {line}\b.*{re.escape(said)}", read_amc, amc, skeleton)


def test_the_skeleton_is_found_by_name(tmp_path):
    asf, amc = write(tmp_path)
    assert asf_beside(amc) == asf
    (tmp_path / "smal.asf").write_text(ASF)
    assert asf_beside(amc) == asf
    refuses(r"smal\.asf", asf_beside, tmp_path / "other_01.amc")
