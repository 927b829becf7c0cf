"""Training examples of real detections: the condition is what the detector gave, the state is the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from figures import STANDING

from jaxpose.conditioning import MaskRates
from jaxpose.examples import clips, detections, views
from jaxpose.examples.detections import Detections, Runs, Seen, SeenClips, detection_example, mixed_clip, mixed_example
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.camera import project
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.spaces.person import View, decode_pose

OPEN = MaskRates(pose=0, part=0, joint=0, depth=0)
LEFT, RIGHT = np.array(H36M_17.left), np.array(H36M_17.right)


@pytest.fixture(scope="module")
def seen():
    """One body, a metre to the right of the axis, as two detectors read it: exactly, and shifted by 0.1.

    What is told of its joints differs from one to the next.
    """
    x_cam = np.float32(STANDING * [1, -1, 1] + [1, 1, 4])
    x_cam[H36M_17.joints.index("left_wrist")] += [0.1, -0.3, 0.2]
    xy = np.asarray(project(jnp.asarray(views.PINHOLE), jnp.asarray(x_cam)))
    confidence = np.linspace(0.2, 1, 17, dtype=np.float32)
    up = np.float32([0.1, -1, 0])
    evidence = np.linspace(0, 0.1, 17, dtype=np.float32)[None, :, None]
    both = Detections(*map(jnp.asarray, (np.stack([xy, xy + 0.1])[None], confidence * np.ones((1, 2, 1)), evidence,
                                         x_cam[None], (up / np.linalg.norm(up))[None])))  # fmt: skip
    return Seen(views.make_bodies(STANDING[None], np.ones(1), ViewRates()), both)


def drawn(seen, view, num=64):
    keys = jax.random.split(jax.random.key(0), num)
    draw = jax.vmap(lambda key: detection_example(key, seen.detections, seen.bodies.statistics, view, OPEN))
    return draw(keys)


def test_state_and_condition_are_of_the_same_body(seen):
    """The first reading is exact: its keypoints are the projection of the state, turned about the camera only."""
    x0, cond = drawn(seen, ViewRates(mirror=0.0, told=1.0))
    truth = np.asarray(seen.detections.x_cam[0])
    ray = truth.mean(0) / np.linalg.norm(truth.mean(0))
    state = np.asarray(decode_pose(seen.bodies.statistics, View(jnp.eye(3)), x0))
    lengths = [np.linalg.norm(x[..., 1:, :] - x[..., :1, :], axis=-1) for x in (state, truth)]
    np.testing.assert_allclose(lengths[0], np.broadcast_to(lengths[1], lengths[0].shape), atol=1e-4)
    np.testing.assert_allclose(cond.context[:, :17], np.broadcast_to(np.linspace(0.2, 1, 17), (64, 17)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(cond.context[:, 17:], axis=-1), 1, atol=1e-5)
    assert ray[0] > 0.1, "the camera has to be turned"
    assert len(np.unique(np.round(np.asarray(cond.value[:, 0, 0]), 4))) == 2, "both readings are drawn"


def test_a_mirrored_example_is_the_mirror_image_of_the_other(seen):
    plain, turned = (drawn(seen, ViewRates(mirror=m, told=1.0, evidence=1.0)) for m in (0.0, 1.0))
    order = np.arange(17)
    order[LEFT], order[RIGHT] = RIGHT, LEFT
    exact = [np.asarray(abs(x.cond.value[:, 1, 0] - x.cond.value[0, 1, 0])) < 1e-5 for x in (plain, turned)]
    state = [np.asarray(decode_pose(seen.bodies.statistics, View(jnp.eye(3)), x.x0)) for x in (plain, turned)]
    np.testing.assert_array_equal(exact[0], exact[1])
    np.testing.assert_allclose(state[1], state[0][:, order] * [-1, 1, 1], atol=1e-4)
    np.testing.assert_allclose(turned.cond.context[:, :17], plain.cond.context[:, :17][:, order], atol=1e-6)
    np.testing.assert_allclose(turned.cond.context[:, 20:], plain.cond.context[:, 20:][:, order], atol=1e-5)
    assert len(np.unique(plain.cond.context[0, 20:])) == 17
    np.testing.assert_allclose(
        turned.cond.context[:, 17:20], plain.cond.context[:, 17:20] * np.float32([-1, 1, 1]), atol=1e-5
    )


def test_evidence_is_told_in_its_share_of_the_real_examples_and_in_no_simulated_one(seen):
    keys = jax.random.split(jax.random.key(2), 2000)
    view = ViewRates(told=0.5, evidence=0.7)
    draw = jax.jit(jax.vmap(lambda key, share: mixed_example(key, seen, view, OPEN, share).cond.context, (0, None)))
    real, simulated = (np.asarray(draw(keys, share))[:, 20:] for share in (1.0, 0.0))
    np.testing.assert_allclose((real != 0).all(1).mean(), 0.7, atol=0.04)
    np.testing.assert_array_equal((real != 0).all(1), (real != 0).any(1))
    assert not simulated.any()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_real_detections(seen, share):
    """A simulated body stands on the axis in front of another camera: its arms hang, that of the real one is bent."""
    keys = jax.random.split(jax.random.key(1), 2000)
    wrist = H36M_17.joints.index("left_wrist"), H36M_17.joints.index("left_elbow")
    examples = jax.jit(jax.vmap(lambda key: mixed_example(key, seen, ViewRates(mirror=0.0), OPEN, share)))(keys)
    state = decode_pose(seen.bodies.statistics, View(jnp.eye(3)), examples.x0)
    forearm = np.linalg.norm(state[:, wrist[0]] - state[:, wrist[1]], axis=-1)
    real = np.linalg.norm(seen.detections.x_cam[0, wrist[0]] - seen.detections.x_cam[0, wrist[1]])
    np.testing.assert_allclose((abs(forearm - real) < 1e-3).mean(), share, atol=0.04)


def test_a_rolled_camera_sees_what_its_image_shows():
    """Points and their image turn together; the image's axis x goes to y, as a quarter of a turn says."""
    x_cam = jax.random.normal(jax.random.key(0), (17, 3)) + jnp.array([0.3, -0.2, 4.0])
    for angle in (0.4, jnp.pi / 2):
        xy, turned = detections.rolled(jnp.asarray(angle), x_cam[:, :2] / x_cam[:, 2:], x_cam)
        np.testing.assert_allclose(turned[:, :2] / turned[:, 2:], xy, atol=1e-6)
    np.testing.assert_allclose(xy[:, 1], x_cam[:, 0] / x_cam[:, 2], atol=1e-6)


