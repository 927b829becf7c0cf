"""Bodies of other people and with other limbs: laws of the skeleton, against captured motion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.examples import bodies as r
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import make_bodies
from jaxpose.geometry.rotations import forward_kinematics, matrix_from_axis_angle
from jaxpose.geometry.skeleton import H36M_17, SMPL_22, bone_lengths

RNG = np.random.default_rng(0)
_LEG, _ARM = (
    np.array([(0.1, -0.05, 0), (0, -0.4, 0), (0, -0.42, 0)]),
    np.array([(0.18, 0, 0), (0.29, 0, 0), (0.27, 0, 0)]),
)
_TRUNK = [(0, 0.22, 0), (0, 0.27, 0), (0, 0.1, 0.06), (0, 0.15, 0)]
_MIRROR = np.array([-1, 1, 1])
# of two persons, metres, in the axes of each bone's carrier
OFFSETS = np.concatenate([[(0, 0, 0)], _MIRROR * _LEG, _LEG, _TRUNK, _ARM, _MIRROR * _ARM])
PERSONS = np.stack([OFFSETS, 1.15 * OFFSETS])


@pytest.fixture(scope="module")
def bodies():
    """120 random poses of two persons, by numpy's rotations; the second's are of the first's size times 1.15."""
    vectors = RNG.normal(0, 0.3, (120, 22, 3)).astype(np.float32)
    local = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(120, 22, 3, 3)
    world = np.zeros_like(local)
    for j, parent in enumerate(SMPL_22.parents):
        world[:, j] = local[:, j] if parent < 0 else world[:, parent] @ local[:, j]
    person = np.arange(120) % 2
    bones = np.einsum("njab,njb->nja", world[:, r.CARRIERS], PERSONS[person])
    joints = np.zeros((120, 17, 3))
    for j, parent in enumerate(H36M_17.parents[1:], 1):
        joints[:, j] = joints[:, parent] + bones[:, j]
    joints[..., 1] -= joints[..., 1].min(1, keepdims=True)
    return make_bodies(joints, np.full(120, 1 / 120), ViewRates(), vectors, np.array(["a", "b"])[person])


@functools.partial(jax.jit, static_argnames="rates")
def drawn(key, bodies, rows, other, rates):
    each = lambda k, row, o: r.draw_body(k, bodies, row[None], o[None], rates)[0]  # noqa: E731
    return jax.vmap(each)(jax.random.split(key, len(rows)), rows, other)


def test_carriers_are_forward_kinematics_of_the_rotations():
    vectors = RNG.normal(0, 0.5, (5, 22, 3)).astype(np.float32)
    world = forward_kinematics(matrix_from_axis_angle(vectors), jnp.zeros((22, 3)), SMPL_22.parents)[1]
    np.testing.assert_allclose(r.carriers_of(vectors), world[:, r.CARRIERS], atol=1e-3)  # of float16


def test_skeletons_of_the_captured_persons_are_found(bodies):
    np.testing.assert_allclose(bodies.people.offsets, PERSONS, atol=2e-3)
    assert (np.asarray(bodies.person) == np.arange(120) % 2).all()


def test_bodies_of_no_change_are_those_that_were_captured(bodies):
    rows = jnp.arange(40)
    found = drawn(jax.random.key(0), bodies, rows, rows[::-1], ViewRates(mirror=0.0))
    np.testing.assert_allclose(found, bodies.joints[:40], atol=1e-5)


def test_on_another_skeleton_the_pose_is_the_same_and_the_bones_are_its(bodies):
    """Person a on b's skeleton is the same pose 1.15 times as large, up to where it stands."""
    frame = jax.vmap(lambda row: r.on_skeleton(r.frame_of(bodies, row), bodies.people.offsets[1]))(jnp.arange(0, 40, 2))
    found = np.asarray(jax.vmap(r.joints_of)(frame))
    expected = 1.15 * np.asarray(bodies.joints[:40:2])
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], atol=3e-3)


def test_drawn_people_have_the_spread_of_the_table(bodies):
    """Statures of adults spread by about 6 % about the mean person, limbs alike on both sides; some are children."""
    keys = jax.random.split(jax.random.key(1), 4000)
    offsets = np.asarray(jax.jit(jax.vmap(lambda k: r.draw_skeleton(k, bodies.people)))(keys))
    length = np.linalg.norm(offsets, axis=-1)
    np.testing.assert_allclose(length[:, 2], length[:, 5], rtol=1e-3)
    thigh = length[:, 2] / np.sqrt(0.4 * 0.46)  # of the two persons' geometric mean
    adults = thigh > 0.8
    assert 0.03 < (~adults).mean() < 0.09
    assert abs(np.exp(np.log(thigh[adults]).mean()) - 1) < 0.01
    assert 0.055 < np.log(thigh[adults]).std() < 0.075
    leg = np.log(length[adults][:, [2, 3]])
    assert 0.1 < np.corrcoef(leg.T)[0, 1] < 0.95, "segments of one person go together"


