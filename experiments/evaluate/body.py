"""Bodies fitted with a prior and without, on validation subjects: motion denoising, 2D keypoints, a filmed walker.

    python -m experiments.evaluate body --model=prior21 [--task=motion,fit,walker] [--stride=1] [--out=runs/body]

motion: val_motion at 20, 40 and 100 mm of noise (32, 64, 160 mm of error): mean joint error after the fit, mm, on the
        generic skeleton, root known; and the same with more and less smoothness.
fit:    1,000 validation frames of the default body, shapes drawn from N(0, 0.5^2), projected to OpenPose's 25
        points through the frames' cameras (known), 3 px of noise, 10 % missing: PA-MPJPE and MPJPE of the 22 joints,
        the share of joints in the 90 % radius about the pelvis, and of pelves in theirs, with the factors on the radii
        that would hold 90 %. Once more with the errors of the training's detector, told as 1 % of the person's extent.
walker: walker_4cam (real detections), every 5th frame, fitted as one clip from each camera and from all four; against
        points3d (a triangulation from the same detections, itself good to 1-2 cm), COCO joints without the head, mm.

Each with the DPoser prior, none, L2, and a Gaussian and a mixture fitted to the training rotations. The ratio to none
has its 95 % interval by paired bootstrap over clips or sequences.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.bench import generic_body, load_motions, load_poses
from experiments.evaluate.gaussians import fit_mixture
from experiments.evaluate.harness import Item, Row, Table, compared, timed
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.datasets.mocap import data_root, load_rotations
from jaxpose.evaluation import metrics
from jaxpose.examples import detectors
from jaxpose.fitting.engine import BodyParameters, Free, PosePrior, posed_body
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints, observed
from jaxpose.fitting.least_squares import LevenbergMarquardt
from jaxpose.fitting.motion import MotionSettings, denoise_motion
from jaxpose.fitting.priors import dposer_prior, energy_prior, l2_energy
from jaxpose.fitting.terms import Settings, Weights, project
from jaxpose.fitting.uncertainty import gaussian_radius_90, joint_spread
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import POINT_SETS, body_points
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.anny_body import anny_body
from jaxpose.tasks.rotations import rotation_std

TASKS = ("motion", "fit", "walker")
PRIORS = ("dposer", "none", "l2", "gaussian", "mixture")
METHODS = {"second_order": LevenbergMarquardt(50), "adam": None}
_FRAMES, _NOISE_PX, _MISSING, _SHAPE = 1000, 3.0, 0.1, 0.5
_WALKER_STRIDE, _WALKER_NOISE_PX = 5, 10.0
_DETECTED, _SHARE = "dposer, a detector's errors", 0.01  # the noise of `jaxpose fit`: a share of the person's extent
_LIMBS = slice(5, 17)  # COCO without the head
PriorFn = Callable[[released.Model], PosePrior | None]


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option("prior21", "A bundled model's name, or a .safetensors file.")
    task: tuple[str, ...] = option(TASKS, "Which tables.", legal=TASKS)
    priors: tuple[str, ...] = option(PRIORS, "Which priors; none is always there.", legal=PRIORS)
    stride: int = option(1, "Every so many of the clips and of the 1,000 frames.", low=1)
    method: str = option("default", "Of the fits; default: that of each task.", legal=("default", *METHODS))
    smooth: tuple[float, ...] = option((600.0,), "Weights of smoothness of the motion, one row each, 1 / m^2.", low=0)


def body(model: released.Model, options: Options) -> Iterator[Item]:
    """The tables of --task."""
    priors = make_priors(options.priors)
    makers = dict(zip(TASKS, (motion, fit_frames, walker), strict=True))
    for name in options.task:
        yield from makers[name](model, priors, options)


def make_priors(wanted: tuple[str, ...]) -> dict[str, PriorFn]:
    """The priors by name; the Gaussians are fitted to the training subjects' rotations."""
    made: dict[str, PriorFn] = {"dposer": dposer_prior, "none": lambda model: None}
    made["l2"] = lambda model: energy_prior(l2_energy)
    if {"gaussian", "mixture"} & set(wanted):
        poses = load_rotations(data_root(), "train").body_pose.reshape(-1, 63)
        for name, num, stride in (("gaussian", 1, 1), ("mixture", 8, 4)):
            if name in wanted:
                made[name] = functools.partial(
                    lambda energy, model: energy_prior(energy), fit_mixture(poses[::stride], num)
                )
    return {name: made[name] for name in ("none", *PRIORS) if name in {"none", *wanted}}


