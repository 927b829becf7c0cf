"""Wrong arguments of public functions are one line that names the argument, before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_models

import jaxpose
from jaxpose.base import Camera
from jaxpose.fitting.engine import start_parameters
from jaxpose.io.anny_body import anny_body

POSE = small_models.clip_poses()
BODY = np.zeros((3, 21, 3), np.float32)
KEYPOINTS = np.full((3, 2, 17, 2), 300, np.float32)
CAMERAS = Camera(
    np.float32([[900, 900, 320, 240]] * 2), None, np.float32([np.eye(3)] * 2), np.float32([[0, 0, 4], [1, 0, 4]])
)
OBSERVED = jaxpose.Observed(POSE[0], jnp.asarray, 0.1)
ANNY = anny_body()
JOINTS = np.zeros((2, 6, 22, 3), np.float32)
START = start_parameters(2, 6, ANNY.shapedirs.shape[-1])
SEEN = {"uv_px": JOINTS[:, None, :, :, :2], "confidence": np.ones((2, 1, 6, 22))}
SEEN["cameras"] = Camera(*(None if x is None else x[None, :1] for x in CAMERAS[:4]))


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Public functions with arguments that are legal, which a call may replace."""
    folder = tmp_path_factory.mktemp("models")
    joints = jaxpose.load(str(small_models.write_joint_model(folder))).replace(typicality=np.linspace(0, 1, 11))
    prior, key = jaxpose.load(str(small_models.write_prior(folder))), jax.random.key(0)

    def measure(poses, quantities, **more):
        return jaxpose.measure(poses, *quantities, **more)

    def posterior(observed, key=key, **more):
        return jaxpose.posterior(key, more.pop("prior", jaxpose.prior_of(joints)), observed, **more)

    def fit(terms, **given):
        return jaxpose.fit(given.pop("key"), given.pop("body"), given.pop("prior"), *terms, **given)

    def lifted(settings=(), **batch):
        return jaxpose.Lifter(**dict(settings))(batch)

    return {
        "measure": (measure, {"poses": POSE, "quantities": ()}),
        "log_density": (jaxpose.log_density, {"model": joints, "pose": POSE}),
        "log_density of bodies": (jaxpose.log_density, {"model": prior, "pose": BODY}),
        "typicality": (jaxpose.typicality, {"model": joints, "pose": POSE}),
        "interpolate": (jaxpose.interpolate_rotations, {"model": prior, "first": BODY, "second": BODY, "num": 3}),
        "generate": (jaxpose.generate_rotations, {"key": key, "model": prior, "num": 3}),
        "complete": (jaxpose.complete_rotations, {"key": key, "model": prior, "body_pose": BODY, "known": np.ones(21)}),
        "posterior": (posterior, {"observed": OBSERVED}),
        "ik": (jaxpose.ik, {"key": key, "body": ANNY, "targets": JOINTS, "points": "smpl22", "prior": None}),
        "denoise": (
            jaxpose.denoise_motion,
            {"key": key, "body": ANNY, "targets": JOINTS, "points": "smpl22", "prior": None},
        ),
        "fit": (fit, {"terms": (), "key": key, "body": ANNY, "prior": None, "start": START}),
        "fit_keypoints": (jaxpose.fit_keypoints, {"key": key, "body": ANNY, "points": "smpl22", "prior": None, **SEEN}),
        "Lifter": (lifted, {"id": np.arange(3), "keypoints": POSE[..., :2], "intrinsics": np.ones((3, 4))}),
        "interactive": (jaxpose.interactive(jaxpose.complete, key, joints), {"joints": POSE}),
        "fuse": (jaxpose.fuse, {"key": key, "model": joints, "keypoints": KEYPOINTS, "cameras": CAMERAS}),
    }


def changed(x, value):
    x = x.copy()
    x.flat[0] = value
    return x


