"""The page of `make web` in headless Chromium: its poses are Python's, and what goes wrong is told in a sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import DATA, needs, refuses

from experiments.web.facts import facts
from jaxpose.app.detect.base import Frame
from jaxpose.app.detect.blazepose import blazepose
from jaxpose.app.detect.weights import Weights
from jaxpose.app.to_onnx.few_steps import export_lift, lift_of_noise, noise_of, write
from jaxpose.app.viz.page import skeleton_part
from jaxpose.app.viz.scenes import spread_of
from jaxpose.base import Camera
from jaxpose.files import ASSETS
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import get_skeleton
from jaxpose.model import load
from jaxpose.tasks.lift import lift

ROOT = Path(__file__).resolve().parents[2]
WEB, PAGE = ROOT / "experiments" / "web", ROOT / "build" / "web"
CLIP = DATA / "video" / "walker" / "cam03.mp4"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
LANDMARKS = get_skeleton("mediapipe33")
NEAR = 1e-4  # metres: float32 in another order of operations


def test_the_page_knows_the_joints_of_its_model(tmp_path):
    """What the page draws by comes from the file that it runs."""
    onnx = pytest.importorskip("onnx", reason="extra [onnx]")
    model = load("pose17_fast")
    write(tmp_path / "lift.onnx", export_lift(model, num=2, skeleton=LANDMARKS))
    said = facts(tmp_path / "lift.onnx")
    assert said["inputs"]["noise"] == [2, 2, 1, 17, 3]
    assert said["body"]["content"]["skeletons"] == [skeleton_part(model.skeleton)]
    named = [sorted((LANDMARKS.joints[a], LANDMARKS.joints[b])) for a, b in said["input_lines"]]
    assert ["left_hip", "left_knee"] in named
    assert ["left_shoulder", "right_shoulder"] in named
    assert not [pair for pair in named if "nose" in pair and any("shoulder" in joint for joint in pair)]
    assert said["licence"].startswith("[CC BY-SA 3.0]")
    (tmp_path / "other.onnx").write_bytes(onnx.ModelProto().SerializeToString())
    refuses(r"other.onnx: not of the format 'jaxpose-onnx-1'", facts, tmp_path / "other.onnx")


@pytest.fixture(scope="module")
def address():
    """Of the built page, served as docs/browser.md says."""
    if not (PAGE / "worker.js").is_file() or not (WEB / "node_modules").is_dir():
        pytest.skip("build/web is not there; `make web` builds it")
    if shutil.which("node") is None or not Path(CHROMIUM).exists():
        pytest.skip("needs node and Chromium (its path in $CHROMIUM)")
    command = [sys.executable, "-m", "experiments.web.serve", str(PAGE), "--port=0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0]
        server.terminate()


@pytest.fixture
def drive(address, tmp_path):
    """What the page says after a visit with the flags of drive.mjs."""

    def visit(*flags):
        command = ["node", str(WEB / "drive.mjs"), address, str(tmp_path / "page"), *map(str, flags)]
        subprocess.run(command, check=True, timeout=300)
        said = json.loads((tmp_path / "page.json").read_text())
        assert said["elsewhere"] == []  # nothing is asked of another machine
        return said

    return visit


@pytest.fixture
def film(tmp_path):
    """A recorded walk as a camera's film: JPEG pictures one after the other."""
    Image = pytest.importorskip("PIL.Image")
    av = pytest.importorskip("av", reason="package av reads videos")
    path = tmp_path / "walk.mjpeg"
    with av.open(CLIP) as source, path.open("wb") as out:
        for frame in source.decode(video=0):
            picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
            picture.resize((544, 960)).save(out, "JPEG", quality=92)
    return path


@pytest.mark.slow
def test_the_page_lifts_as_python_does(drive, tmp_path):
    """Given keypoints and the noise of a key: the samples of `tasks.lift` under that key."""
    model, key = load("pose17_fast"), jax.random.key(5)
    with np.load(ASSETS / "demo_clip.npz") as clip:
        rows = [jnp.asarray(clip[name][::15]) for name in ("keypoints", "confidence")]
        intrinsics = jnp.asarray(clip["intrinsics"])
    points = convert_joints(*rows, model.skeleton, LANDMARKS)
    noise = np.asarray(noise_of(key, model, 20, 1))
    given = [
        {"keypoints": xy.ravel(), "confidence": sure, "intrinsics": intrinsics, "noise": noise.ravel()}
        for xy, sure in zip(*map(np.asarray, points), strict=True)
    ]
    (tmp_path / "given.json").write_text(json.dumps([{k: np.asarray(v).tolist() for k, v in g.items()} for g in given]))
    found = drive("--lift", tmp_path / "given.json")["lifted"]
    seen = convert_joints(*points, LANDMARKS, model.skeleton)
    for n, one in enumerate(found):
        expected = lift(key, model, *(x[n : n + 1] for x in seen), camera=Camera(intrinsics), num_hypotheses=20)
        for name in ("samples", "mean", "radius_90", "root"):
            np.testing.assert_allclose(one[name], np.asarray(getattr(expected, name)).ravel(), atol=NEAR, err_msg=name)


