"""Lifting in few steps as ONNX: onnxruntime returns what `tasks.lift` does under the key that the noise stands for."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose import model
from jaxpose.app.to_onnx.few_steps import difference_mm, export_lift, noise_of
from jaxpose.base import Camera
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import get_skeleton
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import fit_statistics
from jaxpose.tasks.lift import lift

pytest.importorskip("onnx", reason="extra [onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="extra [onnx]")
COCO = get_skeleton("coco17")
NUM, ROWS = 6, 2


@pytest.fixture(scope="module")
def few_steps():
    """A small network that draws in three calls; its recalibration changes radius and covariance."""
    rng = np.random.default_rng(0)
    network = ScoreMLP(hidden=32, time_width=8, num_blocks=1, num_groups=4, dropout=0.0)
    spec = model.Spec("tiny", network, target="edm", times=(1.0, 0.5, 0.15))
    params = jax.tree.map(
        lambda w: jnp.asarray(rng.normal(0, 0.3, w.shape), jnp.float32), model.init_params(jax.random.key(0), spec)
    )
    statistics = fit_statistics(jnp.asarray(rng.normal(0, 0.3, (50, 17, 3)), jnp.float32))
    factors = rng.uniform(0.1, 1, (2, 17)).astype(np.float32)
    return model.Model(params, statistics, spec, {"lift": model.Recalibration(*jnp.asarray(factors))})


@pytest.fixture(scope="module")
def observed():
    rng = np.random.default_rng(1)
    keypoints = rng.normal(500, 90, (ROWS, 17, 2)).astype(np.float32)
    confidence = rng.uniform(0.2, 1, (ROWS, 17)).astype(np.float32)
    confidence[0, 9], keypoints[1, 3] = 0, np.nan
    return keypoints, confidence, np.tile(np.array([1000, 990, 500, 480], np.float32), (ROWS, 1))


@pytest.mark.slow
def test_it_is_lift_of_keypoints_in_another_joint_set(few_steps, observed):
    exported = export_lift(few_steps, num=NUM, batch=ROWS, skeleton=COCO)
    key = jax.random.key(7)
    session = onnxruntime.InferenceSession(exported.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    noise = np.asarray(noise_of(key, few_steps, NUM, ROWS))
    assert noise.shape == exported.inputs["noise"] == (3, NUM, ROWS, 17, 3)
    names = [o.name for o in session.get_outputs()]
    found = dict(
        zip(names, session.run(names, dict(zip(exported.inputs, (*observed, noise), strict=True))), strict=True)
    )

    keypoints, confidence, intrinsics = observed
    seen = convert_joints(keypoints, confidence, COCO, few_steps.skeleton)
    expected = lift(key, few_steps, *seen, camera=Camera(jnp.asarray(intrinsics)), num_hypotheses=NUM)
    assert set(found) == {"samples", "mean", "covariance", "radius_90", "root"}
    for name, value in found.items():
        assert value.shape == exported.outputs[name]
        np.testing.assert_allclose(value, getattr(expected, name), rtol=1e-4, atol=2e-5, err_msg=name)

    said = exported.metadata
    assert json.loads(said["joints"]) == list(few_steps.skeleton.joints)
    assert json.loads(said["parents"])[few_steps.skeleton.joints.index("left_knee")] == few_steps.skeleton.joints.index(
        "left_hip"
    )
    assert (said["input_skeleton"], json.loads(said["units"])["radius_90"]) == ("coco17", "m")
    worst, frames = difference_mm(exported, few_steps)
    assert worst < 0.1
    assert frames == 90


@pytest.mark.slow
def test_the_comparison_sees_a_wrong_file(few_steps):
    """The difference is that of the file: weights changed by a hundredth are seen."""
    other = dataclasses.replace(few_steps, params=jax.tree.map(lambda w: 1.01 * w, few_steps.params))
    worst, _ = difference_mm(export_lift(other, num=2, batch=90), few_steps)
    assert worst > 1
