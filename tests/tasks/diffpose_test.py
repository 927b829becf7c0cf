"""DiffPose's profile of the paper against known laws: the oracle's draws, H_K, what the networks are shown."""

import dataclasses
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffpose_models import condition, tiny
from jax.tree_util import Partial
from scipy import stats

from jaxpose import model as released
from jaxpose.base import Prediction, Problem
from jaxpose.diffusion import time_grid
from jaxpose.diffusion.mixture import Mixture
from jaxpose.networks.diffpose import DEPTH_BINS
from jaxpose.spaces import keypoints as keypoints_space
from jaxpose.tasks import diffpose
from jaxpose.tasks.draw import draw_states
from jaxpose.tasks.samplers import stochastic

J, WIDTH, NUM = 17, 8, 3000
RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(0, 0.5, (J, 5)), RNG.uniform(0.1, 0.5, (J, 5))
KEY = jax.random.key(0)


class Exact(released.Model):
    """Knows that h_0 ~ N(MEAN, STD^2), and of the component (mu, s) only what its context says."""

    def predict_fn(self):
        sde = self.spec.sde()

        def predict(r, t, cond):
            mu, log_s = jnp.split(cond.context[..., WIDTH : WIDTH + 10], 2, -1)
            mean, variance = (MEAN - mu) / jnp.exp(log_s), (STD / jnp.exp(log_s)) ** 2
            away = r - sde.alpha(t) * mean
            total = sde.alpha(t) ** 2 * variance + sde.sigma(t) ** 2
            return Prediction(mean + sde.alpha(t) * variance * away / total, sde.sigma(t) * away / total, -away / total)

        return predict


def exact(eta):
    model = tiny()
    spec = dataclasses.replace(model.spec, num_steps=40, eta=eta)
    return flax.struct.dataclass(Exact)(model.params, model.statistics, spec)


keypoint_std = jax.jit(keypoints_space.keypoint_std)


def components(num_rows, num):
    """H_K of `num` components a joint, far apart and of different weights and widths."""
    rng = np.random.default_rng(num)
    mean = MEAN[:, None] + np.linspace(-1, 1, num)[:, None] * (num > 1) + rng.normal(0, 0.2, (J, num, 5))
    weight = np.linspace(1, 2, num) / np.linspace(1, 2, num).sum()
    parts = (np.tile(weight, (J, 1)), mean, rng.uniform(0.3, 0.6, (J, num, 5)))
    return Mixture(*(jnp.asarray(np.broadcast_to(p, (num_rows, *p.shape)), jnp.float32) for p in parts))


@partial(jax.jit, static_argnames="num")
def draws(model, cond, num=2, features=True):
    return diffpose.draw_poses(KEY, model, cond, num_hypotheses=num, features=features)


@jax.jit
def path_of(model, mixture):
    """Paths [NUM, T+1, 2, J, 3] of two rows whose encoder says nothing, by the problem that `draw_poses` makes."""
    nothing = diffpose.Encoded(jnp.zeros((2, J, 3)), jnp.zeros((2, J, WIDTH)), jnp.zeros((2, J, 3)))
    problem = Problem(diffpose.residual_start(model, condition(2), nothing, mixture), Partial(diffpose.pose_states))
    states, component = draw_states(KEY, model, problem, num=NUM, sampler=stochastic(), return_path=True)
    return diffpose.pose_states(component, states)


@pytest.fixture(scope="module", params=[(1, 0.0), pytest.param((3, 1.0), marks=pytest.mark.slow), (3, 0.0)], ids=str)
def oracle_path(request):
    num, eta = request.param
    model, mixture = exact(eta), components(2, num)
    times = time_grid(model.spec.sde(), model.spec.num_steps, model.spec.spacing)
    return mixture, model.spec.sde(), np.asarray(times), np.asarray(path_of(model, mixture))


def test_with_the_exact_score_samples_follow_the_law(oracle_path, request):
    """Whatever H_K and eta are: mean and covariance of h_0, and no relation between joints or rows."""
    samples = oracle_path[-1][:, -1]
    mean, std = MEAN[:, 2:], STD[:, 2:]
    np.testing.assert_allclose((samples.mean(0) - mean) / std, np.zeros((2, J, 3)), atol=5 / NUM**0.5)
    np.testing.assert_allclose(samples.std(0) / np.broadcast_to(std, (2, J, 3)), 1, atol=5 / (2 * NUM) ** 0.5 + 0.01)
    correlation = np.corrcoef(samples.reshape(NUM, -1).T) - np.eye(2 * J * 3)
    independent = NUM if request.node.callspec.params["oracle_path"][1] else NUM / 2  # those of a flow are pairs
    assert np.abs(correlation).max() < 5 / independent**0.5


