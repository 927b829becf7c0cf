"""Virtual cameras, detector and body augmentations: their stated ranges, and that the geometry stays exact."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from figures import STANDING

from jaxpose.conditioning import MaskRates
from jaxpose.examples import views
from jaxpose.examples.detectors import as_coco, detect
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, H36M_17, bone_lengths
from jaxpose.model import ASSETS
from jaxpose.spaces.person import Statistics, decode_pose, encode_keypoints, to_view


@pytest.fixture(scope="module")
def bodies():
    # A standing figure, hip at 0.9 m, and copies bent at random; enough for the laws below.
    noise = np.random.default_rng(0).normal(0, 0.05, (64, 17, 3))
    joints = np.concatenate([STANDING[None], STANDING + noise])
    return views.make_bodies(joints, np.full(65, 1 / 65), ViewRates())


@pytest.fixture(scope="module")
def examples(bodies):
    """Examples of a noise factor and a share without confidences, of which 3 in 10 have a 3D condition: one program."""
    masks, keys = MaskRates(pose=0, part=0, joint=0, depth=0.3), jax.random.split(jax.random.key(6), 4000)

    @jax.jit
    def make(noise, no_confidence):
        rates = ViewRates(exact=0.25, point_noise=(0.01, 0.02), noise=(noise, noise), no_confidence=no_confidence)
        return jax.vmap(lambda key: views.pose_example(key, bodies, rates, masks))(keys)

    return make


@functools.partial(jax.jit, static_argnames="rates")
def augmented(keys, body, other, rates):
    return jax.vmap(lambda key: views.augment_body(key, body, other, rates))(keys)


def test_drawn_bodies_follow_the_weights(bodies):
    weights = np.array([0.5, 0.0, 0.3, 0.2])
    few = bodies._replace(joints=bodies.joints[:4], cumulative=jnp.asarray(np.cumsum(weights), jnp.float32))
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda k: few.joints[views.draw_row(k, few)]))(keys))
    share = [(drawn == np.asarray(b)).all((1, 2)).mean() for b in few.joints]
    np.testing.assert_allclose(share, weights, atol=0.015)


def test_cameras_are_where_they_are_said_to_be(bodies):
    rates = ViewRates(distance=(3.0, 7.0), height=(0.8, 2.2), aim=4.0, roll=2.0)
    keys = jax.random.split(jax.random.key(1), 2000)
    body = bodies.joints[0]
    R, t = (np.asarray(x) for x in jax.jit(jax.vmap(lambda k: views.draw_camera(k, body, rates)))(keys))
    eye, hip = -np.einsum("nji,nj->ni", R, t), np.asarray(body[0])
    flat = np.linalg.norm((eye - hip)[:, [0, 2]], axis=-1)
    assert 3 - 1e-3 < flat.min() < 3.1
    assert 6.9 < flat.max() < 7 + 1e-3
    assert eye[:, 1].min() > 0.8 - 1e-4
    assert eye[:, 1].max() < 2.2 + 1e-4
    depth = (R @ hip + t)[:, 2]
    axis_miss = np.degrees(np.arccos(depth / np.linalg.norm(eye - hip, axis=-1)))
    assert 3 < np.sqrt((axis_miss**2).mean() / 2) < 5
    yaw = np.arctan2(*(eye - hip)[:, [0, 2]].T)
    assert abs(np.exp(1j * yaw).mean()) < 0.06, "every direction is as likely"


def test_a_share_of_the_examples_has_blazeposes_errors():
    """The left knee of the table that was measured: its inliers' bias and spread, in a share of 1 and of 0.5."""
    rows = json.loads((ASSETS / "detector_blazepose.json").read_text())["joints"]
    knee = next(row for row in rows if row["joint"] == "left_knee")
    xy = jnp.zeros((17, 2)).at[0].set(jnp.array([0.0, -0.5])).at[1].set(jnp.array([0.1, 0.5]))
    keys = jax.random.split(jax.random.key(3), 20_000)
    for share in (1.0, 0.5):
        rates = ViewRates(noise=(1.0, 1.0), blazepose=share)
        seen, _ = jax.jit(jax.vmap(lambda k, rates=rates: detect(k, xy, rates)))(keys)
        error = np.asarray(seen - xy)[:, 5] * 256 / 1.2
        near = error[np.abs(error).max(-1) < 20]
        spread = 1.4826 * np.median(np.abs(near - np.median(near, 0)), 0)
        if share == 1.0:
            np.testing.assert_allclose(np.median(near, 0), [knee["mean_x"], knee["mean_y"]], atol=0.2)
            np.testing.assert_allclose(spread, [knee["std_x"], knee["std_y"]], rtol=0.15)
        else:  # between BlazePose's and the default detector's 1.53 and 1.99 px
            assert 1.53 < spread[0] < knee["std_x"]
            assert 1.99 < spread[1] < knee["std_y"]


