"""`experiments.gallery.bodies`: the cameras of the walker's page."""

import jax.numpy as jnp
import numpy as np
from shared import needs_keypoints

from experiments.evaluate.bench import load_walker
from jaxpose.geometry.camera import project


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
