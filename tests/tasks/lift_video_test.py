"""What a model of video or of motions draws together: each row answered once, gaps drawn, long motions gone on from."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from small_models import clip_poses, write_joint_model

import jaxpose
from jaxpose.base import Camera, Hypotheses
from jaxpose.geometry.camera import project
from jaxpose.tasks.blocks import Track, even, gather, result_of
from jaxpose.tasks.draw import spread
from jaxpose.tasks.lift_video import Timing, drawn_between, groups, timing, tracks

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
        answered.extend(block.rows)
        motions += track.first == 0
    assert sorted(answered) == list(range(len(person)))
    assert motions == 3


def test_a_long_motion_is_drawn_in_pieces_that_share_a_window_and_a_key():
    blocks = of(np.zeros(600, int), np.arange(600))
    assert [(b.index, b.track.first, b.track.count) for b in blocks] == [(0, 0, 256), (0, 224, 256), (0, 448, 152)]
    assert [b.rows.tolist() for b in blocks] == [list(range(*ends)) for ends in ((0, 240), (240, 464), (464, 600))]
    for block in blocks:
        np.testing.assert_array_equal(
            block.track.rows[: block.track.count] - block.track.first, range(block.track.count)
        )


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


def test_groups_answer_each_row_once_and_have_few_shapes():
    """A long clip, pieces shorter than a window, single frames; every window lies in one piece of one person."""
    rng = np.random.default_rng(1)
    frame = np.concatenate([np.arange(300), np.flatnonzero(rng.random(200) < 0.7), [3], np.arange(0, 50, 10)])
    person = np.repeat([0, 1, 2, 3], [300, len(frame) - 306, 1, 5])
    clock = timing(frame, 62)
    assert clock.every == 2
    times, shapes = np.zeros(len(frame), int), set()
    for group in groups(person, clock, 9):
        np.add.at(times, group.rows[group.windows.index[group.windows.counted]], 1)
        rows = group.rows[group.windows.index]
        assert (person[rows] == np.unique(person)[group.index]).all()
        assert np.isin(np.diff(frame[rows]), (0, 2)).all()
        shapes.add((group.rows.shape, group.windows.index.shape))
    assert (times == 1).all()
    assert len(shapes) <= 4


@pytest.mark.parametrize(
    ("frame", "fps", "every", "number", "said"),
    [
        ([10, 11, 13], None, 1, [0, 1, 3], "not known, taken as 30"),
        ([10, 11, 13], 25, 1, [0, 1, 3], "25 frames/s"),
        ([0, 1, 2], 120, 4, [0, 1, 2], "120 frames/s, of which a window takes 1 in 4"),
        ([0, 1, 2], 10, 1, [0, 1, 2], "10 frames/s; the model was trained at 30"),
        ([5, 10, 20], 150, 1, [0, 1, 3], "30 frames/s"),  # every 5th frame is there
        ([8], 240, 8, [0], "240 frames/s, of which a window takes 1 in 8"),
    ],
)
def test_what_numbers_of_frames_mean(frame, fps, every, number, said):
    clock = timing(np.asarray(frame), fps)
    assert (clock.every, clock.number.tolist()) == (every, number)
    assert said in clock.said


def test_the_path_is_of_the_first_rows():
    """As many as are answered together; `draw` is one that says which row it was given, at each step."""

    class Rows(NamedTuple):
        samples: np.ndarray
        path: np.ndarray | None

    def draw(key, block, return_path):
        rows = block.rows
        where = np.broadcast_to(rows[None, :, None, None], (2, len(rows), 17, 3))
        return Rows(where, np.stack([where, where + 1000]) if return_path else None)

    frame = np.tile(np.arange(12), 2)[::-1]
    person = np.repeat([0, 1], 12)
    for who, together in ((person, 12), (np.arange(24) % 2, 1)):
        number = frame if who is person else np.repeat(np.arange(12), 2)
        clock = timing(number, None)
        last = result_of(gather(draw, groups(who, clock, 6), 24, jax.random.key(0), path=True))
        np.testing.assert_array_equal(last["samples"][0, :, 0, 0], np.arange(24))
        np.testing.assert_array_equal(last["path"][0, 0, :, 0, 0], np.arange(together))
        np.testing.assert_array_equal(last["path"][1, 0, :, 0, 0], np.arange(together) + 1000)


@pytest.mark.parametrize(
    ("num", "doubling", "sizes"), [(5, False, [5]), (5, True, [8]), (64, True, [64]), (150, True, [64, 64, 64])]
)
def test_even_blocks_are_of_one_size_and_answer_each_row_once(num, doubling, sizes):
    found = list(even(num, doubling=doubling))
    assert [len(block.rows) for block in found] == sizes
    np.testing.assert_array_equal(np.concatenate([block.rows[block.kept] for block in found]), np.arange(num))
    assert [block.index for block in found] == list(range(len(sizes)))
    assert (found[-1].rows[len(found[-1].kept) :] == num - 1).all()


def test_a_hypothesis_of_a_person_has_one_noise_in_all_frames(tmp_path):
    """The lift of each frame alone, with the person's number, whatever the block; another person's is another."""
    model = jaxpose.load(write_joint_model(tmp_path))
    camera = Camera(jnp.array([1000.0, 1000.0, 500.0, 400.0]))
    xy = np.asarray(project(camera.intrinsics, jnp.asarray(np.tile(clip_poses(), (22, 1, 1)))))
    key, sure = jax.random.key(5), np.ones((66, 17))
    how = {"camera": camera, "num_hypotheses": 3}
    frame, person = np.r_[0:33, 0:33], np.repeat([4, 2], 33)
    found = jaxpose.lift_video(key, model, xy, sure, frame=frame, person=person, **how)
    for row, number in ((0, 1), (7, 1), (65, 0)):
        alone = jaxpose.lift(key, model, xy[row : row + 1], sure[:1], numbers=np.array([number]), **how)
        np.testing.assert_allclose(found.samples[:, row], alone.samples[:, 0], atol=1e-4)
    xy = np.repeat(xy[:1], 66, 0)  # who stands still does so in each hypothesis
    still = jaxpose.lift_video(key, model, xy, sure, frame=frame, person=person, **how).samples
    np.testing.assert_allclose(still[:, :33], np.repeat(still[:, :1], 33, 1), atol=1e-4)
    np.testing.assert_allclose(still[:, 33:], np.repeat(still[:, 33:34], 33, 1), atol=1e-4)
    assert np.abs(still[:, 0] - still[:, 33]).max() > 1e-2


def test_poses_of_a_known_rate_are_filtered_person_by_person(tmp_path):
    """As scipy filters the raw samples of each person; the summary is that of `draw`; without a rate all stay."""
    model = jaxpose.load(write_joint_model(tmp_path))
    camera = Camera(jnp.array([1000.0, 1000.0, 500.0, 400.0]))
    xy = np.asarray(project(camera.intrinsics, jnp.asarray(np.tile(clip_poses(), (20, 1, 1)))))
    frame, person = np.arange(60) // 2, np.arange(60) % 2
    lift = partial(jaxpose.lift_video, jax.random.key(5), model, xy, camera=camera, num_hypotheses=4, person=person)
    raw, found = lift(frame=frame, fps=30.0, cutoff=0), lift(frame=frame, fps=30.0)
    np.testing.assert_array_equal(lift(frame=frame).samples, raw.samples)
    np.testing.assert_array_equal(lift(frame=frame, fps=12.0).samples, raw.samples)  # 6 Hz is half the rate
    sections = scipy.signal.butter(2, 6, fs=30, output="sos")
    for who in (0, 1):
        expected = scipy.signal.sosfiltfilt(sections, np.asarray(raw.samples)[:, who::2], axis=1, padlen=9)
        np.testing.assert_allclose(found.samples[:, who::2], expected, atol=1e-3)  # of another padding
    samples = np.asarray(found.samples, np.float64)
    mean, covariance, radius, _ = spread(found.samples)
    np.testing.assert_allclose(found.mean, samples.mean(0), atol=1e-6)
    for ours, theirs in ((found.mean, mean), (found.covariance, covariance), (found.radius_90, radius)):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_array_equal(found.root, raw.root)
    double = lift(frame=frame // 2, fps=30.0)  # each frame twice: no motion
    np.testing.assert_array_equal(double.samples, raw.samples)


@pytest.mark.parametrize(
    ("fps", "cutoff", "legal"),
    [(30.0, 15.0, "less than 15"), (30.0, 0.01, "0.03 Hz"), (30.0, -1.0, "0"), (None, 6.0, "0 where the frame rate")],
)
def test_a_cutoff_is_below_half_a_known_rate(tmp_path, fps, cutoff, legal):
    model = jaxpose.load(write_joint_model(tmp_path))
    with pytest.raises(ValueError, match=f"cutoff: .*{legal}.*got {cutoff:g}"):
        jaxpose.lift_video(0, model, np.ones((3, 17, 2)), camera=Camera(np.ones(4)), fps=fps, cutoff=cutoff)
