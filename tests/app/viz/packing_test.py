"""Arrays of a page come back as they went in: integers exactly, positions within half a step, gaps as gaps."""

import base64
import zlib

import numpy as np
import pytest
from drawn import Read

from jaxpose.app.viz.page import REACH, Packer, quantised


def read(packer, array):
    page = (
        f'<script type="application/json" id="a">{{}}</script><script type="text/plain" id="b">{packer.text()}</script>'
    )
    found = Read(page)
    return found.positions(array) if "step" in array else found.whole(array)


@pytest.mark.parametrize("time", [None, 0, 1, 2])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.uint16, np.uint32, np.int8])
def test_integers_of_all_kinds_come_back_with_differences_along_any_axis(kind, time):
    limits = np.iinfo(kind)
    array = np.random.default_rng(0).integers(limits.min, limits.max, (3, 4, 5), kind, endpoint=True)
    packer = Packer()
    packer.add(np.zeros(7, np.uint8))
    np.testing.assert_array_equal(read(packer, packer.add(array, time=time)), array)


def test_positions_are_within_half_a_step_and_gaps_stay_gaps():
    points = np.random.default_rng(0).normal([0, 1, 9], 2, (4, 30, 17, 3))
    points[1, 3, 5] = np.nan
    points[2, :, 4, 1] = np.inf
    packer = Packer()
    described = packer.positions(points, 5e-4, time=1)
    found = read(packer, described)
    gaps = ~np.isfinite(points).all(-1)
    assert described["step"] == 5e-4
    assert gaps.sum() == 31
    np.testing.assert_array_equal(np.isnan(found).any(-1), gaps)
    np.testing.assert_allclose(found[~gaps], points[~gaps], atol=2.5e-4 + 1e-9)


def test_a_wide_range_makes_steps_larger_and_what_diverged_is_a_gap():
    points = np.linspace(-50, 50, 1001)[:, None] * np.ones(3)
    middle, step, whole = quantised(points, 5e-4)
    assert step == pytest.approx(50 / 32767)
    np.testing.assert_allclose(middle + step * whole, points, atol=step / 2 + 1e-9)
    points[7] = 1e9
    points[8] = REACH + 1
    _, step, whole = quantised(points, 5e-4)
    assert np.flatnonzero((whole == -32768).all(-1)).tolist() == [7, 8]
    assert step < 60 / 32767


def test_points_of_two_distant_groups_are_kept():
    points = np.array([[-1e7, 0], [1e7, 0]])  # as far from their median
    middle, step, whole = quantised(points, 0.25)
    np.testing.assert_allclose(middle + step * whole, points, atol=step / 2)


def test_smooth_motion_is_stored_in_fewer_bytes_as_differences():
    phase = np.random.default_rng(0).uniform(0, 6, (17, 3))
    motion = np.sin(np.arange(300)[:, None, None] / 20 + phase)
    sizes = []
    for time in (None, 0):
        packer = Packer()
        packer.positions(motion, 5e-4, time=time)
        sizes.append(len(zlib.compress(base64.b64decode(packer.text()))))
    assert sizes[1] < 0.8 * sizes[0]


def test_what_is_added_twice_is_kept_once():
    """A second body of one shape costs nothing; an array of other content has a place of its own."""
    packer, array = Packer(), np.arange(300, dtype=np.int16)
    first, other, again = packer.add(array), packer.add(array + 1), packer.add(array.copy())
    assert first["at"] == again["at"] == 0
    assert other["at"] == 600
    assert len(zlib.decompress(base64.b64decode(packer.text()))) == 1200
