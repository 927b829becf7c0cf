"""Motions out of hypotheses of single frames: exact on a chain that can be counted, and nothing but reordered."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import needs_mocap, refuses

from jaxpose.base import Hypotheses
from jaxpose.datasets.mocap import data_root, load_mocap
from jaxpose.tasks.draw import spread
from jaxpose.tasks.smooth import SPEED, WEIGHT, draw_paths, smooth

J = 17


def hypotheses(samples):
    samples = jnp.asarray(samples, jnp.float32)
    return Hypotheses(samples, *spread(samples), root=samples[:, :, 0] + 5)


def test_paths_have_the_probability_of_the_chain():
    """All 27 paths of 3 hypotheses in 3 frames, weighed by the formula in numpy."""
    rng = np.random.default_rng(0)
    few = rng.normal(0, 0.1, (3, 3, J, 3)).astype(np.float32)
    few[..., 0, :] = 0
    steps = np.array([1.0, 2.5], np.float32)
    paths = np.array(list(itertools.product(range(3), repeat=3)))
    x = few[paths, np.arange(3)] / np.maximum(SPEED, 1e-9)[:, None]
    moved = np.square(np.diff(x, axis=1))[:, :, 1:].sum((-1, -2)) / steps
    log_p = -0.5 * WEIGHT * moved.sum(-1)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    many = 4000  # motions, three for each key
    draw = jax.jit(jax.vmap(lambda k: draw_paths(k, few, steps, WEIGHT)))
    found = np.asarray(draw(jax.random.split(jax.random.key(1), many))).reshape(-1, 3)
    share = np.bincount(found @ [9, 3, 1], minlength=27) / len(found)
    np.testing.assert_allclose(share, p, atol=5 * 0.5 / np.sqrt(many))
    assert p.max() > 0.15


def test_a_move_by_ten_times_the_usual_of_one_joint_is_made_as_often_as_the_usual_weight_says():
    """Half of the hypotheses here, half there, in two frames 1/30 s apart: exp(-0.01 * 10^2 / 2) to 1."""
    half = np.zeros((2000, 2, J, 3))
    half[::2, :, 5, 0] = 10 * SPEED[5]
    found = np.asarray(smooth(jax.random.key(0), hypotheses(half), jnp.arange(2) / 30).samples)[:, :, 5, 0] > 0
    assert (found[:, 0] != found[:, 1]).mean() == pytest.approx(1 / (1 + np.exp(0.5)), abs=0.04)


def test_a_motion_is_made_of_the_hypotheses_of_its_frames():
    rng = np.random.default_rng(0)
    given = hypotheses(rng.normal(0, 0.1, (6, 9, J, 3)))
    found = smooth(jax.random.key(0), given, jnp.arange(9) / 30)
    for frame in range(9):
        away = np.abs(found.samples[:, None, frame] - given.samples[None, :, frame]).max((-1, -2))
        assert (away.min(1) == 0).all()
        np.testing.assert_array_equal(found.root[:, frame], given.root[away.argmin(1), frame])
    np.testing.assert_allclose(found.mean, found.samples.mean(0), atol=1e-6)
    np.testing.assert_array_equal(found.radius_90, given.radius_90)
    np.testing.assert_array_equal(found.covariance, given.covariance)


def test_two_ways_through_a_clip_are_kept_apart():
    """Half of the hypotheses go one way, half another, in any order: no motion changes from one to the other."""
    rng = np.random.default_rng(0)
    way = np.sin(np.arange(40) / 10)[:, None, None] * np.array([0.1, 0.05, 0]) * (np.arange(J) > 0)[:, None]
    both = np.stack([way + 0.3 * (np.arange(J) > 0)[:, None], way] * 10) + rng.normal(0, 0.002, (20, 40, J, 3))
    shuffled = np.stack([rng.permutation(both[:, f]) for f in range(40)], 1)
    found = smooth(jax.random.key(0), hypotheses(shuffled), jnp.arange(40) / 30)
    side = np.asarray(found.samples[:, :, 5, 2] > 0.15)
    assert (side == side[:, :1]).all()
    assert 0 < side[:, 0].mean() < 1
    # over a long gap the ways are no longer told apart
    late = jnp.arange(40) / 30 + jnp.where(jnp.arange(40) >= 20, 1e4, 0)
    apart = np.asarray(smooth(jax.random.key(0), hypotheses(shuffled), late).samples[:, :, 5, 2] > 0.15)
    assert (apart[:, 19] != apart[:, 20]).any()


def test_bad_arguments_are_named():
    given = hypotheses(np.zeros((2, 3, J, 3)))
    for seconds, weight, words in (
        (np.array([0, 1]), 1, "seconds: needed 3 rising times"),
        (np.array([0, 0, 1]), 1, "seconds: needed 3 rising times"),
        (np.arange(3), -1, "weight: needed finite numbers from 0"),
    ):
        refuses(words, smooth, jax.random.key(0), given, seconds, weight=weight)
    with pytest.raises(ValueError, match="found: needed samples of 17 joints"):
        smooth(jax.random.key(0), hypotheses(np.zeros((2, 3, 21, 3))), np.arange(3))


@needs_mocap
def test_the_speeds_are_those_of_the_training_people():
    """Root-relative, root mean square of each coordinate, from the motion capture itself."""
    mocap = load_mocap(data_root(), "train", ("cmu", "hdm05"))
    joints = np.asarray(mocap.joints)
    moved = np.diff(joints - joints[:, :1], axis=0)[np.diff(mocap.sequence) == 0]
    np.testing.assert_allclose(SPEED, np.sqrt(np.square(moved).mean((0, 2))), atol=6e-5)
