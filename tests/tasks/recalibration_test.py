"""Recalibrated results: what changes about the samples, and what the covariance and radius of a result are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffpose_models import tiny
from pose_oracle import MEAN, make

from jaxpose.base import Camera, Condition
from jaxpose.diffusion.solvers import one_step
from jaxpose.model import EVIDENCE, Recalibration
from jaxpose.spaces.person import decode_pose, encode_keypoints
from jaxpose.tasks import recalibration as r
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.diffpose import encode_rows
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import Run, Sampler
from jaxpose.tasks.stream import start_stream, step_stream

RNG = np.random.default_rng(0)
INTRINSICS = jnp.array([1000.0, 1000.0, 500.0, 500.0])
TRUTH = MEAN + RNG.normal(0, 0.05, (3, 17, 3)) + np.array([0.2, 0.1, 4.0])
PIXELS = 1000 * TRUTH[..., :2] / TRUTH[..., 2:] + 500 + RNG.normal(0, 4, (3, 17, 2))
TRUST = RNG.uniform(0.3, 1, (3, 17))
STATES = RNG.normal(size=(6, 3, 17, 3))
CENTRE = -3.4  # of the misfit


def factors(offset=0.0, slope=0.0, covariance=1.0, radius=1.0):
    full = jnp.full(17, 1.0)
    centre = jnp.array([CENTRE, 0.0, 0.0, 0.0, 0.0])
    slopes = jnp.zeros((5, 3)).at[0].set(slope)  # of the misfit
    return Recalibration(
        offset * jnp.ones((17, 3)), slopes, centre, jnp.ones(5), covariance * full, radius * jnp.linspace(1, 2, 17)
    )


def conditions(trust=TRUST):
    return encode_keypoints(INTRINSICS, jnp.asarray(PIXELS, jnp.float32), jnp.asarray(trust, jnp.float32))


def standing_still(sampler, spec, sde):
    """One step that asks no network and changes nothing: states are those of the start, and quickly compiled."""
    return Run(one_step(lambda key, x, t, s, predict: x), jnp.array([sde.t_max, sde.t_min]), False)


STILL = Sampler("still", standing_still, calibrated=True)


def respread(states, cond, view, recalibration):
    model = make()
    return r.respread(recalibration, model.statistics, cond, view, r.middle(model, cond), states)


def lifted(recalibration, sampler=STILL, **how):
    model = make().replace(recalibration={} if recalibration is None else {"lift": recalibration})
    pixels, trust = PIXELS.astype(np.float32), TRUST.astype(np.float32)
    camera = Camera(INTRINSICS)
    return lift(jax.random.key(0), model, pixels, trust, camera=camera, num_hypotheses=6, sampler=sampler, **how)


def test_the_middle_of_a_gaussian_law_is_its_mean():
    cond, _ = conditions()
    np.testing.assert_allclose(r.middle(make(), cond), np.zeros((3, 17, 3)), atol=1e-4)


def test_the_misfit_is_what_least_squares_leaves():
    """The root by numpy's least squares on the same equations; the rms in extents of the person."""
    cond, view = conditions()
    x = TRUTH - TRUTH[:, :1] + RNG.normal(0, 0.02, TRUTH.shape)
    x_view = np.einsum("nij,nkj->nki", view.R_view_cam, x)
    for n in range(3):
        # the observations on the plane z = 1 of the view axes, by turning the camera's rays
        rays = np.concatenate([(PIXELS[n] - 500) / 1000, np.ones((17, 1))], 1) @ np.asarray(view.R_view_cam[n]).T
        xy = rays[:, :2] / rays[:, 2:]
        pose = x_view[n] - x_view[n, 0]
        weight = np.sqrt(TRUST[n])[:, None]
        rows = [np.concatenate([np.eye(2)[d] * weight, -xy[:, d : d + 1] * weight], 1) for d in (0, 1)]
        right = [(xy[:, d] * pose[:, 2] - pose[:, d]) * weight[:, 0] for d in (0, 1)]
        root = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
        seen = (pose + root)[:, :2] / (pose + root)[:, 2:]
        centred = xy - np.average(xy, axis=0, weights=TRUST[n])
        extent2 = np.average((centred**2).sum(-1), weights=TRUST[n])
        rms = np.sqrt(np.average(((seen - xy) ** 2).sum(-1), weights=TRUST[n]) / extent2)
        found = dict(zip(EVIDENCE, r.evidence(cond, view, jnp.asarray(x_view))[n], strict=True))
        np.testing.assert_allclose(found["misfit"], np.log(rms), atol=2e-3)
        np.testing.assert_allclose(found["extent"], 0.5 * np.log(extent2), atol=1e-4)
        np.testing.assert_allclose(found["trust"], TRUST[n].mean(), atol=1e-5)
        assert found["seen"] == 1


def test_a_person_upside_down_is_tilted_and_a_hidden_half_is_told():
    cond, view = conditions(np.where(np.arange(17) < 8, 0.5, 0) * np.ones((3, 1)))
    upright = np.zeros((3, 17, 3), np.float32)
    upright[:, 8] = [[0, -0.5, 0], [0, 0.5, 0], [0.3, 0, 0]]  # the thorax over, under and beside the hip
    found = r.evidence(cond, view, jnp.asarray(upright))
    tilt, trust, seen = (found[:, EVIDENCE.index(name)] for name in ("tilt", "trust", "seen"))
    np.testing.assert_allclose(tilt, [0, 2, 1], atol=1e-6)
    np.testing.assert_allclose(trust, 0.5, atol=1e-6)
    np.testing.assert_allclose(seen, 8 / 17, atol=1e-6)