def test_the_start_follows_the_mixture(oracle_path):
    mixture, _, _, path = oracle_path
    weight, mean, std = (np.asarray(x[0], np.float64) for x in mixture)
    for j, d in np.ndindex(J, 3):

        def law(x, j=j, d=2 + d):
            return (weight[j] * stats.norm.cdf(x[:, None], mean[j, :, d], std[j, :, d])).sum(-1)

        assert stats.kstest(path[:, 0, 1, j, d], law).pvalue > 1e-5


def test_on_the_way_a_sample_keeps_its_component(oracle_path):
    """h_k = mu + alpha (h_0 - mu) + sigma s eps with a sample's own mu and s: both moments at every level."""
    mixture, sde, times, path = oracle_path
    weight, mu, s = (np.asarray(x[0], np.float64) for x in mixture)
    weight, mean, std = weight[..., None], MEAN[:, 2:], STD[:, 2:]
    mu, s = mu[..., 2:], s[..., 2:]
    for k in (8, 16, 24, 32):
        alpha, sigma = float(sde.alpha(times[k])), float(sde.sigma(times[k]))
        centre = (weight * mu).sum(1)
        between = (weight * (mu - centre[:, None]) ** 2).sum(1)
        expected = centre + alpha * (mean - centre)
        variance = (alpha * std) ** 2 + sigma**2 * (weight * s**2).sum(1) + (1 - alpha) ** 2 * between
        found = path[:, k, 0]
        np.testing.assert_allclose((found.mean(0) - expected) / variance**0.5, np.zeros((J, 3)), atol=5 / NUM**0.5)
        np.testing.assert_allclose(found.var(0) / variance, np.ones((J, 3)), atol=5 * (2 / NUM) ** 0.5 + 0.02)


@pytest.mark.slow
def test_hypotheses_are_the_same_however_many_and_however_sliced(monkeypatch):
    model, cond = tiny(), condition(5)
    few = draws(model, cond)
    for rows in (2, 11):  # slices within a hypothesis, of which the last is not full; 2 hypotheses of 5 rows at a time
        monkeypatch.setattr(diffpose, "ROWS_AT_ONCE", rows)
        many = jax.jit(lambda cond: diffpose.draw_poses(KEY, model, cond, num_hypotheses=3))(cond)
        np.testing.assert_allclose(many[:2], few, atol=1e-5 * float(jnp.abs(few).max()))
        assert jnp.abs(many[1:] - many[:-1]).max((1, 2, 3)).min() > 1e-2


@pytest.mark.parametrize("frames", [None, 3])
def test_frames_of_a_clip_share_their_noise_and_single_frames_do_not(frames):
    """One input five times: of a clip a sample that stands still, else five samples."""
    cond = jax.tree.map(lambda x: np.repeat(np.asarray(x), 5, 0), condition(1))
    samples = draws(tiny(frames), cond)
    apart = jnp.abs(samples - samples[:, :1]).max((0, 2, 3))
    still = 1e-4 * jnp.abs(samples).max()  # rounding of numbers of this size
    assert apart[1:].max() < still if frames else apart[1:].min() > 1e-2
    assert jnp.abs(samples[0] - samples[1]).max() > 1e-2


@pytest.fixture(scope="module")
def encoded():
    """Of two inputs, and a model with a residual and depths of its own."""
    model = tiny()
    rng = np.random.default_rng(3)
    depth = rng.uniform(0, 1, (J, DEPTH_BINS)) * (np.arange(DEPTH_BINS) % 3 > 0)
    start = {
        "residual": jnp.asarray(rng.uniform(0.1, 0.4, (J, 3)), jnp.float32),
        "depth": jnp.asarray(depth / depth.sum(1, keepdims=True), jnp.float32),
    }
    model = model.replace(
        params={**model.params, "start": start}, statistics=model.statistics._replace(spread=jnp.full((J, 3), 0.8))
    )
    return model, jax.jit(diffpose.encode_rows)(model, condition(2, hidden=[4]))


@pytest.fixture(scope="module")
def five(encoded):
    """H_K of five components for each joint, and the one Gaussian."""
    model, seen = encoded
    # not in a jit of its own: EM's program is then compiled once for all calls of one shape
    fitted = diffpose.initial_distribution(KEY, model, seen, num_components=5, num_samples=2000)
    return fitted, diffpose.one_gaussian(seen, model.params["start"]["residual"])


