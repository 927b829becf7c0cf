"""Bodies fitted with a prior and without, on validation subjects: motion denoising, 2D keypoints, a filmed walker.

    python -m experiments.evaluate_body --model=prior21 [--task=motion,fit,walker] [--stride=1] [--out=runs/body]

motion: val_motion at 20, 40 and 100 mm of noise (32, 64, 160 mm of error): mean joint error after the fit, mm, on the
        generic skeleton, root known; and the same with more and less smoothness.
fit:    1,000 validation frames of the licence-free body, shapes drawn from N(0, 0.5^2), projected to OpenPose's 25
        points through the frames' cameras (known), 3 px of noise, 10 % missing: PA-MPJPE and MPJPE of the 22 joints.
walker: walker_4cam (real detections), every 5th frame, fitted as one clip from each camera and from all four; against
        points3d (a triangulation from the same detections, itself good to 1-2 cm), COCO joints without the head, mm.

Each with the DPoser prior, none, L2, and a Gaussian and a mixture fitted to the training rotations. The ratio to none
has its 95 % interval by paired bootstrap over clips or sequences.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.prior_bench import generic_body, load_clips, load_poses, show, timed, write_rows
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.datasets.mocap import data_root
from jaxpose.datasets.rotations import load_rotations
from jaxpose.evaluation import metrics
from jaxpose.evaluation.bootstrap import paired_bootstrap
from jaxpose.fitting.baselines import fit_gaussian, fit_mixture, l2_energy
from jaxpose.fitting.engine import BodyParameters, Free, PosePrior, posed_body
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints
from jaxpose.fitting.motion import MotionSettings, denoise_motion
from jaxpose.fitting.priors import dposer_prior, energy_prior
from jaxpose.fitting.terms import Weights, project
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import body_points
from jaxpose.geometry.camera import intrinsics_from_matrix
from jaxpose.io.capsule_body import capsule_body

MODEL = flags.DEFINE_string("model", "prior21", "A bundled model's name, or a .safetensors file.")
TASK = flags.DEFINE_list("task", ["motion", "fit", "walker"], "Which tables.")
PRIORS = flags.DEFINE_list("priors", ["dposer", "none", "l2", "gaussian", "mixture"], "Which priors.")
STRIDE = flags.DEFINE_integer("stride", 1, "Every so many of the clips and of the 1,000 frames.", lower_bound=1)
SMOOTH = flags.DEFINE_list("smooth", ["600"], "Weights of smoothness of the motion, one row each, 1 / m^2.")
SEED = flags.DEFINE_integer("seed", 0, "Of all random numbers.")
OUT = flags.DEFINE_string("out", "runs/body", "Where the JSON goes.")

_FRAMES, _NOISE_PX, _MISSING, _SHAPE = 1000, 3.0, 0.1, 0.5
_WALKER_STRIDE, _WALKER_NOISE_PX = 5, 10.0
_LIMBS = slice(5, 17)  # COCO without the head
PriorFn = Callable[[released.Model], PosePrior | None]


def main(argv: list[str]) -> None:
    del argv
    tasks = {"motion": motion, "fit": fit_frames, "walker": walker}
    if unknown := set(TASK.value) - set(tasks):
        raise ValueError(f"--task: got {sorted(unknown)}, legal are {list(tasks)}")
    model = released.load(MODEL.value)
    priors = make_priors()
    rows = [row | {"task": name} for name in TASK.value for row in tasks[name](model, priors)]
    write_rows(OUT.value, "body.json", model, SEED.value, rows)


def make_priors() -> dict[str, PriorFn]:
    """The priors that --priors names; the Gaussians are fitted to the training subjects' rotations."""
    legal = ("dposer", "none", "l2", "gaussian", "mixture")
    if unknown := set(PRIORS.value) - set(legal):
        raise ValueError(f"--priors: got {sorted(unknown)}, legal are {legal}")
    made: dict[str, PriorFn] = {"dposer": dposer_prior, "none": lambda model: None}
    made["l2"] = lambda model: energy_prior(l2_energy)
    if {"gaussian", "mixture"} & set(PRIORS.value):
        poses = jnp.asarray(load_rotations(data_root(), "train").body_pose).reshape(-1, 63)
        gaussian = fit_gaussian(poses)
        made["gaussian"] = lambda model: energy_prior(gaussian.energy)
    if "mixture" in PRIORS.value:
        mixture = fit_mixture(jax.random.key(0), poses[::4], 8)
        made["mixture"] = lambda model: energy_prior(mixture.nearest_energy)
    return {name: made[name] for name in ("none", *legal) if name in {"none", *PRIORS.value}}