@pytest.mark.slow
@needs(CLIP)
def test_a_recorded_camera_is_lifted(drive, film):
    """The landmarks are on the person; poses, radius and ellipsoids are Python's for the same landmarks and noise."""
    said = drive("--camera", film, "--seconds", 5, "--no-webgl", "--press", "Space", "--press", "ArrowLeft")
    last, shape = said["last"], (2, 20, 1, 17, 3)
    assert said["poses"] > 5
    assert said["isolated"]
    given = [jnp.asarray(last[k], jnp.float32) for k in ("keypoints", "confidence", "intrinsics")]
    xy, sure, intrinsics = given[0].reshape(1, 33, 2), given[1][None], given[2][None]
    assert ((xy >= 0) & (xy <= jnp.array([last["width"], last["height"]]))).mean() > 0.8
    assert sure[0, LANDMARKS.joints.index("left_shoulder")] > 0.5
    noise = jnp.asarray(said["noise"], jnp.float32).reshape(shape)
    expected = lift_of_noise(load("pose17_fast"), xy, sure, intrinsics, noise, LANDMARKS, shape[1])
    for name in ("samples", "radius_90"):
        np.testing.assert_allclose(last[name], np.asarray(getattr(expected, name)).ravel(), atol=NEAR)
    mean = np.reshape(last["mean"], (17, 3)) * [1, -1, -1]
    assert 0.8 < np.ptp(mean[:, 1]) < 2.2  # metres, of a person on their feet
    spread = spread_of(np.reshape(last["samples"], (-1, 1, 17, 3)), np.reshape(last["covariance"], (1, 17, 3, 3)))
    entries = spread.shape[0][:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]] * [1, 1, 1, -1, -1, 1]  # y and z mirrored
    np.testing.assert_allclose(np.reshape(last["shape"], (17, 6)), entries, atol=NEAR)
    np.testing.assert_allclose(last["inner"], spread.inner[0], atol=1e-3)
    shown = said["shown"]
    assert (shown["step"], shown["playing"]) == (118, False)
    np.testing.assert_allclose(shown["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(shown["radius"], 1000 * np.asarray(last["radius_90"]), atol=0.501)


@pytest.mark.slow
@needs(CLIP)
def test_landmarks_are_those_of_the_python_detector(drive):
    """A frame of a file: the two networks, crops and refinement of the page and of jaxpose/app/detect agree."""
    pytest.importorskip("ai_edge_litert", reason="extra [video]")
    av = pytest.importorskip("av", reason="extra [video]")
    last = drive("--video", CLIP, "--seconds", 3, "--no-webgl")["last"]
    networks = Weights("lite", PAGE / "pose_detection.tflite", PAGE / "pose_landmark_lite.tflite")
    with av.open(CLIP) as source:
        images = [frame for frame in source.decode(video=0) if abs(float(frame.time) - last["seconds"]) < 1e-3]
        (image,) = [f.reformat(last["width"], last["height"]).to_ndarray(format="rgb24") for f in images]
    (found,) = blazepose(networks, people=1).detect([Frame(0, 0.0, image)])
    away = np.linalg.norm(np.reshape(last["keypoints"], (33, 2)) - found.xy_px[0], axis=-1)
    body = np.ptp(found.xy_px[0][:, 1])
    assert np.median(away) < 0.02 * body  # a crop found in another frame: two detections of one picture


@pytest.mark.slow
def test_what_goes_wrong_is_told(drive, tmp_path):
    assert "not allowed to use the camera" in drive("--deny", "--seconds", 1)["message"]
    (tmp_path / "notes.mp4").write_text("not a video")
    said = drive("--video", tmp_path / "notes.mp4", "--seconds", 1, "--no-webgl")
    assert said["message"] == "notes.mp4 is not a video that this browser can play."
    assert said["poses"] == 0