def test_one_component_is_what_encoder_and_detector_say(encoded):
    model, seen = encoded
    one = diffpose.initial_distribution(KEY, model, seen)
    assert (one.weight == 1).all()
    np.testing.assert_array_equal(one.mean[..., 0, :], jnp.concatenate([seen.keypoints[..., :2], seen.pose], -1))
    np.testing.assert_array_equal(one.std[..., 0, 2:], jnp.broadcast_to(model.params["start"]["residual"], (2, J, 3)))
    np.testing.assert_array_equal(one.std[..., 0, 0], keypoints_space.keypoint_std(seen.keypoints))


@pytest.mark.slow
def test_a_whole_pose_has_one_component_and_joints_have_their_own(encoded, five):
    """Two components of whole poses part all joints alike; those of joints know nothing of each other."""
    model, seen = encoded
    whole = diffpose.initial_distribution(KEY, model, seen, num_components=2, whole_pose=True, num_samples=200)
    assert whole.mean.shape == (2, 2, J * 5)

    def index_of(mixture):
        """Which component each joint has, told by the mean that it got, of many draws."""
        draw = jax.vmap(lambda k: diffpose.draw_start(k, mixture, J, shared=False).mean[0, :, 2])
        means = np.asarray(jax.jit(draw)(jax.random.split(KEY, 2000)))
        return np.stack([np.unique(means[:, j], return_inverse=True)[1] for j in range(J)])

    together, apart = index_of(whole), index_of(five[0])
    pairs = {tuple(column) for column in together.T}
    assert len(pairs) == 2
    np.testing.assert_allclose(np.corrcoef(apart), np.eye(J), atol=5 / 2000**0.5)


def test_depth_of_histograms_is_blind_to_the_input(encoded):
    model, _ = encoded
    histogram = np.asarray(model.params["start"]["depth"])
    z = np.asarray(diffpose._draw_depth(KEY, jnp.asarray(histogram), (4000, J)))
    low, high = diffpose.DEPTH_RANGE
    for j in (0, 9):
        found = np.histogram(z[:, j], DEPTH_BINS, (low, high))[0]
        filled = histogram[j] > 0
        assert found[~filled].sum() == 0
        assert stats.chisquare(found[filled], 4000 * histogram[j][filled], sum_check=False).pvalue > 1e-4
        inside = (z[:, j] - low) / (high - low) * DEPTH_BINS % 1
        assert stats.kstest(inside, "uniform").pvalue > 1e-4


def test_two_peaks_of_a_heatmap_stay_two(encoded):
    model, seen = encoded
    peaks = np.array([[-1.0, 0.0], [1.0, 0.5]])
    keypoints = Mixture(
        jnp.broadcast_to(jnp.array([0.3, 0.7]), (2, J, 2)),
        jnp.broadcast_to(jnp.asarray(peaks, jnp.float32), (2, J, 2, 2)),
        jnp.full((2, J, 2, 2), 0.05),
    )
    shown = np.flatnonzero(np.asarray(seen.keypoints[..., 2] > 0).all(0))
    fitted = diffpose.initial_distribution(KEY, model, seen, num_components=2, keypoints=keypoints, num_samples=2000)
    fitted, peaks = jax.tree.map(lambda x: x[:, shown], fitted), np.broadcast_to(peaks, (2, len(shown), 2, 2))
    order = jnp.argsort(fitted.mean[..., 0], -1)
    mean, std = (jnp.take_along_axis(x, order[..., None], -2) for x in fitted[1:])
    np.testing.assert_allclose(jnp.take_along_axis(fitted.weight, order, -1)[..., 0], 0.3, atol=5 * 0.46 / 2000**0.5)
    np.testing.assert_allclose(mean[..., :2], peaks, atol=5 * 0.05 / 600**0.5)
    np.testing.assert_allclose(std[..., :2], 0.05, rtol=5 / (2 * 600) ** 0.5)