def motion(model: released.Model, priors: dict[str, PriorFn]) -> list[dict[str, Any]]:
    """Motion denoising at three levels."""
    body, clips = generic_body(), load_clips(STRIDE.value)
    joints, unit = jnp.asarray(clips.joints), jnp.asarray(clips.unit_noise)
    start, rows = jnp.asarray(model.statistics.mean), []
    for noise in (0.02, 0.04, 0.1):
        for smooth in (float(s) for s in SMOOTH.value):
            errors: dict[str, np.ndarray] = {}
            for name, make in priors.items():
                run = functools.partial(_denoised, make=make, noise=noise, smooth=smooth)
                found, seconds = timed(run, model, body, joints + noise * unit, start)
                errors[name] = 1000 * np.asarray(jnp.linalg.norm(found - joints, axis=-1).mean((1, 2)))
                row = {"error_mm": float(errors[name].mean())}
                row["acceleration_mm"] = 1000 * float(metrics.acceleration_error(found, joints).mean())
                row |= _against_none(errors, name, clips.name)
                rows.append(show(f"motion {1000 * noise:.0f} mm, smooth {smooth:.0f}, {name}", row, seconds=seconds))
    return rows


def fit_frames(model: released.Model, priors: dict[str, PriorFn]) -> list[dict[str, Any]]:
    """Synthetic keypoints of 1,000 frames, in one call."""
    body, poses = capsule_body(), load_poses(1)
    chosen = np.linspace(0, len(poses.body_pose) - 1, _FRAMES).astype(int)[:: STRIDE.value]
    rng, num = np.random.default_rng(SEED.value), len(chosen)
    betas = _SHAPE * rng.normal(size=(num, body.shapedirs.shape[-1]))
    pose, orient, place, intrinsics, R, t = (jnp.asarray(x[chosen][:, None]) for x in poses[:6])
    posed = posed_body(body, BodyParameters(pose, orient, place, jnp.asarray(betas, jnp.float32)))
    cameras = Camera(intrinsics, None, R, t)
    exact = project(cameras, body_points(posed, "openpose25"))
    uv = exact + jnp.asarray(_NOISE_PX * rng.normal(size=exact.shape), jnp.float32)
    confidence = jnp.asarray(rng.random(uv.shape[:-1]) > _MISSING, jnp.float32)
    truth, start = posed.joints[:, 0, :22], jnp.asarray(model.statistics.mean)
    print(f"fit of {num} frames to {uv.shape[-2]} points, {_NOISE_PX} px of noise")
    errors: dict[str, np.ndarray] = {}
    rows = []
    gentle = FitSettings(num_steps=300, learning_rate=0.03, weights=Weights(prior=0.0))
    settings = {name: FitSettings() for name in priors} | {"none, its best settings": gentle}
    for name, chosen_settings in settings.items():
        make = priors.get(name, priors["none"])

        # what is seen goes in as an argument: as constants of the program it would be folded for minutes
        def run(
            model: released.Model,
            body: Body,
            uv: Array,
            confidence: Array,
            cameras: Camera,
            make: PriorFn = make,
            settings: FitSettings = chosen_settings,
        ) -> Array:
            return fit_keypoints(
                jax.random.key(SEED.value),
                body,
                uv,
                confidence,
                cameras,
                "openpose25",
                make(model),
                noise_px=_NOISE_PX,
                start_pose=start,
                up="y",
                settings=settings,
            ).joints[0, :, 0]

        found, seconds = timed(run, model, body, uv, confidence, cameras)
        errors[name] = 1000 * np.asarray(metrics.p_mpjpe(found, truth))
        rooted = metrics.mpjpe(metrics.align_root(found), metrics.align_root(truth))
        row = {"pa_mpjpe_mm": float(errors[name].mean()), "pa_median_mm": float(np.median(errors[name]))}
        row |= {"mpjpe_mm": 1000 * float(rooted.mean())} | _against_none(errors, name, poses.sequence[chosen])
        rows.append(show(f"fit, {name}", row, seconds=seconds))
    return rows


