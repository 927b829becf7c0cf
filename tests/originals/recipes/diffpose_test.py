"""DiffPose as released, against the original's recorded runs: sampler, test loop, three training steps."""

import contextlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import shared

from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.originals.convert.checkpoint import raw_weights
from jaxpose.originals.convert.diffpose import assemble, denoiser_part, read_part
from jaxpose.originals.datasets.gmm import read_gmm
from jaxpose.originals.recipes import diffpose as official
from jaxpose.training.step import init_state, make_step

GOLDEN = shared.GOLDEN / "diffpose"
HEIGHTS = (1002, 1000, 1000, 1002)  # pixels, of cameras 0..3; all are 1000 wide
LIFT = jax.jit(official.lift_official, static_argnames=("flip", "only_zero_root"))
LEFT, RIGHT = [4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]


@pytest.fixture(scope="module")
def parts():
    """Denoiser, encoder of frames, encoder of video."""
    return [read_part(GOLDEN / name) for name in ("gcndiff.pth", "gcnpose.pth", "mixste_small.bin")]


@pytest.fixture(scope="module")
def model(parts):
    return assemble(parts[:2])


@pytest.fixture(scope="module")
def predict(model):
    """x0 of a state at a time."""
    return jax.jit(lambda x, t: model.predict_fn()(x, t, None).x0)


def load_golden(name):
    with np.load(GOLDEN / name) as z:
        return dict(z)