def test_samples_move_about_the_middle_and_the_root_by_the_share_that_is_seen():
    trust = np.where(np.arange(17) < [[17], [8], [0]], TRUST, 0)
    cond, view = conditions(trust)
    states = jnp.asarray(STATES, jnp.float32)
    about_root = lambda x: np.asarray(x - x[..., :1, :])  # noqa: E731
    moved = respread(states, cond, view, factors(offset=np.log(2)))
    for n, seen in enumerate((1, 8 / 17, 0)):  # the oracle's middle is 0
        np.testing.assert_allclose(about_root(moved[:, n]), 2**seen * about_root(states[:, n]), rtol=1e-3, atol=1e-4)
    level = r.evidence(cond, view, make().statistics.mean + 0 * cond.value)[:, 0] - CENTRE
    fewer = respread(states[:2], cond, view, factors(offset=np.log(2)))
    np.testing.assert_allclose(fewer, moved[:2], atol=1e-6)  # however many are drawn
    moved = respread(states, cond, view, factors(slope=0.5))
    expected = np.exp(0.5 * np.clip(float(level[0]), -2.5, 2.5)) * about_root(states[:, 0])
    np.testing.assert_allclose(about_root(moved[:, 0]), expected, rtol=1e-3, atol=1e-4)


def test_a_result_carries_the_recalibrated_covariance_and_radius():
    plain, changed = lifted(None), lifted(factors(covariance=4.0))
    np.testing.assert_allclose(changed.samples, plain.samples, atol=1e-5)
    np.testing.assert_allclose(changed.covariance, 4 * plain.covariance, rtol=1e-3, atol=1e-7)
    away = np.linalg.norm(plain.samples - plain.samples.mean(0), axis=-1)
    np.testing.assert_allclose(plain.radius_90, np.quantile(away, 0.9, axis=0), atol=1e-5)
    np.testing.assert_allclose(changed.radius_90, plain.radius_90 * np.linspace(1, 2, 17), atol=1e-5)
    narrow = lifted(factors(offset=np.log(0.5)))
    np.testing.assert_allclose(np.linalg.norm(narrow.samples - narrow.mean, axis=-1), 0.5 * away, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [None, 5], ids=["frame", "video"])
@pytest.mark.parametrize("task", ["lift", "stream"])
def test_diffpose_moves_about_its_encoder(task, frames):
    """Deviations twice as large move each hypothesis as far from the encoder's pose again."""
    pixels, trust = jnp.asarray(PIXELS[:1], jnp.float32), jnp.asarray(TRUST[:1], jnp.float32)
    cond, view = encode_keypoints(INTRINSICS, pixels, trust)

    def drawn(recalibration):
        model = tiny(frames).replace(recalibration=recalibration)
        if task == "lift":
            found = lift(jax.random.key(0), model, pixels, trust, camera=Camera(INTRINSICS), num_hypotheses=6)
        else:
            stream = start_stream(jax.random.key(0), model, num_hypotheses=6)
            found = step_stream(model, stream, pixels[0], trust[0], camera=Camera(INTRINSICS))[0]
        return found, np.asarray(found.samples[:, 0] - found.samples[:, 0, :1])

    plain, changed = drawn({}), drawn({task: factors(offset=np.log(2), covariance=4.0)})
    encoder = np.asarray(decode_pose(tiny(frames).statistics, view, encode_rows(tiny(frames), cond).pose))[0]
    encoder = np.broadcast_to(encoder - encoder[:1], plain[1].shape)
    np.testing.assert_allclose(changed[1] - encoder, 2 * (plain[1] - encoder), atol=1e-4)
    assert np.abs(plain[1] - encoder).max() > 0.02
    spread = np.cov(np.asarray(changed[0].samples[:, 0, 5]).T)
    np.testing.assert_allclose(changed[0].covariance[0, 5], 4 * spread, rtol=1e-3, atol=1e-6)


def test_the_path_ends_with_the_recalibrated_samples():
    drawn = lifted(factors(offset=np.log(0.5)), return_path=True)
    np.testing.assert_array_equal(drawn.path[-1], drawn.samples)
    np.testing.assert_allclose(drawn.samples, lifted(factors(offset=np.log(0.5))).samples, atol=1e-5)


def test_samplers_that_it_was_not_found_for_are_as_they_are():
    drawn = lifted(factors(offset=1.0, covariance=9.0), dataclasses.replace(STILL, calibrated=False))
    np.testing.assert_allclose(drawn.covariance[0, 5], np.cov(np.asarray(drawn.samples[:, 0, 5]).T), rtol=1e-3)
    np.testing.assert_allclose(drawn.samples, lifted(None).samples, atol=1e-5)


@pytest.mark.parametrize("task", [complete, denoise], ids=lambda task: task.__name__)
def test_other_tasks_take_their_own_factors(task):
    model = make().replace(recalibration={task.__name__: factors(covariance=4.0), "lift": factors(offset=1.0)})
    joints = TRUTH.astype(np.float32)
    drawn = task(jax.random.key(0), model, joints, noise=0.05, num_hypotheses=6, sampler=STILL)
    samples = np.asarray(drawn.samples)
    np.testing.assert_allclose(drawn.covariance[1, 3], 4 * np.cov(samples[:, 1, 3].T), rtol=1e-3)
    away = np.quantile(np.linalg.norm(samples - samples.mean(0), axis=-1), 0.9, axis=0)
    np.testing.assert_allclose(drawn.radius_90, away * np.linspace(1, 2, 17), rtol=1e-3, atol=1e-6)


def test_a_condition_without_confidences_is_measured_by_its_mask():
    cond, view = conditions(np.ones((3, 17)))
    x = make().statistics.mean + 0 * cond.value
    masked = r.evidence(Condition(cond.value, cond.mask), view, x)
    np.testing.assert_allclose(masked, r.evidence(cond, view, x), atol=1e-6)