def test_limbs_of_another_frame_keep_their_joint_angles(bodies):
    """The legs relative to the pelvis are the other's, what is above is one's own."""
    frame, other = (r.frame_of(bodies, jnp.asarray(row)) for row in (0, 2))
    legs = np.isin(np.arange(17), (2, 3, 5, 6))
    mixed = r.with_limbs(frame, other, jnp.asarray(legs))
    in_pelvis = lambda f, bones: np.asarray(bones) @ np.asarray(f.carriers[0])  # noqa: E731
    np.testing.assert_allclose(in_pelvis(frame, mixed[legs]), in_pelvis(other, other.bones[legs]), atol=1e-3)
    np.testing.assert_array_equal(mixed[~legs], frame.bones[~legs])
    arms = np.isin(np.arange(17), (12, 13, 15, 16))
    mixed = r.with_limbs(frame, other, jnp.asarray(arms))
    in_chest = lambda f, bones: np.asarray(bones) @ np.asarray(f.carriers[8])  # noqa: E731
    np.testing.assert_allclose(in_chest(frame, mixed[arms]), in_chest(other, other.bones[arms]), atol=1e-3)


def test_a_mixture_that_runs_through_itself_is_not_taken(bodies):
    rows, other = jnp.arange(0, 120, 2), jnp.arange(60, 180, 2) % 120
    rates = ViewRates(mirror=0.0, recombine=1.0)
    free = drawn(jax.random.key(2), bodies._replace(apart=jnp.zeros((10, 10))), rows, other, rates)
    changed = np.abs(free - bodies.joints[rows]).max((1, 2)) > 1e-3
    assert changed.mean() > 0.9
    kept = drawn(jax.random.key(2), bodies._replace(apart=jnp.full((10, 10), 9.0)), rows, other, rates)
    np.testing.assert_allclose(kept, bodies.joints[rows], atol=1e-5)
    np.testing.assert_allclose(bone_lengths(free, H36M_17), bone_lengths(bodies.joints[rows], H36M_17), atol=2e-3)


def test_distances_of_parts_are_those_of_their_segments():
    """A hanging arm 30 cm beside a leg; the points on segments stand 3 to a bone."""
    joints = np.zeros((17, 3))
    joints[4:7] = [[0.1, 1, 0], [0.1, 0.5, 0], [0.1, 0, 0]]
    joints[11:14] = [[0.4, 1, 0], [0.4, 0.5, 0], [0.4, 0, 0]]
    found = r.distances(jnp.asarray(joints))
    assert found[2, 4] == pytest.approx(0.3, abs=1e-6)
    np.testing.assert_allclose(found, found.T)


def test_turned_persons_keep_their_shape_and_stay_over_the_floor(bodies):
    clip = bodies.joints[:3]
    rates = ViewRates(turn=1.0)
    keys = jax.random.split(jax.random.key(3), 2000)
    found = np.asarray(jax.jit(jax.vmap(lambda k: r.turn(k, clip, rates)))(keys))
    apart = lambda x: np.linalg.norm(x[..., :, None, :] - x[..., None, :, :], axis=-1)  # noqa: E731
    whole = np.asarray(clip).reshape(51, 3)
    np.testing.assert_allclose(
        apart(found[:20].reshape(20, 51, 3)), np.broadcast_to(apart(whole), (20, 51, 51)), atol=1e-4
    )
    low = found[..., 1].min((1, 2)) - whole[:, 1].min()
    assert low.min() > -1e-5
    assert 0.4 < (low < 1e-5).mean() < 0.6, "half of them touch the floor"
    pelvis = whole[8] - whole[0]
    up = (found[:, 0, 8] - found[:, 0, 0]) @ [0, 1, 0] / np.linalg.norm(pelvis)
    assert 0.1 < (up < -0.5).mean() < 0.25, "a sixth of them head down: half of a quarter, and some by tilt"
    untouched = r.turn(keys[0], clip, ViewRates(turn=0.0))
    np.testing.assert_array_equal(untouched, clip)
