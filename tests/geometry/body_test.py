"""Body models: skinning equals plain loops in float64; stages broadcast, differentiate and cost what they must."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from body_tables import NUM_JOINTS, random_tables, skin_in_loops

from jaxpose.geometry.body import PARENTS, full_rotations, make_body
from jaxpose.geometry.rotations import matrix_from_axis_angle

KINDS = ("smpl", "smplh", "smplx")


def body_of(kind, tables, **more):
    dirs = tables["shapedirs"]
    names = ("v_template", "posedirs", "J_regressor", "weights")
    same = {name: tables[name] for name in names}
    return make_body(kind, **same, shapedirs=dirs[..., :10], exprdirs=dirs[..., 10:], faces=tables["f"], **more)


@pytest.mark.parametrize("kind", KINDS)
def test_skinning_equals_plain_loops(kind):
    """Two people, three poses of each, in one call."""
    tables = random_tables(kind, num_expression=4)
    rng = np.random.default_rng(1)
    betas, expression = rng.normal(size=(2, 1, 10)), rng.normal(size=(2, 1, 4))
    axis_angle = rng.normal(0, 1, (3, NUM_JOINTS[kind], 3))
    transl = rng.normal(0, 2, (2, 3, 3))

    @jax.jit
    def call(body, betas, expression, axis_angle, transl):
        shaped = body.shape(betas, expression)
        posed = shaped.pose(matrix_from_axis_angle(axis_angle), transl)
        return posed.joints, posed.skin(), posed.skin(jnp.array([7, 3])), shaped

    found = call(body_of(kind, tables), *(x.astype(np.float32) for x in (betas, expression, axis_angle, transl)))
    joints, vertices, picked, shaped = found
    for p in range(2):
        coefficients = np.concatenate([betas[p, 0], expression[p, 0]])
        rest = tables["v_template"] + tables["shapedirs"] @ coefficients
        np.testing.assert_allclose(shaped.vertices[p, 0], rest, atol=1e-5)
        np.testing.assert_allclose(shaped.joints[p, 0], tables["J_regressor"] @ rest, atol=1e-5)
        for q in range(3):
            wanted = skin_in_loops(tables, kind, coefficients, axis_angle[q], transl[p, q])
            np.testing.assert_allclose(joints[p, q], wanted[0], atol=1e-5)
            np.testing.assert_allclose(vertices[p, q], wanted[1], atol=1e-5)
            np.testing.assert_allclose(picked[p, q], wanted[1][[7, 3]], atol=1e-5)


def test_fewer_coefficients_are_the_first_ones():
    body = body_of("smpl", random_tables("smpl"))
    few = jnp.float32([1, -2])
    chex.assert_trees_all_close(body.shape(few).vertices, body.shape(jnp.pad(few, (0, 8))).vertices)
    chex.assert_trees_all_close(body.shape(few).joints, body.shape(jnp.pad(few, (0, 8))).joints)


def test_gradients_are_those_of_finite_differences():
    """Of a sum of squares of vertices, along a random direction in betas, pose and translation."""
    body = body_of("smplh", random_tables("smplh"))
    rng = np.random.default_rng(2)
    x = [jnp.float32(rng.normal(0, 0.3, shape)) for shape in ((10,), (21, 3), (3,), (30, 3), (3,))]
    v = [jnp.float32(rng.normal(size=a.shape)) for a in x]

    @jax.jit
    def loss(betas, pose, root, hands, transl):
        return (body.shape(betas).pose(full_rotations(body, pose, root, hand_pose=hands), transl).skin() ** 2).sum()

    _, slope = jax.jvp(loss, tuple(x), tuple(v))
    reverse = sum((g * d).sum() for g, d in zip(jax.grad(loss, tuple(range(5)))(*x), v, strict=True))
    at = [loss(*(a + s * 1e-2 * d for a, d in zip(x, v, strict=True))) for s in (-1, 1)]
    np.testing.assert_allclose(slope, (at[1] - at[0]) / 2e-2, rtol=2e-2)
    np.testing.assert_allclose(slope, reverse, rtol=1e-4)
    zero = jax.grad(lambda pose: loss(x[0], pose, x[2], x[3], x[4]))(jnp.zeros((21, 3)))
    assert np.isfinite(zero).all()


def test_joints_need_no_mesh():
    """The program of joints touches no array as large as one table of vertices."""
    # more numbers than any array of joints has: a constant matrix over 55 joints, 3,025, is larger than 997 vertices
    body = body_of("smplx", random_tables("smplx", num_vertices=1997))

    def joints(body, betas, rotations):
        return body.shape(betas).pose(rotations).joints

    arguments = (body, jnp.zeros(10), jnp.zeros((55, 3, 3)))
    used = jax.make_jaxpr(joints)(*arguments).eqns
    sizes = [v.aval.size for eqn in used for v in eqn.invars if hasattr(v, "aval")]
    assert max(sizes) < 1997 * 3


@pytest.mark.parametrize("kind", KINDS)
def test_full_rotations_put_each_part_in_its_place(kind):
    rng = np.random.default_rng(3)
    mean = np.float32(rng.normal(0, 0.2, (30, 3)))
    body = body_of(kind, random_tables(kind), hands_mean=mean)
    pose, root = np.float32(rng.normal(size=(4, 21, 3))), np.float32(rng.normal(size=3))
    hand, face = np.float32(rng.normal(size=(4, 30, 3))), np.float32(rng.normal(size=(3, 3)))
    fingers, middle = {"smpl": (2, 0), "smplh": (30, 0), "smplx": (30, 3)}[kind]
    for hands in ("flat", "mean"):
        given = {} if kind == "smpl" else {"hand_pose": hand}
        given |= {"face_pose": face} if kind == "smplx" else {}
        end = np.zeros((4, 2, 3)) if kind == "smpl" else hand + (mean if hands == "mean" else 0)
        parts = [np.tile(root, (4, 1, 1)), pose, *([np.tile(face, (4, 1, 1))] if middle else []), end]
        wanted = matrix_from_axis_angle(np.concatenate(parts, 1).astype(np.float32))
        found = full_rotations(body, pose, root, hands=hands, **given)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        matrices = full_rotations(
            body, matrix_from_axis_angle(pose), matrix_from_axis_angle(root), hands=hands, **given
        )
        np.testing.assert_allclose(matrices, wanted, atol=1e-6)
    bare = full_rotations(body, pose[0])
    np.testing.assert_array_equal(bare[22:], np.tile(np.eye(3), (fingers + middle, 1, 1)))
    np.testing.assert_array_equal(bare[0], np.eye(3))


def test_parents_are_those_of_the_published_files():
    """Spec, 8.2: the last joints of each hand chain, and the lengths."""
    assert [len(PARENTS[kind]) for kind in KINDS] == [24, 52, 55]
    thumbs = "20 22 23 20 25 26 20 28 29 20 31 32 20 34 35 21 37 38 21 40 41 21 43 44 21 46 47 21 49 50"
    assert PARENTS["smplh"][22:] == tuple(map(int, thumbs.split()))
    hands = "20 25 26 20 28 29 20 31 32 20 34 35 20 37 38 21 40 41 21 43 44 21 46 47 21 49 50 21 52 53"
    assert PARENTS["smplx"][22:] == (15, 15, 15, *map(int, hands.split()))
    assert PARENTS["smpl"][-4:] == (18, 19, 20, 21)