def walker(model: released.Model, priors: dict[str, PriorFn]) -> list[dict[str, Any]]:
    """A filmed person from one camera and from four."""
    path = data_root() / "keypoints2d" / "walker_4cam.npz"
    with np.load(path, allow_pickle=False) as z:
        keypoints, points3d = z["keypoints"][::_WALKER_STRIDE], z["points3d"][::_WALKER_STRIDE]
        K, dist, R, t = (z[k] for k in ("K", "dist", "R", "t"))
    keypoints = np.moveaxis(keypoints, 1, 0)[None]  # [1, C, F, K, 3]
    confidence = np.where(np.isfinite(keypoints).all(-1), keypoints[..., 2], 0)
    uv, seen = jnp.asarray(np.nan_to_num(keypoints[..., :2])), jnp.asarray(np.nan_to_num(confidence))
    dist = np.pad(dist.reshape(len(K), -1), ((0, 0), (0, 5)))[:, :5]
    all_cameras = Camera(
        intrinsics_from_matrix(jnp.asarray(K))[None],
        jnp.asarray(dist)[None],
        jnp.asarray(R)[None],
        jnp.asarray(t).reshape(1, -1, 3),
    )
    body, start, rows = capsule_body(), jnp.asarray(model.statistics.mean), []
    truth, known = jnp.asarray(points3d[:, _LIMBS]), jnp.asarray(np.isfinite(points3d[:, _LIMBS]).all(-1))
    for chosen in ([0], [1], [2], [3], [0, 1, 2, 3]):
        cameras = jax.tree.map(lambda x, c=chosen: x[:, np.array(c)], all_cameras)
        for name in ("dposer", "none") if len(chosen) == 4 else ("dposer",):
            make = priors.get(name)
            if make is None:
                continue

            def run(model: released.Model, body: Body, make=make, cameras=cameras, chosen=chosen) -> Array:
                prior, key = make(model), jax.random.key(SEED.value)
                settings = FitSettings(weights=FitSettings().weights._replace(smooth=20.0))
                found = fit_keypoints(
                    key,
                    body,
                    uv[:, np.array(chosen)],
                    seen[:, np.array(chosen)],
                    cameras,
                    "coco17",
                    prior,
                    noise_px=_WALKER_NOISE_PX,
                    start_pose=start,
                    up="z",
                    settings=settings,
                )
                one = jax.tree.map(lambda x: x[0], found)
                return body_points(posed_body(body, one), "coco17")[0]

            points, seconds = timed(run, model, body)
            points = points[:, _LIMBS]
            weight = known.astype(points.dtype)
            filled = jnp.where(known[..., None], truth, points)
            absolute = (jnp.linalg.norm(points - filled, axis=-1) * weight).sum() / weight.sum()
            aligned = metrics.p_mpjpe(points, filled, weight)
            row = {"absolute_mm": 1000 * float(absolute), "pa_mpjpe_mm": 1000 * float(aligned.mean())}
            rows.append(show(f"walker, cameras {chosen}, {name}", row, seconds=seconds))
    return rows


def _denoised(
    model: released.Model, body: Body, noisy: Array, start: Array, *, make: PriorFn, noise: float, smooth: float
) -> Array:
    settings = MotionSettings(weights=MotionSettings().weights._replace(smooth=smooth))
    return denoise_motion(
        jax.random.key(SEED.value),
        body,
        noisy,
        "smpl22",
        make(model),
        noise=noise,
        start_pose=start,
        free=Free(global_orient=False, transl=False, betas=False),
        settings=settings,
    ).joints[0]


def _against_none(errors: dict[str, np.ndarray], name: str, groups: np.ndarray) -> dict[str, float]:
    if name == "none" or "none" not in errors:
        return {}
    found = paired_bootstrap(SEED.value, errors[name], errors["none"], groups=groups)
    return {"ratio": found.ratio, "ratio_low": found.ratio_low, "ratio_high": found.ratio_high}


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_body: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
