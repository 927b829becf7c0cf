"""Bodies from keypoints that were projected from bodies: pixels, joints, several cameras against one."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.base import Camera
from jaxpose.fitting import keypoints as task
from jaxpose.fitting.engine import BodyParameters, Free, fit, posed_body
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints, one_camera
from jaxpose.fitting.priors import energy_prior
from jaxpose.fitting.terms import Keypoints, bends, project
from jaxpose.geometry import camera
from jaxpose.geometry.body_joints import body_points
from jaxpose.io.anny_body import anny_body

NUM, POINTS = 2, "smpl22"
INTRINSICS = jnp.array([1000.0, 1000.0, 500.0, 500.0])


def drawn_from(x):
    """The law that the poses are drawn from."""
    return jnp.square(x / 0.2).sum(-1) / 2


PRIOR = energy_prior(drawn_from)
SETTINGS = FitSettings(num_steps=250, starts=2)


def looking_at_the_middle(degrees):
    """A camera 4 m from the origin of a y-up world, turned about the vertical: 0 looks at people's faces."""
    a = np.radians(degrees)
    back = np.array([np.sin(a), 0, np.cos(a)])  # from the person to the camera
    R = np.stack([[np.cos(a), 0, -np.sin(a)], [0, -1, 0], -back])
    return R, -R @ (4 * back)


RIG = [looking_at_the_middle(a) for a in (10, 100, 190, 280)]
CAMERAS = Camera(
    jnp.broadcast_to(INTRINSICS, (1, 4, 4)),
    None,
    jnp.asarray(np.stack([R for R, _ in RIG])[None], jnp.float32),
    jnp.asarray(np.stack([t for _, t in RIG])[None], jnp.float32),
)


@pytest.fixture(scope="module")
def truth():
    """Parameters of two people of two frames, about the origin, facing +z or turned, and their 22 joints."""
    rng = np.random.default_rng(1)
    pose = rng.normal(0, 0.2, (NUM, 1, 21, 3)) + rng.normal(0, 0.02, (NUM, 2, 21, 3))
    orient = np.array([[0, 0.3, 0], [0, 2.0, 0]])[:, None] + np.zeros((NUM, 2, 3))
    place = rng.normal(0, 0.2, (NUM, 2, 3))
    parameters = BodyParameters(*(jnp.asarray(v, jnp.float32) for v in (pose, orient, place)), jnp.zeros((NUM, 10)))
    return parameters, points_of(anny_body(), parameters)


seen_by = jax.jit(lambda cameras, joints: project(cameras, joints))
points_of = jax.jit(lambda body, parameters: body_points(posed_body(body, parameters), POINTS))


def run(uv, confidence, seed=0):
    """One program for all tests."""
    body, key = anny_body(), jax.random.key(seed)
    return fit_keypoints(key, body, uv, confidence, CAMERAS, POINTS, PRIOR, noise_px=2.0, up="y", settings=SETTINGS)


def similar(x, y):
    """Mean millimetres [N] between points [N, F, K, 3] after the best similarity of each frame (Umeyama 1991)."""
    x, y = (v - v.mean(-2, keepdims=True) for v in (np.asarray(x, float), np.asarray(y, float)))
    U, S, Vt = np.linalg.svd(np.swapaxes(x, -1, -2) @ y)
    sign = np.ones_like(S)
    sign[..., -1] = np.linalg.det(U @ Vt)
    scale = (S * sign).sum(-1) / np.square(x).sum((-2, -1))
    turned = scale[..., None, None] * x @ (U * sign[..., None, :]) @ Vt
    return 1000 * np.linalg.norm(turned - y, axis=-1).mean((1, 2))


@pytest.fixture(scope="module")
def fits(truth):
    """Of four cameras, and of the first of them alone: the others' keypoints are NaN, of confidence 0."""
    uv = seen_by(CAMERAS, truth[1])
    confidence = jnp.ones(uv.shape[:-1])
    blind = uv.at[:, 1:].set(jnp.nan)
    return {4: run(uv, confidence), 1: run(blind, confidence.at[:, 1:].set(0))}


def pixels(found, truth, num):
    seen = points_of(anny_body(), jax.tree.map(lambda x: x[0], found))
    return np.linalg.norm(seen_by(CAMERAS, seen) - seen_by(CAMERAS, truth[1]), axis=-1)[:, :num]


def test_projection_is_the_camera_s(truth):
    """Camera by camera by geometry/camera.py; a point behind is taken as being just before it."""
    _, x = truth
    for c, (R, t) in enumerate(RIG):
        wanted = camera.project(INTRINSICS, x @ R.T + t)
        np.testing.assert_allclose(project(CAMERAS, x)[:, c], wanted, rtol=1e-4)
    assert np.isfinite(project(one_camera(INTRINSICS[None]), jnp.zeros((1, 1, 22, 3)))).all()
    depth = x + jnp.array([0, 0, 5.0])
    got = project(one_camera(jnp.broadcast_to(INTRINSICS, (NUM, 4))), depth)[:, 0]
    np.testing.assert_allclose(got, 1000 * depth[..., :2] / depth[..., 2:] + 500, rtol=1e-5)


