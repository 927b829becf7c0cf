"""Examples of prepared films: the conventions of clips.py, mirrors, pieces, and frames without a truth."""

from functools import partial

import jax
import numpy as np
import pytest
from shared import refuses

from jaxpose.conditioning import MaskRates
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.originals.datasets.h36m import Frames
from jaxpose.originals.examples.filmed import film, filmed_example, mirror_film

NO_MASKS = MaskRates(0, 0, 0, 0)
NUM, LENGTH = 40, 5
SWAP = np.arange(17)
SWAP[list(H36M_17.left)], SWAP[list(H36M_17.right)] = H36M_17.right, H36M_17.left


@pytest.fixture(scope="module")
def frames():
    """Two videos in shuffled order; video 0 lacks the frames 8 and 9, video 1's frames 5 to 7 have no truth.

    Joint 5 says by its place which frame it is; detections are exact.
    """
    rng = np.random.default_rng(0)
    video = np.repeat([0, 1], NUM // 2)
    number = np.concatenate([[*range(8), *range(10, 22)], np.arange(20)])
    camera = (rng.normal(0, 0.3, (NUM, 17, 3)) + np.array([0.3, -0.2, 5])).astype(np.float32)
    intrinsics = np.tile(np.float32([1145, 1143, 512, 515]), (NUM, 1)) + video[:, None] * 7
    keypoints = camera[..., :2] / camera[..., 2:] * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
    hidden = (video == 1) & (number >= 5) & (number < 8)
    camera[hidden] = np.nan
    none = np.zeros(NUM, np.int32)
    made = Frames(
        image=camera,
        camera=camera,
        keypoints=keypoints,
        confidence=rng.uniform(0.3, 1, (NUM, 17)).astype(np.float32),
        ratio=camera[:, 0, 2],
        root_depth=camera[:, 0, 2],
        intrinsics=intrinsics,
        action=none + 2,
        subject=none + 9,
        video=video,
        frame=number,
        camera_id=none,
    )
    order = rng.permutation(NUM)
    return Frames(*(x[order] for x in made))


@pytest.fixture(scope="module")
def drawn(frames):
    """400 unmirrored and 400 mirrored examples of 5 frames with their films."""
    filmed = film(frames)
    keys = jax.random.split(jax.random.key(0), 400)

    @partial(jax.jit, static_argnums=1)
    def many(keys, flip):
        return jax.vmap(lambda k: filmed_example(k, filmed, NO_MASKS, num_frames=LENGTH, flip=flip))(keys)

    return filmed, many(keys, 0.0), many(keys, 1.0)


def rows_of(filmed, example):
    """Which row [.., F] each frame of unmirrored examples is, found by its confidences."""
    table = np.asarray(filmed.confidence)
    seen = np.asarray(example.cond.context)
    return np.abs(seen[..., None, :] - table).max(-1).argmin(-1)


def test_states_decode_to_the_truth_and_keypoints_are_the_projection(drawn):
    """What clips.py promises: x0 in the frame's view; xy and condition in one unit, alike if detections are exact."""
    filmed, plain, _ = drawn
    rows = rows_of(filmed, plain)
    np.testing.assert_allclose(plain.xy, plain.cond.value[..., :2], atol=1e-4)
    np.testing.assert_allclose(plain.cond.context, np.asarray(filmed.confidence)[rows], atol=1e-6)
    state = in_view(np.asarray(filmed.camera)[rows], np.asarray(filmed.confidence)[rows])
    state = (state - np.asarray(filmed.statistics.mean)) / np.asarray(filmed.statistics.std)
    np.testing.assert_allclose(plain.x0, state, atol=1e-4)


def in_view(x, sure):
    """x [..., J, 3] about its middle, the direction to it turned into the axis: Rodrigues' rotation in numpy."""
    x, sure = x.astype(np.float64), sure.astype(np.float64)
    middle = (sure[..., None] * x[..., :2] / x[..., 2:]).sum(-2) / sure.sum(-1)[..., None]
    n = np.concatenate([middle, np.ones_like(middle[..., :1])], -1)
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    x = x - x.mean(-2, keepdims=True)
    v, c = np.cross(n, np.array([0.0, 0.0, 1.0]))[..., None, :], n[..., 2][..., None, None]
    return c * x + np.cross(v, x) + v * (v * x).sum(-1, keepdims=True) / (1 + c)


def test_a_mirrored_example_is_the_mirror_image(drawn):
    """Same keys: x of state and keypoints changes its sign, sides change places. A camera has no preferred side."""
    _, plain, mirrored = drawn
    sign = np.array([-1.0, 1, 1])
    np.testing.assert_allclose(mirrored.xy, np.asarray(plain.xy)[..., SWAP, :] * sign[:2], atol=1e-4)
    np.testing.assert_allclose(mirrored.cond.value, np.asarray(plain.cond.value)[..., SWAP, :] * sign, atol=1e-4)
    np.testing.assert_allclose(mirrored.cond.context, np.asarray(plain.cond.context)[..., SWAP])
    np.testing.assert_allclose(mirrored.x0, np.asarray(plain.x0)[..., SWAP, :] * sign, atol=2e-4)


def test_the_mirror_is_that_of_an_image_and_undoes_itself(drawn):
    """A film of a 1000 px wide image, mirrored about its middle, is u -> 1000 - u; ours differs by that shift alone."""
    filmed = drawn[0]
    seen = filmed[:4]
    once = mirror_film(*seen)
    jax.tree.map(np.testing.assert_array_equal, mirror_film(*once), tuple(seen))
    keypoints, _, camera, intrinsics = (np.asarray(x) for x in once)
    u = 1000 - np.asarray(filmed.keypoints)[:, SWAP, 0]
    np.testing.assert_allclose(keypoints[..., 0] + 1000, u, atol=1e-3)
    projected = camera[..., 0] / camera[..., 2] * intrinsics[:, None, 0] + intrinsics[:, None, 2]
    np.testing.assert_allclose(projected + 1000, u, atol=1e-2)


def test_no_gap_is_crossed_and_no_hidden_truth_drawn(frames, drawn):
    filmed, plain, _ = drawn
    assert np.isfinite(filmed.camera).all()
    assert len(filmed.first) == NUM - 3
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(plain))
    # by hand: sorted rows of video 0 are 0..7 and 8..19 (gap), of video 1 20..24 and 25..36 (hidden)
    pieces = np.repeat(np.arange(4), [8, 12, 5, 12])
    rows = rows_of(filmed, plain)
    assert (pieces[rows] == pieces[rows[:, :1]]).all()
    step = np.diff(rows, axis=1)
    assert ((step == 0) | (np.abs(step) == 1)).all()
    assert set(np.unique(step)) == {-1, 0, 1}, "both directions, and stillness at an end"
    assert ((step >= 0).all(1) | (step <= 0).all(1)).all(), "one direction in a clip"
    assert set(rows[:, LENGTH // 2]) == set(range(NUM - 3)), "every frame is a middle"
    inside = (rows[:, 2] >= 10) & (rows[:, 2] <= 17)
    assert (np.abs(step[inside]) == 1).all(), "inside a piece nothing stands still"


def test_statistics_are_those_of_the_frames_and_their_mirror_images(frames, drawn):
    known = np.isfinite(frames.camera).all((1, 2))
    plain = in_view(frames.camera[known], frames.confidence[known])
    both = np.concatenate([plain, plain[:, SWAP] * np.array([-1.0, 1, 1])])
    mean, std, spread = drawn[0].statistics
    np.testing.assert_allclose(mean, both.mean(0), atol=1e-6)
    np.testing.assert_allclose(np.asarray(spread) * np.asarray(std), both.std(0), rtol=1e-5)


def test_joints_are_hidden_for_a_whole_clip(drawn):
    filmed = drawn[0]
    masks = MaskRates(0, 0, 0.5, 0)
    keys = jax.random.split(jax.random.key(1), 50)
    example = jax.jit(jax.vmap(lambda k: filmed_example(k, filmed, masks, num_frames=LENGTH)))(keys)
    seen = np.asarray(example.cond.context) > 0
    assert (seen == seen[:, :1]).all()
    assert 0.4 < seen.mean() < 0.6


def test_what_cannot_be_trained_on_is_named(frames, drawn):
    refuses("none of 40 has a true pose", film, frames._replace(root_depth=np.full(NUM, np.nan)))
    refuses("comes twice", film, frames._replace(frame=np.zeros(NUM, int)))
    refuses("flip: got", filmed_example, jax.random.key(0), drawn[0], NO_MASKS, flip=1.5)


def test_mixtures_of_a_folder_come_in_the_units_of_the_keypoints(frames, drawn):
    """The first component is the detection, the second stands 30 px to its right; mirrored, to its left."""
    mean = np.stack([frames.keypoints, frames.keypoints + np.float32([30, 0])], -2)
    weight, std = np.float32([0.7, 0.3]), np.full((NUM, 17, 2, 2), 4, np.float32)
    rows = np.concatenate([np.broadcast_to(weight, (NUM, 17, 2))[..., None], mean, std], -1)
    filmed = film(frames, rows)
    for flip, sign in ((0.0, 1), (1.0, -1)):
        found = filmed_example(jax.random.key(0), filmed, NO_MASKS, num_frames=LENGTH, flip=flip)
        np.testing.assert_allclose(found.peaks.mean[..., 0, :], found.cond.value[..., :2], atol=1e-4)
        np.testing.assert_array_equal(found.peaks.weight, np.broadcast_to(weight, (LENGTH, 17, 2)))
        apart = np.diff(found.peaks.mean, axis=-2)[..., 0, :]
        assert (apart[..., 0] * sign > 0).all()
        # 30 px lie 7.5 deviations of 4 px apart, in any unit
        np.testing.assert_allclose(np.abs(apart[..., 0]) / found.peaks.std[..., 0, 0], 7.5, rtol=0.05)
    assert filmed_example(jax.random.key(0), drawn[0], NO_MASKS).peaks is None
