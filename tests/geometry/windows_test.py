"""Windows of video: every frame counts once, in its own video and in the order of time; known windows written out."""

import numpy as np
import pytest

from jaxpose.geometry.windows import low_pass, piece_ends, rows_of_people, tile, timeline


def film(rng):
    """Rows of a few videos with gaps, shuffled; and the pieces as a plain walk over the sorted rows finds them."""
    rows = []
    for name in rng.permutation(20)[: rng.integers(1, 5)]:
        numbers = np.flatnonzero(rng.random(rng.integers(1, 60)) < rng.choice([0.5, 0.95, 1.1]))
        rows += [(int(name), int(n) + 7) for n in numbers] or [(int(name), 3)]
    rng.shuffle(rows)
    pieces = []
    for i in sorted(range(len(rows)), key=rows.__getitem__):
        follows = pieces and rows[pieces[-1][-1]] == (rows[i][0], rows[i][1] - 1)
        pieces[-1].append(i) if follows else pieces.append([i])
    video, frame = np.array(rows, np.int32).T
    return video, frame, pieces


def random_films():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        length = int(rng.integers(1, 14))
        yield *film(rng), length, int(rng.integers(1, length + 1))


def test_side_by_side_windows_written_out():
    windows = tile(np.zeros(10, int), np.arange(10), 4)
    np.testing.assert_array_equal(windows.index, [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]])
    np.testing.assert_array_equal(windows.counted, [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]])
    whole = tile(np.zeros(8, int), np.arange(8), 4)
    np.testing.assert_array_equal(whole.index, [[0, 1, 2, 3], [4, 5, 6, 7]])
    assert whole.counted.all()


def test_strict_counts_as_the_published_code():
    """It scores ceil(n / F) windows whole: the copies of a short clip and the overlap of the last window too."""
    for count in (1, 2, 3, 4, 7, 8, 10):
        film = np.arange(count)
        padded = np.concatenate([film, np.repeat(film[-1], max(4 - count, 0))])
        published = [film[i * 4 : i * 4 + 4] for i in range(-(-count // 4) - 1)] + [padded[-4:]]
        windows = tile(np.zeros(count, int), film, 4, strict=True)
        np.testing.assert_array_equal(windows.index, published)
        assert windows.counted.all()


def test_every_frame_counts_once_and_windows_keep_to_a_piece():
    for video, frame, pieces, length, stride in random_films():
        piece_of = {row: p for p, piece in enumerate(pieces) for row in piece}
        for windows in (tile(video, frame, length), tile(video, frame, length, stride=stride)):
            assert sorted(windows.index[windows.counted]) == list(range(len(video)))
            for rows, counted in zip(windows.index, windows.counted, strict=True):
                piece = pieces[piece_of[rows[0]]]
                start = piece.index(rows[0])
                expected = piece[start : start + length]
                assert rows.tolist() == expected + [piece[-1]] * (length - len(expected))
                assert not counted[len(expected) :].any()
        fewest = sum(-(-len(piece) // length) for piece in pieces)
        assert len(tile(video, frame, length).index) == fewest


def test_with_a_stride_a_frame_counts_where_it_is_nearest_the_middle():
    for video, frame, _, length, stride in random_films():
        windows = tile(video, frame, length, stride=stride)
        filler = np.zeros(windows.index.shape, bool)
        filler[:, 1:] = windows.index[:, 1:] == windows.index[:, :-1]
        off = np.broadcast_to(np.abs(np.arange(length) - (length - 1) / 2), windows.index.shape)
        nearest = np.full(len(video), np.inf)
        np.minimum.at(nearest, windows.index[~filler], off[~filler])
        counted = np.empty(len(video))
        counted[windows.index[windows.counted]] = off[windows.counted]
        np.testing.assert_array_equal(counted, nearest)


def test_a_timeline_counts_the_largest_step_that_divides_all_gaps():
    number, step, fps = timeline(np.array([30, 10, 50, 90]), fps=60.0)
    np.testing.assert_array_equal(number, [1, 0, 2, 4])
    assert (step, fps) == (20, 3.0)
    assert timeline(np.array([7])) == (0, 1, None)
    assert timeline(np.array([3, 3, 5])).length == 2


def test_ends_of_pieces_are_those_of_runs_of_frames():
    first, last = piece_ends(np.array([3, 3, 3, 1, 1]), np.array([4, 5, 7, 8, 9]))
    np.testing.assert_array_equal(first, [0, 0, 2, 3, 3])
    np.testing.assert_array_equal(last, [1, 1, 2, 4, 4])


def test_rows_of_people_are_in_the_order_of_frames():
    people = {who: rows.tolist() for who, rows in rows_of_people(np.array([7, 2, 7, 2]), np.array([5, 1, 3, 4]))}
    assert people == {2: [1, 3], 7: [2, 0]}


@pytest.mark.parametrize("hertz", [0.5, 3, 6, 9])
def test_the_low_pass_filter_has_the_gain_of_its_closed_form(hertz):
    """1 / (1 + (tan(pi f / fps) / tan(pi c / fps))^4), squared for both ways, and no delay."""
    fps, cutoff, frame = 30.0, 6.0, np.arange(3000)
    wave = np.cos(2 * np.pi * hertz * frame / fps)[:, None]
    gain = 1 / (1 + (np.tan(np.pi * hertz / fps) / np.tan(np.pi * cutoff / fps)) ** 4)
    found = low_pass(wave, frame, fps, cutoff)[200:-200]
    np.testing.assert_allclose(found, gain * wave[200:-200], atol=1e-3)


def test_the_low_pass_filter_crosses_short_gaps_alone():
    """A straight line is kept everywhere; what lies beyond half a second without frames has no effect."""
    frame = np.r_[0:20, 24:50, 70:73, 90:91]
    line = np.stack([0.1 * frame, 5 - frame], -1)
    np.testing.assert_allclose(low_pass(line, frame, 30.0, 6.0), line, atol=1e-5)
    noisy = line + np.random.default_rng(0).normal(size=line.shape)
    moved = noisy + 100.0 * (frame >= 70)[:, None]
    before = frame < 70
    np.testing.assert_array_equal(low_pass(noisy, frame, 30.0, 6.0)[before], low_pass(moved, frame, 30.0, 6.0)[before])
    assert np.abs(low_pass(noisy, frame, 30.0, 6.0) - noisy)[20:46].max() > 0.5