def test_example_is_consistent_geometry(bodies, examples):
    """Without noise the condition shows the state, as perspective shows it."""
    x0, cond = jax.device_get(examples(0.0, 1.0))
    x_view = x0 * np.asarray(bodies.statistics.std) + np.asarray(bodies.statistics.mean)
    np.testing.assert_allclose(x_view.mean(-2), 0, atol=1e-5)
    is_2d = ~cond.mask[..., 2].all(-1)
    # Outliers aside, x_view and the keypoints agree in direction: correlation of their centred x and y.
    for axis in (0, 1):
        a = (x_view - x_view.mean(-2, keepdims=True))[is_2d][..., axis]
        b = cond.value[is_2d][..., axis]
        r = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
        assert np.median(r) > 0.97


def test_coco_s_joint_set_is_what_the_converter_makes_of_it():
    key = jax.random.key(0)
    xy, confidence = jax.random.normal(key, (17, 2)), jax.random.uniform(key, (17,), minval=0.2)
    names = H36M_17.joints
    shared = [COCO_17.joints.index(j) for j in COCO_17.joints if j in names]
    coco, sure = np.zeros((17, 2), np.float32), np.zeros(17, np.float32)
    for j in shared:
        coco[j], sure[j] = xy[names.index(COCO_17.joints[j])], confidence[names.index(COCO_17.joints[j])]
    expected, trust = convert_joints(jnp.asarray(coco), jnp.asarray(sure), COCO_17, H36M_17)
    ours, ours_sure = as_coco(jax.random.key(1), xy, confidence)
    seen = np.asarray(trust) > 0
    assert seen.sum() == 14
    np.testing.assert_allclose(ours[seen], expected[seen], atol=1e-6)
    np.testing.assert_allclose(ours_sure[seen], trust[seen], atol=1e-6)
    assert (np.asarray(ours_sure)[[names.index("spine"), names.index("head")]] == 0).all()
    neck = [float(as_coco(jax.random.key(i), xy, confidence)[1][9] > 0) for i in range(40)]
    assert 0.2 < np.mean(neck) < 0.8


def test_mirror_swaps_sides_and_keeps_bones(bodies):
    body = bodies.joints[3]
    rates = ViewRates(mirror=1.0)
    mirrored = augmented(jax.random.key(0)[None], body, body, rates)[0]
    np.testing.assert_allclose(mirrored[13], body[16] * jnp.array([-1.0, 1.0, 1.0]), atol=1e-6)
    twice = augmented(jax.random.key(1)[None], mirrored, mirrored, rates)[0]
    np.testing.assert_allclose(twice, body, atol=1e-6)


def test_resized_bodies_have_scaled_bones_and_stay_on_the_floor(bodies):
    rates = ViewRates(mirror=0.0, size=0.1)
    body = bodies.joints[5]
    grown = augmented(jax.random.split(jax.random.key(4), 500), body, body, rates)
    ratio = np.asarray(bone_lengths(grown, H36M_17) / bone_lengths(body, H36M_17))
    np.testing.assert_allclose(ratio.std(-1), 0, atol=1e-4)
    assert 0.08 < np.log(ratio[:, 0]).std() < 0.12
    np.testing.assert_allclose(grown[..., 1].min(-1), body[:, 1].min(), atol=1e-5)


