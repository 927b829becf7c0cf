"""Weights of a model on another base: what both have moves with the base, and a wider context changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import refuses

import jaxpose
from experiments.models.average import averaged
from experiments.models.initial import widened
from experiments.models.rebase import rebased
from jaxpose.model import init_params


@pytest.fixture(scope="module")
def fast():
    return jaxpose.load("pose17_fast")


def test_the_same_base_changes_no_weight(fast):
    jax.tree.map(np.testing.assert_array_equal, rebased(fast, fast.base).params, fast.params)


def test_weights_move_as_the_base_did(fast):
    base = dataclasses.replace(fast.base, params=jax.tree.map(lambda w: w + 0.5, fast.base.params))
    moved = rebased(fast, base)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b + 0.5, atol=1e-5), moved.params, fast.params)
    assert moved.recalibration == {}


def test_a_base_that_is_told_more_widens_the_model_by_zeros(fast):
    spec = dataclasses.replace(fast.base.spec, context=fast.base.spec.context + 3)
    base = dataclasses.replace(fast.base, spec=spec, params=widened(fast.base.params, spec))
    moved = rebased(fast, base)
    assert moved.spec.context == fast.spec.context + 3
    sums = (sum(float(jnp.abs(w).sum()) for w in jax.tree.leaves(m.params)) for m in (moved, fast))
    np.testing.assert_allclose(*sums, rtol=1e-5)
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), moved.spec))
    assert jax.tree.map(jnp.shape, moved.params) == jax.tree.map(jnp.shape, shapes)


def test_a_model_without_a_base_is_refused(fast):
    refuses(r"^--model: pose17 holds no base", rebased, fast.base, fast.base)


def test_the_mean_of_weights_lies_between_and_is_as_wide_as_the_other(fast):
    spec = dataclasses.replace(fast.spec, context=fast.spec.context + 3)
    other = dataclasses.replace(fast, spec=spec, params=jax.tree.map(lambda w: w + 1, widened(fast.params, spec)))
    mean = averaged(fast, other, 0.25)
    assert mean.spec.context == fast.spec.context + 3
    expected = jax.tree.map(lambda w: w + 0.25, widened(fast.params, spec))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), mean.params, expected)
    assert mean.typicality.size == 0
    refuses("must be of the network of pose17_fast, with at least its context", averaged, other, fast, 0.25)
