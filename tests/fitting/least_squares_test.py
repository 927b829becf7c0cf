"""Second-order steps against closed forms, dense matrices, and the energies that Adam reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rotation_oracle
from shared import BENCH, needs_bench

from jaxpose.base import Camera
from jaxpose.diffusion.regulariser import averaged, fixed
from jaxpose.fitting.engine import EVERYTHING, BodyParameters, Free, fit, posed_body, start_parameters
from jaxpose.fitting.ik import IKSettings, ik
from jaxpose.fitting.least_squares import LevenbergMarquardt, levenberg_marquardt, squared_columns
from jaxpose.fitting.priors import dposer_prior
from jaxpose.fitting.terms import Bends, Keypoints, Points, Smoothness
from jaxpose.io.anny_body import anny_body
from jaxpose.model import load

NUM, FRAMES = 3, 4
NOISE = 0.01


def random(*shape, seed=0, size=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(0, size, shape), jnp.float32)


@pytest.fixture(scope="module")
def body():
    return anny_body()


@pytest.fixture(scope="module")
def people(body):
    """Clips of people that the prior of `rotation_oracle` draws, and their joints."""
    poses = jnp.asarray(rotation_oracle.draw(0, NUM * FRAMES), jnp.float32).reshape(NUM, FRAMES, 21, 3)
    start = start_parameters(NUM, FRAMES, 2, poses)
    start = start._replace(transl=start.transl + jnp.array([0.0, 0.0, 4.0]))
    return start, posed_body(body, start).joints[..., :22, :]


def terms():
    shape = (NUM, FRAMES, 22)
    seen = random(*shape, seed=1) > -1
    intrinsics = jnp.array([[[1100.0, 1100.0, 500.0, 500.0]]])
    camera = Camera(intrinsics, None, jnp.eye(3)[None, None], jnp.zeros((1, 1, 3)))
    uv = 500 + random(NUM, 1, FRAMES, 25, 2, seed=3, size=50)
    confidence = jnp.abs(random(NUM, 1, FRAMES, 25, seed=4))
    noise = jnp.full(shape, NOISE)
    targets = random(*shape, 3, seed=2)
    return {
        "squares": Points(targets, seen, noise, None, "smpl22"),
        "robust": Points(targets, seen, noise, jnp.full(shape, 5.0), "smpl22"),
        "keypoints": Keypoints(uv, confidence, camera, jnp.array([3.0, 4.0, 5.0]), 10.0, "openpose25"),
        "smoothness": Smoothness(600.0),
        "bends": Bends(2.0),
    }


@pytest.mark.parametrize("name", terms())
def test_half_the_squares_of_residuals_are_the_energy(body, people, name):
    term, start = terms()[name], people[0]
    posed = posed_body(body, start)
    squares = np.square(np.asarray(term.residuals(posed, start), np.float64)).reshape(NUM, -1).sum(-1) / 2
    np.testing.assert_allclose(squares, term(posed, start, jnp.asarray(0)), rtol=1e-4)


@pytest.mark.parametrize("reduction", [averaged, None])
def test_residuals_of_the_prior_have_its_gradient(reduction):
    model, key, pose = rotation_oracle.tiny(), jax.random.key(3), random(5, 21, 3, size=0.3)
    prior = dposer_prior(model, fixed(0.2), **({} if reduction is None else {"reduction": reduction}))
    wanted = jax.grad(lambda x: prior(key, x, jnp.asarray(0), 10).sum())(pose)
    residuals = prior.residuals(key, pose, jnp.asarray(0), 10)
    found = jax.grad(lambda x: jnp.square(residuals(x)).sum() / 2)(pose)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(jnp.abs(wanted).max()))


def test_linear_problems_are_solved_as_in_closed_form():
    """Ten equations in six unknowns of very different size, for three items, one of which has no number."""
    A, b = np.random.default_rng(0).normal(size=(3, 10, 6)) * np.array([0.1, 1, 1, 3, 10, 30]), random(3, 10, seed=1)
    b = b.at[1, 0].set(jnp.nan)
    function = lambda x: [(jnp.asarray(A, jnp.float32) * x[:, None]).sum(-1) - b]  # noqa: E731
    method = LevenbergMarquardt(num_steps=20, num_products=6)
    found = levenberg_marquardt(jax.random.key(0), lambda key, x, k: function, jnp.zeros((3, 6)), method)
    for n in (0, 2):
        wanted, rest, *_ = np.linalg.lstsq(A[n], np.asarray(b[n], np.float64), rcond=None)
        np.testing.assert_allclose(found.variables[n], wanted, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.energy[n], rest[0] / 2, rtol=1e-4)
    np.testing.assert_array_equal(found.variables[1], 0)


def test_steps_that_lead_upwards_are_not_taken_and_the_next_are_shorter():
    """r = 10 atan(x) from 3: the first steps end at -7.4 and -3.9, where the energy is up to a third higher."""
    method = LevenbergMarquardt(num_steps=12, num_products=1)
    function = lambda x: [10 * jnp.arctan(x)]  # noqa: E731

    def run(steps):
        far = jnp.full((1, 1), 3.0)
        return levenberg_marquardt(jax.random.key(0), lambda *_: function, far, method._replace(num_steps=steps))

    assert run(1).variables.item() == 3
    assert run(1).energy.item() == pytest.approx(50 * np.arctan(3) ** 2)
    assert abs(run(12).variables.item()) < 0.01


def test_the_diagonal_is_that_of_the_dense_matrix(body, people):
    """Of the frames' variables: of the residuals of their own frames, smoothness left out; of the shape: of all."""
    start = people[0]
    chosen = [terms()["robust"]]

    def residuals(variables):
        parameters = BodyParameters(*variables)
        return [term.residuals(posed_body(body, parameters), parameters) for term in chosen]

    found = jax.jit(lambda variables: squared_columns(residuals, variables))(list(start))
    first = jax.tree.map(lambda x: x[0, 1] if x.ndim > 2 else x[0], list(start))

    def of_frame(moved):
        return residuals(
            [s.at[0, 1].set(m) if s.ndim > 2 else s.at[0].set(m) for s, m in zip(start, moved, strict=True)]
        )

    dense = jax.jit(jax.jacfwd(of_frame))(first)
    for place, x in enumerate(first):
        blocks = [term[place].reshape(*r.shape, x.size) for term, r in zip(dense, residuals(list(start)), strict=True)]
        wanted = sum(np.square(block[0]).reshape(-1, x.size).sum(0) for block in blocks)
        got = found[place][0, 1] if start[place].ndim > 2 else found[place][0]
        np.testing.assert_allclose(got.reshape(-1), wanted, rtol=1e-3, atol=1e-3 * wanted.max())