def motion(model: released.Model, priors: dict[str, PriorFn], options: Options) -> Iterator[Item]:
    """Motion denoising at three levels."""
    skeleton, clips = generic_body(), load_motions(options.stride)
    joints, unit = jnp.asarray(clips.joints), jnp.asarray(clips.unit_noise)
    start = jnp.asarray(model.statistics.mean)
    privileges = "noisy 3D joints; the noise level, the bone lengths and the root"
    yield Table(f"{len(clips.name)} motions of {joints.shape[1]} frames", privileges, bench.tuned(model))
    for noise in (0.02, 0.04, 0.1):
        for smooth in options.smooth:
            errors: dict[str, np.ndarray] = {}
            for name, make in priors.items():
                run = functools.partial(
                    denoised_joints, make=make, noise=noise, smooth=smooth, seed=options.seed, method=options.method
                )
                denoised, seconds = timed(run, model, skeleton, joints + noise * unit, start)
                errors[name] = 1000 * np.asarray(jnp.linalg.norm(denoised - joints, axis=-1).mean((1, 2)))
                row: dict[str, Any] = {"error_mm": float(errors[name].mean())}
                row["acceleration_mm"] = 1000 * float(metrics.acceleration_error(denoised, joints).mean())
                row |= _against_none(options.seed, errors, name, clips.name) | {"seconds": seconds}
                yield Row(f"motion {1000 * noise:.0f} mm, smooth {smooth:.0f}, {name}", {"task": "motion", **row})


def denoised_joints(
    model: released.Model,
    body: Body,
    noisy: Array,
    start: Array,
    *,
    make: PriorFn,
    noise: float,
    seed: int,
    smooth: float = 600.0,
    method: str = "default",
) -> Array:
    """Joints [N, F, 22, 3] of the motions fitted to noisy ones, root known; start: [21, 3] rotations."""
    settings = by_method(MotionSettings(), method)
    settings = settings._replace(weights=settings.weights._replace(smooth=smooth))
    known = Free(global_orient=False, transl=False, betas=False)
    how: dict[str, Any] = {"noise": noise, "start_pose": start, "free": known, "settings": settings}
    return denoise_motion(jax.random.key(seed), body, noisy, "smpl22", make(model), **how).joints[0]


def fit_frames(model: released.Model, priors: dict[str, PriorFn], options: Options) -> Iterator[Item]:
    """Synthetic keypoints of 1,000 frames, in one call."""
    mesh, poses = anny_body(), load_poses(1)
    chosen = np.linspace(0, len(poses.body_pose) - 1, _FRAMES).astype(int)[:: options.stride]
    rng, num = np.random.default_rng(options.seed), len(chosen)
    betas = _SHAPE * rng.normal(size=(num, mesh.shapedirs.shape[-1]))
    pose, orient, place, intrinsics, R, t = (jnp.asarray(x[chosen][:, None]) for x in poses[:6])
    posed = posed_body(mesh, BodyParameters(pose, orient, place, jnp.asarray(betas, jnp.float32)))
    cameras = Camera(intrinsics, None, R, t)
    exact = project(cameras, body_points(posed, "openpose25"))
    white = exact + jnp.asarray(_NOISE_PX * rng.normal(size=exact.shape), jnp.float32)
    confidence = jnp.asarray(rng.random(white.shape[:-1]) > _MISSING, jnp.float32)
    detected, extent = as_detected(rng, np.asarray(exact))
    truth, start = posed.joints[:, 0, :22], jnp.asarray(model.statistics.mean)
    title = f"fit of {num} frames to {exact.shape[-2]} points, {_NOISE_PX} px of noise"
    privileges = "camera, the noise of the keypoints and which are missing"
    yield Table(title, privileges, bench.tuned(model))
    errors: dict[str, np.ndarray] = {}
    gentle = FitSettings(num_steps=300, learning_rate=0.03, weights=Weights(prior=0.0))
    settings = {name: FitSettings() for name in priors} | {"none, its best settings": gentle}
    settings |= {_DETECTED: FitSettings()} if "dposer" in priors else {}
    settings = {name: by_method(chosen, options.method) for name, chosen in settings.items()}
    for name, chosen_settings in settings.items():
        make = priors.get("dposer" if name == _DETECTED else name, priors["none"])
        uv, noise = (detected, _SHARE * extent) if name == _DETECTED else (white, jnp.full(num, _NOISE_PX))
        how: dict[str, Any] = {"noise_px": noise, "start_pose": start, "up": "y", "settings": chosen_settings}

        # what is seen goes in as an argument: as constants of the program it would be folded for minutes
        def run(
            model: released.Model,
            mesh: Body,
            uv: Array,
            confidence: Array,
            cameras: Camera,
            make: PriorFn = make,
            how: dict[str, Any] = how,
        ) -> tuple[Array, ...]:
            key, seen = jax.random.key(options.seed), (uv, confidence, cameras, "openpose25")
            fitted = jax.tree.map(lambda x: x[0], fit_keypoints(key, mesh, *seen, make(model), **how))
            spread = joint_spread(mesh, fitted, observed(mesh, *seen, how["noise_px"]), rotation_std(model))
            return fitted.joints[:, 0], *(gaussian_radius_90(x[:, 0]) for x in spread)

        (fitted, radius, root_radius), seconds = timed(run, model, mesh, uv, confidence, cameras)
        errors[name] = 1000 * np.asarray(metrics.p_mpjpe(fitted, truth))
        rooted = metrics.mpjpe(metrics.align_root(fitted), metrics.align_root(truth))
        row: dict[str, Any] = {
            "pa_mpjpe_mm": float(errors[name].mean()),
            "pa_median_mm": float(np.median(errors[name])),
        }
        row["mpjpe_mm"] = 1000 * float(rooted.mean())
        for prefix, away, sure in (
            ("", metrics.joint_errors(metrics.align_root(fitted), metrics.align_root(truth))[:, 1:], radius[:, 1:]),
            ("root_", jnp.linalg.norm(fitted[:, 0] - truth[:, 0], axis=-1), root_radius),
        ):
            row[f"{prefix}radius_coverage_90"] = float((away <= sure).mean())
            row[f"{prefix}radius_factor_90"] = float(jnp.quantile(away / sure, 0.9))
        row |= _against_none(options.seed, errors, name, poses.sequence[chosen]) | {"seconds": seconds}
        yield Row(f"fit, {name}", {"task": "fit", **row})


