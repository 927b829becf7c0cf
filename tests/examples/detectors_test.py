"""Faults of the virtual detector: their shares, and what they leave alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.examples.detectors import BLAZEPOSE, DETECTOR, crop_pixel, detect, detect_clip, gross_error
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.skeleton import H36M_17

XY = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 0.5, (17, 2)), jnp.float32)
PLAIN = ViewRates(noise=(0.0, 0.0), no_confidence=0.0)
KEYS = jax.random.split(jax.random.key(0), 4000)


@functools.partial(jax.jit, static_argnames="rates")
def seen(rates):
    return jax.vmap(lambda key: detect(key, XY, rates))(KEYS)


def test_sides_are_exchanged_in_their_share():
    """Exact but for outliers: a swapped joint stands at its partner's place."""
    xy, _ = seen(PLAIN._replace(swap=0.3))
    partner = np.arange(17)
    partner[list(H36M_17.left)], partner[list(H36M_17.right)] = H36M_17.right, H36M_17.left
    at_partner = np.linalg.norm(np.asarray(xy - XY[partner]), axis=-1) < 1e-5
    legs, arms = at_partner[:, 1], at_partner[:, 11]
    assert abs((legs | arms).mean() - 0.3) < 0.03
    assert abs((legs & arms).mean() - 0.1) < 0.02
    assert abs((legs & ~arms).mean() - 0.1) < 0.02


def test_joints_near_a_place_are_missing_and_most_are_left():
    _, confidence = seen(PLAIN._replace(occlude=0.5))
    hidden = np.asarray(confidence) == 0
    assert 0.4 < hidden.any(1).mean() <= 0.52
    assert (~hidden).sum(1).min() >= 5
    first = np.flatnonzero(hidden.sum(1) > 2)[0]
    gone = np.asarray(XY)[hidden[first]]
    assert np.linalg.norm(gone - gone.mean(0), axis=-1).max() < 0.3, "they lie together"


def test_what_lies_beyond_a_border_is_missing():
    xy, confidence = (np.asarray(x) for x in seen(PLAIN._replace(truncate=1.0)))
    hidden = confidence == 0
    assert hidden.any(1).mean() > 0.8
    for row, x in zip(hidden[:200], xy[:200], strict=True):
        if row.any():  # all hidden joints lie farther than all others in one of four directions
            assert any((s * x[row, d]).min() >= (s * x[~row, d]).max() for d in (0, 1) for s in (1, -1))


def test_a_vague_confidence_does_not_depend_on_the_error():
    rates = ViewRates(no_confidence=0.0, noise=(3.0, 3.0))
    for share, most in ((0.0, 1.0), (1.0, 0.05)):
        xy, confidence = seen(rates._replace(vague=share))
        size, sure = (np.asarray(x).ravel() for x in (jnp.linalg.norm(xy - XY, axis=-1), confidence))
        assert abs(np.corrcoef(size, sure)[0, 1]) < most
        if not share:
            assert np.corrcoef(size, sure)[0, 1] < -0.5


@pytest.mark.parametrize("table", [DETECTOR, BLAZEPOSE], ids=["published", "blazepose"])
def test_gross_errors_have_heavy_tails_and_go_along_a_limb(table):
    draw = jax.vmap(lambda k: gross_error(k, jnp.asarray(table), jnp.asarray(0.9), 3)[1])
    error = np.asarray(jax.jit(draw)(jax.random.split(KEYS[0], 40_000)))
    unit = (error - np.median(error, 0)) / (1.4826 * np.median(np.abs(error - np.median(error, 0)), 0))
    assert ((np.abs(unit) > 4).mean((0, 2)) > 0.01).all(), "a normal law has 0.006 %"
    bounded = np.clip(unit[..., 0], -4, 4)
    correlation = np.corrcoef(bounded.T)
    assert correlation[2, 3] > 0.4  # right knee and ankle
    assert abs(correlation[3, 13]) < 0.1  # right ankle and left wrist


@functools.partial(jax.jit, static_argnames="rates")
def seen_over_time(rates):
    """200 clips of 40 frames of a person who walks to the right by its own width."""
    walk = XY + jnp.linspace(0, 1, 40)[:, None, None] * jnp.array([1.0, 0.0])
    xy, confidence = jax.vmap(lambda key: detect_clip(key, walk, rates))(KEYS[:200])
    return xy - walk, confidence


def test_exchanged_sides_come_in_runs():
    """A share of the frames, of which 7 in 10 are followed by another."""
    away = np.asarray(seen_over_time(PLAIN._replace(swap=0.2))[0])
    partner = np.arange(17)
    partner[list(H36M_17.left)], partner[list(H36M_17.right)] = H36M_17.right, H36M_17.left
    error = np.linalg.norm(away - (XY[partner] - XY), axis=-1)
    swapped = (error[..., 1] < 1e-5) | (error[..., 11] < 1e-5)  # a leg or an arm
    assert abs(swapped.mean() - 0.2) < 0.03
    assert abs(swapped[:, 1:][swapped[:, :-1]].mean() - 0.7) < 0.04
    assert abs(swapped[:, 0].mean() - 0.2) < 0.09, "the first frame is as the others"


def test_what_hides_a_walking_person_stands_still():
    """Another part of the person is hidden in the course of a clip; in the frame that placed it something is."""
    hidden = np.asarray(seen_over_time(PLAIN._replace(occlude=1.0))[1]) == 0
    assert hidden[:, 20].any(-1).mean() > 0.9
    assert hidden.any(-1).mean() < 0.8, "the person passes by"
    assert ((hidden[:, 15] != hidden[:, 25]).any(-1)).mean() > 0.5


def test_a_pixel_of_the_crop_is_of_the_larger_extent():
    assert float(crop_pixel(jnp.array([[0.0, 0.0], [0.2, 1.0]]))) == pytest.approx(1.2 / 256)