WRONG = [
    ("measure", "poses", POSE.astype(">f4"), "poses: .*order of bytes"),
    ("measure", "poses", POSE.astype(np.float16), "poses: needed float32"),
    ("measure", "poses", POSE[:0], "poses: needed at least one row"),
    ("measure", "poses", [[1], [2, 3]], "poses: needed an array of numbers"),
    ("measure", "up", np.ones(4), "up: needed .*3"),
    ("measure", "up", np.float32([0, np.nan, 0]), "up: needed finite numbers"),
    ("measure", "up", None, "up: needed a value, got None"),
    ("measure", "neutral", np.array([0, 1, 1]), "neutral: needed .3. of True and False"),
    ("measure", "seconds", np.arange(3.0).astype(">f8"), "seconds: .*order of bytes"),
    ("measure", "quantities", (3,), "quantities: needed names"),
    ("log_density", "pose", None, "pose: needed a value"),
    ("log_density", "pose", POSE[..., :2], r"pose: needed \[N, 17, 3\]"),
    ("log_density", "pose", changed(POSE, np.nan), "pose: pose 0 of 3 has a missing"),
    ("log_density", "level", np.ones(3), "level: needed a number"),
    ("log_density", "num_steps", None, "num_steps: needed a value"),
    ("log_density of bodies", "pose", BODY[None], r"pose: needed \[N, 21, 3\]"),
    ("log_density of bodies", "pose", changed(BODY, 90), "pose: joint 0 of pose 0 turns"),
    ("typicality", "model", None, "model: needed a value"),
    ("typicality", "pose", POSE[:, :4], r"pose: needed \[N, 17, 3\]"),
    ("interpolate", "first", BODY[..., :2], r"first: needed \[..., 21, 3\]"),
    ("interpolate", "first", changed(BODY, np.inf), "first: needed finite"),
    ("interpolate", "second", changed(BODY, 90), "second: joint 0 of pose 0 turns"),
    ("interpolate", "second", BODY[:2], r"second: needed \[3, 21, 3\]"),
    ("interpolate", "num", None, "num: needed a value"),
    ("interpolate", "num", 10**12, "num: needed"),
    ("generate", "sampler", "flow", "sampler: needed one such as"),
    ("complete", "key", -1, "key: needed one key"),
    ("complete", "key", jax.random.split(jax.random.key(0)), "key: needed one key"),
    ("complete", "body_pose", 1.0, "body_pose: needed"),
    ("complete", "method", "dps", "method: needed FewSteps"),
    ("posterior", "key", None, "key: needed a value"),
    ("posterior", "prior", "pose17", "prior: needed a Prior"),
    ("posterior", "method", "dps", "method: needed a Method"),
    ("posterior", "observed", POSE[0], "observed: needed an Observed"),
    ("posterior", "observed", OBSERVED._replace(operator="x"), "observed: needed an Observed"),
    ("posterior", "observed", OBSERVED._replace(value=changed(POSE[0], 3e38)), "observed: needed finite"),
    ("posterior", "observed", OBSERVED._replace(noise=None), "noise: needed float32"),
    ("posterior", "observed", OBSERVED._replace(noise=np.inf), "noise: needed finite"),
    ("fuse", "keypoints", KEYPOINTS[:0], "keypoints: needed at least one row"),
    ("fuse", "keypoints", KEYPOINTS[..., :16, :], "keypoints: needed .*17"),
    ("fuse", "confidence", np.ones((3, 2, 16)), "confidence: needed"),
    ("fuse", "cameras", None, "cameras: needed a value"),
    ("fuse", "cameras", CAMERAS.intrinsics, "cameras: needed a jaxpose.Camera"),
    ("fuse", "cameras", Camera(CAMERAS.intrinsics), "cameras: R_cam_world: needed"),
    ("fuse", "cameras", CAMERAS._replace(R_cam_world=0 * CAMERAS.R_cam_world), "cameras: R_cam_world: .*rotations"),
    ("fuse", "cameras", CAMERAS._replace(t_cam=np.ones((2, 4))), r"cameras: t_cam: needed \[2, 3\]"),
    ("fuse", "cameras", jax.tree.map(lambda x: x[:1], CAMERAS), "cameras: intrinsics: needed .*for 2 cameras"),
    ("fuse", "up", "x", "up: got 'x'; must be one of"),
    ("fuse", "noise_px", np.ones(3), "noise_px: needed a number"),
    ("fuse", "method", ["dps"], "method: must be one of"),
    ("fuse", "robust", "yes", "robust: needed True or False"),
    ("fuse", "noise_px", 0, "noise_px: needed finite numbers"),
    ("fuse", "keypoints", np.full_like(KEYPOINTS, np.nan), "keypoints: no camera sees a joint in row 0"),
    ("fuse", "keypoints", 1.0, "keypoints: needed at least one row"),
    ("ik", "key", -1, "key: needed one key"),
    ("ik", "body", "anny", "body: needed Body"),
    ("ik", "points", ["smpl22"], "points: needed str"),
    ("ik", "prior", "prior21", "prior: needed a function"),
    ("ik", "settings", {}, "settings: needed Settings"),
    ("ik", "noise", np.nan, "noise: needed finite"),
    ("ik", "noise", -0.1, "noise: needed finite"),
    ("ik", "noise", np.ones(3), "noise: needed a number"),
    ("ik", "start_pose", BODY[0].astype(">f4"), "start_pose: .*order of bytes"),
    ("ik", "start_pose", changed(BODY[0], np.nan), "start_pose: needed finite"),
    ("ik", "start_pose", BODY[0, :20], r"start_pose: needed \[21, 3\]"),
    ("ik", "targets", changed(JOINTS, 1e20), "targets: needed finite"),
    ("ik", "num_hypotheses", 0, "num_hypotheses: needed at least 1"),
    ("denoise", "targets", np.full_like(JOINTS, np.nan), "targets: needed clips with points"),
    ("denoise", "betas", np.ones((2, 99)), "betas: needed"),
    ("denoise", "noise", np.ones(3), "noise: needed a number"),
    ("fit", "terms", (), "terms: needed one or more"),
    ("fit", "terms", ("x",), "terms: needed a function"),
    ("fit", "start", BODY, "start: needed BodyParameters"),
    ("fit_keypoints", "noise_px", 0.0, "noise_px: needed finite"),
    ("fit_keypoints", "uv_px", changed(SEEN["uv_px"], 1e20), "uv_px: needed finite"),
    ("fit_keypoints", "up", None, "up: needed a value"),
    ("Lifter", "keypoints", 1.0, "keypoints: needed a column"),
    ("Lifter", "keypoints", POSE[:2, :, :2], "keypoints: needed a column"),
    ("Lifter", "settings", {"seed": -1}, "seed: needed a whole"),
    ("Lifter", "settings", {"model": 3}, "model: needed a name"),
    ("interactive", "joints", "x", "joints: needed float32"),
    ("interactive", "joints", POSE.astype(">f4"), "joints: .*order of bytes"),
    ("interactive", "joints", 1.0, "joints: needed at least one row"),
]


@pytest.mark.parametrize(("function", "name", "value", "message"), WRONG, ids=lambda x: x if isinstance(x, str) else "")
def test_a_wrong_argument_is_named_in_one_line(calls, function, name, value, message):
    call, given = calls[function]
    with pytest.raises(ValueError, match=f"^{message}") as refused:
        call(**given | {name: value})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