@pytest.fixture(scope="module")
def walk():
    """Three rows of one clip, 2 frames apart, whose body moves by 0.2 m to the right; and a row of its own."""
    x_cam = np.float32(STANDING * [1, -1, 1] + [0, 1, 4]) + np.float32([0.2, 0, 0]) * np.arange(4)[:, None, None]
    xy = np.asarray(project(jnp.asarray(views.PINHOLE), jnp.asarray(x_cam)))
    sure = np.broadcast_to(np.float32([1, 0, 1, 1])[:, None, None], (4, 1, 17))
    up = np.tile(np.float32([0, -1, 0]), (4, 1))
    read = Detections(*map(jnp.asarray, (xy[:, None], sure, np.zeros((4, 17, 1), np.float32), x_cam, up)))
    runs = Runs(*map(jnp.asarray, ([0, 0, 0, 3], [2, 2, 2, 3], [2.0, 2.0, 2.0, 1.0])))
    return read, runs


def test_a_clip_goes_to_and_fro_in_its_run(walk):
    read, runs = walk
    places = {tuple(np.asarray(detections.to_and_fro(jax.random.key(k), runs, 7)).tolist()) for k in range(40)}
    rising, turned = [0, 0.5, 1, 1.5, 2, 1.5, 1], [1, 1.5, 2, 1.5, 1, 0.5, 0]
    assert places == {tuple(map(float, p)) for p in (rising, turned, [2, 1.5, 1, 0.5, 0, 0.5, 1], [3] * 7)}
    seen = detections.read(jax.random.key(0), read, ViewRates(mirror=0.0), jnp.asarray(rising))
    moved = 0.2 * np.array(rising)[:, None, None] * [1, 0, 0] + np.zeros((17, 1))
    np.testing.assert_allclose(seen.x_cam - read.x_cam[0], moved, atol=1e-6)
    np.testing.assert_allclose(seen.xy, project(jnp.asarray(views.PINHOLE), seen.x_cam), atol=1e-6)
    np.testing.assert_array_equal(seen.confidence[:, 0], [1, 0, 0, 0, 1, 0, 0])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_clips_of_real_detections_come_in_their_share(walk, share):
    bodies = clips.Clips(views.make_bodies(STANDING[None], np.ones(1), ViewRates()), *2 * [jnp.zeros(1, jnp.int32)])
    example = mixed_clip(jax.random.key(3), SeenClips(bodies, *walk), ViewRates(mirror=0.0), OPEN, share, num_frames=5)
    moved = np.linalg.norm(np.diff(np.asarray(example.x0).mean(-2), axis=0), axis=-1)
    assert example.x0.shape == (5, 17, 3)
    assert (example.cond.mask[..., :2].min() == 0) == bool(share), "a frame of the clip was not read"
    np.testing.assert_allclose(moved, 0, atol=1e-6)  # a state is about the body's own middle
