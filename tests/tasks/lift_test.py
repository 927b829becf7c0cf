"""Lifting: laws of the result, privacy of hidden joints, errors, and the released model on the bundled clip."""

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from shared import refuses

import jaxpose
from jaxpose.base import Camera
from jaxpose.geometry.camera import project
from jaxpose.geometry.skeleton import other_side
from jaxpose.model import ASSETS
from jaxpose.tasks import draw as drawing
from jaxpose.tasks.lift import lift, problem, stature
from jaxpose.tasks.samplers import stochastic

STEPS = 4


@pytest.fixture(scope="module")
def released():
    return jaxpose.load("pose17")


@pytest.fixture(scope="module")
def model():
    """Random weights: the laws below hold for any, and whatever is shown changes what comes out."""
    return pose_oracle.tiny()


@pytest.fixture(scope="module")
def clip():
    with np.load(ASSETS / "demo_clip.npz") as z:
        return {k: z[k][::15].astype(np.float32) for k in ("keypoints", "confidence", "joints_cam")} | {
            "intrinsics": z["intrinsics"].astype(np.float32)
        }


def run(model, clip, num=8, **changes):
    inputs = {**clip, **changes}
    return lift(
        jax.random.key(0),
        model,
        inputs["keypoints"],
        inputs["confidence"],
        camera=Camera(inputs["intrinsics"]),
        num_hypotheses=num,
        sampler=stochastic(STEPS),
        **{k: v for k, v in changes.items() if k in ("height", "chunk", "up")},
    )


def hidden(array, joint, value=0.0):
    changed = array.copy()
    changed[:, joint] = value
    return changed


@pytest.fixture(scope="module")
def lifted(model, clip):
    return run(model, clip)


@pytest.fixture(scope="module")
def of_released(released, clip):
    return run(released, clip)


def test_the_released_model_s_samples_are_near_the_truth_and_distinct(of_released, clip):
    truth = clip["joints_cam"] - clip["joints_cam"][:, :1]
    assert np.linalg.norm(of_released.mean - truth, axis=-1).mean() < 0.12
    assert np.abs(of_released.samples[0] - of_released.samples[1]).max() > 0.01
    np.testing.assert_allclose(of_released.samples[:, :, 0], 0, atol=1e-6)


def test_the_placed_pose_falls_on_its_keypoints(of_released, clip):
    """Mean reprojection error under 4 % of the person's height, where joints are seen."""
    uv = project(clip["intrinsics"], of_released.samples + of_released.root[:, :, None])
    error = np.linalg.norm(uv - clip["keypoints"], axis=-1)
    rows = np.where(clip["keypoints"][..., 1] == 0, 500.0, clip["keypoints"][..., 1])
    seen = clip["confidence"] > 0.4
    assert (np.where(seen, error, 0).sum(-1) / seen.sum(-1) / np.ptp(rows, axis=-1)).mean() < 0.04


def test_a_hidden_ankle_is_less_certain_than_a_seen_one(released, of_released, clip):
    without = run(released, clip, confidence=hidden(clip["confidence"], 6))
    spread = [
        np.trace(np.asarray(found.covariance)[:, 6], axis1=-2, axis2=-1).mean() for found in (without, of_released)
    ]
    assert spread[0] > spread[1]


def test_hidden_joints_are_never_read(model, clip, lifted):
    confidence = hidden(clip["confidence"], 6)
    a = run(model, clip, confidence=confidence)
    b = run(model, clip, confidence=confidence, keypoints=hidden(clip["keypoints"], 6, np.nan))
    np.testing.assert_array_equal(a.samples, b.samples)
    np.testing.assert_array_equal(a.root, b.root)
    assert np.abs(a.samples - lifted.samples).max() > 1e-3


def test_not_finite_keypoints_count_as_missing(model, clip):
    a = run(model, clip, confidence=hidden(clip["confidence"], 2))
    b = run(model, clip, keypoints=hidden(clip["keypoints"], 2, np.inf))
    np.testing.assert_array_equal(a.samples, b.samples)