def test_an_ensemble_knows_which_pose_belongs_to_which_peak(encoded):
    """Known answer: of a joint with two sharp peaks, its components' x, y, z are the encoder's pose of either."""
    model, seen = encoded
    start = {**model.params["start"], "residual": jnp.full((J, 3), 1e-3)}
    model = model.replace(params={**model.params, "start": start})
    joint = int(np.flatnonzero(np.asarray(seen.keypoints[..., 2] > 0).all(0))[2])
    uv = jnp.stack([seen.keypoints[..., :2]] * 2, -2)
    uv = uv.at[:, joint, 1].add(3.0)
    peaks = Mixture(jnp.full((2, J, 2), 0.5), uv, jnp.full((2, J, 2, 2), 1e-3))
    how = {"num_components": 2, "keypoints": peaks, "depth": "ensemble", "num_samples": 60}
    found = diffpose.initial_distribution(KEY, model, seen, **how)
    order = jnp.argsort(found.mean[:, joint, :, 0], -1)
    got = jnp.take_along_axis(found.mean[:, joint], order[..., None], -2)[..., 2:]
    encode = partial(model.spec.network.apply, model.params, method="encode")
    hidden = seen.keypoints[..., 2:] == 0  # what is hidden stays so
    wanted = [
        encode(jnp.where(hidden, 0, seen.keypoints.at[:, joint, 0].add(d).at[:, joint, 1].add(d)))[0]
        for d in (0.0, 3.0)
    ]
    np.testing.assert_allclose(got, jnp.stack([w[:, joint] for w in wanted], 1), atol=5e-3)
    with pytest.raises(ValueError, match="depth: 'ensemble' is for models of single frames, 'tiny' sees 3"):
        diffpose.initial_distribution(KEY, tiny(3), seen, depth="ensemble")


def test_a_random_component_is_a_part_of_the_same_gaussian():
    """mean' spreads by what std' lacks: x ~ N(mean', std'^2) has the moments of N(mean, std^2)."""
    num = 20_000
    known = diffpose.Component(jnp.asarray(MEAN, jnp.float32), jnp.asarray(STD, jnp.float32))
    population = jnp.full((J, 3), 0.7)
    drawn = jax.jit(jax.vmap(lambda k: diffpose.random_component(k, known, population)))(jax.random.split(KEY, num))
    mean, std = (np.asarray(x, np.float64) for x in drawn)
    nothing = (mean[:, 0, 2:] == 0).all(-1)
    np.testing.assert_allclose(nothing.mean(), 0.1, atol=5 * 0.3 / num**0.5)
    np.testing.assert_array_equal(std[nothing][..., 2:], np.broadcast_to(np.float32(0.7), (nothing.sum(), J, 3)))
    mean, std, num = mean[~nothing], std[~nothing], (~nothing).sum()
    np.testing.assert_allclose((mean.mean(0) - MEAN) / STD, np.zeros((J, 5)), atol=5 / num**0.5)
    np.testing.assert_allclose((mean.var(0) + (std**2).mean(0)) / STD**2, 1, atol=5 * (2 / num) ** 0.5)
    share = 1 - (std[:, 0] / STD[0]) ** 2
    for rate, of in ((0.3, share[:, 0]), (0.2, share[:, 3])):
        taken = of[of > 1e-4]
        np.testing.assert_allclose(len(taken) / num, rate, atol=5 * 0.46 / num**0.5)
        assert stats.kstest(taken, stats.uniform(0, 0.3).cdf).pvalue > 1e-3


def test_the_context_says_what_r_is_relative_to(encoded):
    _, seen = encoded
    component = diffpose.Component(*(jnp.asarray(np.tile(x, (2, 1, 1)), jnp.float32) for x in (MEAN, STD)))
    told = diffpose.context_of(seen, component)
    expected = [seen.features, component.mean, np.log(component.std), seen.keypoints]
    np.testing.assert_allclose(told, np.concatenate(expected, -1), rtol=1e-6)
    np.testing.assert_array_equal(diffpose.context_of(seen, component, features=False), told.at[..., :WIDTH].set(0))


@pytest.mark.parametrize("spoiled", [np.nan, 1e6])
def test_a_hidden_joint_reaches_neither_network(spoiled):
    cond = condition(5, hidden=[3, 12])
    run = partial(draws, tiny())
    value = cond.value.at[:, [3, 12]].set(spoiled)
    other = cond._replace(value=value, context=cond.context.at[:, [3, 12]].set(spoiled))
    np.testing.assert_array_equal(run(other), run(cond))
    seen = cond._replace(mask=cond.mask.at[:, 3].set([1, 1, 0]), context=cond.context.at[:, 3].set(0.5))
    assert jnp.abs(run(seen) - run(cond)).max() > 1e-3


def test_without_features_the_encoder_speaks_through_its_pose_alone():
    """Of an encoder whose features are scaled, with the same pose, the denoiser hears nothing."""
    model, cond = tiny(), condition(5)
    with_features, without = (draws(model, cond, features=f) for f in (True, False))
    kernel = model.params["params"]["denoiser"]["trunk"]["context"]["kernel"].at[WIDTH : 2 * WIDTH].set(0)
    deaf = jax.tree_util.tree_map_with_path(
        lambda path, leaf: kernel if "'context'" in str(path) and "'kernel'" in str(path) else leaf, model.params
    )
    np.testing.assert_allclose(draws(model.replace(params=deaf), cond), without, atol=1e-5)
    assert jnp.abs(with_features - without).max() > 1e-3
