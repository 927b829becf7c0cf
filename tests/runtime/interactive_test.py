"""A task whose first arguments stay gives the numbers of the task, and compiles for shapes alone."""

import jax
import numpy as np
import pose_oracle
import pytest
from compilations import counted
from shared import refuses

import jaxpose
from jaxpose.base import Camera
from jaxpose.runtime.interactive import interactive
from jaxpose.tasks.methods import pseudo_inverse
from jaxpose.tasks.samplers import stochastic

KEY, RNG = jax.random.key(3), np.random.default_rng(0)
JOINTS = pose_oracle.draw(RNG, 8).astype(np.float32)
KEYPOINTS = (500 + 1000 * JOINTS[..., :2] / JOINTS[..., 2:]).astype(np.float32)
CAMERA = Camera(np.array([1000.0, 1000, 500, 500], np.float32))
HOW = {"num_hypotheses": 5, "sampler": stochastic(2)}


@pytest.fixture(scope="module")
def model():
    return pose_oracle.tiny()


def _close(answered, expected):
    assert jax.tree.structure(answered) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), answered, expected)


def test_a_dragged_joint_is_answered_as_by_the_task_and_compiles_nothing(model):
    """Whatever joints are known, and wherever they are."""
    answer = jaxpose.interactive(jaxpose.complete, KEY, model, **HOW)
    known = JOINTS[:1].copy()
    noise = np.full((1, 17), 0.01, np.float32)
    known[0, 3] = np.nan
    answer(known, noise=noise)
    with counted() as compiled:
        found = []
        for trial in range(6):
            known[0, trial : trial + 4], known[0, 16] = np.nan, [0.1 * trial, 0, 3]
            found.append(jax.device_get(answer(known, noise=noise)))
    assert compiled.count == 0
    _close(found[-1]._replace(judge=None), jaxpose.complete(KEY, model, known, noise=noise, **HOW))


def test_lifting_takes_a_camera_by_name_and_learns_new_shapes_once(model):
    answer = interactive(jaxpose.lift, KEY, model, **HOW)
    trust = RNG.uniform(0, 1, (8, 17)).astype(np.float32)
    for rows in (slice(0, 1), slice(1, 4)):
        expected = jaxpose.lift(KEY, model, KEYPOINTS[rows], trust[rows], camera=CAMERA, **HOW)
        _close(answer(KEYPOINTS[rows], trust[rows], camera=CAMERA), expected._replace(judge=None))
    with counted() as compiled:
        answer(KEYPOINTS[5:6], trust[5:6], camera=CAMERA)
        answer(KEYPOINTS[4:7], trust[4:7], camera=CAMERA)
    assert compiled.count == 0


@pytest.mark.slow
def test_functions_among_the_arguments_are_found_again(model):
    how = {"num_hypotheses": 3, "method": pseudo_inverse(8)}
    prior = jaxpose.prior_of(model)
    answer = interactive(jaxpose.posterior, KEY, prior, **how)
    seen = [jaxpose.Observed(JOINTS[i] - JOINTS[i].mean(0), _as_it_is, 0.1) for i in range(2)]
    first = answer(seen[0])
    with counted() as compiled:
        second = answer(seen[1])
    assert compiled.count == 0
    plain = jax.jit(lambda value: jaxpose.posterior(KEY, prior, jaxpose.Observed(value, _as_it_is, 0.1), **how))
    _close(first, plain(seen[0].value))
    assert np.abs(first.samples - second.samples).max() > 0.01


def _as_it_is(x):
    return x


@pytest.mark.parametrize("first_is_wrong", [True, False])
def test_values_are_checked_at_each_call_as_by_the_task(model, first_is_wrong):
    complete = interactive(jaxpose.complete, KEY, model, **HOW)
    if not first_is_wrong:
        complete(JOINTS[:1], noise=0.01)
    for _ in range(2):
        refuses("noise: needed finite numbers from 0", complete, JOINTS[:1], noise=-0.01)
    complete(JOINTS[:1], noise=0.01)


@pytest.mark.slow
def test_checks_of_joints_and_of_observations(model):
    denoise = interactive(jaxpose.denoise, KEY, model, **HOW)
    broken = np.where(np.arange(17)[:, None] == 3, np.nan, JOINTS[:1])
    refuses("pose 0 of 1 has a missing", denoise, broken, noise=0.01)
    posterior = interactive(jaxpose.posterior, KEY, jaxpose.prior_of(model), num_hypotheses=3, method=pseudo_inverse(8))
    refuses("noise", posterior, jaxpose.Observed(JOINTS[0] - JOINTS[0].mean(0), _as_it_is, -0.1))


def test_computed_arguments_are_checked_by_no_one(model):
    """As inside jit: what the caller's own function makes of its arguments has no value when it is traced."""

    def double(key, model, joints, noise):
        return jax.vmap(lambda n: jaxpose.complete(key, model, joints, noise=2 * n, **HOW).mean)(noise)

    assert interactive(double, KEY, model)(JOINTS[:1], np.ones(2, np.float32)).shape == (2, 1, 17, 3)


def test_what_the_task_refuses_is_refused(model):
    refuses(r"joints: needed \[N, 17, 3\]", interactive(jaxpose.complete, KEY, model, **HOW), JOINTS[:1, :5])
