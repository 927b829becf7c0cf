"""People on a floor and their denoising: where they stand, what each state draws, the slider, the truth, the tiles."""

import numpy as np
import pytest
from drawn import J, Read

from jaxpose.app.viz import path_page
from jaxpose.app.viz.crowd import grid, make_grid, put
from jaxpose.geometry.skeleton import H36M_17

T, H, N = 3, 2, 5


@pytest.fixture(scope="module")
def walk():
    """States [T+1, H, N, J, 3] in whole centimetres, each person somewhere else, and a truth [N, J, 3]."""
    rng = np.random.default_rng(0)
    poses = rng.uniform(-0.6, 0.6, (T + 1, H, N, J, 3)) + rng.uniform(-5, 5, (N, 1, 3))
    truth = rng.uniform(-0.6, 0.6, (N, J, 3)) + poses[0, 0, :, :1]
    return np.round(poses, 2), np.round(truth, 2)


def test_places_are_read_like_text():
    places = grid(7, 3, (1.5, 2.0))
    np.testing.assert_allclose(places[:, 0], [-1.5, 0, 1.5, -1.5, 0, 1.5, -1.5])
    np.testing.assert_allclose(places[:, 2], [2, 2, 2, 0, 0, 0, -2])  # far lines first
    assert (places[:, 1] == 0).all()


def read(states, **options):
    return Read(path_page(states, H36M_17, **options).html())


def test_each_state_draws_the_hypotheses_of_all_people_at_their_places(walk):
    states, truth = walk
    found = make_grid("states", states, H36M_17, truth=truth, per_line=3)
    page = read(states, truth=truth, per_line=3)
    exact = put(truth, found.places)[:, None]
    wanted = np.moveaxis(states + exact, 0, 2).reshape(H * N, T + 1, J, 3)
    np.testing.assert_allclose(page.poses("hypotheses"), wanted, atol=3e-4)
    np.testing.assert_allclose(page.poses("truth")[:, 0], truth + exact, atol=3e-4)
    (layer,) = page.layers("truth")
    assert (layer["colour"], layer["poses"]["shape"][1]) == ("truth", 1)  # what stands still is stored once
    # and there is no mean that was not asked for
    assert [layer["name"] for layer in page.content["layers"]] == ["hypotheses", "truth"]


def test_the_slider_runs_over_the_states_and_opens_at_the_result(walk):
    states, _ = walk
    steps = read(states).content["steps"]
    assert (steps["labels"], steps["start"]) == ([f"state {n} of 3" for n in range(T + 1)], T)
    assert steps["seconds"] > 0


def test_long_paths_and_crowds_are_thinned_with_the_last_state_kept(walk):
    states, _ = walk
    page = read(states, max_states=2, max_people=3, max_hypotheses=1)
    assert page.content["caption"][:3] == ["3 of 5 people", "1 of 2 hypotheses", "2 of 4 states of the denoising"]
    found = make_grid("states", states, H36M_17, max_states=2, max_people=3, max_hypotheses=1)
    assert found.scene.rows.tolist() == [0, 3]
    last = make_grid("states", states, H36M_17, max_states=1)
    assert last.scene.rows.tolist() == [3]
    poses = found.scene.layers[0].poses
    wanted = np.moveaxis(states[[0, 3], 0][:, [0, 2, 4]], 0, 1)
    np.testing.assert_allclose(poses - poses[:, :, :1], wanted - wanted[:, :, :1], atol=1e-5)


def test_given_joints_are_marked_and_hidden_bones_stand_out(walk):
    states, truth = walk
    hidden = np.zeros((N, J), bool)
    hidden[1, 3], hidden[2, 11:14] = True, True
    given = np.where(hidden[..., None], np.nan, truth)
    page = read(states, truth=truth, given=given)
    assert np.isnan(page.poses("given")[:, 0]).any(-1).tolist() == hidden.tolist()
    ends = np.tile(hidden | hidden[:, list(H36M_17.parents)], (H, 1))
    for each in (page, read(states, observed=~hidden)):
        for part, bones in (("hidden", ends), ("observed", ~ends)):
            layer = each.layers(f"hypotheses, {part} part")[0]
            np.testing.assert_array_equal(each.whole(layer["bones"])[:, 0], bones)


def test_2d_inputs_lie_in_tiles(walk):
    states, _ = walk
    rng = np.random.default_rng(1)
    keypoints = np.round(rng.uniform(0, 100, (N, J, 2)) + 300)
    pixels = keypoints + np.arange(T + 1)[:, None, None, None, None] + np.zeros((H, 1, 1, 1))
    page = read(states, keypoints=keypoints, reprojected=pixels, per_line=3)
    lines, dots = (page.positions(layer["poses"]) for layer in page.content["flat"]["layers"])
    tiles = dots[:, 0]
    np.testing.assert_allclose(tiles - tiles[:, :1], keypoints - keypoints[:, :1], atol=0.26)
    low, high = tiles.min(1), tiles.max(1)
    assert (high[[0, 1, 3], 0] < low[[1, 2, 4], 0]).all()  # first line left of the next, and over the second
    assert high[:3, 1].max() < low[3:, 1].min()
    for row in range(T + 1):
        np.testing.assert_allclose(lines[:, row] - lines[:, 0], row, atol=0.26)
