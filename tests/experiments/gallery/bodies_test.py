"""`experiments.gallery.bodies`: which pages there are, what each hides, gives and shows, and how large they are."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Read
from shared import needs_keypoints

from experiments.evaluate.bench import load_walker
from experiments.gallery import __main__ as gallery
from experiments.gallery import bodies as gallery_bodies
from jaxpose.fitting.engine import start_parameters
from jaxpose.geometry.camera import project
from jaxpose.io.anny_body import anny_body
from jaxpose.model import Spec
from jaxpose.networks.score_mlp import ScoreMLP

RNG = np.random.default_rng(0)
F_CLIP, F_WALK = 10, 16
LEFT_LEG = [0, 3, 6, 9]


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The files that the pages read, as small ones of known content."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "data" / "keypoints2d").mkdir(parents=True)
    monkeypatch.setenv("JAXPOSE_DATA", str(tmp_path / "data"))
    names = np.array(["cmu06/a", "hdm_dg/b", *[f"cmu94/{n}" for n in range(5)]])
    np.savez(
        tmp_path / "bench" / "val_frames.npz",
        name=names,
        category=np.full(7, "walk"),
        body_pose=RNG.normal(0, 0.2, (7, 63)).astype(np.float32),
    )
    np.savez(
        tmp_path / "bench" / "val_motion.npz",
        name=names[:1],
        fps=np.float32(30),
        body_pose=RNG.normal(0, 0.2, (1, F_CLIP, 63)).astype(np.float32),
        unit_noise=RNG.normal(size=(1, F_CLIP, 22, 3)).astype(np.float32),
    )
    np.savez(tmp_path / "data" / "keypoints2d" / "walker_4cam.npz", **walk())
    return tmp_path / "data"


def walk():
    """A body that stands 2 m behind the origin of a world with z up, in four cameras about it; a frame is not seen."""
    rest = np.asarray(anny_body().shape().joints[:17])
    points = rest @ gallery_bodies.R_Y_UP_FROM_Z_UP + np.array([0, 2, 1], np.float32)
    keypoints = np.ones((F_WALK, 4, 17, 3), np.float32)
    keypoints[8, 2, 5, :2] = np.nan
    residual = np.zeros((F_WALK, 4, 17), np.float32)
    residual[8, 1, 3] = 100
    return {
        "keypoints": keypoints,
        "points3d": np.tile(points, (F_WALK, 1, 1)),
        "residual_px": residual,
        "fps": 60.0,
        "K": np.tile(np.diag([1000.0, 1000, 1]), (4, 1, 1)),
        "dist": np.zeros((4, 4)),
        "R": np.tile(np.eye(3), (4, 1, 1)),
        "t": np.zeros((4, 3)),
        "camera": [f"cam{c}" for c in range(4)],
        "size": np.full((4, 2), 1000),
    }


@pytest.fixture
def seen(monkeypatch):
    """What the tasks were given: stand-ins, which answer with poses of no model."""
    seen = {}

    def complete(key, model, body_pose, known, *, num_hypotheses):
        seen["complete"] = np.asarray(body_pose), np.asarray(known)
        bent = jnp.linspace(0, 0.5, num_hypotheses)[:, None, None, None]
        return jnp.nan_to_num(body_pose)[None] + bent * (1 - known)[:, None]

    def denoised(key, model, body, targets):
        seen["denoise"] = np.asarray(targets)
        return start_parameters(1, targets.shape[1], 10), targets[..., :22, :]

    def fitted(key, model, body, uv_px, confidence, cameras):
        seen["fit"] = np.asarray(uv_px), np.asarray(confidence)
        start = start_parameters(1, uv_px.shape[2], 10)
        upright = jnp.zeros_like(start.global_orient).at[..., 0].set(jnp.pi / 2)
        start = start._replace(global_orient=upright, transl=jnp.zeros_like(start.transl) + jnp.array([0, 2.0, 1]))
        return start, jnp.zeros((1, uv_px.shape[2], 17, 3))

    def generated(key, model, num):
        return jnp.asarray(RNG.normal(0, 0.2, (num, 21, 3)), jnp.float32)

    monkeypatch.setattr(gallery_bodies, "_completed", complete)
    monkeypatch.setattr(gallery_bodies, "_generated", generated)
    monkeypatch.setattr(gallery_bodies, "_denoised", denoised)
    monkeypatch.setattr(gallery_bodies, "_fitted", fitted)
    return seen


MODEL = SimpleNamespace(spec=Spec("<tiny>", ScoreMLP()))


@pytest.mark.slow
def test_pages_hold_what_the_tasks_were_given(tmp_path, shared, seen):
    pages = {page.name: page for page in gallery_bodies.body_pages(jax.random.key(0), MODEL)}
    assert list(pages) == ["generate_bodies", "complete_bodies", "denoise_bodies", "fit_bodies"]

    drawn = np.stack([skin.sampled() for skin in pages["generate_bodies"].shown[0]])
    np.testing.assert_allclose(drawn[..., 1].min(-1), 0, atol=3e-3)  # of four weights a vertex

    given, known = seen["complete"]
    assert np.flatnonzero(known == 0).tolist() == LEFT_LEG
    assert np.isnan(given[:, LEFT_LEG]).all()
    assert np.isfinite(np.delete(given, LEFT_LEG, 1)).all()
    page = pages["complete_bodies"]
    assert page.options["labels"] == ["walk, cmu06/a", *[f"walk, cmu94/{n}" for n in range(5)]]
    # at rest the left leg is right of the middle, as seen from the front, and below the pelvis
    rows, _ = gallery_bodies.part_of(anny_body(), [j + 1 for j in LEFT_LEG])
    rest = np.asarray(anny_body().v_template)[rows]
    assert rest[:, 0].min() > -0.02
    assert rest[:, 1].max() < 0.05
    assert {len(skin.rest) for skin in page.shown[0]} == {len(rows)}
    assert page.shown[1].max() == len(rows) - 1

    page = pages["denoise_bodies"]
    with np.load(shared.parent / "bench" / "val_motion.npz") as z:
        noise = seen["denoise"][0] - 0.1 * z["unit_noise"][0]
    np.testing.assert_allclose(page.options["observed"], seen["denoise"][0][::5], atol=1e-6)
    pelvis = np.asarray(anny_body().shape().joints[0])
    np.testing.assert_allclose(noise[:, 0], np.broadcast_to(pelvis, (F_CLIP, 3)), atol=1e-6)

    uv_px, confidence = seen["fit"]
    assert confidence[0, 2, 1, 5] == 0
    assert (np.delete(confidence.ravel(), (2 * 2 + 1) * 17 + 5) == 1).all()
    assert np.isfinite(uv_px).all()
    page = pages["fit_bodies"]
    # the stand-in's body stands where the joints are that the file holds: so both were turned alike, and set down alike
    rest = np.asarray(anny_body().shape().joints[:17])
    shown = page.options["observed"] - rest
    assert np.argwhere(np.isnan(shown).any(-1)).tolist() == [[1, 3]]
    lift = -np.asarray(anny_body().v_template)[:, 1].min()
    np.testing.assert_allclose(shown[0], np.tile([0, lift, -2], (17, 1)), atol=1e-4)
    np.testing.assert_allclose(
        page.shown[0][0].sampled() - anny_body().v_template,
        np.broadcast_to(shown[0, 0], (2, *anny_body().v_template.shape)),
        atol=1e-4,
    )

    for page in pages.values():
        path = page.write(tmp_path, "Model: <tiny>.")
        assert path.stat().st_size < 1e6
        assert "Model: <tiny>." in Read(path.read_text()).content["note"]
    index = gallery.write_index(tmp_path, list(pages.values()), "<tiny>", "nobody").read_text()
    assert re.findall(r'href="([^"]+)"', index) == [f"{name}.html" for name in pages]


@needs_keypoints
def test_the_walkers_cameras_see_its_triangulated_joints_where_they_were_detected():
    film = load_walker()
    uv_px, confidence, cameras = film.detections()
    x = jnp.einsum("cij,fkj->cfki", cameras.R_cam_world[0], film.points3d) + cameras.t_cam[0, :, None, None]
    found = project(cameras.intrinsics[0][:, None], x, cameras.distortion[0][:, None])
    away = np.moveaxis(np.linalg.norm(np.asarray(found) - np.asarray(uv_px[0]), axis=-1), 0, 1)
    told = np.isfinite(film.residual_px)
    assert told.mean() > 0.8
    assert (np.moveaxis(np.asarray(confidence[0]), 0, 1)[told] > 0).all()
    np.testing.assert_allclose(away[told], film.residual_px[told], atol=0.5)
