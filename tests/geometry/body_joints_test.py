"""Points of a body by name: the published index tables, and positions against the whole mesh skinned."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from body_tables import NUM_JOINTS, random_tables

from jaxpose.geometry.body import full_rotations, make_body, make_landmarks
from jaxpose.geometry.body_joints import MODEL_JOINTS, POINT_SETS, _places, body_points, contour_row, known_points
from jaxpose.geometry.rotations import matrix_from_axis_angle

# spec/dposer.md, 8.4: places in joints ++ 21 picked vertices
OPENPOSE = {
    "smpl": "24 12 17 19 21 16 18 20 0 2 5 8 1 4 7 25 26 27 28 29 30 31 32 33 34",
    "smplh": "52 12 17 19 21 16 18 20 0 2 5 8 1 4 7 53 54 55 56 57 58 59 60 61 62",
    "smplx": "55 12 17 19 21 16 18 20 0 2 5 8 1 4 7 56 57 58 59 60 61 62 63 64 65",
}
HANDS = (
    "20 37 38 39 66 25 26 27 67 28 29 30 68 34 35 36 69 31 32 33 70",
    "21 52 53 54 71 40 41 42 72 43 44 45 73 49 50 51 74 46 47 48 75",
)
# OpenPose-25 of COCO-WholeBody with pelvis and neck put in behind the first 17
FROM_WHOLEBODY = "0 18 6 8 10 5 7 9 17 12 14 16 11 13 15 2 1 4 3 19 20 21 22 23 24"


def numbers(text):
    return np.array(text.split(), int)


def posed_body(kind, seed=0, with_face=True):
    """A random body with picks in a random pose, two people."""
    rng = np.random.default_rng(seed)
    tables = random_tables(kind, seed=seed)
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
    landmarks, face = None, None
    if kind == "smplx" and with_face:
        bary = [b / b.sum(-1, keepdims=True) for b in (rng.random((51, 3)), rng.random((79, 17, 3)))]
        face = (rng.integers(0, 120, 51), bary[0], rng.integers(0, 120, (79, 17)), bary[1])
        landmarks = make_landmarks(tables["f"], *face)
    body = make_body(
        kind, **{n: tables[n] for n in names}, faces=tables["f"], picks=rng.permutation(60)[:21], landmarks=landmarks
    )
    R = matrix_from_axis_angle(jnp.float32(rng.normal(0, 0.4, (2, NUM_JOINTS[kind], 3))))
    return body.shape(jnp.float32(rng.normal(size=10))).pose(R, jnp.float32([[0, 0, 3], [1, 0, 2]])), face


@pytest.mark.parametrize("kind", ["smpl", "smplh", "smplx"])
def test_places_are_the_published_tables(kind):
    np.testing.assert_array_equal(_places(kind, 21, False, "openpose25"), numbers(OPENPOSE[kind]))
    np.testing.assert_array_equal(_places(kind, 0, False, "smpl22"), np.arange(22))
    whole = _places(kind, 21, True, "wholebody133")
    with_middle = np.r_[whole[:17], 0, 12, whole[17:23]]
    np.testing.assert_array_equal(with_middle[numbers(FROM_WHOLEBODY)], numbers(OPENPOSE[kind]))
    np.testing.assert_array_equal(whole[:17], _places(kind, 21, False, "coco17"))


def test_hands_and_face_of_smplx_are_the_published_tables():
    whole = _places("smplx", 21, True, "wholebody133")
    np.testing.assert_array_equal(whole[91:112], numbers(HANDS[0]))
    np.testing.assert_array_equal(whole[112:], numbers(HANDS[1]))
    np.testing.assert_array_equal(whole[23:91], np.arange(76, 144))


@pytest.mark.slow
def test_what_a_body_lacks_is_zero_and_not_known():
    posed, _ = posed_body("smpl")
    known = known_points(posed.body, "wholebody133")
    whole = _places("smplx", 21, True, "wholebody133")
    is_finger = (whole >= 22) & (whole < 55)
    is_face = whole >= 76
    np.testing.assert_array_equal(known, ~is_finger & ~is_face)
    points = np.asarray(body_points(posed, "wholebody133"))
    assert not points[:, ~known].any()
    assert np.isfinite(points).all()
    bare = posed.body.replace(picks=jnp.zeros(0, jnp.int32))
    np.testing.assert_array_equal(known_points(bare, "coco17"), [False] * 5 + [True] * 12)
    assert known_points(posed_body("smplx")[0].body, "wholebody133").all()


def test_points_are_joints_and_skinned_vertices():
    """Of SMPL-X: joints, picked vertices, and landmarks on triangles, the contour by the yaw of the neck."""
    posed, (faces, bary, contour_faces, contour_bary) = posed_body("smplx")
    vertices, triangles = np.asarray(posed.skin()), np.asarray(posed.body.faces)
    rows = np.asarray(contour_row(posed.global_rotations[:, 12]))
    assert rows[0] != rows[1]
    points = np.asarray(jax.jit(lambda p: body_points(p, "wholebody133"))(posed))
    for b in range(2):
        picked = vertices[b, np.asarray(posed.body.picks)]
        fixed = [bary[i] @ vertices[b, triangles[f]] for i, f in enumerate(faces)]
        pairs = zip(contour_bary[rows[b]], contour_faces[rows[b]], strict=True)
        contour = [w @ vertices[b, triangles[f]] for w, f in pairs]
        every = np.concatenate([posed.joints[b], picked, contour, fixed])
        np.testing.assert_allclose(points[b], every[_places("smplx", 21, True, "wholebody133")], atol=1e-5)


def test_the_contour_follows_the_yaw():
    """Rows 0..39 for turns to the person's right, 40..78 for turns to the left, no further than 39 degrees."""
    degrees = np.array([0, -1, -10, -39, -60, 1, 10, 39, 60])
    turns = np.radians(degrees)[:, None] * [0, 1, 0]
    rows = contour_row(matrix_from_axis_angle(jnp.float32(turns)))
    np.testing.assert_array_equal(rows, [0, 1, 10, 39, 39, 40, 49, 78, 78])


@pytest.mark.slow
def test_points_compute_no_mesh_and_have_finite_gradients():
    posed, _ = posed_body("smplx")
    body = posed.body

    def points(body, pose):
        return body_points(body.shape().pose(full_rotations(body, pose)), "openpose25")

    text = str(jax.make_jaxpr(points)(body, jnp.zeros((21, 3))))
    made = re.findall(r"\w+:\w+\[([\d,]*)\] (?=(?:\w+:\w+\[[\d,]*\] )*= )", text)
    assert len(made) > 50
    assert not any("60" in shape.split(",") for shape in made)
    gradient = jax.grad(lambda pose: (points(body, pose) ** 2).sum())(jnp.zeros((21, 3)))
    assert np.isfinite(gradient).all()
    assert (jnp.abs(gradient[:3]).sum(-1) > 0).all()


def test_an_unknown_set_is_an_error():
    with pytest.raises(ValueError, match="points 'halpe' are unknown; must be one of openpose25, coco17"):
        known_points(posed_body("smpl")[0].body, "halpe")
    assert [len(POINT_SETS[name]) for name in ("openpose25", "coco17", "wholebody133")] == [25, 17, 133]
    assert [len(MODEL_JOINTS[kind]) for kind in ("smpl", "smplh", "smplx")] == [24, 52, 55]
