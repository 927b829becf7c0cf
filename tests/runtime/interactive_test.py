"""A task whose first arguments stay gives the numbers of the task, and compiles for shapes alone."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from compilations import counted

import jaxpose
from jaxpose.base import Camera
from jaxpose.runtime.interactive import _distinct, _specialised, interactive
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


def _close(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), found, expected)


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
    _close(found[-1]._replace(typicality=None), jaxpose.complete(KEY, model, known, noise=noise, **HOW))


def test_lifting_takes_a_camera_by_name_and_learns_new_shapes_once(model):
    answer = interactive(jaxpose.lift, KEY, model, **HOW)
    trust = RNG.uniform(0, 1, (8, 17)).astype(np.float32)
    for rows in (slice(0, 1), slice(1, 4)):
        expected = jaxpose.lift(KEY, model, KEYPOINTS[rows], trust[rows], camera=CAMERA, **HOW)
        _close(answer(KEYPOINTS[rows], trust[rows], camera=CAMERA), expected._replace(typicality=None))
    with counted() as compiled:
        answer(KEYPOINTS[5:6], trust[5:6], camera=CAMERA)
        answer(KEYPOINTS[4:7], trust[4:7], camera=CAMERA)
    assert compiled.count == 0


def test_another_jax_without_the_split_gives_the_same(model, monkeypatch):
    answer = interactive(jaxpose.complete, KEY, model, **HOW)(JOINTS[:1])
    monkeypatch.setitem(sys.modules, "jax._src.interpreters.partial_eval", None)
    _close(interactive(jaxpose.complete, KEY, model, **HOW)(JOINTS[:1]), answer)


def test_functions_among_the_arguments_are_found_again(model):
    how = {"num_hypotheses": 3, "method": pseudo_inverse(8)}
    answer = interactive(jaxpose.posterior, KEY, jaxpose.prior_of(model), **how)
    seen = [jaxpose.Observed(JOINTS[i] - JOINTS[i].mean(0), _as_it_is, 0.1) for i in range(2)]
    first = answer(seen[0])
    with counted() as compiled:
        second = answer(seen[1])
    assert compiled.count == 0
    _close(first, jaxpose.posterior(KEY, jaxpose.prior_of(model), seen[0], **how))
    assert np.abs(first.samples - second.samples).max() > 0.01


def _as_it_is(x):
    return x


def test_what_depends_on_the_fixed_arguments_alone_is_not_in_the_program():
    def task(weights, x):
        def step(carry, t):
            return jnp.tanh(carry * (weights @ weights).sum() * jnp.sin(t)), None

        return jax.lax.scan(step, x, jnp.arange(3.0))[0]

    weights, x = np.ones((4, 4), np.float32) / 9, np.ones(5, np.float32)
    tree = jax.tree.structure(((x,), {}))
    program = _specialised(task, (weights,), tree, [x])
    text = program.func.lower(*program.args, x).as_text()
    assert "tanh" in text
    assert "dot" not in text
    assert "sine" not in text
    np.testing.assert_allclose(program(x), task(weights, x), rtol=1e-5)


def test_equal_arrays_are_kept_once_and_each_has_its_place():
    a, b = jnp.arange(4.0), jnp.arange(4)
    arrays = [
        a,
        b,
        a + 0,
        a.reshape(2, 2),
        jax.random.key(1),
        jax.random.key(2),
        jax.random.key(1),
        a.astype("bfloat16"),
    ]
    kept, place = _distinct(arrays)
    assert place == [0, 1, 0, 2, 3, 4, 3, 5]
    for array, where in zip(arrays, place, strict=True):
        assert array.dtype == kept[where].dtype
        assert (array == kept[where]).all()


def test_what_the_task_refuses_is_refused(model):
    with pytest.raises(ValueError, match=r"joints: needed \[N, 17, 3\]"):
        interactive(jaxpose.complete, KEY, model, **HOW)(JOINTS[:1, :5])