def fitted(body, joints, method, num_steps=300):
    seen, noise = jnp.isfinite(joints).all(-1), jnp.full(joints.shape[:-1], NOISE)
    term = Points(joints, seen, noise, None, "smpl22")
    start = start_parameters(NUM, FRAMES, 2, jnp.asarray(rotation_oracle.MEAN, jnp.float32))
    start = start._replace(transl=start.transl + jnp.array([0.0, 0.0, 4.0]))
    prior = dposer_prior(rotation_oracle.independent())
    how = {"start": start, "num_steps": num_steps, "free": Free(betas=False), "method": method}
    return fit(jax.random.key(0), body, prior, term, Smoothness(600.0), **how)


@pytest.fixture(scope="module")
def noisy(people):
    return people[1] + NOISE * random(NUM, FRAMES, 22, 3, seed=7)


@pytest.fixture(scope="module")
def second_order(body, noisy):
    return fitted(body, noisy, LevenbergMarquardt())


@pytest.mark.slow
@needs_bench
def test_real_poses_are_met_no_worse_than_by_adam(body):
    """Eight validation motions' middle frames under 1 cm of noise, with the released prior and default settings."""
    with np.load(BENCH / "val_motion.npz") as z:
        joints, unit = (jnp.asarray(z[name][::30][:8, 30:31]) for name in ("joints22", "unit_noise"))
    prior, targets = dposer_prior(load("prior21")), joints + NOISE * unit
    away = []
    for settings in (IKSettings(), IKSettings(method=None)):
        found = ik(jax.random.key(0), body, targets, "smpl22", prior, noise=NOISE, free=EVERYTHING, settings=settings)
        away.append(np.linalg.norm(found.joints[0] - targets, axis=-1).mean())
    assert away[0] <= 1.02 * away[1]


def test_a_clip_without_numbers_does_not_touch_the_others(body, noisy, second_order):
    found = fitted(body, noisy.at[1, 2, 5].set(jnp.inf), LevenbergMarquardt())
    for n in (0, 2):
        np.testing.assert_allclose(found.joints[0, n], second_order.joints[0, n], atol=1e-4)
