"""A page of meshes holds the vertices it was given; a skin moves as its body; a sheet shows outlines and light."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Read
from PIL import Image
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.app.viz import mesh_page, skins_of
from jaxpose.app.viz.sheet import mesh_sheet
from jaxpose.geometry.body import full_rotations
from jaxpose.io.anny_body import anny_body

H, F, V = 3, 5, 9
FACES = np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]])
WITHIN = 6e-5  # metres: half a step
TURN = np.diag([1.0, -1, -1])  # from camera axes to display axes


@pytest.fixture
def meshes():
    return np.random.default_rng(0).normal(0, 0.5, (H, F, V, 3)).astype(np.float32)


def surfaces(page):
    """Vertices [F, V, 3] of each surface by its name, in the axes that were given."""
    read = Read(page.html())
    return {part["name"]: read.positions(part["vertices"]) for part in read.content["surfaces"]}


def test_every_frame_shows_every_body_with_its_faces(meshes):
    truth = meshes[0] * 0.5
    page = mesh_page(meshes, FACES, truth=truth, truth_faces=FACES[:2], names=["a", "b", "c"])
    found, read = surfaces(page), Read(page.html())
    for name, wanted in zip(("a", "b", "c", "truth"), (*meshes, truth), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=WITHIN)
    parts = {part["name"]: part for part in read.content["surfaces"]}
    for name, faces in (("b", FACES), ("truth", FACES[:2])):
        np.testing.assert_array_equal(read.whole(parts[name]["faces"]), faces)
    assert len({part["colour"] for part in parts.values()}) == 4
    assert read.content["floor"] == pytest.approx(min(v[..., 1].min() for v in found.values()), abs=1e-3)


def test_observed_points_are_those_of_the_row_with_gaps(meshes):
    observed = np.random.default_rng(1).normal(0, 0.4, (F, 6, 3))
    observed[2, 3] = np.nan
    read = Read(mesh_page(meshes, FACES, observed=observed).html())
    np.testing.assert_allclose(read.poses("observed")[0] @ TURN, observed, atol=2.6e-4)
    assert [part["joints"] for part in read.content["skeletons"]] == [[f"point {i}" for i in range(6)]]
    assert {part["opacity"] for part in read.content["surfaces"]} == {0.55}
    alone = Read(mesh_page(meshes[0], FACES).html())
    assert [part["opacity"] for part in alone.content["surfaces"]] == [1.0]


def test_bodies_beside_one_another_keep_their_shape_and_take_along_what_is_theirs(meshes):
    page = mesh_page(meshes, FACES, arrange="beside", truth=meshes[0] + 3, observed=meshes[0, :, :2] + 3)
    shown = surfaces(page)
    order = [shown[name] for name in ("truth", "body 0", "body 1", "body 2")]
    for left, right in itertools.pairwise(order):
        assert right[..., 0].min() - left[..., 0].max() == pytest.approx(0.25, abs=3e-4)
    for got, given in zip(order, (meshes[0] + 3, *meshes), strict=True):
        moved = got - given
        np.testing.assert_allclose(moved, np.broadcast_to([moved[0, 0, 0], 0, 0], moved.shape), atol=2 * WITHIN)
    read = Read(page.html())
    np.testing.assert_allclose(read.poses("observed")[0] @ TURN, order[0][:, :2], atol=4e-4)


@pytest.mark.parametrize(
    ("fps", "limits", "rows"),
    [
        (30, {}, range(40)),
        (120, {}, range(0, 40, 4)),
        (None, {"max_frames": 10}, range(0, 40, 4)),
        (10, {"max_frames": 39}, range(0, 40, 2)),
        (None, {"max_megabytes": 6 * V * 8 / 1e6}, range(0, 40, 5)),
    ],
)
def test_frames_are_left_out_evenly_and_play_keeps_the_motions_speed(fps, limits, rows):
    mesh = np.random.default_rng(0).normal(size=(40, V, 3)).astype(np.float32)
    page = mesh_page(mesh, FACES, fps=fps, labels=[f"label {n}" for n in range(40)], **limits)
    read = Read(page.html())
    times = [f" · {row / fps:.2f} s" if fps else "" for row in rows]
    assert read.content["steps"]["labels"] == [f"frame {r}{t} · label {r}" for r, t in zip(rows, times, strict=True)]
    np.testing.assert_allclose(surfaces(page)["body"], mesh[list(rows)], atol=WITHIN)
    if fps:
        assert read.content["steps"]["seconds"] == pytest.approx((rows[1] - rows[0]) / fps)
    apart = f", {rows[1] - rows[0]} apart" if rows[1] - rows[0] > 1 else ""
    assert f"{len(rows)} of 40 frames{apart}" in read.content["caption"]


def skinned(read, part):
    """Vertices [F, V, 3] in display axes, by the formula of viz/skin.py, from what the page holds."""
    rest, joints, turns, posed = (read.positions(part[name]) for name in ("rest", "joints", "turns", "posed"))
    R = Rotation.from_quat(turns.reshape(-1, 4)).as_matrix().reshape(*turns.shape[:2], 3, 3)
    t = posed - np.einsum("fjrc,jc->fjr", R, joints)
    index, share = read.whole(part["strongest"]), read.whole(part["shares"]) / 255
    moved = np.einsum("fvkrc,vc->fvkr", R[:, index], rest) + t[:, index]
    return np.einsum("vk,fvkr->fvr", share, moved)


@pytest.mark.slow
def test_a_skin_moves_as_its_body_and_is_small():
    """Against the vertices of the body itself, which has no pose correctives."""
    body, rng = anny_body(), np.random.default_rng(0)
    pose, root = jnp.asarray(rng.normal(0, 0.4, (2, 300, 21, 3))), jnp.asarray(rng.normal(0, 1, (2, 300, 3)))
    move = rng.normal(size=(2, 300, 3))
    posed = body.shape(jnp.zeros(10)).pose(full_rotations(body, pose, root))
    page = mesh_page(skins_of(posed, move), body.faces)
    read = Read(page.html())
    few = slice(0, 300, 37)
    part = body.shape(jnp.zeros(10)).pose(full_rotations(body, pose[:, few], root[:, few]))
    wanted = np.asarray(part.skin()) + move[:, few, None]
    for surface, vertices in zip(read.content["surfaces"], wanted, strict=True):
        away = np.linalg.norm(skinned(read, surface)[few] - vertices, axis=-1)
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
