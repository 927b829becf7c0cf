"""GFPose's recipe against the original's recorded runs, and against laws whose outcome is known.

Recorded runs are repeated in double precision, with the recorded noise put where `jax.random.normal` is asked.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shared
from shared import recorded, refuses

from jaxpose.base import Condition, Example, Prediction
from jaxpose.diffusion import denoising_loss, drift_diffusion, from_betas, sub_vp, ve, vp
from jaxpose.originals.convert.gfpose import read_gfpose
from jaxpose.originals.recipes import gfpose

GOLDEN = shared.GOLDEN / "gfpose"
LEG, LEGS = (1, 2, 3), (1, 2, 3, 4, 5, 6)


def guess_condition(value, mask=1.0):
    """The condition that the original infers from joints [..., J, 3]: 3D where any depth is not 0, else 2D."""
    is_3d = (value[..., 2] != 0).any(-1)[..., None].astype(value.dtype)
    mask = jnp.broadcast_to(jnp.asarray(mask, value.dtype), value.shape).at[..., 2].multiply(is_3d)
    return Condition(jnp.where(mask > 0, value, 0), mask)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "gfpose_peer.npz") as z:
        return {k: z[k].astype(np.float64) for k in z.files}


@pytest.fixture(scope="module")
def model():
    return read_gfpose(GOLDEN / "gfpose_peer.pth", weights="raw")


@pytest.mark.parametrize("name", ["sub_vp", "vp", "ve"])
def test_the_processes_are_the_originals(x64, golden, name):
    """Mean, deviation, drift and diffusion of x_t, and one step of 1000; the original's arrays are float32."""
    sde = {"sub_vp": sub_vp, "vp": vp, "ve": ve}[name]()
    z = {k.partition("_")[2]: v for k, v in golden.items() if k.startswith(name.replace("_", ""))}
    t, x = golden["t"], golden["x"]
    alpha, sigma, (f, g2) = described(sde, t)
    column = (slice(None), None, None)
    np.testing.assert_allclose(alpha[column] * x, z["mean"], rtol=1e-5, atol=1e-5)
    # the original takes 1 - exp(2 L) in float32
    np.testing.assert_allclose(sigma, z["std"], rtol=5e-4)
    np.testing.assert_allclose(f[column] * x, z["drift"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(g2), z["diffusion"], rtol=5e-4)
    f_step, g_step = one_of_a_thousand(name, t, f, g2)
    np.testing.assert_allclose(f_step[column] * x, z["disc_f"], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(g_step, z["disc_G"], rtol=1e-3)


def described(sde, t):
    """alpha, sigma and (f, g^2) at times t [B]; compiled as one."""
    return jax.tree.map(np.asarray, jax.jit(lambda t: (sde.alpha(t), sde.sigma(t), drift_diffusion(sde, t)))(t))


def one_of_a_thousand(name, t, f, g2):
    """(f, G) of x + f x + G z, the original's steps: Euler's for sub-VP, DDPM's and SMLD's for the others."""
    num, index = 1000, np.floor(t * 999)
    if name == "sub_vp":
        return f / num, np.sqrt(g2 / num)
    if name == "vp":
        sde = from_betas(np.linspace(0.1 / num, 20 / num, num))
        keep = np.asarray(jax.jit(lambda i: sde.alpha((i + 1) / num) / sde.alpha(i / num))(index))
        return keep - 1, np.sqrt(1 - keep**2)
    sigma = ve().sigma
    after, before = (np.asarray(jax.jit(sigma)(i / 999)) for i in (index, index - 1))
    return np.zeros_like(t), np.sqrt(after**2 - np.where(index > 0, before, 0) ** 2)


def test_score_and_reverse_drift(x64, golden, model):
    t, x, sde = golden["t"], jnp.asarray(golden["x"]), model.spec.sde()
    cond = guess_condition(jnp.asarray(golden["cond2d"]))
    score = np.asarray(jax.jit(jax.vmap(model.predict_fn()))(x, t, cond).score)
    _, sigma, (f, g2) = described(sde, t)
    sigma = sigma[:, None, None]
    np.testing.assert_allclose(sigma * score, sigma * golden["score_2d"], atol=5e-4)
    drift = f[:, None, None] * np.asarray(x) - g2[:, None, None] * score
    for mode in ("sde", "pflow"):  # one coefficient in both: it is no probability flow
        np.testing.assert_allclose(drift, golden[f"rev_drift_{mode}"], rtol=5e-4, atol=5e-4)
    np.testing.assert_allclose(np.sqrt(g2), golden["rev_diffusion_sde"], rtol=5e-4)


@pytest.mark.parametrize(("name", "weighting"), [("loss", "eps"), ("loss_lw", "score_likelihood")])
def test_the_loss_is_the_originals(x64, golden, model, name, weighting):
    sde, (x0, cond2d) = model.spec.sde(), (jnp.asarray(golden[k]) for k in ("gt", "cond2d"))
    cond = guess_condition(cond2d)
    t = golden[f"{name}_u"] * (1 - 1e-5) + 1e-5

    def apply(x, t, cond):
        return model.spec.network.apply(model.params, x, t, cond)

    def one(x0, cond, t, z):
        with recorded([z]):
            example = Example(x0, cond)
            return denoising_loss(jax.random.key(0), apply, sde, example, weighting=weighting, t=t)[0]

    loss = jax.jit(jax.vmap(one))(x0, cond, t, golden[f"{name}_z"]).mean()
    np.testing.assert_allclose(loss, golden[name], rtol=1e-4)


# run -> hidden joints; arguments
RUNS = {
    "est_sde": ((), {}),
    "est_pflow": ((), {"mean_flow": True}),
    "comp2d": (LEG, {"impute": True}),
    "comp3d": (LEGS, {"impute": True, "mean_flow": True}),
    "gen": ((), {}),
    "den": ((), {"mean_flow": True}),
}


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_originals_runs_with_its_noise(x64, golden, model, run):
    """All six, 8 steps, every state on the way: within 1e-3 of the largest coordinate."""
    hidden, options = RUNS[run]
    sde = model.spec.sde()._replace(t_max=0.05 if run == "den" else 1.0)
    value = jnp.asarray(golden["gt" if run == "comp3d" else "cond2d"])
    cond = None if run in ("gen", "den") else guess_condition(value, visible(hidden))
    # the runs start from one seed: 9 draws, 25 with imputation
    prior, *steps = golden["pc_noise"][: 25 if options.get("impute") else 9]
    if options.get("mean_flow"):  # the original draws and drops what it does not add
        steps = [z for i, z in enumerate(steps) if i % 3 != 1] if options.get("impute") else []

    def path(noise):
        def start(key):
            # unscaled: prior_sample's sigma(1) is 1 - 4e-5, which `gen` makes 2e-3 of
            return jnp.asarray(golden["pc_den_init"]) if run == "den" else jax.random.normal(key, value.shape)

        with recorded(noise):
            return gfpose.sample_as_gfpose(
                jax.random.key(0), 1, start, model.predict_fn(), sde, cond, num_steps=8, return_path=True, **options
            )

    # Without jit a scan is a loop, so that every step asks for its own noise. A vmap stays one; it is over H = 1.
    with jax.disable_jit():
        got = path(([] if run == "den" else [prior]) + list(steps))[0]
    scale = np.abs(golden[f"pc_{run}_traj"]).max()
    np.testing.assert_allclose(got[1:], golden[f"pc_{run}_traj"], atol=1e-3 * scale)
    np.testing.assert_allclose(got[-1], golden[f"pc_{run}_out"], atol=1e-3 * scale)


def visible(hidden):
    return jnp.ones((17, 3)).at[jnp.asarray(hidden, int)].set(0)


def elementwise(mean, deviation, sde):
    """The PredictFn that knows coordinates N(mean, deviation^2), independent, arrays [J, D]."""

    def predict(x_t, t, cond):
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        variance = (alpha * deviation) ** 2 + sigma**2
        score = (alpha * mean - x_t) / variance
        return Prediction((x_t + sigma**2 * score) / alpha, -sigma * score, score)

    return predict


@pytest.mark.parametrize(("t_max", "gain"), [(0.05, 1.35), (0.1, 1.71)])
def test_denoising_inflates_wide_directions_as_the_original_does(t_max, gain):
    """spec/gfpose.md, 5.5: dt = 1 / N over a range of t_max. N(0, 3^2) should be left nearly as it is."""
    sde = sub_vp()._replace(t_max=t_max)
    x_init, predict = jnp.ones((1, 1)), elementwise(0.0, 3.0, sub_vp())

    def denoise(key):
        return gfpose.sample_as_gfpose(key, 1, lambda k: x_init, predict, sde, mean_flow=True)

    np.testing.assert_allclose(jax.jit(denoise)(jax.random.key(0)), gain, rtol=0.01)


def test_random_joints_are_knees_ankles_elbows_and_wrists():
    seen = np.asarray(jax.vmap(lambda k: gfpose.hide_random_joints(k, 3))(jax.random.split(jax.random.key(0), 800)))
    np.testing.assert_array_equal((seen == 0).sum(1), 3)
    rate = (seen == 0).mean(0)
    hideable = np.isin(np.arange(17), [2, 3, 5, 6, 12, 13, 15, 16])  # spec/gfpose.md, 5.3
    assert not rate[~hideable].any()
    np.testing.assert_allclose(rate[hideable], 3 / 8, atol=4 * np.sqrt(3 / 8 * 5 / 8 / 800))
    refuses(r"0\.\.8", gfpose.hide_random_joints, jax.random.key(0), 9)
