"""The vertical as an input of lifting: what the network is told, and that nothing told is 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.base import Camera
from jaxpose.model import Model, Spec, init_params
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.lift import lift, problem
from jaxpose.tasks.lift_video import lift_video

CAMERA = Camera(jnp.array([1000.0, 1000.0, 500.0, 500.0]))
PIXELS = jnp.asarray(np.random.default_rng(0).uniform(300, 700, (3, 17, 2)), jnp.float32)
STATISTICS = Statistics(jnp.zeros((17, 3)), jnp.full((17, 3), 0.25))


def make(context):
    network = ScoreMLP(hidden=32, time_width=8, num_blocks=1, num_groups=4, dropout=0.0)
    spec = Spec(name="tiny", network=network, context=context, num_steps=2)
    key = jax.random.key(0)  # fresh weights of the last layer are 0: any others
    params = jax.tree.map(lambda w: w + 0.1 * jax.random.normal(key, w.shape), init_params(key, spec))
    return Model(params, STATISTICS, spec)


def test_the_network_is_told_the_vertical_in_the_axes_of_the_view():
    """Of a person in the middle of the image the view is the camera; elsewhere it is turned towards the person."""
    up = jnp.array([[0.0, -2.0, 0.0], [0.6, -0.8, 0.0], [0.0, -0.6, 0.8]])
    told = problem(jax.random.key(0), make(20), PIXELS, None, CAMERA, up=up).cond.context
    assert told.shape == (3, 20)
    np.testing.assert_allclose(told[:, :17], 1)
    ray = np.concatenate([(np.asarray(PIXELS).mean(1) - 500) / 1000, np.ones((3, 1))], 1)
    along = (np.asarray(up) * ray).sum(-1) / np.linalg.norm(ray, axis=-1) / np.linalg.norm(up, axis=-1)
    np.testing.assert_allclose(told[:, 19], along, atol=2e-3)  # z of the view looks at the person
    np.testing.assert_allclose(np.linalg.norm(told[:, 17:], axis=-1), 1, atol=1e-5)


def test_a_vertical_of_each_row_is_told_to_the_rows_of_a_clip():
    up, given = np.array([[0.0, -1, 0], [0.6, -0.8, 0], [0, -0.6, 0.8]]), {"camera": CAMERA, "num_hypotheses": 2}
    drawn = lift_video(jax.random.key(0), make(20), PIXELS, up=up, **given).samples
    alone = [lift_video(jax.random.key(0), make(20), PIXELS, up=direction, **given).samples for direction in up]
    np.testing.assert_allclose(drawn, np.stack([x[:, k] for k, x in enumerate(alone)], 1), atol=1e-5)
    other = lift_video(jax.random.key(0), make(20), PIXELS, up=up[[2, 0, 1]], **given).samples
    assert np.abs(np.asarray(other) - np.asarray(drawn)).max() > 1e-4


@pytest.mark.slow
def test_nothing_told_is_a_vertical_of_0():
    how = {"camera": CAMERA, "num_hypotheses": 3}
    model = make(20)
    narrow = model.replace(spec=make(17).spec, params=jax.tree.map(lambda a: a, model.params))
    first = narrow.params["params"]["cond"]["kernel"]
    narrow.params["params"]["cond"]["kernel"] = first[:-3]  # without the rows of the vertical
    drawn = lift(jax.random.key(1), model, PIXELS, **how).samples
    np.testing.assert_allclose(drawn, lift(jax.random.key(1), narrow, PIXELS, **how).samples, atol=1e-5)
    told = lift(jax.random.key(1), model, PIXELS, up=jnp.array([0.0, -1.0, 0.0]), **how).samples
    assert np.abs(told - drawn).max() > 1e-4
