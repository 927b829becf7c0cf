"""Rows in blocks: a key for each, copies dropped, fields along their axes; compilation is no part of the rate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands.blocks import Clock, Spent, gather
from jaxpose.tasks.blocks import even


class Found(NamedTuple):
    samples: jax.Array  # [H, R, 2]
    noise: jax.Array  # [R]
    root: jax.Array | None = None


def work(key, block, return_path):
    drawn = jax.random.normal(key, (3, len(block.rows), 2))
    return Found(drawn + block.rows[:, None], jnp.asarray(block.rows) * 10.0)


def test_rows_are_gathered_along_their_axes_and_blocks_draw_with_their_own_keys():
    lines = []
    running = gather(work, even(70, doubling=True), 70, seed=7, num_hypotheses=3)
    try:
        while True:
            lines.append(next(running))
    except StopIteration as finished:
        found, spent = finished.value
    assert set(found) == {"samples", "noise"}
    np.testing.assert_array_equal(found["noise"], 10.0 * np.arange(70))
    for index, rows in ((0, slice(0, 64)), (1, slice(64, 70))):
        key = jax.random.fold_in(jax.random.key(7), index)
        expected = jax.random.normal(key, (3, 64, 2))[:, : rows.stop - rows.start] + np.arange(70)[rows][:, None]
        np.testing.assert_array_equal(found["samples"][:, rows], expected)
    assert [line.split(",")[0] for line in lines] == ["drew 64/70", "drew 70/70"]
    assert spent.seconds > 0


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