@pytest.mark.slow
def test_height_sets_the_scale_and_with_it_the_distance(model, clip, lifted):
    tall = run(model, clip, height=1.9)
    np.testing.assert_allclose(stature(tall.samples, model), 1.9, rtol=1e-4)
    ratio = 1.9 / stature(lifted.samples, model)
    np.testing.assert_allclose(tall.samples, ratio[..., None, None] * lifted.samples, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(tall.root[..., 2] / lifted.root[..., 2], ratio, rtol=1e-3)
    each = run(model, clip, height=np.linspace(1.5, 2, 6, dtype=np.float32))
    np.testing.assert_allclose(stature(each.samples, model), np.tile(np.linspace(1.5, 2, 6), (8, 1)), rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"keypoints": jnp.zeros((3, 16, 2))},
            r"keypoints: needed \[N, 17, 2\] in the order of h36m17, got \[3, 16, 2\]",
        ),
        ({"confidence": jnp.zeros((3, 17))}, r"confidence: needed \[6, 17\] as keypoints, got \[3, 17\]"),
        ({"intrinsics": jnp.zeros((3, 3))}, r"camera: intrinsics: needed \[4\] or \[6, 4\], got \[3, 3\]"),
        ({"num": 0}, "num_hypotheses: needed at least 1, got 0"),
        ({"confidence": jnp.full((6, 17), 90.0)}, "confidence: needed finite numbers from 0 to 1, got 90"),
        ({"keypoints": jnp.zeros((6, 17, 2), jnp.bfloat16)}, "keypoints: needed float32 .* got bfloat16"),
        ({"keypoints": np.ones((6, 17, 2), ">f4")}, "keypoints: .* another order of bytes"),
        ({"keypoints": np.random.default_rng(0).uniform(size=(6, 17, 2))}, "keypoints: .* normalised, needed pixels"),
        ({"keypoints": jnp.full((6, 17, 2), 3e38)}, "keypoints: needed finite numbers from -1e.07 to 1e.07, got 3e.38"),
        ({"intrinsics": jnp.array([0.0, 1000, 500, 500])}, "focal lengths must be positive"),
        ({"up": np.zeros(3)}, "up: needed a direction"),
        ({"height": -1.0}, "height: needed finite numbers from 0.3 to 3, got -1"),
    ],
)
def test_wrong_shapes_are_named(model, clip, change, message):
    refuses(message, run, model, clip, **change)


def test_every_second_hypothesis_is_of_the_mirror_image(released, clip, monkeypatch):
    """What a mirror shows, with keypoints, lens and vertical in it, is drawn from and turned back."""
    side, flip, key = other_side(released.skeleton), np.array([-1, 1, 1]), jax.random.key(0)
    uv, sure, K = clip["keypoints"][:1], clip["confidence"][:1], clip["intrinsics"]
    lens, up = np.float32([[0.1, -0.02, 0.003, 0.004, 0.01]]), np.float32([[0.3, -0.9, 0.2]])
    evidence = uv[..., :1] / 50
    how = {"height": 1.5, "up": up, "evidence": evidence, "sampler": stochastic(STEPS), "num_hypotheses": 2}
    sizes, in_chunks = [], drawing.in_chunks
    monkeypatch.setattr(drawing, "in_chunks", lambda some, *of: sizes.append(of) or in_chunks(some, *of))
    both = lift(key, released, uv, sure, camera=Camera(K, lens), chunk=2, **how)
    assert sizes == [(1, 1)]  # draws, and draws at once, of two hypotheses each
    across = np.stack([2 * K[2] - uv[:, side, 0], uv[:, side, 1]], -1)
    pairs = (uv, across), (sure, sure[:, side]), (lens, lens * [1, 1, 1, -1, 1]), (up, up * flip)
    uv, sure, lens, up, evidence = (jnp.float32(np.concatenate(x)) for x in (*pairs, (evidence, evidence[:, side])))
    alone = problem(key, released, uv, sure, Camera(K, lens), 1.5, up, evidence)
    rows = drawing.draw(key, released, alone, 1, stochastic(STEPS))
    expected = rows.samples[0, 0], rows.samples[0, 1, side] * flip
    np.testing.assert_allclose(both.samples[:, 0], expected, atol=2e-5)
    np.testing.assert_allclose(both.root[:, 0], [rows.root[0, 0], rows.root[0, 1] * flip], atol=2e-4)
