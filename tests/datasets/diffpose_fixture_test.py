"""DiffPose's Human3.6M files, in the formats it reads, give what its own loader makes of them.

The golden numbers are of S9 "Walking", camera by camera (golden/README.md): the loader's root is the trajectory in the
camera, its other joints are there too; the first component of its mixtures lies on the detections of the CPN file.
"""

import jax.numpy as jnp
import numpy as np
import pytest
import shared

from jaxpose.geometry.camera import normalise_screen
from jaxpose.originals.datasets.h36m import load_frames
from jaxpose.originals.datasets.videopose3d import cameras_of, prepare_videopose3d

GOLDEN = shared.GOLDEN / "diffpose"
SUBJECTS = ["S1", "S5", "S6", "S7", "S8", "S9", "S11"]
HEIGHTS = [1002, 1000, 1000, 1002]  # pixels, of cameras 0..3; all are 1000 wide


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "loader.npz") as z:
        return dict(z)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Frames by the name of the 2D file."""
    fixture, out = GOLDEN / "fixture", tmp_path_factory.mktemp("h36m")
    for name in ("gt", "cpn_ft_h36m_dbb"):
        files = fixture / "data_3d_h36m.npz", fixture / f"data_2d_h36m_{name}.npz"
        list(prepare_videopose3d(*files, SUBJECTS, out / name))
    return {path.name: load_frames(path) for path in out.iterdir()}


def walking(frames, camera):
    return (frames.subject == 9) & (frames.action == 14) & (frames.camera_id == camera)


@pytest.mark.parametrize("camera", range(4))
def test_poses_are_those_of_the_original_loader(golden, folders, camera):
    expected = golden[f"cam{camera}_xyz"]
    for frames in folders.values():
        x = frames.camera[walking(frames, camera)]
        np.testing.assert_allclose(x, expected, atol=1e-6)


@pytest.mark.parametrize("camera", range(4))
def test_screen_coordinates_are_those_of_the_original_loader(golden, folders, camera):
    """Its camera vector is normalised alike: f 2 / w, and the centre as a pixel."""
    frames = folders["cpn_ft_h36m_dbb"]
    mine = walking(frames, camera)
    uv = normalise_screen(frames.keypoints[mine], 1000, HEIGHTS[camera])
    np.testing.assert_allclose(uv, golden[f"cam{camera}_gmm"][..., 0, 1:3], atol=1e-6)
    intrinsics = frames.intrinsics[mine][0]
    expected = golden[f"cam{camera}_intrinsic"]
    np.testing.assert_allclose(intrinsics[:2] * 2 / 1000, expected[:2], rtol=1e-6)
    centre = normalise_screen(jnp.asarray(intrinsics[None, 2:]), 1000, HEIGHTS[camera])[0]
    np.testing.assert_allclose(centre, expected[2:4], atol=1e-6)


@pytest.mark.parametrize("camera", range(4))
def test_exact_keypoints_are_our_poses_through_the_originals_lens(golden, folders, camera):
    """All frames of the exact 2D file, with the distortion of the original's camera vector k1 k2 k3 p1 p2."""
    frames = folders["gt"]
    mine = frames.camera_id == camera
    x = frames.camera[mine]
    k1, k2, k3, p1, p2 = golden[f"cam{camera}_intrinsic"][4:]
    # not Brown's formula: p1 goes with x and p2 with y, and the cross terms are halved (spec/diffpose.md, 6.3)
    a = x[..., :2].astype(float) / x[..., 2:]
    r2 = (a**2).sum(-1, keepdims=True)
    p = np.array([p1, p2])
    bent = a * (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + (a * p).sum(-1, keepdims=True)) + p * r2
    k = cameras_of("S9").intrinsics[camera]
    np.testing.assert_allclose(frames.keypoints[mine], bent * k[:2] + k[2:], atol=2e-3)
