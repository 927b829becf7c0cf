"""Errors that cameras share: their size from what cameras disagree about, their effect on draws, coverage."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest

from jaxpose.base import Camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.tasks import observations, systematic
from jaxpose.tasks.fuse import fuse_rows, views_of
from jaxpose.tasks.methods import pseudo_inverse
from jaxpose.tasks.priors import fitted, prior_of

FOCAL, UP = 1000.0, "z"
SIDES = np.array([j for j, name in enumerate(H36M_17.joints) if name not in ("hip", "thorax")])


@pytest.fixture(scope="module")
def cameras():
    """Four cameras, 4 m from the origin of a world with z up."""
    R = []
    for yaw in (0.0, 1.4, 3.3, 4.6):  # the first looks along y: its axes are those of the law
        forward = np.array([np.sin(yaw), np.cos(yaw), -0.1])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        R.append(np.stack([right, np.cross(forward, right), forward]))
    intrinsics = np.tile([FOCAL, FOCAL, 500.0, 500.0], (4, 1))
    return Camera(
        *(jnp.asarray(v, jnp.float32) for v in (intrinsics, np.zeros((4, 5)), R, np.tile([0, 0, 4.0], (4, 1))))
    )


def seen(cameras, x, c=slice(None)):
    """Pixels [F, C, J, 2] of joints x [F, J, 3]."""
    x_cam = np.einsum("cij,fkj->fcki", np.asarray(cameras.R_cam_world, np.float64)[c], x)
    x_cam += np.asarray(cameras.t_cam, np.float64)[c][:, None]
    return FOCAL * x_cam[..., :2] / x_cam[..., 2:] + 500


def level(x):
    """Poses of the oracle, in axes that look at the person, in a world with z up and about their middle."""
    x = x - x.mean(-2, keepdims=True)
    return np.stack([x[..., 0], x[..., 2], -x[..., 1]], -1)


def sight(cameras, uv, noise, **how):
    ones = jnp.ones(uv.shape[:-1])
    return observations.sight(jnp.asarray(uv, jnp.float32), noise * ones, ones, cameras, up=(0.0, 0.0, 1.0), **how)


@pytest.mark.slow
def test_noise_and_camera_errors_are_found_in_what_cameras_disagree_about(cameras):
    rng = np.random.default_rng(0)
    x = level(pose_oracle.draw(rng, 30))
    uv = seen(cameras, x)
    offsets = systematic.joint_offsets(H36M_17)

    def found(uv, c=slice(None)):
        chosen, ones = jax.tree.map(lambda v: v[c], cameras), np.ones(uv[:, c].shape[:-1])
        return systematic.estimate(uv[:, c], 2 * ones, ones, chosen, offsets)

    usual = np.sqrt(2 * 0.0083**2 / (2 + 5))  # nothing is seen of it: what is known before
    np.testing.assert_allclose(found(uv).camera, usual, rtol=0.01)
    assert (found(uv).noise_factor, found(uv).freedom, found(uv, slice(2)).freedom) == (1.0, 7, 3)
    noisy = uv + 6 * rng.normal(size=uv.shape)
    noisy[rng.random(uv.shape[:-1]) < 0.03] += 300  # keypoints far off leave the factor as it is
    for c in (slice(2), slice(3), slice(4)):
        assert found(noisy, c).noise_factor == pytest.approx(3, rel=0.2)
    squares = {2: [], 4: []}
    for _ in range(100):
        off = uv[:2] + 0.02 * FOCAL / 4 * rng.normal(size=(4, 1, 2))  # 20 mm at 4 m
        for num, square in squares.items():
            one = found(off, slice(num))
            square.append((one.freedom * one.camera**2 - 2 * 0.0083**2) / (one.freedom - 2))
    for num, square in squares.items():  # a mean of chi^2 of 100 (2 n - 3) degrees of freedom, of 20 mm squared
        assert abs(np.mean(square) / 0.02**2 - 1) < 3.5 * np.sqrt(2 / (100 * (2 * num - 3))) + 0.05
    alone = found(uv, slice(1))
    assert (alone.camera, alone.freedom, alone.noise_factor) == (0.0083, 2, 1.0)


def test_the_noise_of_a_fusion_is_what_cameras_disagree_by_and_no_less_than_assumed(cameras):
    rng = np.random.default_rng(0)
    uv, sure = seen(cameras, level(pose_oracle.draw(rng, 6))), np.ones((6, 4, 17))
    usual = np.asarray(observations.keypoint_noise_px(jnp.asarray(uv), jnp.asarray(sure)))
    model = SimpleNamespace(skeleton=H36M_17)
    np.testing.assert_allclose(views_of(model, uv, sure, cameras).noise_px, usual, rtol=1e-4)
    noisy = uv + 3 * usual[..., None] * rng.normal(size=uv.shape)
    assert np.median(views_of(model, noisy, sure, cameras).noise_px / usual) == pytest.approx(3, rel=0.2)
    given = views_of(model, noisy, sure, cameras, noise_px=2.0)
    np.testing.assert_allclose(given.noise_px, 2, rtol=1e-6)
    assert (given.errors.noise_factor, given.errors.joint[1]) == (1.0, systematic.joint_offsets(H36M_17)[1])


def test_errors_have_their_size_and_leave_the_mean(cameras):
    errors = systematic.Systematic(systematic.joint_offsets(H36M_17), 0.01, 7, 1.0)
    drawn = systematic.draw(jax.random.key(0), errors, H36M_17, num_cameras=4, num_hypotheses=4000)
    joint, camera = np.asarray(drawn.joint), np.asarray(drawn.camera)
    np.testing.assert_allclose(joint.mean(0), 0, atol=1e-7)
    np.testing.assert_allclose(joint[:, SIDES].std(0), np.tile(errors.joint[SIDES, None], 3), rtol=0.08)
    np.testing.assert_allclose(joint[:, 0], joint[:, [1, 4]].mean(1), atol=1e-7)  # the hip, of right and left
    np.testing.assert_allclose(joint[:, 8], joint[:, [11, 14]].mean(1), atol=1e-7)  # the thorax, of the shoulders
    np.testing.assert_allclose(camera.std(), 0.01 * np.sqrt(7 / 5), rtol=0.08)  # Student's t of 7 degrees of freedom
    few = systematic.draw(jax.random.key(0), errors, H36M_17, num_cameras=4, num_hypotheses=10)
    np.testing.assert_array_equal(few.joint, joint[:10])


@pytest.mark.slow
def test_the_place_moves_as_least_squares_say(cameras):
    """Against the place of keypoints that have the error themselves, and against many drawn anew."""
    rng = np.random.default_rng(1)
    x = level(pose_oracle.draw(rng, 1))
    uv, noise, num = seen(cameras, x)[0], 3.0, 4000
    view = sight(cameras, uv, noise)
    pose = jnp.asarray(x[0], jnp.float32) @ view.R_view_world.T
    nothing = systematic.Drawn(jnp.zeros((num, 17, 3)), jnp.zeros((num, 4, 2)))
    world = jnp.broadcast_to(observations.to_world(view, pose), (num, 17, 3))
    moved = np.asarray(systematic.moved(jax.random.key(0), view, world, nothing) - world)
    np.testing.assert_allclose(moved - moved[:, :1], 0, atol=1e-5)  # as a whole

    @jax.jit
    @jax.vmap
    def again(uv):
        return observations.to_world(sight(cameras, uv, noise, R_view_world=view.R_view_world), pose)[0]

    anew = np.asarray(again(uv + noise * rng.normal(size=(num, *uv.shape))))
    np.testing.assert_allclose(np.cov(moved[:, 0].T), np.cov(anew.T), atol=0.1 * np.cov(anew.T).max())

    off = np.array([[0.02, 0], [0, 0], [0, -0.03], [0.01, 0.01]])
    shifted = again((uv + (off * FOCAL / 4)[:, None])[None])[0] - world[0, 0]
    one = systematic.Drawn(nothing.joint[:2], jnp.asarray(np.stack([off, -off]), jnp.float32))
    exact = view._replace(noise_px=view.noise_px * 1e-4)  # only the error of the cameras
    told = np.asarray(systematic.moved(jax.random.key(0), exact, world[:2], one) - world[:2])[:, 0]
    np.testing.assert_allclose(np.abs(told[0]), np.abs(shifted), atol=0.1 * np.abs(shifted).max())
    np.testing.assert_allclose(told[0], -told[1], atol=1e-4)


@pytest.mark.slow
def test_a_shared_offset_is_covered_only_if_it_is_told(cameras):
    """Poses of a known law, whose keypoints are 15 mm off the joints on each axis in all four cameras alike."""
    rng = np.random.default_rng(2)
    num, each, offset = 16, 40, 0.015
    x = level(pose_oracle.draw(rng, num))
    marked = x + offset * rng.normal(size=x.shape)
    uv = seen(cameras, marked) + 0.5 * rng.normal(size=(num, 4, 17, 2))
    prior = fitted(jax.random.key(0), prior_of(pose_oracle.make()))
    given = [jnp.asarray(v, jnp.float32) for v in (uv, 0.5 * np.ones(uv.shape[:-1]), np.ones(uv.shape[:-1]))]
    how = {"up": UP, "num_hypotheses": each, "method": pseudo_inverse(20)}
    errors = systematic.Systematic(np.full(17, offset), 0.0, 7, 1.0)
    told = systematic.draw(jax.random.key(1), errors, H36M_17, num_cameras=4, num_hypotheses=each)
    nothing = jax.tree.map(jnp.zeros_like, told)
    shares, found = [], []
    for shared in (told, nothing, None):
        found.append(fuse_rows(jax.random.key(0), prior, *given, cameras, shared, **how))
        world = np.asarray(found[-1]["samples"] + found[-1]["root"][:, :, None])[:, :, SIDES]
        mean = world.mean(0)
        radius = np.quantile(np.linalg.norm(world - mean, axis=-1), 0.9, axis=0)
        shares.append((np.linalg.norm(mean - x[:, SIDES], axis=-1) <= radius).mean())
    bound = 3 * np.sqrt(0.9 * 0.1 / (num * len(SIDES)))  # binomial; a radius of 40 draws holds 88 %
    assert 0.88 - bound < shares[0] < 0.9 + bound
    assert max(shares[1:]) < 0.4
    np.testing.assert_allclose(found[1]["samples"], found[2]["samples"], atol=1e-5)  # none told: the pose is the same
    np.testing.assert_allclose(found[1]["radius_90"], found[2]["radius_90"], atol=1e-5)
