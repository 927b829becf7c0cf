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
from jaxpose.diffusion.mixture import Mixture
from jaxpose.geometry.skeleton import bone_lengths
from jaxpose.model import Model, Recalibration
from jaxpose.networks.diffpose import DiffPose
from jaxpose.spaces.person import View, decode_pose, encode_keypoints, place
from jaxpose.tasks.diffpose import START, Encoded, draw_poses, encode_mixture, initial_distribution, keypoint_std
from jaxpose.tasks.draw import check_person_codec, draw_states, spread
from jaxpose.tasks.recalibration import respread

# An ankle's height over the sole as a share of stature: Drillis and Contini (1966), in Winter, Biomechanics, fig. 4.1.
_ANKLE_HEIGHT = 0.039


class Lifted(NamedTuple):
    """Many 3D poses of each of N detections.

    samples:    [H, N, J, 3] metres, root-relative, in the camera's axes (x right, y down, z forward).
    root:       [H, N, 3] metres: where each sample's root stands in the camera frame.
    mean:       [N, J, 3] metres, the mean sample.
    covariance: [N, J, 3, 3] square metres, of each joint about the mean, as validation says it is.
    radius_90:  [N, J] metres about the mean that hold a joint in 90 % of the cases, as validation says.
    weights:    [H, N] of the samples, summing to 1 over H.
    path:       [T+1, H, N, J, 3] metres, the denoising from start to samples, or None.
    """

    samples: Array
    root: Array
    mean: Array
    covariance: Array
    radius_90: Array
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
    keypoint_mixture: Mixture | None = None,
    num_components: int = 1,
    depth: str = "encoder",
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
    keypoint_mixture: for a DiffPose model, where each keypoint may be: pixels, weight [N, J, M], mean and std
                [N, J, M, 2], as `fit_mixture` finds them in heatmaps. Joints of confidence 0 stay unknown.
    num_components, depth: of a DiffPose model's start H_K, as in `diffpose.initial_distribution`.
    num_steps, sampler, chunk, return_path: as in `draw_states`; one "mean_flow" sample is the single guess.
    """
    check_person_codec(model, "lift")
    num_joints = len(model.skeleton.joints)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (num_joints, 2):
        raise ValueError(
            f"keypoints: needed [N, {num_joints}, 2] in the order of {model.skeleton.name}, got {keypoints.shape}"
        )
    num_rows = keypoints.shape[0]
    confidence = jnp.ones(keypoints.shape[:-1]) if confidence is None else jnp.asarray(confidence, jnp.float32)
    if confidence.shape != keypoints.shape[:-1]:
        raise ValueError(f"confidence: needed {keypoints.shape[:-1]} as keypoints, got {confidence.shape}")
    if intrinsics.shape not in ((4,), (num_rows, 4)):
        raise ValueError(f"intrinsics: needed [4] or [{num_rows}, 4], got {intrinsics.shape}")
    confidence = jnp.where(jnp.isfinite(keypoints).all(-1), confidence, 0.0)

    cond, view = encode_keypoints(intrinsics, keypoints, confidence, distortion)
    recalibration = model.recalibration.get("lift") if sampler == "posterior" else None
    how: dict[str, Any] = {
        "num_hypotheses": num_hypotheses,
        "num_steps": num_steps,
        "sampler": sampler,
        "return_path": return_path,
    }
    if isinstance(model.spec.network, DiffPose):
        keypoints_k = None
        if keypoint_mixture is not None:
            _check_mixture(keypoint_mixture, keypoints.shape, distortion)
            keypoints_k = encode_mixture(view, intrinsics, keypoint_mixture)

        def start(encoded: Encoded) -> Mixture:
            return initial_distribution(
                jax.random.fold_in(key, START),
                model,
                encoded,
                num_components=num_components,
                keypoints=None if keypoints_k is None else _known(keypoints_k, encoded.keypoints),
                depth=depth,
            )

        states = draw_poses(key, model, cond, windows=windows, start=start, **how)
    else:
        if keypoint_mixture is not None or num_components != 1 or depth != "encoder":
            raise ValueError(
                f"keypoint_mixture, num_components and depth are for DiffPose models, got {model.spec.name!r}"
            )
        states = draw_states(key, model, cond, chunk=chunk, **how)
        if recalibration is not None:
            last = states[:, -1] if return_path else states
            last = respread(model, cond, view, last, recalibration)
            states = jnp.concatenate([states[:, :-1], last[:, None]], 1) if return_path else last
    where: dict[str, Any] = {"intrinsics": intrinsics, "distortion": distortion, "height": height}
    return as_lifted(model, view, states, keypoints, confidence, recalibration=recalibration, **where)


def as_lifted(
    model: Model,
    view: View,
    states: Array,
    keypoints: Array,
    confidence: Array,
    *,
    intrinsics: Array,
    distortion: Array | None = None,
    height: float | Array | None = None,
    recalibration: Recalibration | None = None,
) -> Lifted:
    """States [H, N, J, 3] in metres and in their place; or paths [H, T+1, N, J, 3], which end with the samples.

    view, keypoints, confidence: that the states were drawn under; confidence is 0 where keypoints are not finite.
    recalibration: of covariance and radius; None leaves them as the states have them.
    """
    poses = decode_pose(model.statistics, view, states)
    samples = poses[:, -1] if poses.ndim == 5 else poses
    size = (jnp.ones(samples.shape[:2]) if height is None else jnp.asarray(height) / stature(samples, model))[
        ..., None, None
    ]
    samples = samples * size
    root = place(intrinsics, keypoints, confidence, samples, distortion)
    path = jnp.swapaxes(poses * size[:, None], 0, 1) if poses.ndim == 5 else None
    return Lifted(samples, root, *spread(samples, recalibration), path)


def stature(x: Array, model: Model) -> Array:
    """Standing height [...] metres of poses [..., J, 3]: leg (mean of both), spine and head, laid end to end."""
    if model.skeleton.name != "h36m17":
        raise ValueError(f"stature is defined on h36m17, got a model of {model.skeleton.name}")
    lengths = dict(zip(model.skeleton.joints[1:], jnp.moveaxis(bone_lengths(x, model.skeleton), -1, 0), strict=True))
    thigh, shin = (0.5 * (lengths[f"left_{joint}"] + lengths[f"right_{joint}"]) for joint in ("knee", "ankle"))
    column = lengths["spine"] + lengths["thorax"] + lengths["neck_nose"] + lengths["head"]
    return (thigh + shin + column) / (1 - _ANKLE_HEIGHT)


def _known(mixture: Mixture, keypoints: Array) -> Mixture:
    """The mixture of keypoints (u, v, confidence) [N, J, 3], which is anywhere on the person where they are hidden."""
    seen = (keypoints[..., 2] > 0)[..., None, None]
    mean = jnp.where(seen, mixture.mean, keypoints[..., None, :2])
    return mixture._replace(mean=mean, std=jnp.where(seen, mixture.std, keypoint_std(keypoints)[..., None, None]))


def _check_mixture(mixture: Mixture, shape: tuple[int, ...], distortion: Array | None) -> None:
    weight, mean, std = mixture
    if mean.ndim != 4 or (*mean.shape[:2], mean.shape[3]) != shape or std.shape != mean.shape:
        raise ValueError(f"keypoint_mixture: needed mean and std {[*shape[:2], 'M', 2]}, got {mean.shape}, {std.shape}")
    if weight.shape != mean.shape[:-1]:
        raise ValueError(f"keypoint_mixture: needed weight {mean.shape[:-1]}, got {weight.shape}")
    if distortion is not None:
        raise ValueError("keypoint_mixture: needed keypoints without distortion, got one")


jitted_lift = jax.jit(
    lift, static_argnames=("num_hypotheses", "num_steps", "sampler", "num_components", "depth", "chunk", "return_path")
)
