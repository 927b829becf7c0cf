"""Motions over windows: a known law of time is drawn, whatever the length and wherever it is cut."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from jax.tree_util import Partial
from random_params import random_params
from shared import refuses

from jaxpose import model as released
from jaxpose.base import Camera, Condition, Decoded, Problem
from jaxpose.diffusion.prediction import from_x0
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.motions import overlapping
from jaxpose.spaces.person import between
from jaxpose.tasks.complete import complete, settle
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import draw_states, from_noise
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import probability_flow, stochastic
from jaxpose.tasks.stream import start_stream, step_stream

FRAMES, RHO = 16, 0.9
FRAMES_OF = {"frame_width": 8, "frame_layers": 1, "num_heads": 2}
CAMERA = Camera(np.array([1000.0, 1000, 500, 500], np.float32))


class Steady(released.Model):
    """Each coordinate is an autoregressive series of unit variance, rho from frame to frame; the denoiser is exact.

    Frames that the condition shows are known to it but for 0.01.
    """

    def predict_fn(self):
        sde, at = self.spec.sde(), np.arange(FRAMES)
        precision = np.linalg.inv(RHO ** np.abs(at[:, None] - at))

        def predict(x, t, cond):
            assert x.shape[-3] == FRAMES
            alpha, sigma = sde.alpha(t), sde.sigma(t)
            seen = 1e4 * cond.mask[..., 0, 0]
            whole = precision + (alpha / sigma) ** 2 * jnp.eye(FRAMES) + jnp.eye(FRAMES) * seen[..., None]
            told = alpha / sigma**2 * x + seen[..., None, None] * cond.value
            return from_x0(sde, x, t, jnp.linalg.solve(whole, told.reshape(*told.shape[:-2], -1)).reshape(x.shape))

        return predict


@pytest.fixture(scope="module")
def steady():
    spec = released.Spec(name="steady", network=ScoreMLP(num_frames=FRAMES), num_steps=30)
    return flax.struct.dataclass(Steady)({}, pose_oracle.statistics(), spec)


def as_they_are(states, kept):
    return Decoded(states)


def drawn(model, num, first=None):
    """Series [H x 51, N] of 40 hypotheses."""
    nothing = jnp.zeros((num, 17, 3))
    numbers = None if first is None else first + jnp.arange(num)
    problem = Problem(from_noise(model, nothing, numbers), Partial(as_they_are), Condition(nothing, nothing))
    sampler = stochastic(30) if first is None else probability_flow(30)
    states, _ = jax.jit(lambda key: draw_states(key, model, problem, num=40, sampler=sampler))(jax.random.key(1))
    return np.moveaxis(np.asarray(states), 1, -1).reshape(-1, num)


@pytest.mark.parametrize(("num", "bound"), [(FRAMES, 0.04), pytest.param(3 * FRAMES + 5, 0.1, marks=pytest.mark.slow)])
def test_the_law_of_time_is_drawn_across_windows(steady, num, bound):
    """Exact within a window; where two share frames, neither knows what the other sees, and a part is lost."""
    series = drawn(steady, num)
    found = np.corrcoef(series.T)
    np.testing.assert_allclose(series.std(0), 1, atol=0.12)
    for lag in (1, 2, 5):
        np.testing.assert_allclose(np.diagonal(found, lag).mean(), RHO**lag, atol=bound)
    assert np.diagonal(found, 1).min() > RHO - 2 * bound, "there is no seam"


def test_windows_of_numbered_frames_are_of_one_motion(steady):
    """Of the flow of a known law: where two windows share frames, a cut in their middle keeps the law of time.

    At the end of a window, where a stream is cut, a part of the correlation is lost.
    """
    before, after, other = (drawn(steady, FRAMES, first) for first in (0, FRAMES // 2, 100))
    cut = 3 * FRAMES // 4
    joined = np.concatenate([before[:, :cut], after[:, cut - FRAMES // 2 :]], 1)
    np.testing.assert_allclose(joined.std(0), 1, atol=0.12)
    found = np.corrcoef(joined.T)
    for lag in (1, 2):  # farther, each window lacks frames that the other sees
        assert found[cut - 1, cut - 1 + lag] == pytest.approx(RHO**lag, abs=0.15)
    assert np.corrcoef(before[:, -1], after[:, FRAMES // 2])[0, 1] > 0.5
    assert abs(np.corrcoef(before[:, cut - 1], other[:, FRAMES // 4])[0, 1]) < 0.1, "other numbers, other noise"


def test_shares_add_up_and_are_largest_in_the_middle():
    for num in (8, 9, 31, 40):
        index, share = overlapping(num, 8)
        assert (np.diff(index) == 1).all()
        np.testing.assert_allclose(np.bincount(index.ravel(), share.ravel(), num), 1, atol=1e-6)
    np.testing.assert_allclose(overlapping(12, 8)[1][0, 4:], [4 / 5, 3 / 5, 2 / 5, 1 / 5])
    refuses("motions: needed at least 8 frames, the window of the model, got 7", overlapping, 7, 8)


@pytest.fixture(scope="module")
def tiny():
    network = ScoreMLP(hidden=16, time_width=8, num_blocks=1, num_groups=4, dropout=0.0, num_frames=8, **FRAMES_OF)
    spec = released.Spec(name="tiny", network=network, target="edm", num_steps=3, context=23)
    return released.Model(random_params(spec), pose_oracle.statistics(), spec)


def seen(num):
    joints = pose_oracle.draw(np.random.default_rng(0), num).astype(np.float32)
    return (500 + 1000 * joints[..., :2] / joints[..., 2:]).astype(np.float32), np.ones((num, 17), np.float32)


def test_frames_that_only_fill_up_and_frames_not_seen_are_drawn_but_told_nothing(tiny):
    keypoints, sure = seen(5)  # fewer than the window
    how = {"camera": CAMERA, "num_hypotheses": 3, "sampler": stochastic(2)}
    found = lift(jax.random.key(0), tiny, keypoints, sure, **how)
    assert found.samples.shape == (3, 5, 17, 3)
    sure[2:4] = 0
    gap = lift(jax.random.key(0), tiny, keypoints, sure, **how)
    other = lift(jax.random.key(0), tiny, np.where(sure[..., None] > 0, keypoints, np.nan), sure, **how)
    np.testing.assert_array_equal(gap.samples, other.samples)
    assert np.isfinite(gap.samples).all()
    assert np.isfinite(gap.root).all()
    root = np.asarray(gap.root)
    np.testing.assert_allclose(
        root[:, 2:4], root[:, 1:2] + np.array([[[1 / 3], [2 / 3]]]) * (root[:, 4:] - root[:, 1:2]), atol=1e-4
    )


def test_what_is_generated_is_one_motion_of_the_known_law(steady):
    """Joints relative to the root are series of the same correlation."""
    found = np.stack([generate(jax.random.key(k), steady, 40, sampler=stochastic(30)) for k in range(12)])
    assert found.shape == (12, 40, 17, 3)
    away = found[:, :, 1:] - np.asarray(pose_oracle.statistics().mean[1:] - pose_oracle.statistics().mean[:1])
    flat = np.moveaxis(away, 1, -1).reshape(-1, 40)
    np.testing.assert_allclose(flat.std(), np.sqrt(2) * pose_oracle.UNIT, rtol=0.15)
    correlation = np.corrcoef(flat.T)
    for lag in (1, 2):
        np.testing.assert_allclose(np.diagonal(correlation, lag).mean(), RHO**lag, atol=0.08)


def test_motions_are_completed_and_frames_without_a_joint_stand_between_the_others(tiny):
    joints = pose_oracle.draw(np.random.default_rng(0), 10).astype(np.float32)
    joints += np.linspace(0, 2, 10, dtype=np.float32)[:, None, None]  # walks away
    shown = joints.copy()
    shown[3:6] = np.nan
    shown[8, :4] = np.nan
    how = {"num_hypotheses": 3, "sampler": stochastic(2)}
    found = complete(jax.random.key(0), tiny, shown, **how)
    assert found.samples.shape == (3, 10, 17, 3)
    assert np.isfinite(found.samples).all()
    known = np.isfinite(shown)
    np.testing.assert_array_equal(np.asarray(found.samples)[:, known], np.broadcast_to(shown[known], (3, known.sum())))
    # by how much the poses about their middle were moved, to be linear in time over the gap
    states = np.linspace(0, 1, 5)[1:-1, None, None]
    moved = np.asarray(settle(jnp.zeros((1, 10, 17, 3)), joints, known.any(-1), jnp.ones((10, 17)), between))[0]
    np.testing.assert_allclose(moved[3:6], (1 - states) * moved[2] + states * moved[6], atol=1e-5)
    other = complete(jax.random.key(0), tiny, joints, noise=0.05, **how)
    same = denoise(jax.random.key(0), tiny, joints, noise=0.05, **how)
    np.testing.assert_array_equal(other.samples, same.samples)


def test_bad_input_is_named(tiny):
    keypoints, sure = seen(12)
    how = {"camera": CAMERA, "num_hypotheses": 3}
    with pytest.raises(ValueError, match=r"numbers: needed \[12\], got \[2\]"):
        lift(jax.random.key(0), tiny, keypoints, sure, numbers=np.zeros(2, int), **how)
    with pytest.raises(ValueError, match="windows needs a DiffPose model with a context"):
        lift(jax.random.key(0), tiny, keypoints, sure, windows=(np.zeros((1, 8), int), np.ones((1, 8), bool)), **how)
    with pytest.raises(ValueError, match="noise: got none; 'tiny' is a model of motions"):
        denoise(jax.random.key(0), tiny, np.zeros((8, 17, 3), np.float32))


def follow(model, blocks, seed=0, **how):
    stream = start_stream(jax.random.key(seed), model, num_hypotheses=3)
    found = []
    for keypoints, sure in blocks:
        lifted, stream = step_stream(model, stream, keypoints, sure, camera=CAMERA, sampler=stochastic(2), **how)
        found.append(lifted)
    return found, stream


def test_a_stream_is_lift_of_its_last_window(tiny):
    keypoints, sure = seen(12)
    sure[5] = 0  # a frame without a person
    blocks = [(keypoints[i : i + 3], sure[i : i + 3]) for i in range(0, 12, 3)]
    found, stream = follow(tiny, blocks)
    assert [f.samples.shape for f in found] == [(3, 3, 17, 3)] * 4
    assert all(np.isfinite(f.samples).all() and np.isfinite(f.root).all() for f in found)
    assert stream.count == 12
    how = {"camera": CAMERA, "num_hypotheses": 3, "sampler": stochastic(2), "numbers": 9 + np.arange(8)}
    again = lift(jax.random.key(0), tiny, keypoints[1:9], sure[1:9], **how)  # of the third step
    np.testing.assert_allclose(found[2].samples, again.samples[:, -3:], atol=1e-4)
    np.testing.assert_allclose(found[2].root, again.root[:, -3:], atol=1e-3)


def test_before_the_first_frame_nothing_is_known(tiny):
    keypoints, sure = seen(3)
    (found,), _ = follow(tiny, [(keypoints, sure)])
    before = np.zeros((5, 17, 2), np.float32), np.zeros((5, 17), np.float32)
    padded = [np.concatenate([a, b]) for a, b in zip(before, (keypoints, sure), strict=True)]
    how = {"camera": CAMERA, "num_hypotheses": 3, "sampler": stochastic(2), "numbers": 3 + np.arange(8)}
    alone = lift(jax.random.key(0), tiny, *padded, **how)
    np.testing.assert_allclose(found.samples, alone.samples[:, -3:], atol=1e-4)


def test_a_stream_names_wrong_input(tiny):
    stream = start_stream(jax.random.key(0), tiny, num_hypotheses=2)
    with pytest.raises(ValueError, match=r"keypoints: needed .* \[1..7, 17, 2\] of one person .*, got \[8, 17, 2\]"):
        step_stream(tiny, stream, np.zeros((8, 17, 2)), camera=CAMERA)
    with pytest.raises(ValueError, match=r"confidence: needed \[2, 17\] as keypoints, got \[17\]"):
        step_stream(tiny, stream, np.zeros((2, 17, 2)), np.zeros(17), camera=CAMERA)
