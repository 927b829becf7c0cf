"""GFPose's training example: the original's numbers, computed here in numpy, and its rates."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import refuses

from jaxpose.base import Condition
from jaxpose.conditioning import MaskRates
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.originals.examples.filmed import ImagePoses, gfpose_example

LEFT, RIGHT = [4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]
OPEN = MaskRates(0, 0, 0, 0)
CONFIG = Path(__file__).parents[3] / "experiments" / "models" / "gfpose_h36m" / "config.py"


@pytest.fixture(scope="module")
def poses():
    rng = np.random.default_rng(0)
    image = np.concatenate([rng.uniform(0, 1000, (5, 17, 2)), rng.normal(0, 100, (5, 17, 1))], -1)
    keypoints = image[..., :2] + rng.normal(0, 5, (5, 17, 2))
    return ImagePoses(*(jnp.asarray(x, jnp.float32) for x in (image, keypoints)))


def units(px):
    """The original: pixels / 1000 * 2 - (1, 1, 0), times 30."""
    return 30 * (np.asarray(px, np.float64) / 500 - [1, 1, 0][: px.shape[-1]])


def draw(poses, count, masks, **options):
    make = jax.jit(jax.vmap(lambda k: gfpose_example(k, poses, masks, **options)))
    example = make(jax.random.split(jax.random.key(0), count))
    distance = np.abs(np.asarray(example.x0)[:, None] - units(poses.image)).max((2, 3))
    return jax.tree.map(np.asarray, example), distance


def test_state_and_condition_are_the_originals(poses):
    example, distance = draw(poses, 400, OPEN)
    index = distance.argmin(1)
    assert distance.min(1).max() < 1e-4
    assert (np.bincount(index, minlength=5) > 40).all(), "every frame is drawn"
    np.testing.assert_allclose(example.cond.value[..., :2], units(poses.keypoints)[index], atol=1e-4)
    np.testing.assert_array_equal(example.cond.value[..., 2], 0)
    np.testing.assert_array_equal(example.cond.mask, np.broadcast_to([1, 1, 0], (400, 17, 3)))
    assert example.cond.context is None
    exact, _ = draw(poses, 50, OPEN, use_truth=True)
    np.testing.assert_array_equal(exact.cond.value[..., :2], exact.x0[..., :2])


def test_a_mirrored_example_is_mirrored_whole(poses):
    """As an image of a body walking the other way: u to 1000 - u, left to right, in state and condition alike."""
    turned = ImagePoses(*(np.array(x) for x in poses))
    for x in turned:
        x[..., 0] = 1000 - x[..., 0]
        x[:, LEFT + RIGHT] = x[:, RIGHT + LEFT]
    example, plain = draw(poses, 400, OPEN, flip=0.3)
    mirrored = np.abs(example.x0[:, None] - units(turned.image)).max((2, 3))
    is_mirrored = mirrored.min(1) < 1e-3
    np.testing.assert_array_equal(is_mirrored, plain.min(1) > 1e-3)
    assert 0.2 < is_mirrored.mean() < 0.4
    shown = np.where(
        is_mirrored[:, None, None], units(turned.keypoints)[mirrored.argmin(1)], units(poses.keypoints)[plain.argmin(1)]
    )
    np.testing.assert_allclose(example.cond.value[..., :2], shown, atol=1e-3)
    refuses(r"flip must be in \[0, 1\], got 1.5", gfpose_example, jax.random.key(0), poses, OPEN, flip=1.5)


def test_masks_hide_at_the_originals_rates(poses):
    """A joint is kept at 0.9^3, all of a condition hidden at 0.101, all shown at 0.9^23 (spec/gfpose.md, 4.1)."""
    example, _ = draw(poses, 20_000, MaskRates())
    cond = example.cond
    joints = cond.mask[..., 0]
    np.testing.assert_array_equal(cond.mask[..., 1], joints)
    assert abs(joints.mean() - 0.729) < 0.01
    assert abs((joints.max(1) == 0).mean() - 0.101) < 0.008
    assert abs((joints.min(1) == 1).mean() - 0.9**23) < 0.008
    assert (cond.value[cond.mask == 0] == 0).all()
    shows_depth = cond.mask[..., 2].max(1) > 0
    assert abs(shows_depth.mean() - 0.1 * 0.899) < 0.008
    np.testing.assert_array_equal(cond.mask[shows_depth][..., 2], joints[shows_depth])
    # a 3D condition is the truth in all three coordinates, not the detections with a depth
    np.testing.assert_array_equal(cond.value[shows_depth], (example.x0 * cond.mask)[shows_depth])


def test_the_config_is_the_originals_network_and_takes_the_example(poses):
    config = runpy.run_path(str(CONFIG))["get_config"]()
    network = ScoreMLP(**config.network)
    example = gfpose_example(jax.random.key(0), poses, MaskRates(**config.masks))
    params = jax.eval_shape(network.init, jax.random.key(0), example.x0, jnp.float32(0.5), example.cond)
    assert sum(x.size for x in jax.tree.leaves(params)) == 12_504_627, "spec/gfpose.md, section 1"
    assert isinstance(example.cond, Condition)
