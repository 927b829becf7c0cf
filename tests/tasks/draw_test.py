"""A problem as a value: it passes through jit, and what is drawn of it by hand is what the thin functions return.

Chunks change neither hypotheses nor their summary, and leave little memory beside the result.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from diffpose_models import tiny

from jaxpose.base import Camera, Problem
from jaxpose.tasks import complete, denoise, generate, lift
from jaxpose.tasks.draw import ROWS_IN_FLIGHT, draw, draw_states, hypotheses, in_order, spread
from jaxpose.tasks.samplers import probability_flow, stochastic

KEY, NUM, SAMPLER = jax.random.key(5), 5, stochastic(2)
RNG = np.random.default_rng(0)
JOINTS = pose_oracle.draw(RNG, 3).astype(np.float32)
KEYPOINTS = (500 + 1000 * JOINTS[..., :2] / JOINTS[..., 2:]).astype(np.float32)
TRUST = RNG.uniform(0.2, 1, (3, 17)).astype(np.float32)
CAMERA = Camera(np.array([1000.0, 1000, 500, 500], np.float32))


def in_denoising(model):
    """As the thin function: one half of the key is for the estimate of the noise."""
    return jax.random.split(KEY)[1], denoise.problem(model, JOINTS, np.full(3, 0.05, np.float32))


THIN = {
    "lift": lambda model: lift.lift(KEY, model, KEYPOINTS, TRUST, camera=CAMERA, num_hypotheses=NUM, sampler=SAMPLER),
    "complete": lambda model: complete.complete(KEY, model, JOINTS, noise=0.1, num_hypotheses=NUM, sampler=SAMPLER),
    "denoise": lambda model: denoise.denoise(KEY, model, JOINTS, noise=0.05, num_hypotheses=NUM, sampler=SAMPLER),
    "generate": lambda model: generate.generate(KEY, model, NUM, sampler=SAMPLER),
}
PROBLEMS = {
    "lift": lambda model: (KEY, lift.problem_for(model, None)(KEY, model, KEYPOINTS, TRUST, CAMERA)),
    "complete": lambda model: (KEY, complete.problem(model, JOINTS, np.full((3, 17), 0.1, np.float32))),
    "denoise": in_denoising,
    "generate": lambda model: (KEY, generate.problem(model, NUM)),
}


@pytest.fixture(scope="module")
def model():
    return pose_oracle.tiny()


@pytest.mark.parametrize(
    ("task", "diffpose"),
    [("lift", False), ("generate", False)]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (("complete", False), ("denoise", False), ("lift", True))
    ],
)
def test_a_problem_drawn_by_hand_is_what_the_task_returns(model, task, diffpose):
    """But for the last bits: built inside one program and drawn in another, to which the problem is an argument."""
    model = tiny() if diffpose else model
    key, problem = jax.jit(PROBLEMS[task])(model)
    assert isinstance(problem, Problem)
    num = 1 if task == "generate" else NUM  # of its rows, which are the poses
    by_hand, thin = draw(key, model, problem, num, SAMPLER), THIN[task](model)
    if task == "generate":
        _equal_but_for_rounding(by_hand.samples[0], thin)
    else:
        jax.tree.map(_equal_but_for_rounding, by_hand, thin)
    assert np.isfinite(by_hand.samples).all()


def _equal_but_for_rounding(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(np.abs(b).max()))


@pytest.mark.slow
def test_states_and_what_was_kept_have_a_place_for_each_hypothesis(model):
    @jax.jit
    def states(problem):
        return draw_states(KEY, model, problem, num=4, sampler=SAMPLER)

    found, shift = states(jax.jit(PROBLEMS["denoise"])(model)[1])
    assert (found.shape, shift.shape) == ((4, 3, 17, 3), (4, 3, 1, 3))
    assert np.abs(np.diff(np.asarray(shift), axis=0)).min() > 0
    assert states(jax.jit(PROBLEMS["complete"])(model)[1])[1] is None


@pytest.mark.parametrize("size", [8, ROWS_IN_FLIGHT + 9])
def test_a_summary_of_the_first_samples_is_that_of_these_alone(size):
    """By numpy; above ROWS_IN_FLIGHT it is made joint by joint. What fills the rest up does not count."""
    samples = (3 + RNG.normal(size=(size, 3, 17, 3))).astype(np.float32)
    for num in (1, 5, size - 5, size, None):
        first = samples[:num]
        mean, covariance, radius, weights = jax.jit(spread)(samples, None, None if num is None else np.int32(num))
        np.testing.assert_allclose(mean, first.mean(0), atol=1e-5)
        away = first - first.mean(0)
        expected = np.einsum("hnji,hnjk->njik", away, away) / max(len(first) - 1, 1)
        np.testing.assert_allclose(covariance, expected, atol=1e-5)
        np.testing.assert_allclose(radius, np.quantile(np.linalg.norm(away, axis=-1), 0.9, axis=0), atol=1e-5)
        np.testing.assert_allclose(weights[:num], np.full((len(first), 3), 1 / len(first)), rtol=1e-5)


def test_elements_in_rising_order_are_those_of_a_sort_also_where_values_are_equal(monkeypatch):
    values = np.random.default_rng(1).integers(0, 4, (7, 60)).astype(np.float32) * np.float32(0.37)
    values[5:] = np.inf
    for device in ("cpu", "gpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda device=device: device)
        for low in range(5):
            found = in_order(values, np.int32(low), np.int32(min(low + 1, 4)))
            np.testing.assert_array_equal(found, np.sort(values, 0)[[low, min(low + 1, 4)]])


@pytest.mark.parametrize("task", ["lift", *(pytest.param(t, marks=pytest.mark.slow) for t in ("complete", "denoise"))])
def test_chunks_change_neither_hypotheses_nor_summary_nor_path(model, task):
    """But for the last bits, in which matrix products of other sizes differ; the last chunk overlaps the one before."""
    key, problem = jax.jit(PROBLEMS[task])(model)
    whole, parts = (draw(key, model, problem, 10, SAMPLER, chunk=chunk, return_path=True) for chunk in (None, 4))
    assert whole.path.shape[:2] == (3, 10)
    jax.tree.map(_equal_but_for_rounding, whole, parts)


def test_draws_of_a_flow_come_in_pairs_about_the_mean_of_the_law():
    """The flow of a Gaussian is linear in its start: the mean of two draws of opposite noise is that of the law."""
    law = pose_oracle.make()
    alone = jax.jit(generate.problem, static_argnums=1)(law, 3)
    problem = dataclasses.replace(alone, paired=True)
    flow, noisy = (draw(KEY, law, problem, 4, sampler).samples for sampler in (probability_flow(30), stochastic(30)))
    centred = pose_oracle.MEAN - pose_oracle.MEAN[:1]
    for pair in (flow[:2], flow[2:]):
        np.testing.assert_allclose(pair.mean(0), np.broadcast_to(centred, pair.shape[1:]), atol=5e-3)
    assert jnp.abs(flow[0] - flow[2]).max() > 0.05
    assert jnp.abs(noisy[:2].mean(0) - centred).max() > 0.05
    generated = draw(KEY, law, alone, 4, probability_flow(30)).samples
    assert jnp.abs(generated[:2].mean(0) - centred).max() > 0.05, "what is generated is not paired"


def test_the_radius_has_a_finite_derivative_where_no_sample_differs():
    """The root joint is at 0 in all samples."""
    samples = jnp.asarray(RNG.normal(size=(8, 2, 3, 3))).at[:, :, 0].set(0)
    slope = jax.grad(lambda x: spread(x)[2].sum())(samples)
    assert np.isfinite(slope).all()
    assert (np.abs(slope[:, :, 1:]).sum((0, 3)) > 0).all()


def test_memory_beside_the_result_does_not_grow_with_hypotheses(model):
    """Of the compiled program; with the states and what the summary is made of it would be 3.6 times the result."""
    problem = jax.jit(lambda: complete.problem(model, JOINTS[:1], np.zeros((1, 17), np.float32)))()

    def program(num):
        def run(key, model, problem):
            return hypotheses(key, model, problem, num=num, sampler=SAMPLER)

        return jax.jit(run).lower(KEY, model, problem).compile().memory_analysis()

    few, many = program(5_000), program(50_000)
    result = many.output_size_in_bytes
    assert result > 50_000 * 17 * 3 * 4
    assert many.temp_size_in_bytes - few.temp_size_in_bytes < 0.3 * result