def as_detected(rng: np.random.Generator, exact: np.ndarray) -> tuple[Array, Array]:
    """OpenPose's points [N, 1, 1, 25, 2] px with the errors of the training's detector, and people's extents [N]."""
    joints = [name if name in H36M_17.joints else "thorax" for name in POINT_SETS["openpose25"]]
    table = detectors.DETECTOR[[H36M_17.joints.index(name) for name in joints]]
    error = bench.detector_errors(rng, table, rng.normal(size=exact.shape))
    extent = (exact.max(-2) - exact.min(-2)).max(-1)[:, 0, 0]
    return jnp.asarray(exact + bench.crop_pixel(exact) * error, jnp.float32), jnp.asarray(extent, jnp.float32)


def walker(model: released.Model, priors: dict[str, PriorFn], options: Options) -> Iterator[Item]:
    """A filmed person from one camera and from four."""
    film = bench.load_walker(_WALKER_STRIDE)
    (uv, seen, all_cameras), points3d = film.detections(), film.points3d
    mesh, start = anny_body(), jnp.asarray(model.statistics.mean)
    truth, known = jnp.asarray(points3d[:, _LIMBS]), jnp.asarray(np.isfinite(points3d[:, _LIMBS]).all(-1))
    settings = by_method(FitSettings(weights=FitSettings().weights._replace(smooth=20.0)), options.method)
    how: dict[str, Any] = {"noise_px": _WALKER_NOISE_PX, "start_pose": start, "up": "z", "settings": settings}
    privileges = "cameras calibrated; points3d is made of all four"
    yield Table(
        f"walker, {len(points3d)} frames",
        privileges,
        "the weights of the fits on validation subjects; the noise of 10 px is read off this walker's residuals",
    )
    for chosen in ([0], [1], [2], [3], [0, 1, 2, 3]):
        cameras = jax.tree.map(lambda x, c=chosen: x[:, np.array(c)], all_cameras)
        for name in ("dposer", "none") if len(chosen) == 4 else ("dposer",):
            make = priors.get(name)
            if make is None:
                continue

            def run(model: released.Model, mesh: Body, make=make, cameras=cameras, chosen=chosen) -> Array:
                key, which = jax.random.key(options.seed), np.array(chosen)
                fitted = fit_keypoints(key, mesh, uv[:, which], seen[:, which], cameras, "coco17", make(model), **how)
                one = jax.tree.map(lambda x: x[0], fitted)
                return body_points(posed_body(mesh, one), "coco17")[0]

            points, seconds = timed(run, model, mesh)
            points = points[:, _LIMBS]
            weight = known.astype(points.dtype)
            filled = jnp.where(known[..., None], truth, points)
            absolute = (jnp.linalg.norm(points - filled, axis=-1) * weight).sum() / weight.sum()
            aligned = metrics.p_mpjpe(points, filled, weight)
            row = {"absolute_mm": 1000 * float(absolute), "pa_mpjpe_mm": 1000 * float(aligned.mean())}
            yield Row(f"walker, cameras {chosen}, {name}", {"task": "walker", **row, "seconds": seconds})


def by_method(settings: Settings, method: str) -> Settings:
    """Settings with the method of --method."""
    return settings if method == "default" else settings._replace(method=METHODS[method])


def _against_none(seed: int, errors: dict[str, np.ndarray], name: str, groups: np.ndarray) -> dict[str, list[float]]:
    if name == "none" or "none" not in errors:
        return {}
    return {"ratio": compared(seed, errors[name], errors["none"], groups)["ratio"]}
