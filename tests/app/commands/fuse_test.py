"""`jaxpose fuse`: two cameras find the pose in their world, in one file or in two; what is refused."""

import json

import jax
import numpy as np
import pytest
from cameras import OURS, THEIRS
from shared import refuses

import jaxpose
from jaxpose.app.commands import fuse
from jaxpose.app.commands.options import Fuse
from jaxpose.app.commands.parser import make_parser
from jaxpose.app.commands.values import Output
from jaxpose.base import Camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import load


@pytest.fixture
def fused(model_file):
    def call(*arguments):
        flags = ["--model", model_file, "--hypotheses", 4, "--steps", 8, "--no-pictures"]
        _, options = make_parser()(["fuse", *map(str, (*arguments, *flags))])
        return list(fuse.fuse(options))

    return call


@pytest.fixture(scope="module")
def seen(two_cameras):
    """The two cameras; one does not see a joint in the first frame."""
    arrays, world = two_cameras
    keypoints = arrays["keypoints"].copy()
    keypoints[0, 0, THEIRS[7]] = np.nan
    return arrays | {"keypoints": keypoints}, world


def test_two_cameras_give_back_the_pose(seen, fused, tmp_path, model_file):
    arrays, world = seen
    np.savez(tmp_path / "two.npz", **arrays)
    said = fused(tmp_path / "two.npz", "--noise-px", 1, "--offset", 0, "--out", tmp_path / "o")
    assert any("2 frames of coco17 in 2 of 2 cameras" in line for line in said)
    with np.load(tmp_path / "o" / "two_fused.npz") as z:
        found = dict(z)
    hips = [H36M_17.joints.index(f"{side}_hip") for side in ("left", "right")]
    about_hips = lambda x: x[..., OURS, :] - x[..., hips, :].mean(-2, keepdims=True)  # noqa: E731  # the root is not seen
    off = np.linalg.norm(about_hips(found["samples"].mean(0)) - about_hips(world), axis=-1)
    assert off[..., np.arange(12) != 7].mean() < 0.02  # but for the joint that one camera alone sees
    placed = found["samples"].mean(0) + found["root"].mean(0)[:, None]  # cameras may be off: the mean stays
    off = np.linalg.norm(placed[:, OURS] - world[:, OURS], axis=-1)
    assert off.mean() < 0.02
    assert off.max() < 0.2  # a joint that one camera alone sees, under a prior of random weights
    assert np.nanmax(found["error_px"]) < 5
    np.testing.assert_allclose(found["mean"], found["samples"].mean(0), atol=1e-5)
    np.testing.assert_array_equal(found["confidence"][0, 0, OURS] == 0, np.arange(12) == 7)
    assert str(found["up"]) == "z"
    summary = json.loads((tmp_path / "o" / "two_fused.json").read_text())
    assert (summary["num_cameras"], summary["method"], summary["num_poses"]) == (2, "pseudo_inverse", 2)
    assert summary["systematic"]["joint_mm"]["left_hip"] == 0
    # exact cameras: what is usual, by 3 degrees
    assert summary["systematic"]["camera_mm"] == pytest.approx(6.8, abs=0.1)
    assert (summary["systematic"]["camera_freedom"], summary["systematic"]["noise_factor"]) == (3, 1.0)

    cameras = Camera(*(found.get(name) for name in ("intrinsics", "distortion", "R_cam_world", "t_cam")))
    given = (load(model_file), found["keypoints"], found["confidence"])
    how = {"noise_px": 1, "offset": 0, "steps": 8, "num_hypotheses": 4}
    again = jaxpose.fuse(jax.random.key(0), *given, cameras=cameras, **how)
    for name in ("samples", "root", "covariance"):
        np.testing.assert_allclose(getattr(again, name), found[name], atol=1e-4)


def test_files_of_cameras_are_matched_by_frame(seen, tmp_path, model_file):
    arrays, _ = seen
    for c, frames in enumerate(([3, 4], [4, 5])):
        own = {k: v[c : c + 1] for k, v in arrays.items() if k in ("K", "R", "t")}
        own |= {"keypoints": arrays["keypoints"][:, c : c + 1], "joints": arrays["joints"], "frame": frames}
        np.savez(tmp_path / f"camera{c}.npz", **own)
    files = tuple(tmp_path / f"camera{c}.npz" for c in range(2))
    options = Fuse(files, output=Output(out=tmp_path))
    found, _ = fuse.read_seen(files, load(model_file), options)
    np.testing.assert_array_equal(found.frame, [3, 4, 5])
    np.testing.assert_array_equal((found.confidence > 0).any(-1), [[True, False], [True, True], [False, True]])
    np.testing.assert_allclose(found.xy[1, 0, OURS], arrays["keypoints"][1, 0, THEIRS, :2], rtol=1e-5)
    np.testing.assert_allclose(found.xy[1, 1, OURS[:5]], arrays["keypoints"][0, 1, THEIRS[:5], :2], rtol=1e-5)


def test_what_cannot_be_fused_is_named(seen, fused, tmp_path):
    arrays, _ = seen
    np.savez(tmp_path / "two.npz", **arrays)
    np.savez(tmp_path / "other.npz", **arrays, up="y")
    np.savez(tmp_path / "flat.npz", keypoints=arrays["keypoints"][:, 0])
    np.savez(tmp_path / "empty.npz", **(arrays | {"keypoints": np.nan * arrays["keypoints"]}))
    two, out = tmp_path / "two.npz", tmp_path / "o"
    refusals = {
        "no.npz: no such file": [tmp_path / "no.npz"],
        "flat.npz: needed an .npz of calibrated cameras": [tmp_path / "flat.npz"],
        "other.npz: world y up, and .*two.npz z up": [two, tmp_path / "other.npz"],
        "empty.npz: no frame has 4 joints": [tmp_path / "empty.npz"],
        "--cameras: is for one file of several cameras, got 2 files": [two, two, "--cameras", "0"],
        "--cameras: got '5'": [two, "--cameras", "5"],
    }
    for message, arguments in refusals.items():
        refuses(message, fused, *arguments, "--out", out)
    refuses(r"--out: two in .* is an input", fused, two, "--out", tmp_path, "--name", "two")
    assert not out.exists()