def test_each_bone_varies_by_its_stated_deviation_and_sides_are_alike(bodies):
    rates = ViewRates(mirror=0.0, bone=0.1)
    body = bodies.joints[5]
    changed = augmented(jax.random.split(jax.random.key(7), 2000), body, body, rates)
    log_ratio = np.log(np.asarray(bone_lengths(changed, H36M_17) / bone_lengths(body, H36M_17)))
    np.testing.assert_allclose(log_ratio.std(0), 0.1, rtol=0.07)  # 4 standard errors; the trunk's bones too
    left, right = (log_ratio[:, np.array(side) - 1] for side in (H36M_17.left, H36M_17.right))
    np.testing.assert_allclose(left, right, atol=1e-4)
    assert abs(np.corrcoef(log_ratio[:, 6], log_ratio[:, 7])[0, 1]) < 0.1


def test_spliced_bodies_keep_both_halves(bodies):
    rates = ViewRates(mirror=0.0, splice=1.0)
    trunk, legs = bodies.joints[1], bodies.joints[2]
    spliced = augmented(jax.random.key(5)[None], trunk, legs, rates)[0]
    lower = np.array(H36M_17.parts[0] + H36M_17.parts[1])
    upper = np.setdiff1d(np.arange(17), lower)
    np.testing.assert_allclose(spliced[upper], trunk[upper], atol=1e-6)
    side = lambda x: np.linalg.norm(np.asarray(x[lower][:, None] - x[lower][None]), axis=-1)  # noqa: E731
    np.testing.assert_allclose(side(spliced), side(legs), atol=1e-5)
    hip = lambda x: np.arctan2(x[4, 2] - x[1, 2], x[4, 0] - x[1, 0])  # noqa: E731
    assert float(hip(spliced)) == pytest.approx(float(hip(trunk)), abs=1e-4)


def test_statistics_standardise_examples(bodies, examples):
    """Of the examples seen in 2D: those have the view that the statistics are of."""
    x0, cond = jax.device_get(examples(1.0, 0.2))
    x0 = x0[~cond.mask[..., 2].all(-1)]
    np.testing.assert_allclose(x0.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(x0.std(0), bodies.statistics.spread, rtol=0.05)


def test_a_share_of_the_conditions_is_3d_and_says_its_noise(bodies, examples):
    """A 3D condition plus its noise is the state, and the rates are those asked for."""
    x0, cond = examples(1.0, 0.2)
    is_3d = np.asarray(cond.mask[..., 2].all(-1))
    assert is_3d.mean() == pytest.approx(0.3, abs=0.03)
    assert (cond.mask[~is_3d][..., 2] == 0).all()
    x = x0 * bodies.statistics.std + bodies.statistics.mean
    error = np.asarray(cond.value[is_3d] * 0.5 - x[is_3d])
    level = np.asarray(1 / cond.context[is_3d] - 1) * 0.05
    exact = (level == 0).all(-1)
    assert exact.mean() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_allclose(error[exact], 0, atol=1e-5)
    noisy = level[~exact]
    assert noisy.min() >= 0.0099
    assert noisy.max() <= 0.0201
    alike = np.ptp(noisy, axis=1) < 1e-6
    assert alike.mean() == pytest.approx(0.5, abs=0.06)
    # about their middle, 17 joints with noise s have s^2 16 / 17
    found = error[~exact][alike].std((1, 2)) / noisy[alike][:, 0]
    assert found.mean() == pytest.approx(np.sqrt(16 / 17), rel=0.02)


def test_state_of_an_example_decodes_to_the_body(bodies):
    pose = bodies.joints[7] * jnp.array([1.0, -1.0, 1.0]) + jnp.array([0.0, 1.0, 4.0])
    uv = pose[:, :2] / pose[:, 2:]
    _, view = encode_keypoints(jnp.array([1.0, 1.0, 0.0, 0.0]), uv, jnp.ones(17))
    plain = Statistics(jnp.zeros((17, 3)), jnp.ones((17, 3)))
    np.testing.assert_allclose(decode_pose(plain, view, to_view(view, pose)), pose - pose[:1], atol=1e-5)
