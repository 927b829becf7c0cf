"""`jaxpose lift` with a model of video: whose frames form windows, at which rate; and DiffPose's own checkpoints."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import refusal

from jaxpose.app import cli
from jaxpose.base import Camera
from jaxpose.geometry.camera import project
from jaxpose.model import ASSETS, Model, Spec, init_params, load, save
from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.originals.recipes.diffpose import PROCESS_ARGS, lift_official
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.lift_video import lift_video
from tests.diffpose_models import tiny

LENGTH = 6
INTRINSICS = np.array([1000.0, 1000.0, 500.0, 400.0], np.float32)


@pytest.fixture(scope="module")
def video_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "video.safetensors"
    save(path, tiny(LENGTH), dtype=jnp.float32)
    return path


@pytest.fixture(scope="module")
def walk():
    """[40, 17, 2] pixels of a person of the bundled clip."""
    with np.load(ASSETS / "demo_clip.npz") as clip:
        joints = clip["joints_cam"][:40].astype(np.float32)
    return np.asarray(project(jnp.asarray(INTRINSICS), jnp.asarray(joints)))


def clip(path, keypoints, **keys):
    arrays = {"keypoints": keypoints, "skeleton": "h36m17", "intrinsics": INTRINSICS, "image_size": [1000, 800]}
    np.savez(path, **arrays | keys)
    return path


def run(model, source, out, *flags):
    arguments = ["lift", source, "--out", out, "--model", model, "--hypotheses", 2, "--no-pictures", *flags]
    cli.main([str(a) for a in arguments])
    with np.load(out / f"{source.stem}.npz") as z:
        return dict(z), json.loads((out / f"{source.stem}.json").read_text())


def refused(capsys, model, source, out, *flags):
    error = refusal(capsys, cli.main, "lift", source, "--out", out, "--model", model, "--hypotheses", 2, *flags)
    assert not out.exists()
    return error


@pytest.mark.slow
def test_the_command_is_the_function_on_each_persons_whole_clip(video_model, walk, tmp_path, capsys):
    """Two people, one with a gap, one of two frames only, rows shuffled, 60 frames/s: groups change nothing."""
    frame = np.concatenate([np.arange(24), np.arange(27, 40), [5, 6]])
    person = np.concatenate([np.full(37, 7), [3, 3]])
    shuffled = np.random.default_rng(0).permutation(39)
    frame, person = frame[shuffled], person[shuffled]
    keypoints = walk[frame] + 80 * (person == 3)[:, None, None]
    source = clip(tmp_path / "c.npz", keypoints, frame=frame, person=person, fps=60)
    found, summary = run(video_model, source, tmp_path / "o", "--seed", 4)
    assert "60 frames/s, of which a window takes 1 in 2" in capsys.readouterr().out
    assert summary["num_detections"] == 39
    given = {"camera": Camera(jnp.asarray(INTRINSICS)), "frame": frame, "person": person, "fps": 60}
    whole = lift_video(jax.random.key(4), load(video_model), keypoints, num_hypotheses=2, **given)
    for name in ("samples", "root", "covariance"):
        np.testing.assert_allclose(found[name], getattr(whole, name), atol=2e-4, rtol=2e-3)


@pytest.mark.slow
def test_people_without_ids_are_linked(video_model, walk, tmp_path, capsys):
    """OpenPose's files, whose order of people changes: each keeps an id, and so a clip of its own."""
    folder = tmp_path / "openpose"
    folder.mkdir()
    for frame in range(8):
        people = []
        for shift in (0, 400) if frame % 2 else (400, 0):
            body = np.full((25, 3), 0.9)
            body[:, :2] = np.resize(walk[frame], (25, 2)) + np.array([shift, 0])
            people.append({"person_id": [-1], "pose_keypoints_2d": body.ravel().tolist()})
        (folder / f"f_{frame:012d}_keypoints.json").write_text(json.dumps({"people": people}))
    arguments = ["lift", folder, "--out", tmp_path / "o", "--model", video_model, "--hypotheses", 2]
    cli.main([str(a) for a in (*arguments, "--no-pictures", "--image-size", "1500,800")])
    out = capsys.readouterr().out
    assert "linked over frames: 2 people" in out
    assert "frame rate not known, taken as 30" in out
    with np.load(tmp_path / "o" / "openpose.npz") as z:
        left = z["keypoints"][:, 0, 0] < np.median(z["keypoints"][:, 0, 0])
        assert len(set(zip(left.tolist(), z["person"].tolist(), strict=True))) == 2


def test_a_clip_without_people_or_of_ragged_shape_is_refused(video_model, walk, tmp_path, capsys):
    hidden = clip(tmp_path / "hidden.npz", walk, confidence=np.zeros((40, 17)))
    assert "hidden.npz: no detection has 4 visible joints" in refused(capsys, video_model, hidden, tmp_path / "o")
    ragged = clip(tmp_path / "ragged.npz", walk, frame=np.arange(39))
    assert "ragged.npz: frame is [39]; needed [40]" in refused(capsys, video_model, ragged, tmp_path / "o")
    pose17 = refused(capsys, "pose17", clip(tmp_path / "c.npz", walk), tmp_path / "o", "--components", 3)
    assert "--components needs a DiffPose model with a context, such as 'diffpose17'; got 'pose17'" in pose17


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    part = {"width": 8, "depth": 1, "num_heads": 2}
    network = DiffPose(GraFormer(**part), None, GraphDenoiser(**part, time_units=51.0, time_shift=-1.0))
    spec = Spec(
        "own",
        network,
        context=0,
        codec="screen",
        process="linear_betas",
        process_args=PROCESS_ARGS,
        target="eps",
        indices=(12, 0),
        scale="metres of Human3.6M's people",
    )
    statistics = Statistics(jnp.zeros((17, 3)), jnp.ones((17, 3)), jnp.ones((17, 3)))
    path = tmp_path_factory.mktemp("model") / "own.safetensors"
    save(path, Model(init_params(jax.random.key(1), spec), statistics, spec), dtype=jnp.float32)
    return path


@pytest.mark.slow
def test_diffposes_own_checkpoint_gives_its_one_pose(official, walk, tmp_path, capsys):
    """Also: frames that lack a joint are left out, and what means nothing to it is refused."""
    confidence = np.ones((40, 17))
    confidence[2, 5] = 0
    source = clip(tmp_path / "c.npz", walk, confidence=confidence)
    found, summary = run(official, source, tmp_path / "o")
    said = capsys.readouterr().out
    assert "relative to the root, metres of Human3.6M's people" in said
    assert "left out 1 detections with fewer than 17 visible joints" in said
    assert (summary["num_hypotheses"], summary["network_calls"], summary["sampler"]) == (1, 2, "none")
    expected = lift_official(load(official), jnp.asarray(np.delete(walk, 2, 0)), (1000.0, 800.0))
    np.testing.assert_allclose(found["samples"], np.asarray(expected)[None], atol=1e-5)
    steps = refused(capsys, official, source, tmp_path / "p", "--steps", 5)
    assert "--steps: means nothing to 'own'" in steps
    np.save(tmp_path / "bare.npy", walk)
    bare = refused(capsys, official, tmp_path / "bare.npy", tmp_path / "p", "--skeleton", "h36m17")
    assert "--image-size: 'own' needs the image's WIDTH,HEIGHT" in bare
