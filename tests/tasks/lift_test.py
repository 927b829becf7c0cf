"""Lifting with the bundled model: laws of the result, privacy of hidden joints, errors, and quality on real poses."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpose
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation.metrics import mpjpe
from jaxpose.evaluation.protocols import LiftingBench, lifting_row, load_lifting_bench
from jaxpose.geometry.camera import project
from jaxpose.model import ASSETS
from jaxpose.tasks.lift import jitted_lift, stature

BENCH = data_root().parent / "bench" / "val_frames.npz"
STEPS = 4


@pytest.fixture(scope="module")
def model():
    return jaxpose.load("pose17")


@pytest.fixture(scope="module")
def clip():
    with np.load(ASSETS / "demo_clip.npz") as z:
        return {k: jnp.asarray(z[k][::15], jnp.float32) for k in ("keypoints", "confidence", "joints_cam")} | {
            "intrinsics": jnp.asarray(z["intrinsics"], jnp.float32)
        }


def run(model, clip, num=8, **changes):
    inputs = {**clip, **changes}
    return jitted_lift(
        jax.random.key(0),
        model,
        inputs["keypoints"],
        inputs["confidence"],
        intrinsics=inputs["intrinsics"],
        num_hypotheses=num,
        num_steps=STEPS,
        **{k: v for k, v in changes.items() if k in ("height", "chunk")},
    )


@pytest.fixture(scope="module")
def lifted(model, clip):
    return run(model, clip)


def test_samples_are_near_the_truth_and_distinct(lifted, clip):
    truth = clip["joints_cam"] - clip["joints_cam"][:, :1]
    assert float(mpjpe(lifted.mean, truth).mean()) < 0.12
    assert float(jnp.abs(lifted.samples[0] - lifted.samples[1]).max()) > 0.01
    np.testing.assert_allclose(lifted.samples[:, :, 0], 0, atol=1e-6)


def test_mean_covariance_and_weights_are_those_of_the_samples(model, clip):
    """Where no recalibration changes the covariance."""
    lifted = run(model.replace(recalibration={}), clip)
    samples = np.asarray(lifted.samples, np.float64)
    np.testing.assert_allclose(lifted.mean, samples.mean(0), atol=1e-5)
    for n, j in [(0, 3), (2, 13)]:
        np.testing.assert_allclose(lifted.covariance[n, j], np.cov(samples[:, n, j].T), atol=1e-5)
    np.testing.assert_allclose(lifted.weights.sum(0), 1, rtol=1e-5)


def test_the_placed_pose_falls_on_its_keypoints(lifted, clip):
    """Mean reprojection error under 4 % of the person's height, where joints are seen."""
    uv = project(clip["intrinsics"], lifted.samples + lifted.root[:, :, None])
    error = jnp.linalg.norm(uv - clip["keypoints"], axis=-1)
    size = jnp.ptp(clip["keypoints"][..., 1].at[clip["keypoints"][..., 1] == 0].set(500.0), axis=-1)
    seen = clip["confidence"] > 0.4
    assert float((jnp.where(seen, error, 0).sum(-1) / seen.sum(-1) / size).mean()) < 0.04


def test_the_first_hypotheses_do_not_depend_on_how_many_are_drawn(model, clip, lifted):
    more = run(model, clip, num=12, chunk=5)
    np.testing.assert_allclose(more.samples[:8], lifted.samples, atol=1e-4)


def test_hidden_joints_are_never_read(model, clip):
    confidence = clip["confidence"].at[:, 6].set(0.0)
    a = run(model, clip, confidence=confidence)
    b = run(model, clip, confidence=confidence, keypoints=clip["keypoints"].at[:, 6].set(jnp.nan))
    np.testing.assert_array_equal(a.samples, b.samples)
    np.testing.assert_array_equal(a.root, b.root)
    c = run(model, clip)
    assert float(jnp.trace(a.covariance[:, 6], axis1=-2, axis2=-1).mean()) > float(
        jnp.trace(c.covariance[:, 6], axis1=-2, axis2=-1).mean()
    ), "a hidden ankle is less certain than a seen one"


def test_not_finite_keypoints_count_as_missing(model, clip):
    a = run(model, clip, confidence=clip["confidence"].at[:, 2].set(0.0))
    b = run(model, clip, keypoints=clip["keypoints"].at[:, 2].set(jnp.inf))
    np.testing.assert_array_equal(a.samples, b.samples)


def test_height_sets_the_scale_and_with_it_the_distance(model, clip, lifted):
    tall = run(model, clip, height=1.9)
    np.testing.assert_allclose(stature(tall.samples, model), 1.9, rtol=1e-4)
    ratio = 1.9 / stature(lifted.samples, model)
    np.testing.assert_allclose(tall.root[..., 2] / lifted.root[..., 2], ratio, rtol=1e-3)


def test_result_does_not_depend_on_focal_length_and_resolution(model, clip, lifted):
    zoomed = run(model, clip, keypoints=2 * clip["keypoints"], intrinsics=2 * clip["intrinsics"])
    np.testing.assert_allclose(zoomed.samples, lifted.samples, atol=2e-3)
    np.testing.assert_allclose(zoomed.root, lifted.root, rtol=5e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": jnp.zeros((3, 16, 2))}, r"keypoints: needed \[N, 17, 2\] in the order of h36m17, got"),
        ({"confidence": jnp.zeros((3, 17))}, r"confidence: needed \(6, 17\)"),
        ({"intrinsics": jnp.zeros((3, 3))}, r"intrinsics: needed \[4\] or \[6, 4\]"),
    ],
)
def test_wrong_shapes_are_named(model, clip, change, message):
    with pytest.raises(ValueError, match=message):
        run(model, clip, **change)


@pytest.mark.skipif(not Path(BENCH).is_file(), reason="shared/bench is absent")
def test_released_model_keeps_its_quality_on_real_poses(model):
    """On 100 validation poses and 20 hypotheses, well within what the card states for all of them and 200."""
    bench = LiftingBench(*(x[::20] for x in load_lifting_bench(BENCH)))
    lifted = jitted_lift(
        jax.random.key(0),
        model,
        jnp.asarray(bench.keypoints),
        jnp.asarray(bench.confidence),
        intrinsics=jnp.asarray(bench.intrinsics),
        num_hypotheses=20,
    )
    row = lifting_row(lifted.samples, bench.joints_cam, bench.category)
    assert row["mean_mm"] < 66
    assert row["best_of_20_mm"] < 58
    assert row["ece"] < 0.12
    assert row["best_of_20_mm"] < row["mean_mm"] < row["single_mm"]
