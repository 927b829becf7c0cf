"""A page of meshes holds the skins it was given; a skin moves as its body; a sheet shows outlines and light."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Read
from PIL import Image
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.app.viz import Skin, mesh_page, skins_of
from jaxpose.app.viz.sheet import mesh_sheet
from jaxpose.geometry.body import full_rotations
from jaxpose.io.anny_body import anny_body

H, F, V = 3, 5, 9
FACES = np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]])
WITHIN = 3e-4  # metres: half a step of the vertices and of the joint, and of the turn times a body's reach
TURN = np.diag([1.0, -1, -1])  # from camera axes to display axes


def rigid(seed, num=F):
    """A skin of one joint that turns and moves over `num` frames, and its vertices [num, V, 3]."""
    rng = np.random.default_rng(seed)
    rest, turns, place = rng.normal(0, 0.5, (V, 3)), Rotation.random(num, rng).as_matrix(), rng.normal(size=(num, 3, 1))
    skin = Skin(rest, np.ones((V, 1)), np.concatenate([turns, place], -1)[:, None], np.zeros((1, 3)), "stiff")
    return skin, rest @ np.swapaxes(turns, 1, 2) + place[..., 0][:, None]


SKINS, VERTICES = map(list, zip(*map(rigid, range(H)), strict=True))


def surfaces(page):
    """Vertices [F, V, 3] of each surface by its name, in the axes given, by the formula of viz/mesh.py."""
    read, shown = Read(page.html()), {}
    for part in read.content["surfaces"]:
        rest, joints, turns, posed = (read.positions(part[name]) for name in ("rest", "joints", "turns", "posed"))
        R = Rotation.from_quat(turns.reshape(-1, 4)).as_matrix().reshape(*turns.shape[:2], 3, 3)
        t = posed - np.einsum("fjrc,jc->fjr", R, joints)
        index, share = read.whole(part["strongest"]), read.whole(part["shares"]) / 255
        shown[part["name"]] = np.einsum("vk,fvkrc,vc->fvr", share, R[:, index], rest, optimize=True)
        shown[part["name"]] += np.einsum("vk,fvkr->fvr", share, t[:, index])
    return shown


def test_every_frame_shows_every_body_with_its_faces():
    truth, true_vertices = rigid(H)
    page = mesh_page(SKINS, FACES, truth=truth, truth_faces=FACES[:2], names=["a", "b", "c"])
    shown, read = surfaces(page), Read(page.html())
    for name, wanted in zip(("a", "b", "c", "truth"), (*VERTICES, true_vertices), strict=True):
        np.testing.assert_allclose(shown[name], wanted, atol=WITHIN)
    parts = {part["name"]: part for part in read.content["surfaces"]}
    for name, faces in (("b", FACES), ("truth", FACES[:2])):
        np.testing.assert_array_equal(read.whole(parts[name]["faces"]), faces)
    assert len({part["colour"] for part in parts.values()}) == 4
    assert read.content["floor"] == pytest.approx(min(v[..., 1].min() for v in shown.values()), abs=1e-3)


def test_observed_points_are_those_of_the_row_with_gaps():
    observed = np.random.default_rng(1).normal(0, 0.4, (F, 6, 3))
    observed[2, 3] = np.nan
    read = Read(mesh_page(SKINS, FACES, observed=observed).html())
    np.testing.assert_allclose(read.poses("observed")[0] @ TURN, observed, atol=2.6e-4)
    assert [part["joints"] for part in read.content["skeletons"]] == [[f"point {i}" for i in range(6)]]
    assert {part["opacity"] for part in read.content["surfaces"]} == {0.55}
    alone = Read(mesh_page(SKINS[:1], FACES).html())
    assert [part["opacity"] for part in alone.content["surfaces"]] == [1.0]


def test_bodies_beside_one_another_keep_their_shape_and_take_along_what_is_theirs():
    truth, true = SKINS[0].moved(np.full(3, 3)), VERTICES[0] + 3
    page = mesh_page(SKINS, FACES, arrange="beside", truth=truth, observed=true[:, :2])
    shown = surfaces(page)
    order = [shown[name] for name in ("truth", "body 0", "body 1", "body 2")]
    for left, right in itertools.pairwise(order):
        assert right[..., 0].min() - left[..., 0].max() == pytest.approx(0.25, abs=1e-3)
    for got, given in zip(order, (true, *VERTICES), strict=True):
        moved = got - given
        np.testing.assert_allclose(moved, np.broadcast_to([moved[0, 0, 0], 0, 0], moved.shape), atol=2 * WITHIN)
    read = Read(page.html())
    np.testing.assert_allclose(read.poses("observed")[0] @ TURN, order[0][:, :2], atol=4e-4)


@pytest.mark.parametrize(
    ("fps", "limits", "rows"),
    [(30, {}, range(40)), (120, {}, range(0, 40, 4)), (10, {"max_frames": 39}, range(0, 40, 2))],
)
def test_frames_are_left_out_evenly_and_play_keeps_the_motions_speed(fps, limits, rows):
    skin, vertices = rigid(0, 40)
    page = mesh_page([skin], FACES, fps=fps, labels=[f"label {n}" for n in range(40)], **limits)
    read = Read(page.html())
    times = [f" · {row / fps:.2f} s" if fps else "" for row in rows]
    assert read.content["steps"]["labels"] == [f"frame {r}{t} · label {r}" for r, t in zip(rows, times, strict=True)]
    np.testing.assert_allclose(surfaces(page)["body"], vertices[list(rows)], atol=WITHIN)
    if fps:
        assert read.content["steps"]["seconds"] == pytest.approx((rows[1] - rows[0]) / fps)
    apart = f", {rows[1] - rows[0]} apart" if rows[1] - rows[0] > 1 else ""
    assert f"{len(rows)} of 40 frames{apart}" in read.content["caption"]


@pytest.mark.slow
def test_a_skin_moves_as_its_body_and_is_small():
    """Against the vertices of the body itself, which has no pose correctives."""
    body, rng = anny_body(), np.random.default_rng(0)
    pose, root = jnp.asarray(rng.normal(0, 0.4, (2, 300, 21, 3))), jnp.asarray(rng.normal(0, 1, (2, 300, 3)))
    move = rng.normal(size=(2, 300, 3))
    posed = body.shape(jnp.zeros(10)).pose(full_rotations(body, pose, root))
    page = mesh_page(skins_of(posed, move), body.faces)
    few = slice(0, 300, 37)
    part = body.shape(jnp.zeros(10)).pose(full_rotations(body, pose[:, few], root[:, few]))
    wanted = np.asarray(part.skin()) + move[:, few, None]
    for shown, vertices in zip(surfaces(page).values(), wanted, strict=True):
        away = np.linalg.norm(shown[few] - vertices, axis=-1)
        assert np.median(away) < 1e-3
        assert np.quantile(away, 0.99) < 0.02  # where more than four joints move a vertex
    assert len(page.html().encode()) < 3e6


def box(size):
    """A closed box about the origin, faces outwards."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(size) / 2
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return corners, np.array([[a, b, c] for a, *rest in quads for b, c in (rest[:2], rest[1:])])


def test_a_sheet_shows_the_outline_of_each_view_at_one_scale(tmp_path):
    vertices, faces = box([0.5, 1.5, 0.25])
    path = mesh_sheet(tmp_path / "a.png", np.stack([vertices, vertices * 0.5]), faces)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    painted = np.ptp(picture, axis=-1) > 40
    half, third = picture.shape[0] // 2, picture.shape[1] // 3
    area = [[painted[r * half :][:half, c * third :][:, :third].sum() for c in range(3)] for r in range(2)]
    # front 0.5 wide, side 0.25, oblique 0.6 * 0.5 + 0.8 * 0.25
    np.testing.assert_allclose(np.array(area) / area[0][0], [[1, 1, 0.5], [0.25, 0.25, 0.125]], atol=0.04)
    refuses("titles: got 1", mesh_sheet, tmp_path / "a.png", np.stack([vertices] * 2), faces, titles=["a"])
