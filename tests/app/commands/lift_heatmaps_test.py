"""`jaxpose lift` on heatmaps: peaks as keypoints, and the whole map as the mixture that DiffPose starts from."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.app import cli
from jaxpose.app.commands.lift import mixture_px
from jaxpose.diffusion.mixture import Mixture
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.heatmap_files import read_heatmaps
from jaxpose.model import save
from jaxpose.spaces.person import encode_keypoints, encode_xy
from jaxpose.tasks.diffpose import _where_seen
from tests.diffpose_models import tiny

BOX, CELL, SIZE = np.array([100.0, 50.0, 240.0, 320.0]), 10.0, (32, 24)
K = np.array([900.0, 900, 320, 240], np.float32)


@pytest.fixture(scope="module")
def frame_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(path, tiny(), dtype=jnp.float32)
    return path


def blob(uv, std):
    """[h, w] of height 1 about uv in cells."""
    row, column = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return np.exp(-((column - uv[0]) ** 2 + (row - uv[1]) ** 2) / (2 * std**2))


@pytest.fixture(scope="module")
def places():
    """[3, 17, 2] cells."""
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(6, 18, (3, 17)), rng.uniform(6, 26, (3, 17))], -1)


@pytest.fixture(scope="module")
def maps(places):
    found = np.array([[blob(uv, 1.5) for uv in row] for row in places]).astype(np.float32)
    found[1, 4] = 0  # not detected
    return found


def file(path, maps, **keys):
    arrays = {"heatmaps": maps, "skeleton": "h36m17", "image_size": [640, 480], "box": np.tile(BOX, (len(maps), 1))}
    np.savez(path, **arrays | keys)
    return path


def run(model, source, out, *flags):
    arguments = ["lift", source, "--out", out, "--model", model, "--hypotheses", 3, "--no-pictures", *flags]
    cli.main([str(a) for a in arguments])
    with np.load(out / f"{source.stem}.npz") as z:
        return dict(z), json.loads((out / f"{source.stem}.json").read_text())


def test_a_map_of_two_places_becomes_a_mixture_of_two(places, maps, tmp_path):
    """Known answer: blobs of weights 1 and 3, and deviations 1.2 and 1.8 cells of 10 px (the cell adds 1 / 12)."""
    maps = maps.copy()
    maps[0, 2] = 3 * blob((6, 8), 1.2) * 1.8**2 / 1.2**2 / 10 + blob((18, 25), 1.8) / 10
    data = read_heatmaps(file(tmp_path / "h.npz", maps), missing="hide")
    mixture = mixture_px(jax.random.key(0), data, H36M_17, 2)
    weight, mean, std = (np.asarray(x)[0, 2] for x in mixture)
    np.testing.assert_allclose(weight, [0.75, 0.25], atol=0.05)
    np.testing.assert_allclose(mean, BOX[:2] + CELL * np.array([[6, 8], [18, 25]]), atol=3)
    expected = CELL * np.sqrt(np.array([1.2, 1.8])[:, None] ** 2 + 1 / 12)
    np.testing.assert_allclose(std, np.broadcast_to(expected, (2, 2)), rtol=0.12)


@pytest.mark.slow
def test_the_command_takes_peaks_and_mixture(frame_model, places, maps, tmp_path, capsys):
    """Peaks are the keypoints; wider maps of equal peaks make DiffPose less sure, and other models do not see it."""
    source = file(tmp_path / "h.npz", maps, intrinsics=K, fps=25)
    found, summary = run(frame_model, source, tmp_path / "o", "--components", 2, "--aggregate", "median")
    assert "mixtures of 2 Gaussians fitted to the maps of 3 frames" in capsys.readouterr().out
    seen = maps.any((-1, -2))
    np.testing.assert_allclose(found["keypoints"][seen], (BOX[:2] + CELL * places)[seen], atol=1)
    np.testing.assert_array_equal(found["confidence"] > 0, seen)
    np.testing.assert_allclose(found["pose"], np.median(found["samples"], 0), atol=1e-6)
    assert (summary["aggregate"], summary["num_hidden_joints"]) == ("median", 1)
    wide = np.where(seen[..., None, None], maps**0.1, 0)
    other, _ = run(frame_model, file(tmp_path / "w.npz", wide, intrinsics=K), tmp_path / "o", "--components", 2)
    assert abs(other["samples"] - found["samples"]).max() > 1e-3
    run("pose17", source, tmp_path / "o")
    assert "heatmaps: the peaks and how high they are; only DiffPose models use the rest" in capsys.readouterr().out


def test_a_hidden_joint_may_be_anywhere_on_the_person(places):
    """Whatever the mixture says of it; the others are the mixture in the condition's units."""
    xy = jnp.asarray(BOX[:2] + CELL * places, jnp.float32)
    confidence = jnp.ones((3, 17)).at[1, 4].set(0)
    cond, view = encode_keypoints(jnp.asarray(K), xy, confidence)
    uv = encode_xy(view, jnp.asarray(K), xy)
    mixture = Mixture(jnp.ones((3, 17, 1)), uv[:, :, None], jnp.full((3, 17, 1, 2), 0.3))
    keypoints = jnp.concatenate([cond.value[..., :2], confidence[..., None]], -1)
    known = _where_seen(mixture, keypoints)
    np.testing.assert_allclose(known.mean[1, 4, 0], 0)
    np.testing.assert_allclose(known.std[1, 4, 0], 1)
    others = np.asarray(confidence) > 0
    np.testing.assert_allclose(np.asarray(known.mean)[others], np.asarray(mixture.mean)[others])
    np.testing.assert_allclose(np.asarray(known.std)[others], 0.3)
