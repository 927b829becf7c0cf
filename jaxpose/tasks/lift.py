"""Lifting: 2D keypoints in, H plausible 3D poses in metres out.

    keypoints --encode--> condition --H x sample--> states --decode--> root-relative joints --place--> roots

Root depth is not asked for. Metres come from what the model knows of human size, or from a body height that the
user gives; the root is then put where the pose agrees best with the keypoints.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.geometry.codec import decode_pose, encode_keypoints, place
from jaxpose.geometry.skeleton import bone_lengths
from jaxpose.model import Model
from jaxpose.networks.diffpose import DiffPose
from jaxpose.tasks.diffpose import draw_poses
from jaxpose.tasks.draw import check_person_codec, draw_states, spread

# An ankle's height over the sole as a share of stature: Drillis and Contini (1966), in Winter, Biomechanics, fig. 4.1.
_ANKLE_HEIGHT = 0.039


class Lifted(NamedTuple):
    """Many 3D poses of each of N detections.

    samples:    [H, N, J, 3] metres, root-relative, in the camera's axes (x right, y down, z forward).
    root:       [H, N, 3] metres: where each sample's root stands in the camera frame.
    mean:       [N, J, 3] metres, the mean sample.
    covariance: [N, J, 3, 3] square metres, of each joint over the samples.
    weights:    [H, N] of the samples, summing to 1 over H.
    path:       [T+1, H, N, J, 3] metres, the denoising from start to samples, or None.
    """

    samples: Array
    root: Array
    mean: Array
    covariance: Array
    weights: Array
    path: Array | None = None


def lift(
    key: Key,
    model: Model,
    keypoints: Array,
    confidence: Array | None = None,
    *,
    intrinsics: Array,
    distortion: Array | None = None,
    num_hypotheses: int = 200,
    num_steps: int | None = None,
    height: float | Array | None = None,
    sampler: str = "posterior",
    windows: tuple[Array, Array] | None = None,
    chunk: int | None = None,
    return_path: bool = False,
) -> Lifted:
    """Draw `num_hypotheses` 3D poses of each 2D detection; pure, and usable inside jit.

    keypoints:  [N, J, 2] pixels in the model's joint set (`joint_sets.convert_joints` brings others to it).
    confidence: [N, J] in [0, 1], 0 where a joint is missing; None: all are trusted.
    intrinsics: [4] or [N, 4] fx, fy, cx, cy pixels (`camera.intrinsics_from_fov` where the camera is not known).
    height:     stature of the person(s) in metres, scalar or [N]; None: the model's own knowledge.
    windows:    for a video model, which rows it sees together: (index [W, F], counted [W, F]) of `windows.tile`. None:
                the rows are the frames of one clip, at about 30 fps.
    num_steps, sampler, chunk, return_path: as in `draw_states`; one "mean_flow" sample is the single guess.
    """
    check_person_codec(model, "lift")
    num_joints = len(model.skeleton.joints)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (num_joints, 2):
        raise ValueError(
            f"keypoints: needed [N, {num_joints}, 2] in the order of {model.skeleton.name}, got {keypoints.shape}"
        )
    num_rows = keypoints.shape[0]
    confidence = (
        jnp.ones(keypoints.shape[:-1]) if confidence is None else jnp.asarray(confidence, jnp.float32)
    )
    if confidence.shape != keypoints.shape[:-1]:
        raise ValueError(f"confidence: needed {keypoints.shape[:-1]} as keypoints, got {confidence.shape}")
    if intrinsics.shape not in ((4,), (num_rows, 4)):
        raise ValueError(f"intrinsics: needed [4] or [{num_rows}, 4], got {intrinsics.shape}")
    confidence = jnp.where(jnp.isfinite(keypoints).all(-1), confidence, 0.0)

    cond, view = encode_keypoints(intrinsics, keypoints, confidence, distortion)
    how: dict[str, Any] = {
        "num_hypotheses": num_hypotheses, "num_steps": num_steps, "sampler": sampler, "return_path": return_path
    }  # fmt: skip
    if isinstance(model.spec.network, DiffPose):
        states = draw_poses(key, model, cond, windows=windows, **how)
    else:
        states = draw_states(key, model, cond, chunk=chunk, **how)
    poses = decode_pose(model.statistics, view, states)
    samples = poses[:, -1] if return_path else poses
    size = (jnp.ones(samples.shape[:2]) if height is None else jnp.asarray(height) / stature(samples, model))[
        ..., None, None
    ]
    samples = samples * size
    root = place(intrinsics, keypoints, confidence, samples, distortion)
    path = jnp.swapaxes(poses * size[:, None], 0, 1) if return_path else None
    return Lifted(samples, root, *spread(samples), path)


def stature(x: Array, model: Model) -> Array:
    """Standing height [...] metres of poses [..., J, 3]: leg (mean of both), spine and head, laid end to end."""
    if model.skeleton.name != "h36m17":
        raise ValueError(f"stature is defined on h36m17, got a model of {model.skeleton.name}")
    lengths = dict(
        zip(model.skeleton.joints[1:], jnp.moveaxis(bone_lengths(x, model.skeleton), -1, 0), strict=True)
    )
    thigh, shin = (
        0.5 * (lengths[f"left_{joint}"] + lengths[f"right_{joint}"]) for joint in ("knee", "ankle")
    )
    column = lengths["spine"] + lengths["thorax"] + lengths["neck_nose"] + lengths["head"]
    return (thigh + shin + column) / (1 - _ANKLE_HEIGHT)


jitted_lift = jax.jit(
    lift, static_argnames=("num_hypotheses", "num_steps", "sampler", "chunk", "return_path")
)
