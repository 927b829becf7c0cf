"""The frames that a model of motions draws together: each row answered once, gaps drawn, long motions gone on from."""

import itertools

import numpy as np
import pytest

from jaxpose.base import Hypotheses
from jaxpose.tasks.blocks import Track
from jaxpose.tasks.lift_video import Timing, drawn_between, tracks

LENGTH = 32


def of(person, number, every=1):
    return list(tracks(np.asarray(person), Timing(np.asarray(number), every, ""), LENGTH))


def test_each_row_is_answered_once_by_its_own_frame():
    """Two people in mixed order, one with frames missing, one who is away for longer than half a window."""
    rng = np.random.default_rng(0)
    first = np.r_[0:40, 50:61]
    second = np.r_[5:15, 90:700]
    person = np.repeat([3, 8], [len(first), len(second)])
    number = np.r_[first, second]
    order = rng.permutation(len(person))
    person, number = person[order], number[order]
    answered, motions = [], 0
    for block in of(person, number):
        track = block.track
        assert len(track.rows) % LENGTH == 0
        shown = track.rows[track.seen]
        assert len(np.unique(person[shown])) == 1
        at = number[shown] - number[shown[0]]
        np.testing.assert_array_equal(np.flatnonzero(track.seen) - np.argmax(track.seen), at)  # in the order of time
        np.testing.assert_array_equal(track.rows[track.time.astype(int)], block.rows)
        assert (track.time >= track.held).all()
        answered.extend(block.rows)
        motions += track.held == 0
    assert sorted(answered) == list(range(len(person)))
    assert motions == 3


def test_a_long_motion_goes_on_from_frames_that_the_block_before_drew():
    blocks = of(np.zeros(600, int), np.arange(600))
    assert [b.track.held for b in blocks] == [0, 16, 16]
    for before, block in itertools.pairwise(blocks):
        np.testing.assert_array_equal(before.track.rows[: before.track.count][-16:], block.track.rows[:16])


@pytest.mark.parametrize("every", [2, 3])
def test_rows_of_a_faster_camera_lie_between_two_frames(every):
    (block,) = of(np.zeros(61, int), np.arange(61), every)
    np.testing.assert_array_equal(block.track.rows[block.track.seen], np.arange(0, 61, every))
    samples = np.arange(block.track.count + 5.0)[None, :, None, None] * np.ones((2, 1, 17, 3))
    found = Hypotheses(samples, samples[0], None, samples[0, ..., 0], samples[..., 0, 0])
    between = drawn_between(found, block.track)
    expected = np.minimum(np.arange(61) / every, block.track.count - 1)
    np.testing.assert_allclose(between["samples"][1, :, 3, 2], expected, atol=1e-5)
    np.testing.assert_allclose(between["radius_90"][:, 4], expected, atol=1e-5)


def test_the_last_frame_answers_what_comes_after_it():
    track = Track(np.zeros(4, int), np.ones(4, bool), 0, 3, np.array([2.0]))
    samples = np.arange(4.0)[None, :, None, None] * np.ones((1, 1, 17, 3))
    found = drawn_between(Hypotheses(samples, samples[0], None, samples[0, ..., 0], samples[..., 0, 0]), track)
    assert found["samples"].max() == 2
