"""Fuzzer of every reader of files: a damaged file is read right, or refused by one line that names it.

"Right" is what the types of results promise: numbers that are finite (joints that are missing are NaN), shapes that
agree, confidences in [0, 1].
"""

from pathlib import Path
from typing import Any

import numpy as np
from fuzz.corpus import ENTRIES, content
from fuzz.harness import broken
from fuzz.mutate import mutated

from jaxpose.geometry.body import Body
from jaxpose.io.calibration import Calibration
from jaxpose.io.camera_path import CameraPath
from jaxpose.io.heatmap_files import Heatmaps
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.motion import PartialMotion
from jaxpose.io.multiview import MultiView
from jaxpose.io.poses3d import Poses3D
from jaxpose.io.smpl_motion import Motion
from jaxpose.model import Model

_NAMES = tuple(ENTRIES)
_UNTOUCHED = 0.01  # of the cases: the valid file, which must be read


def run_case(seed: int, case: int, folder: Path) -> str | None:
    """One file of a case; of which format is left to the case's number, so that all take turns."""
    rng = np.random.default_rng([seed, case])
    name = _NAMES[case % len(_NAMES)]
    entry, data = ENTRIES[name], content(name)
    for other, text in entry.beside:
        (folder / other).write_text(text)
    is_whole = rng.random() < _UNTOUCHED
    path = folder / name
    path.write_bytes(data if is_whole else mutated(name, data, rng))
    if is_whole and name != "torch.pth":
        check_result(entry.read(path))
        return None
    return broken(lambda: check_result(entry.read(path)), path, *(folder / other for other, _ in entry.beside))


def check_result(value: Any) -> None:
    """AssertionError where a result breaks what its type promises."""
    match value:
        case Keypoints():
            num, joints = value.confidence.shape
            assert value.xy.shape == (num, joints, 2), value.xy.shape
            assert np.isfinite(value.xy).all(), "xy"
            assert ((value.confidence >= 0) & (value.confidence <= 1)).all(), "confidence"
            assert value.frame.shape == value.person.shape == (num,), "frame"
            assert len(value.image) == num, "image"
            _finite(value.intrinsics, value.fps)
        case Poses3D():
            assert not np.isinf(value.joints).any(), "joints"
            assert value.joints.shape[::2] == (len(value.frame), 3), value.joints.shape
            _finite(value.fps)
        case CameraPath():
            _finite(value.t_cam, value.time)
            R, t = value.at(value.time, 30.0, value.time)
            assert np.allclose(R, value.R_cam_world, atol=2e-3), "R_cam_world"
            assert np.allclose(t, value.t_cam, rtol=1e-2, atol=2e-3 * abs(value.t_cam).max()), "t_cam"
        case Heatmaps():
            assert np.isfinite(value.maps).all(), "maps"
            _finite(value.box, value.intrinsics, value.fps)
        case MultiView():
            _finite(value.xy, value.confidence, *value.camera[:4], value.fps)
            assert len(value.frame) == len(value.xy), "frame"
        case PartialMotion():
            check_result(value.motion)
        case Motion():
            _finite(*value[:5])
            assert value.fps > 0, "fps"
        case Calibration():
            for camera in value.cameras:
                _finite(*camera[:4])
        case Body():
            _finite(value.v_template, value.shapedirs, value.posedirs, value.J_regressor, value.weights)
        case Model():
            _finite(*value.statistics, value.typicality)
        case tuple() | list():
            for part in value:
                check_result(part)


def _finite(*arrays: Any) -> None:
    for array in arrays:
        assert array is None or np.isfinite(array).all(), array
