"""Weights as tensors of a file."""

import jax.numpy as jnp
import numpy as np
import pytest
from shared import refuses

from jaxpose.weights import TYPES, from_tensors, to_tensors, type_of


@pytest.fixture
def matrix():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(40, 7)).astype(np.float32) * 10.0 ** np.arange(-3, 4)
    w[:, 2] = 0
    return {"a/kernel": jnp.asarray(w), "a/bias": jnp.asarray(rng.normal(size=7).astype(np.float32))}


def test_a_matrix_of_int8_is_off_by_half_a_step_of_its_column(matrix):
    again = from_tensors(to_tensors(matrix, "int8"))
    w, found = (np.asarray(x["a/kernel"], np.float64) for x in (matrix, again))
    step = np.abs(w).max(0) / 127 * (1 + 2**-8)  # the factor is rounded to 8 bits
    # half a step, and where the factor was rounded down the largest number is cut off
    assert (np.abs(found - w) <= 0.5 * step + np.abs(w).max(0) * 2**-8).all()
    assert (found[:, 2] == 0).all()
    np.testing.assert_allclose(again["a/bias"], matrix["a/bias"], rtol=2**-8)


@pytest.mark.parametrize("dtype", TYPES)
def test_what_was_stored_is_stored_again_alike(matrix, dtype):
    once = from_tensors(to_tensors(matrix, dtype))
    assert type_of(once) == dtype
    twice = from_tensors(to_tensors(once, dtype))
    for name in once:
        np.testing.assert_array_equal(once[name], twice[name])


def test_other_types_and_factors_without_a_matrix_are_refused(matrix):
    refuses("float16", to_tensors, matrix, "float16")
    tensors = to_tensors(matrix, "int8")
    refuses(r"factors/a/kernel of shape \(3,\)", from_tensors, tensors | {"factors/a/kernel": np.ones(3)})
    refuses("factors/b", from_tensors, tensors | {"factors/b": np.ones(7)})


def test_changes_of_a_base_are_finer_and_need_it(matrix):
    base = {"a/kernel": matrix["a/kernel"] * 1.01}
    tensors = to_tensors(matrix, "int8", base)
    found, plain = from_tensors(tensors, base), from_tensors(to_tensors(matrix, "int8"))
    fine, coarse = (float(jnp.abs(x["a/kernel"] - matrix["a/kernel"]).max()) for x in (found, plain))
    assert fine < coarse / 50
    assert type_of(found, base) == "int8"
    np.testing.assert_array_equal(from_tensors(to_tensors(found, "int8", base), base)["a/kernel"], found["a/kernel"])
    refuses("changes/a/kernel", from_tensors, tensors)
