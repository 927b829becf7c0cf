"""Inverse kinematics on the body that needs no licence: the markers' own body comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rotation_oracle
from scipy.spatial.transform import Rotation

from jaxpose.diffusion.regulariser import fixed
from jaxpose.fitting.engine import BodyParameters, posed_body, start_parameters
from jaxpose.fitting.ik import IKSettings, aligned, ik
from jaxpose.fitting.priors import dposer_prior
from jaxpose.io.anny_body import anny_body

NUM = 4
SETTINGS = IKSettings(num_steps=600)
joints_of = jax.jit(lambda body, parameters: posed_body(body, parameters).joints[..., :22, :])


def alone(y, noise, seed=0):
    """Without a prior; one program for all tests."""
    return ik(jax.random.key(seed), anny_body(), y, "smpl22", None, noise=noise, settings=SETTINGS)


@pytest.fixture(scope="module")
def truth():
    """People turned and bent at random in one frame each, and their joints [N, 1, 22, 3]."""
    rng = np.random.default_rng(0)
    shapes = ((21, 3), 0.2), ((3,), 1.0), ((3,), 2.0)
    values = [rng.normal(0, size, (NUM, 1, *shape)) for shape, size in shapes]
    parameters = BodyParameters(*(jnp.asarray(v, jnp.float32) for v in values), jnp.zeros((NUM, 10)))
    return parameters, joints_of(anny_body(), parameters)


def errors(found, joints):
    """Millimetres [N, 22]."""
    return 1000 * np.linalg.norm(np.asarray(found.joints[0] - joints), axis=-1)[:, 0]


def test_exact_joints_come_back(truth):
    _, joints = truth
    found = alone(joints, 0.005)
    assert errors(found, joints).max() < 5
    # what is returned is of one body
    np.testing.assert_allclose(joints_of(anny_body(), found), found.joints, atol=1e-5)
    np.testing.assert_array_equal(found.betas, 0)


def test_exact_markers_are_not_outliers_by_default(truth):
    """Without a noise: half a metre away at the start, two millimetres allowed at the end."""
    _, joints = truth
    assert np.median(errors(alone(joints, 0.0), joints)) < 2


def test_missing_joints_and_one_wild_one_do_no_harm(truth):
    """Two seen neighbours hold an elbow; a marker two metres off is left out by the robust loss."""
    _, joints = truth
    broken = joints.at[:, :, [18, 4]].set(jnp.nan).at[:, :, 15].add(2.0)
    found = alone(broken, 0.005)
    far = errors(found, joints)
    others = np.delete(np.arange(22), [4, 15, 18])
    assert np.median(far[:, others]) < 5
    assert np.isfinite(far).all()
    assert far.max() < 400
    # nothing of the missing ones' numbers
    moved = jnp.where(jnp.isnan(broken), jnp.inf, broken)
    np.testing.assert_array_equal(alone(moved, 0.005).joints, found.joints)


def test_alignment_is_exact_for_a_body_only_turned_and_moved(truth):
    """Of four points too, with a mirror-free rotation, which scipy composes."""
    parameters, _ = truth
    body, start = anny_body(), start_parameters(NUM, 1, 10)._replace(body_pose=parameters.body_pose)
    joints = joints_of(body, parameters)
    align = jax.jit(aligned, static_argnums=2)
    for seen in (np.ones(22), np.isin(np.arange(22), (0, 5, 9, 14))):
        got = align(body, start, "smpl22", joints, jnp.broadcast_to(seen, (NUM, 1, 22)))
        np.testing.assert_allclose(got.transl, parameters.transl, atol=1e-4)
        turns = [Rotation.from_rotvec(np.asarray(p.global_orient[:, 0])) for p in (got, parameters)]
        np.testing.assert_allclose((turns[0] * turns[1].inv()).magnitude(), 0, atol=1e-3)


@pytest.mark.slow
def test_hypotheses_differ_where_nothing_is_seen_and_agree_where_it_is(truth):
    """With a prior: the right arm is hidden."""
    _, joints = truth
    prior = dposer_prior(rotation_oracle.independent(), fixed(0.2))
    arm = np.array([16, 18, 20]) + 1
    hidden = joints[:2].at[:, :, arm].set(jnp.nan)
    found = ik(
        jax.random.key(0),
        anny_body(),
        hidden,
        "smpl22",
        prior,
        noise=0.01,
        num_hypotheses=2,
        settings=IKSettings(num_steps=100),
    )
    apart = 1000 * np.linalg.norm(np.asarray(found.joints[0] - found.joints[1]), axis=-1)[:, 0]
    seen = np.delete(np.arange(22), arm)
    assert (apart[:, 21] > 1).all()
    assert apart[:, 21].mean() > 2 * np.median(apart[:, seen])
    assert errors(found, joints[:2])[:, seen].mean() < 40
    # the hidden arm's rotations end near the prior's mean, where the start was 0.3 rad and more away
    z = (np.asarray(found.body_pose)[:, :, 0, [18, 20]] - rotation_oracle.MEAN[[18, 20]]) / rotation_oracle.STD[
        [18, 20]
    ]
    assert np.abs(z).mean() < 0.8