def test_four_cameras_give_the_body_back(truth, fits):
    assert pixels(fits[4], truth, 4).mean() < 1
    far = 1000 * np.linalg.norm(np.asarray(fits[4].joints[0] - truth[1]), axis=-1)
    assert far.mean() < 10, "in the world's own place and size"


def test_one_camera_gives_its_own_view_back_and_less_depth(truth, fits):
    assert pixels(fits[1], truth, 1).mean() < 2
    one, four = (similar(fits[num].joints[0], truth[1]) for num in (1, 4))
    assert (four < one).all()
    assert four.max() < 10
    assert one.max() < 120


@pytest.mark.slow
def test_a_given_start_is_gone_on_from(truth):
    """From the truth nothing but the prior pulls; a start from behind, far from the rays, is not replaced."""
    parameters, joints = truth
    one = jax.tree.map(lambda x: x[:1], parameters)
    uv = seen_by(CAMERAS, joints)[:1]
    found = fit_keypoints(
        jax.random.key(0),
        anny_body(),
        uv,
        jnp.ones(uv.shape[:-1]),
        CAMERAS,
        POINTS,
        None,
        noise_px=2.0,
        start=one,
        settings=FitSettings(num_steps=5, learning_rate=1e-6),
    )
    for name in BodyParameters._fields:
        np.testing.assert_allclose(getattr(found, name)[0], getattr(one, name), atol=1e-4)
    # what is left is the bending of knees and elbows
    np.testing.assert_allclose(found.energy[0], np.square(np.exp(bends(one.body_pose))).sum((1, 2)), rtol=0.01)


def test_a_body_of_known_pose_is_placed_on_its_rays(truth):
    """Linear least squares: for one item of four starts, one camera and four, with a wrong keypoint not seen."""
    parameters, joints = truth
    uv, seen = seen_by(CAMERAS, joints)[:1], jnp.ones((1, 4, 2, 22)).at[:, :, :, 3].set(0)
    uv = uv.at[:, :, :, 3].add(300)
    rooted = joints[:1] - parameters.transl[:1, :, None]
    for num in (4, 1):
        some = jax.tree.map(lambda a, num=num: a[:, :num], CAMERAS)
        keypoints = Keypoints(uv[:, :num], seen[:, :num], some, jnp.ones(1), None, POINTS)
        got = task._place(keypoints, jnp.concatenate([rooted] * 4))
        np.testing.assert_allclose(got, np.broadcast_to(parameters.transl[:1], got.shape), atol=2e-3)
        assert len(got) == 4


def test_many_frames_that_are_wrong_alike_do_not_make_a_shape():
    """Mean people in 30 poses, one camera, whose keypoints are off by as much in all frames as by chance in each: the
    mean square of their betas, which is 1 over people, stays below a quarter (0.74 with the prior of one frame), and
    the keypoints are met within 5 % of what any shape could."""
    rng, num, frames = np.random.default_rng(0), 4, 30
    pose, place = rng.normal(0, 0.3, (num, frames, 21, 3)), np.tile([0, 0, 4.0], (num, frames, 1))
    parts = (pose, np.tile([0, 0, np.pi], (num, frames, 1)), place, np.zeros((num, 20)))
    person, cameras = BodyParameters(*(jnp.asarray(v, jnp.float32) for v in parts)), one_camera(INTRINSICS[None])
    uv = np.asarray(seen_by(cameras, points_of(anny_body(), person)))
    uv = uv + rng.normal(0, 3, (num, 1, 1, 22, 2)) + rng.normal(0, 3, uv.shape)
    evidence = Keypoints(
        jnp.asarray(uv, jnp.float32), jnp.ones(uv.shape[:-1]), cameras, jnp.full(num, 4.0), 10.0, POINTS
    )
    free, px = Free(body_pose=False, global_orient=False), {}
    for weight in (0.0, 1.0):
        how = {"num_steps": 100, "learning_rate": 0.1, "shape_weight": weight, "free": free}
        found = jax.tree.map(lambda x: x[0], fit(jax.random.key(0), anny_body(), None, evidence, start=person, **how))
        px[weight] = np.linalg.norm(seen_by(cameras, points_of(anny_body(), found)) - uv, axis=-1).mean()
    assert np.square(found.betas).mean() < 0.25
    assert px[1.0] < 1.05 * px[0.0]


@pytest.mark.parametrize(
    ("field", "shape", "needed"),
    [("distortion", (1, 4, 4), "[1, 1, 5] or [1, 4, 5]"), ("t_cam", (3, 4, 3), "[1, 1, 3] or [1, 4, 3]")],
    ids=["lens of four numbers", "three clips"],
)
def test_a_camera_of_another_shape_is_named(field, shape, needed):
    uv, cameras = np.zeros((1, 4, 2, 22, 2), np.float32), CAMERAS._replace(**{field: np.zeros(shape, np.float32)})
    with pytest.raises(
        ValueError, match=rf"cameras.{field}: needed {re.escape(needed)} .* got {re.escape(str(list(shape)))}"
    ):
        fit_keypoints(jax.random.key(0), anny_body(), uv, np.ones(uv.shape[:-1]), cameras, POINTS, None, up="y")
