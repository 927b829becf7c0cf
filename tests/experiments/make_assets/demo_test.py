"""The demo clip: exact projection, documented detector errors, one occluded wrist, and its file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.make_assets import demo
from experiments.make_assets.demo import ASSET, DETECTION_SPREAD, FPS, OUTLIER_SPREAD, detect_clip
from jaxpose.geometry.skeleton import H36M_17


def test_detection_errors_have_the_documented_spread():
    truth = jnp.tile(jnp.linspace(0, 1, 17)[None, :, None] * jnp.array([120.0, 400.0]), (4000, 1, 1))
    keypoints, confidence = jax.device_get(detect_clip(jax.random.key(2), truth))
    error = (keypoints - np.asarray(truth)) / 400
    outlier = confidence < 0.4
    assert outlier.mean() == pytest.approx(0.02, abs=0.002)
    assert confidence[~outlier].min() >= 0.55
    assert error[outlier].std() == pytest.approx(OUTLIER_SPREAD, rel=0.1)
    spread = np.array([error[~outlier[:, j], j].std() for j in range(17)])
    np.testing.assert_allclose(spread, DETECTION_SPREAD, rtol=0.12)
    size = np.linalg.norm(error / np.array(DETECTION_SPREAD)[:, None], axis=-1)
    assert np.corrcoef(size[~outlier], confidence[~outlier])[0, 1] < -0.5
    pairs = ~(outlier[1:] | outlier[:-1])
    assert np.corrcoef(error[1:][pairs].ravel(), error[:-1][pairs].ravel())[0, 1] == pytest.approx(0.8, abs=0.05)


def test_the_bundled_clip_is_made_so(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "ASSET", tmp_path / "demo_clip.npz")
    demo.main()
    with np.load(ASSET) as bundled, np.load(demo.ASSET) as made:
        assert sorted(made.files) == sorted(bundled.files)
        for name in made.files:
            if made[name].dtype.kind == "f":
                np.testing.assert_allclose(made[name], bundled[name], atol=2e-3)
        assert tuple(made["joints"]) == H36M_17.joints
        assert float(made["fps"]) == FPS
    assert ASSET.stat().st_size < 200_000
