"""Compilation is no part of the rate of work."""

import jax
import jax.numpy as jnp

from jaxpose.app.commands.blocks import Clock, Spent


def test_compilation_is_measured_once_and_left_out_of_the_rate():
    """A program inside a program is reported inside the other's time; found programs cost nothing."""

    @jax.jit
    def inner(x):
        return jnp.linalg.svd(x)[1]

    @jax.jit
    def outer(x):
        return inner(x).sum() + inner(2 * x).max()

    first = Clock()
    outer(jnp.ones((4, 4))).block_until_ready()
    spent = first.spent()
    assert 0 < spent.compiling <= spent.seconds
    again = Clock()
    outer(jnp.ones((4, 4))).block_until_ready()
    assert again.spent().compiling == 0
    assert Spent(seconds=5.0, compiling=3.0).rate(10) == 5
