"""Rows of frames on disk: their law, and the examples of gathered rows against those of frames in memory."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.conditioning import MaskRates
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.clips import Clips
from jaxpose.examples.motions import motion_example
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.stored import Takes, clip_rows, frame_rows, gathered
from jaxpose.examples.views import pose_example
from jaxpose.spaces.person import Statistics

LENGTH, WEIGHT = np.array([3, 1, 10, 6]), np.array([0.2, 0.1, 0.0, 0.7])
TAKES = Takes(jnp.asarray([0, 3, 4, 14]), jnp.asarray(LENGTH), jnp.asarray(np.cumsum(WEIGHT), jnp.float32))
JOINTS = jnp.asarray(np.random.default_rng(0).normal((0, 1, 0), 0.3, (20, 17, 3)), jnp.float32)
PLAIN = Statistics(jnp.zeros((17, 3)), jnp.ones((17, 3)))
VIEW, MASKS = ViewRates(splice=0.5, bone=0.03), MaskRates(0.1, 0.1, 0.1, 0.0)


def test_frames_are_drawn_by_the_weight_of_their_sequence_and_uniformly_in_it():
    keys = jax.random.split(jax.random.key(1), 20_000)
    rows = np.asarray(jax.jit(jax.vmap(frame_rows, (0, None)))(keys, TAKES))
    assert rows.shape == (20_000, 2)
    probability = np.repeat(WEIGHT / LENGTH, LENGTH)
    for column in rows.T:
        share = np.bincount(column, minlength=20) / len(column)
        np.testing.assert_allclose(share, probability, atol=4 * np.sqrt(0.25 / len(column)))
    assert abs(np.corrcoef(rows.T)[0, 1]) < 0.03


def test_clips_stay_in_their_sequence_and_repeat_its_ends():
    keys = jax.random.split(jax.random.key(2), 500)
    rows = np.asarray(jax.jit(jax.vmap(lambda k: clip_rows(k, TAKES, 5)))(keys)).reshape(-1, 5)
    sequence = np.repeat(np.arange(4), LENGTH)[rows]
    assert (sequence == sequence[:, :1]).all()
    steps = np.diff(rows, axis=1)
    assert set(np.unique(steps)) == {-1, 0, 1}
    assert not ((steps > 0).any(1) & (steps < 0).any(1)).any(), "forwards or backwards"
    ends = np.cumsum(LENGTH) - 1
    at_end = (rows[:, 1:] == ends[sequence[:, 1:]]) | (rows[:, 1:] == (ends - LENGTH + 1)[sequence[:, 1:]])
    assert at_end[steps == 0].all()


def test_gathered_rows_give_the_example_of_these_rows_in_memory():
    key, rows = jax.random.key(0), np.array([17, 4])
    whole = Bodies(JOINTS, jnp.ones(20), PLAIN)
    few = gathered(whole, {"joints": JOINTS[rows]})
    example = jax.jit(lambda bodies, rows: pose_example(key, bodies, VIEW, MASKS, rows=rows))
    jax.tree.map(np.testing.assert_array_equal, example(whole, rows), example(few, jnp.arange(2)))


def test_gathered_clips_give_the_example_of_these_clips_in_memory():
    rows, none = np.array([4, 5, 6, 14, 14, 15]), jnp.zeros(0, jnp.int32)
    whole = Bodies(JOINTS, jnp.ones(20), PLAIN)
    few = gathered(whole, {"joints": JOINTS[rows]})
    drawn = [(jnp.asarray(rows[:3]), jnp.asarray(rows[3:])), (jnp.arange(3), jnp.arange(3, 6))]
    example = jax.jit(
        lambda bodies, drawn: motion_example(
            jax.random.key(0), Clips(bodies, none, none), VIEW, MASKS, num_frames=3, gap=0.5, drawn=drawn
        )
    )
    jax.tree.map(np.testing.assert_array_equal, *(example(b, d) for b, d in zip((whole, few), drawn, strict=True)))