def test_indices_of_the_released_configurations():
    """(n, k) of spec/diffpose.md, 2.3."""
    shipped = {"cpn": (24, 2), "gt": (12, 2), "video": (6, 1)}
    assert {k: tuple(range(0, n, n // steps))[::-1] for k, (n, steps) in shipped.items()} == official.SCHEDULES


@pytest.mark.usefixtures("x64")
def test_the_process_is_the_originals(model):
    golden, sde = load_golden("sampler.npz"), model.spec.sde()
    np.testing.assert_allclose(np.linspace(*model.spec.process_args[:2], 51), golden["betas"], rtol=1e-6)
    time = jnp.arange(52) / 51  # index -1 is time 0
    np.testing.assert_allclose(jnp.square(sde.alpha(time)), golden["alpha_bar"], rtol=2e-6)
    np.testing.assert_allclose(jnp.square(sde.sigma(time)), 1 - golden["alpha_bar"], atol=2e-6)


@contextlib.contextmanager
def recorded(key, noise):
    """`jax.random.normal` gives noise[i] where step i of `sample` asks with its key, also inside jit."""
    table = jnp.stack([jax.random.key_data(jax.random.split(jax.random.fold_in(key, i))[0]) for i in range(len(noise))])

    def normal(step_key, *_):
        same = (jax.random.key_data(step_key) == table).all(-1)
        return jnp.where(same.any(), jnp.asarray(noise)[jnp.argmax(same)], jnp.nan)

    with mock.patch("jax.random.normal", side_effect=normal) as asked:
        yield asked


@pytest.mark.slow
@pytest.mark.parametrize("run", ["cpn", "gt", "video", "five", "five_eta1"])
@pytest.mark.usefixtures("x64")
def test_every_state_of_the_originals_runs(model, predict, run):
    golden = {k: v for k, v in load_golden("sampler.npz").items() if k.startswith((f"{run}_", "x_init"))}
    x = golden["x_init"].astype(np.float64)
    indices, eta = tuple(golden[f"{run}_seq"][::-1].tolist()), float(run == "five_eta1")
    key = jax.random.key(0)

    path = jax.jit(
        lambda x: official.denoise_official(
            model, x[..., :2], x[..., 2:], indices=indices, eta=eta, key=key, return_path=True
        )
    )
    with recorded(key, golden[f"{run}_noise"].astype(np.float64)) as asked:
        xs = path(x)
    assert asked.called == (eta > 0)
    np.testing.assert_allclose(xs, golden[f"{run}_xs"], atol=5e-5)
    for x, i, x0 in zip(xs, indices, golden[f"{run}_x0preds"], strict=False):
        np.testing.assert_allclose(predict(x, (i + 1) / 51), x0, atol=5e-5)
    if run in official.SCHEDULES:
        assert indices == official.SCHEDULES[run]


@pytest.fixture(scope="module")
def detections():
    """Keypoints in pixels [36, 17, 2] and image heights [36] of three films, as the original loads them."""
    tree = read_gmm(GOLDEN / "fixture/data_2d_h36m_cpn_ft_h36m_dbb_gmm.npz")
    keypoints, heights = [], []
    for cameras in (cameras for subject in ("S9", "S11") for cameras in tree[subject].values()):
        for array, height in zip(cameras, HEIGHTS, strict=True):
            keypoints.append(array[:3, :, 0, 1:3])  # as long as the motion capture; the first component
            heights += [height] * 3
    return np.concatenate(keypoints).astype(np.float32), np.array(heights, np.float32)


def test_the_originals_test_loop_from_pixels_to_poses(model, detections):
    """Its start is not relative to the root (spec/diffpose.md, 8, 1)."""
    golden = load_golden("runner.npz")
    keypoints, heights = detections
    uv = keypoints / 500 - np.stack([np.ones(36), heights / 1000], -1)[:, None]
    np.testing.assert_allclose(uv, golden["sampler_in"][..., :2], atol=1e-6)

    as_released = LIFT(model, keypoints, (1000, heights), only_zero_root=True)
    ended = golden["sampler_out"][..., 2:]
    np.testing.assert_allclose(as_released, ended - ended[:, :1], atol=5e-5)

    # and what it meant to do: the same start, less the root that the network puts out
    right = LIFT(model, keypoints, (1000, heights))
    xyz = jax.jit(lambda uv: model.spec.network.apply(model.params, uv, method="encode")[0])(uv)
    start = golden["sampler_in"][..., 2:] - np.asarray(xyz)[:, :1] * (np.arange(17) > 0)[:, None]
    meant = jax.jit(lambda uv, xyz: official.denoise_official(model, uv, xyz))(uv, start)
    np.testing.assert_allclose(right, meant, atol=5e-5)
    assert np.abs(right - as_released).max() > 1e-2


def flipped(x):
    x = np.array(x) * ([-1, 1, 1][: x.shape[-1]])
    x[..., LEFT + RIGHT, :] = x[..., RIGHT + LEFT, :]
    return x


@pytest.mark.slow
def test_video_is_averaged_with_its_mirror_image_and_starts_as_the_encoder_puts_it_out(parts):
    golden = load_golden("mixste_small.npz")
    width, height = 640, 480
    keypoints = (golden["x"] + [1, height / width]) * width / 2
    encoder = assemble(parts[2:])

    def run(model, **options):
        return LIFT(model, keypoints.astype(np.float32), (width, height), **options)

    other = jax.jit(parts[2].network.apply)({"params": parts[2].params}, flipped(golden["x"]))[0]
    average = (golden["y"] + flipped(np.asarray(other))) / 2
    np.testing.assert_allclose(run(encoder), golden["y"] - golden["y"][..., :1, :], atol=2e-5)

    whole = assemble([parts[0], parts[2]])
    assert whole.spec.indices == (0,)
    started = jax.jit(lambda uv, xyz: official.denoise_official(whole, uv, xyz))(golden["x"], average)
    np.testing.assert_allclose(run(whole, flip=True), started, atol=5e-5)
    with pytest.raises(ValueError, match=r"keypoints_px: needed \[N, 9, 17, 2\] pixels, got shape \(2, 8, 17, 2\)"):
        official.lift_official(whole, keypoints[:, 1:], (width, height))


@pytest.mark.slow
def test_three_training_steps(parts):
    """Loss, norm of the gradient, and sum and norm of every tensor and of its average, as tensors 1e-4 apart have.

    loss = sum over joints and coordinates of (e - g(sqrt(a_i) h + sqrt(1 - a_i) e, i))^2,    e = scale n,  n ~ N(0, 1)
    """
    golden, sde = load_golden("train.npz"), assemble(parts[:1]).spec.sde()
    network = parts[0].network.clone(dropout=0.0)

    def loss(params, key, batch):
        def apply(x, t, cond):
            return network.apply({"params": params}, x, t, cond)

        def of_one(x0, scale, index, eps):
            t, e = (index + 1) / jnp.asarray(official.NUM_INDICES, x0.dtype), scale * eps
            return jnp.square(e - apply(sde.alpha(t) * x0 + sde.sigma(t) * e, t, None)).sum()

        return jax.vmap(of_one)(*batch).mean(), {}

    rate = 1e-3
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    step = jax.jit(make_step(lambda _, batch: batch, loss, tx, batch_size=1, ema_decay=0.999, ema_warmup=False).whole)
    state = init_state(jax.random.key(0), parts[0].params, tx)
    golden["eps"] /= golden["scale"]  # recorded with the scale in it
    for n in range(3):
        state, metrics = step(state, tuple(golden[name][n] for name in ("clean", "scale", "t", "eps")))
        np.testing.assert_allclose(metrics["loss"], golden["loss"][n], rtol=1e-4)
        np.testing.assert_allclose(metrics["grad_norm"], golden["gnorm"][n], rtol=1e-4)
    for kind, tree in (("param", state.params), ("ema", state.ema_params)):
        of_name = dict(zip(golden["names"], golden[kind], strict=True))
        for name, value in by_original_name(tree).items():
            total, norm = of_name[name]
            # attention ignores the keys' bias: its gradient is rounding, which Adam makes steps of
            apart = 3 * rate * np.sqrt(value.size) if name.endswith("linears.1.bias") else 1e-4 * norm
            assert abs(np.linalg.norm(value) - norm) <= apart, (kind, name)
            assert abs(value.sum() - total) <= np.sqrt(value.size) * apart, (kind, name)


def by_original_name(tree):
    """{the original's name: our tensor}, by sending numbers instead of weights through the converter."""
    names = list(raw_weights(read_torch(GOLDEN / "gcndiff.pth")).items())
    numbers = {name: np.full(value.shape, i, np.float32) for i, (name, value) in enumerate(names)}
    tags, values = (jax.tree.leaves(t) for t in (denoiser_part(numbers).params, tree))
    return {names[int(tag.flat[0])][0]: np.asarray(v, np.float64) for tag, v in zip(tags, values, strict=True)}
