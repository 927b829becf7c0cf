"""The stream is the lift of its last window, with one noise for all steps; what a live input may bring."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from diffpose_models import tiny
from random_params import random_params
from shared import refuses

from jaxpose.base import Camera
from jaxpose.model import ASSETS, Model
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import stochastic
from jaxpose.tasks.stream import start_stream, step_stream

FRAMES, HYPOTHESES, LENGTH = 5, 6, 8
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def clip():
    with np.load(ASSETS / "demo_clip.npz") as z:
        return {k: z[k].astype(np.float32) for k in ("keypoints", "confidence", "intrinsics")}


@pytest.fixture(
    scope="module", params=["video", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("frame", "video alone"))]
)
def model(request):
    if request.param != "video alone":
        return tiny(FRAMES if request.param == "video" else None)
    model = tiny(FRAMES)
    spec = dataclasses.replace(model.spec, network=dataclasses.replace(model.spec.network, frame=None))
    return Model({**random_params(spec), "start": model.params["start"]}, model.statistics, spec)


@pytest.fixture(scope="module")
def video():
    return tiny(FRAMES, symmetric=True)


def follow(model, clip, rows, stream=None, **options):
    """Results and streams of frames `rows` of the clip, one after the other."""
    stream = stream or start_stream(KEY, model, num_hypotheses=HYPOTHESES)
    results = []
    for row in rows:
        lifted, stream = step_stream(
            model, stream, clip["keypoints"][row], clip["confidence"][row], camera=Camera(clip["intrinsics"]), **options
        )
        results.append((lifted, stream))
    return results


def test_a_step_is_the_lift_of_its_causal_window(model, clip):
    """Of a video model, whose rows share their noise, one `lift` of all windows gives every step."""
    samples = jnp.concatenate([lifted.samples for lifted, _ in follow(model, clip, range(LENGTH))], 1)
    options = {"camera": Camera(clip["intrinsics"]), "num_hypotheses": HYPOTHESES}
    seen = clip["keypoints"][:LENGTH], clip["confidence"][:LENGTH]
    if model.spec.network.window is None:
        rows = [lift(KEY, model, *(x[n : n + 1] for x in seen), **options).samples for n in range(LENGTH)]
        expected = jnp.concatenate(rows, 1)
    else:
        index = np.maximum(np.arange(LENGTH)[:, None] - np.arange(FRAMES)[::-1], 0)
        windows = (index, np.arange(FRAMES) == np.full((LENGTH, 1), FRAMES - 1))
        expected = lift(KEY, model, *seen, windows=windows, sampler=stochastic(3), **options).samples
    np.testing.assert_allclose(samples, expected, rtol=1e-3, atol=1e-4)
    assert float(jnp.std(samples, 0).max()) > 0.01, "hypotheses that are alike would prove nothing"


def test_a_model_of_single_frames_is_followed_by_both_sides(clip):
    model = pose_oracle.tiny()
    (first, _), (second, _) = follow(model, clip, [0, 1])
    for row, lifted in ((0, first), (1, second)):
        seen = clip["keypoints"][row : row + 1], clip["confidence"][row : row + 1]
        alone = lift(KEY, model, *seen, camera=Camera(clip["intrinsics"]), num_hypotheses=HYPOTHESES)
        np.testing.assert_allclose(lifted.samples, alone.samples, atol=1e-5)


def test_blocks_of_frames_are_answered_together(video, clip):
    rows = slice(1, 4)
    _, stream = follow(video, clip, [0])[0]
    seen = clip["keypoints"][rows], clip["confidence"][rows]
    block, after = step_stream(video, stream, *seen, camera=Camera(clip["intrinsics"]))
    assert block.samples.shape == (HYPOTHESES, 3, 17, 3)
    last, one_by_one = follow(video, clip, range(4))[-1]
    np.testing.assert_allclose(block.samples[:, 2], last.samples[:, 0], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(after.keypoints, one_by_one.keypoints)
    assert after.count == 4


def test_hypotheses_keep_their_identity(clip):
    """Of the deviations from the mean, those of one hypothesis correlate over time, those of two do not."""
    video = tiny(FRAMES)
    samples = np.concatenate([lifted.samples for lifted, _ in follow(video, clip, range(2 * LENGTH))], 1)
    away = (samples - samples.mean(0))[:, :, 1:].reshape(HYPOTHESES, 2 * LENGTH, -1)
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    over_time = np.einsum("htc,gtc->hg", away[:, :-1], away[:, 1:]) / (2 * LENGTH - 1)
    assert np.diag(over_time).min() > 0.95
    assert over_time[~np.eye(HYPOTHESES, dtype=bool)].max() < 0.6


@pytest.mark.parametrize("how", ["no confidence", "no number", "one joint"])
def test_a_frame_without_a_person_holds_the_last_pose_and_says_so(video, clip, how):
    (before, stream), *_ = follow(video, clip, [0])
    gone = dict(clip)
    if how == "no number":
        gone["keypoints"] = np.full_like(clip["keypoints"], np.nan)
    else:
        gone["confidence"] = np.where(np.arange(17) == 3, np.float32(how == "one joint"), 0 * clip["confidence"])
    (held, after), *_ = follow(video, gone, [1], stream)
    np.testing.assert_array_equal(held.samples, before.samples)  # the window holds the first frame alone
    np.testing.assert_array_equal(held.root, before.root)
    assert float(jnp.abs(held.weights).max()) == 0
    np.testing.assert_array_equal(after.keypoints, stream.keypoints)
    (back, _), *_ = follow(video, clip, [2], after)
    np.testing.assert_allclose(back.weights.sum(0), 1, rtol=1e-6)
    assert np.isfinite(back.samples).all()


def test_before_the_first_person_the_result_is_nan(video, clip):
    empty = {**clip, "confidence": np.zeros_like(clip["confidence"])}
    (nothing, stream), *_ = follow(video, empty, [0])
    assert np.isnan(nothing.samples).all()
    assert float(nothing.weights.sum()) == 0
    (seen, _), *_ = follow(video, clip, [0], stream)
    (fresh, _), *_ = follow(video, clip, [0])
    np.testing.assert_array_equal(seen.samples, fresh.samples)


def test_hidden_joints_are_never_read(video, clip):
    is_six = np.arange(17) == 6
    hidden = {**clip, "confidence": np.where(is_six, 0, clip["confidence"])}
    broken = {**hidden, "keypoints": np.where(is_six[:, None], np.nan, clip["keypoints"])}
    a, b = (follow(video, c, range(3))[-1][0] for c in (hidden, broken))
    np.testing.assert_array_equal(a.samples, b.samples)
    np.testing.assert_array_equal(a.root, b.root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": jnp.zeros((5, 17, 2))}, r"keypoints: needed \[17, 2\] or \[1..4, 17, 2\] of one person in"),
        ({"confidence": jnp.zeros(16)}, r"confidence: needed \[17\]"),
        ({"camera": Camera(np.zeros((1, 4)))}, r"camera: intrinsics: needed \[4\], got \[1, 4\]"),
        ({"stream": 9}, r"stream: needed \[5, 17\] of 'tiny'.*, got \[9, 17\]"),
    ],
)
def test_wrong_input_is_named(video, clip, change, message):
    inputs = {k: clip[k][0] for k in ("keypoints", "confidence")} | {"camera": Camera(clip["intrinsics"])} | change
    stream = start_stream(KEY, tiny(inputs.pop("stream", FRAMES)))
    refuses(message, step_stream, video, stream, inputs.pop("keypoints"), inputs.pop("confidence"), **inputs)
