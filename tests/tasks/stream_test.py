"""The stream against the offline lift, its law against the Gaussian oracle, and what a live input may bring."""

import dataclasses

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest
from diffpose_models import tiny
from random_params import random_params
from shared import refuses

from jaxpose.base import Camera
from jaxpose.diffusion import vp
from jaxpose.model import ASSETS, Model
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks.diffpose import encoder_input
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import probability_flow
from jaxpose.tasks.stream import draw_next, start_stream, step_stream

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


def offline(model, clip, num_rows, num_steps=None):
    """Frames 0 .. num_rows - 1 with the causal window of each, by the probability flow."""
    windows = None
    if model.spec.network.video is not None:
        index = np.maximum(np.arange(num_rows)[:, None] - np.arange(FRAMES)[::-1], 0)
        windows = (index, np.arange(FRAMES) == np.full((num_rows, 1), FRAMES - 1))
    return lift(
        KEY,
        model,
        clip["keypoints"][:num_rows],
        clip["confidence"][:num_rows],
        camera=Camera(clip["intrinsics"]),
        num_hypotheses=HYPOTHESES,
        sampler=probability_flow(num_steps),
        windows=windows,
    )


def test_a_first_frame_is_what_the_offline_lift_says_of_it(model, clip):
    lifted, _ = follow(model, clip, [0])[0]
    expected = offline(model, clip, 1)
    for name in ("samples", "root", "mean", "covariance", "weights"):
        np.testing.assert_allclose(getattr(lifted, name), getattr(expected, name), rtol=1e-3, atol=1e-5, err_msg=name)
    assert float(jnp.std(lifted.samples, 0).max()) > 0.01, "hypotheses that are alike would prove nothing"


@pytest.mark.slow
def test_without_warmth_every_frame_is_what_the_offline_lift_says_of_its_causal_window(video, clip):
    """Both solve the same flow from the same noise, by other solvers: so in many steps."""
    steps = follow(video, clip, range(LENGTH), warmth=0.0, num_steps=40, first_steps=40)
    expected = offline(video, clip, LENGTH, 100)
    samples = jnp.concatenate([lifted.samples for lifted, _ in steps], 1)
    spread = float(jnp.std(expected.samples, 0)[:, 1:].mean())
    assert float(jnp.abs(samples - expected.samples).max()) < 0.1 * spread
    assert float(jnp.abs(jnp.diff(expected.mean, axis=0)).max()) > 0.5 * spread, "the clip moves"


def test_the_window_holds_the_last_frames_and_repeats_the_first(model, clip):
    cond, _ = encode_keypoints(clip["intrinsics"], clip["keypoints"][:LENGTH], clip["confidence"][:LENGTH])
    frames = encoder_input(cond)
    length = FRAMES if model.spec.network.video else 1
    index = np.maximum(np.arange(LENGTH)[:, None] - np.arange(length)[::-1], 0)
    for (_, stream), rows in zip(follow(model, clip, range(LENGTH)), index, strict=True):
        np.testing.assert_allclose(stream.window[..., :3], frames[rows], atol=1e-5)


@pytest.mark.slow
def test_on_constant_input_the_stream_settles_where_the_offline_lift_is(clip):
    """Hypothesis by hypothesis, within a quarter of the spread; far nearer than two hypotheses are."""
    video = tiny(FRAMES)
    steps = follow(video, clip, [4] * 25, num_steps=4)
    before, last = steps[-2][0].samples, steps[-1][0].samples
    np.testing.assert_allclose(last, before, atol=1e-4)
    still = {**clip, "keypoints": clip["keypoints"][4:5], "confidence": clip["confidence"][4:5]}
    expected = offline(video, still, 1, 100).samples
    spread = float(jnp.std(expected, 0)[:, 1:].mean())
    assert float(jnp.abs(last - expected).mean()) < 0.25 * spread


def test_the_spread_of_a_settled_stream_is_that_of_the_law():
    """A Gaussian of deviations 0.5 to 1.5: within 15 % where a plain warm start would be too wide by 60 % and more."""
    deviation = np.array([0.5, 0.7, 1.0, 1.2])
    law = laws.gaussian(np.zeros(laws.SHAPE), np.diag(deviation**2))
    sde = vp()
    noise = jax.random.normal(KEY, (400, *laws.SHAPE))
    predict = laws.oracle(law, sde)
    step = jax.jit(lambda r, n: draw_next(sde, predict, n, r))
    r = jnp.zeros_like(noise)
    for _ in range(20):
        r = step(r, noise)
    settled = np.asarray(r).reshape(400, -1).std(0) / (deviation * np.asarray(noise).reshape(400, -1).std(0))
    np.testing.assert_allclose(settled, 1, atol=0.15)
    # the flow of a Gaussian is linear: every hypothesis is its noise, stretched
    np.testing.assert_allclose(r, settled.reshape(laws.SHAPE) * deviation.reshape(laws.SHAPE) * noise, atol=1e-2)


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
    np.testing.assert_array_equal(held.samples, before.samples)
    np.testing.assert_array_equal(held.root, before.root)
    assert float(jnp.abs(held.weights).max()) == 0
    np.testing.assert_array_equal(after.window[:-1], stream.window[1:])
    np.testing.assert_array_equal(after.window[-1], stream.window[-1])
    np.testing.assert_array_equal(after.residual, stream.residual)
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


def test_after_a_long_gap_or_a_cut_nothing_is_left_of_the_past(video, clip):
    stream = follow(video, clip, range(3))[-1][1]
    empty = {**clip, "confidence": np.zeros_like(clip["confidence"])}
    (fresh, _), *_ = follow(video, clip, [60])
    for gap, forgotten in ((2, False), (3, True)):
        waited = follow(video, empty, range(gap), stream, max_gap=2)[-1][1]
        (after, _), *_ = follow(video, clip, [60], waited, max_gap=2)
        assert np.array_equal(after.samples, fresh.samples) == forgotten


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
        ({"keypoints": jnp.zeros((1, 17, 2))}, r"keypoints: needed \[17, 2\] of one person in the order of h36m17"),
        ({"confidence": jnp.zeros(16)}, r"confidence: needed \[17\]"),
        ({"camera": Camera(np.zeros((1, 4)))}, r"camera: intrinsics: needed \[4\], got \[1, 4\]"),
        ({"warmth": 1.0}, r"warmth: needed a number in \[0, 1\), got 1.0"),
        ({"stream": 9}, r"stream: window: needed \[5, 17, C\] of 'tiny'.*, got \[9, 17, 6\]"),
    ],
)
def test_wrong_input_is_named(video, clip, change, message):
    inputs = {k: clip[k][0] for k in ("keypoints", "confidence")} | {"camera": Camera(clip["intrinsics"])} | change
    stream = start_stream(KEY, tiny(inputs.pop("stream", FRAMES)))
    refuses(message, step_stream, video, stream, inputs.pop("keypoints"), inputs.pop("confidence"), **inputs)
