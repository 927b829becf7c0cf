"""ik, denoise and fit of bodies as a user calls them: what was posed is found again, in every world's axes."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.app import cli
from jaxpose.app.commands.bodies import as_rows
from jaxpose.base import Bodies
from jaxpose.geometry.axes import from_camera
from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.body_joints import body_points
from jaxpose.geometry.skeleton import COCO_17, SMPL_22
from jaxpose.io.anny_body import anny_body
from jaxpose.io.motion import read_motion
from jaxpose.io.poses3d import read_poses3d

NUM = 6


@pytest.fixture(scope="module")
def posed():
    """A motion of NUM frames that swings a little, standing at (0.3, 1, 0.2) m, y up, turned about the vertical."""
    rng = np.random.default_rng(4)
    pose = rng.normal(0, 0.15, (21, 3)) + 0.05 * np.linspace(0, 1, NUM)[:, None, None] * rng.normal(0, 1, (21, 3))
    body = anny_body()
    root = np.tile([0, 0.4, 0.0], (NUM, 1))
    rotations = full_rotations(body, jnp.asarray(pose, jnp.float32), jnp.asarray(root, jnp.float32))
    return body.shape().pose(rotations, jnp.array([0.3, 1.0, 0.2]))


def motion_joints(path):
    """The joints of the motion in a file, on the ANNY body, y up."""
    motion, body = read_motion(path), anny_body()
    rotations = full_rotations(body, jnp.asarray(motion.body_pose), jnp.asarray(motion.global_orient))
    joints = np.asarray(body.shape(None if motion.betas is None else motion.betas).pose(rotations).joints)[:, :22]
    return joints - joints[:, :1] + motion.transl[:, None]


@pytest.mark.slow
def test_ik_meets_joints_without_noise_whatever_the_files_axes(run_prior, posed, tmp_path):
    joints = np.asarray(posed.joints)[:, :22]
    z_up = np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], -1)
    np.savez(tmp_path / "p.npz", joints3d=1000 * z_up, skeleton="smpl22", up="z", unit="mm", frame=np.arange(NUM) + 7)
    run_prior("ik", tmp_path / "p.npz", "--noise", 0, "--out", tmp_path / "o", "--bvh", "--glb", "--obj")
    with np.load(tmp_path / "o" / "p.npz") as z:
        error = np.linalg.norm(z["joints3d"] - joints, axis=-1)
        assert error.mean() < 0.003
        assert error.max() < 0.01
        assert np.nanmax(z["error"]) < 0.01
        np.testing.assert_array_equal(z["frame"], np.arange(NUM) + 7)
        np.testing.assert_allclose(motion_joints(tmp_path / "o" / "p_motion.npz"), z["joints3d"], atol=1e-4)
    assert len(read_motion(tmp_path / "o" / "p.bvh").body_pose) == NUM
    assert (tmp_path / "o" / "p.glb").read_bytes()[:4] == b"glTF"
    assert (tmp_path / "o" / "p.obj").read_text().count("o body_") == NUM


@pytest.mark.slow
def test_denoising_fills_gaps_and_comes_nearer(posed, tmp_path):
    joints = np.asarray(posed.joints)[:, :22]
    noisy = joints + np.random.default_rng(0).normal(0, 0.04, joints.shape)
    noisy[2, 20] = np.nan
    seen = np.array([0, 1, 2, 4, 5])  # every second frame of a clip at 30/s; number 6 is skipped
    arrays = {"joints3d": noisy[seen], "skeleton": "smpl22", "up": "y", "fps": 30.0, "frame": 2 * seen}
    np.savez(tmp_path / "p.npz", **arrays)
    given = ["--model", "prior21", "--noise", "0.04", "--bvh", "--no-pictures"]
    cli.main(["denoise", str(tmp_path / "p.npz"), *given, "--out", str(tmp_path / "o")])
    with np.load(tmp_path / "o" / "p.npz") as z:
        np.testing.assert_array_equal(z["frame"], 2 * np.arange(NUM))
        assert z["fps"] == 30
        away = np.linalg.norm(z["joints3d"] - joints, axis=-1)
        assert away[seen].mean() < 0.6 * np.nanmean(np.linalg.norm(noisy - joints, axis=-1)[seen])
        assert away[3].mean() < 0.05
    assert read_motion(tmp_path / "o" / "p.bvh").fps == pytest.approx(15)
    summary = json.loads((tmp_path / "o" / "p.json").read_text())
    assert summary["noise_mm"] == {"0": 40}


def cameras(up):
    """Two cameras 3 m away that look at the body, x_cam = R x + t, in a world with y or z up."""
    to_y = {"y": np.eye(3), "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])}[up]
    R, t = [], []
    for yaw in (0.2, 1.6):
        c, s = np.cos(yaw), np.sin(yaw)
        facing = np.array([[c, 0, -s], [0, -1, 0], [-s, 0, -c]])  # y down, z towards the body
        R.append(facing @ to_y)
        t.append(np.array([0, 0, 3.0]) - facing @ np.array([0.3, 1.0, 0.2]))
    return np.array(R), np.array(t)


@pytest.mark.slow
@pytest.mark.parametrize("as_clip", [False, True])
def test_two_cameras_find_the_body_in_their_world(as_clip, posed, tmp_path):
    def fit(*arguments):  # without the small prior, which knows nothing of people and holds frames back
        cli.main(["fit", *map(str, arguments), "--prior", "none", "--no-pictures"])

    points = np.asarray(body_points(posed, "coco17"))[:3]
    z_up = np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1)
    R, t = cameras("z")
    x = np.einsum("cij,fkj->fcki", R, z_up) + t[:, None]
    K = np.tile(np.array([[900.0, 0, 500], [0, 900, 600], [0, 0, 1]]), (2, 1, 1))
    uv = x[..., :2] / x[..., 2:] * 900 + [500, 600]
    keypoints = np.concatenate([uv, np.ones((*uv.shape[:-1], 1))], -1)
    keypoints[0, 0, 9] = np.nan
    np.savez(tmp_path / "two.npz", keypoints=keypoints, K=K, R=R, t=t, joints=COCO_17.joints, fps=30.0)
    flags = ["--as-clip", "--smooth", 1] if as_clip else []
    fit(tmp_path / "two.npz", "--out", tmp_path / "o", "--noise-px", 1, *flags)
    with np.load(tmp_path / "o" / "two_fitted.npz") as z:
        assert np.median(z["error_px"]) < 0.5
        assert z["error_px"].max() < 3
        limbs = [COCO_17.joints.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("elbow", "knee")]
        same = [SMPL_22.joints.index(COCO_17.joints[i]) for i in limbs]
        assert np.linalg.norm(z["joints3d"][:, same] - z_up[:, limbs], axis=-1).max() < 0.03
        assert len(np.unique(z["betas"][:, 0])) == (1 if as_clip else 3)
        y_up = from_camera(read_poses3d(tmp_path / "o" / "two_fitted.npz").joints, "y")
        if as_clip:  # else the shapes differ, and the motion's file has none
            np.testing.assert_allclose(motion_joints(tmp_path / "o" / "two_fitted_motion.npz"), y_up, atol=2e-3)
        start = dict(z)
    verdict = lambda out: json.loads((tmp_path / out / "two_fitted.json").read_text())["verdict"]["poses_in_doubt"]  # noqa: E731
    assert verdict("o")["keypoints"] == 0
    if as_clip:
        np.savez(tmp_path / "two.npz", keypoints=keypoints[:, :, ::-1], K=K, R=R, t=t, joints=COCO_17.joints, fps=30.0)
        fit(tmp_path / "two.npz", "--out", tmp_path / "other", "--as-clip")
        assert verdict("other")["keypoints"] == 3, "joints in another order"
    else:
        # from where it ended: one camera of the two is enough to stay
        np.savez(tmp_path / "start.npz", **start)
        flags = ("--start", tmp_path / "start.npz", "--cameras", "1", "--noise-px", 1)
        fit(tmp_path / "two.npz", "--out", tmp_path / "again", *flags)
        with np.load(tmp_path / "again" / "two_fitted.npz") as z:
            assert z["error_px_camera"].shape == (3, 1)
            moved = z["joints3d"][:, 0] - start["joints3d"][:, 0]
            away = start["joints3d"][:, 0] + R[1].T @ t[1]  # from the camera, which tells size and distance as one
            along = (moved * away).sum(-1) / np.linalg.norm(away, axis=-1)
            assert (
                np.linalg.norm(moved - along[:, None] * away / np.linalg.norm(away, axis=-1)[:, None], axis=-1).max()
                < 0.02
            )
            assert (np.abs(along) / np.linalg.norm(away, axis=-1)).max() < 0.05


def test_smoothness_is_weighed_by_the_cube_of_the_rate(monkeypatch, prior_file, posed, tmp_path):
    """Of squared second differences at 60 frames a second: 600, or what is given, times eight."""
    xyz = np.asarray(posed.joints)[:, :17] + [0, 0, 4]
    for name, values in (("k", xyz[..., :2] * 100 + 500), ("j", xyz)):
        np.savez(
            tmp_path / f"{name}.npz",
            fps=60.0,
            **{"keypoints" if name == "k" else "joints3d": values},
            **(
                {"joints": COCO_17.joints, "image_size": [1000, 1000]}
                if name == "k"
                else {"skeleton": "h36m17", "up": "y"}
            ),
        )
    taken = []

    def watched(*_, settings, **__):
        taken.append(settings.weights.smooth)
        raise ValueError("enough")

    monkeypatch.setattr("jaxpose.app.commands.fit.fit_keypoints", watched)
    monkeypatch.setattr("jaxpose.app.commands.denoise.motion_task.denoise_motion", watched)
    calls = [
        ["fit", "k.npz", "--as-clip"],
        ["fit", "k.npz", "--as-clip", "--smooth", "10"],
        ["denoise", "j.npz", "--noise", "0.02"],
    ]
    for command, file, *flags in calls:
        with pytest.raises(SystemExit):
            cli.main([command, str(tmp_path / file), *flags, "--model", str(prior_file), "--out", str(tmp_path / "o")])
    np.testing.assert_allclose(taken, [4800, 80, 4800])


def test_clips_become_rows_also_of_a_body_without_shape_numbers():
    """Two clips of three frames: frame f of clip n is row 3 n + f; betas and energy are those of the clip."""
    rng = np.random.default_rng(0)
    shapes = ((2, 2, 3, 21, 3), (2, 2, 3, 3), (2, 2, 3, 3), (2, 2, 0), (2, 2, 3, 22, 3), (2, 2), (2, 2))
    found = Bodies(*(jnp.asarray(rng.normal(size=shape)) for shape in shapes))
    rows = as_rows(found)
    assert rows["betas"].shape == (2, 6, 0)
    np.testing.assert_array_equal(rows["body_pose"][1, 4], found.body_pose[1, 1, 1])
    np.testing.assert_array_equal(rows["energy"][0], np.repeat(found.energy[0], 3))


def test_bad_input_is_refused(refused_prior, refused, posed, tmp_path):
    joints = np.asarray(posed.joints)[:2, :22].copy()
    joints[1, 2:] = np.nan
    np.savez(tmp_path / "p.npz", joints3d=joints, skeleton="smpl22", up="y", frame=[3, 4])
    file = tmp_path / "p.npz"
    assert "frame 4, person 0 has 2 points" in refused_prior("ik", file)
    assert "--only: got 'tail'; must be one of pelvis, left_hip" in refused_prior("ik", file, "--only", "tail")
    assert "--points: points 'x' are unknown; must be one of h36m17" in refused_prior("ik", file, "--points", "x")
    assert 'Invalid value "x" for --prior. Choose from: "dposer", "l2", "none"' in refused_prior(
        "ik", file, "--prior", "x"
    )
    assert "--model: is of --prior dposer" in refused_prior("ik", file, "--prior", "none")
    assert 'Choose from: "second_order", "adam"' in refused_prior("ik", file, "--method", "newton")
    assert "noise is estimated from joints" in refused_prior("denoise", file)
    assert "no.json: no such file" in refused_prior("fit", tmp_path / "no.json")
    np.savez(tmp_path / "k.npz", keypoints=np.random.default_rng(0).uniform(1, 900, (1, 17, 2)), joints=COCO_17.joints)
    assert "--cameras: is for a file of several" in refused_prior("fit", tmp_path / "k.npz", "--cameras", "0")
    assert "lacks body_pose, global_orient, transl" in refused_prior("fit", tmp_path / "k.npz", "--start", file)
    (tmp_path / "body.pkl").write_bytes(b"no pickle")
    assert "body.pkl" in refused_prior("ik", file, "--body", tmp_path / "body.pkl")
    assert "`jaxpose ik` needs a prior over joint rotations" in refused("ik", file, "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()
