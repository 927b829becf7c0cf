"""A record of what every released model draws for a fixed seed: a change of code must not change a draw.

The record is tests/golden/draws.npz, made by `python tests/draws_test.py`: few rows, hypotheses and steps of every task
on the bundled clip. A case is equal where no number differs by more than `CLOSE` of the largest of its array.
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import conftest  # noqa: F401 - XLA's settings, as pytest has them, before jax is imported

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpose
from jaxpose.base import Camera
from jaxpose.diffusion.mixture import Mixture
from jaxpose.model import ASSETS, load
from jaxpose.tasks import complete_rotations as rotations_of
from jaxpose.tasks import methods, observations, samplers
from jaxpose.tasks.priors import fitted
from jaxpose.tasks.score import lifted_log_density

RECORD = Path(__file__).parent / "golden" / "draws.npz"
KEY = jax.random.key(11)
THREE = samplers.stochastic(3)
# Of the largest number of an array. Three steps of guidance leave poses of 15 m, which enlarge another processor's
# rounding: the record of one machine is off by 3e-4 on the next.
CLOSE, CLOSE_OF = 1e-5, {"fuse": 2e-3, "posterior.focal": 2e-3}
CASES: dict[str, Callable[[], Any]] = {}
QUICK = ("lift.pose17", "complete.pose17", "generate_rotations.prior21")
model = functools.cache(load)


def case(name: str, *args: Any, **named: Any):
    def add(function):
        CASES[name] = functools.partial(function, *args, **named)
        return function

    return add


@functools.cache
def clip(num: int = 2) -> dict[str, Any]:
    with np.load(ASSETS / "demo_clip.npz") as z:
        rows = slice(None, num) if num > 8 else slice(None, 40 * num, 40)
        return {name: z[name][rows] for name in ("keypoints", "confidence", "joints_cam")} | {
            "camera": Camera(jnp.asarray(z["intrinsics"]))
        }


def poses(num: int = 2) -> np.ndarray:
    joints = clip(num)["joints_cam"]
    return joints - joints[:, :1]


def body_poses(num: int) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.3, (num, 21, 3)).astype(np.float32)


def lifted(name: str, num: int = 2, *, hidden: tuple[int, ...] = (), steps=THREE, each: int = 2, **options: Any):
    given = clip(num)
    confidence = np.array(given["confidence"])
    confidence[:, list(hidden)] = 0
    few = bool(model(name).spec.times)
    sampler = samplers.stochastic() if few else steps
    how = {"camera": given["camera"], "num_hypotheses": each, "sampler": sampler, **options}
    return jaxpose.lift(KEY, model(name), given["keypoints"], confidence, **how)


HIDDEN = (3, 6, 13)
MOTION = 30
for NAME, ROWS in (
    ("pose17", 2),
    ("pose17_fast", 2),
    ("motion17", MOTION),
    ("diffpose17", 2),
    ("diffpose17_video", 12),
):
    case(f"lift.{NAME}", NAME, ROWS)(lifted)
    case(f"lift.{NAME}.hidden", NAME, ROWS, hidden=HIDDEN, height=1.8)(lifted)


def streamed(name: str, length: int | None):
    """Three steps of a frame, or of blocks of `length` frames."""
    stream, given, drawn = jaxpose.start_stream(KEY, model(name), num_hypotheses=2), clip(12), {}
    for step in range(3):
        rows = step if length is None else slice(length * step, length * step + length)
        seen = given["keypoints"][rows], given["confidence"][rows]
        result, stream = jaxpose.step_stream(model(name), stream, *seen, camera=given["camera"])
        drawn |= {f"{step}.{field}": value for field, value in fields_of(result).items()}
    return drawn


for NAME, ROWS in (("pose17", 2), ("pose17_fast", 2), ("motion17", MOTION)):
    case(f"lift.{NAME}.up", NAME, ROWS, up=np.array([0.1, -1.0, 0.1], np.float32))(lifted)
for NAME, MAKE in samplers.SAMPLERS.items():
    case(f"lift.sampler.{NAME}", "pose17", steps=MAKE(3))(lifted)
    case(f"lift.diffpose17.sampler.{NAME}", "diffpose17", steps=MAKE(3))(lifted)
for DEPTH in ("encoder", "ensemble", "histogram", "standard"):
    case(f"lift.diffpose17.{DEPTH}", "diffpose17", 1, depth=DEPTH, num_components=3)(lifted)


@case("lift.path")
def path():
    return {"path": lifted("pose17", return_path=True).path, "diffpose": lifted("diffpose17", return_path=True).path}


@case("lift.diffpose17.mixture")
def mixture():
    mean = np.stack([clip()["keypoints"], clip()["keypoints"] + 5], 2)
    weight = np.broadcast_to(np.array([0.7, 0.3], np.float32), mean.shape[:-1])
    return lifted("diffpose17", keypoint_mixture=Mixture(weight, mean, np.full_like(mean, 3)), num_components=2)


for NAME, ROWS in (("pose17", 2), ("diffpose17", 2), ("motion17", MOTION)):
    case(f"lift.{NAME}.numbers", NAME, ROWS, numbers=5 + np.arange(ROWS) * (ROWS > 2))(lifted)


@case("lift.many", "pose17", each=40)
@case("lift.chunk", "pose17", each=5, chunk=2)
def spread(name: str, **options: Any):
    return lifted(name, **options)


def completed(name: str, num: int = 2, hidden: tuple[int, ...] = HIDDEN, **options: Any):
    joints = clip(num)["joints_cam"].copy()
    joints[:, list(hidden)] = np.nan
    sampler = None if model(name).spec.times else THREE
    return jaxpose.complete(KEY, model(name), joints, num_hypotheses=2, sampler=sampler, **options)


for NAME, ROWS in (("pose17", 2), ("pose17_fast", 2), ("motion17", MOTION)):
    case(f"complete.{NAME}", NAME, ROWS)(completed)
    case(f"complete.{NAME}.noise", NAME, ROWS, noise=0.03)(completed)
case("complete.nothing", "pose17", hidden=tuple(range(17)))(completed)
case("complete.path", "pose17", return_path=True)(completed)


@case("denoise.given", "pose17", noise=0.03)
@case("denoise.each", "pose17", noise=np.array([0.01, 0.2], np.float32))
@case("denoise.estimated", "pose17")
@case("denoise.path", "pose17", noise=0.03, return_path=True)
@case("denoise.mean_flow", "pose17", noise=0.03, sampler=samplers.mean_flow(3))
@case("denoise.pose17_fast", "pose17_fast", noise=0.03)
@case("denoise.motion17", "motion17", MOTION, noise=0.03)
def denoised(name: str, num: int = 2, sampler=THREE, **options: Any):
    noisy = poses(num) + np.random.default_rng(0).normal(0, 0.03, (num, 17, 3)).astype(np.float32)
    return jaxpose.denoise(KEY, model(name), noisy, num_hypotheses=2, sampler=sampler, **options)


@case("generate.pose17", "pose17", 3, sampler=THREE)
@case("generate.pose17.path", "pose17", 2, sampler=THREE, return_path=True)
@case("generate.pose17_fast", "pose17_fast", 3)
@case("generate.motion17", "motion17", MOTION, sampler=THREE)
def generated(name: str, num: int, **options: Any):
    result = jaxpose.generate(KEY, model(name), num, **options)
    return {"samples": getattr(result, "samples", result)}


@case("generate_rotations.prior21", "prior21", sampler=THREE)
@case("generate_rotations.prior21.flow", "prior21", sampler=samplers.probability_flow(3))
@case("generate_rotations.prior21_fast", "prior21_fast")
def generated_rotations(name: str, **options: Any):
    return {"poses": jaxpose.generate_rotations(KEY, model(name), 3, **options)}


@case("complete_rotations.dposer", "prior21", rotations_of.Descent(4))
@case("complete_rotations.replace", "prior21", rotations_of.Guided(3))
@case("complete_rotations.dps", "prior21", rotations_of.METHODS["dps"](3))
@case("complete_rotations.mcg", "prior21", rotations_of.METHODS["mcg"](3))
@case("complete_rotations.few_steps", "prior21_fast", rotations_of.FewSteps())
@case("complete_rotations.few_steps.spread", "prior21_fast", rotations_of.FewSteps(0.5))
@case("complete_rotations.base", "prior21_fast", rotations_of.Descent(4))
def completed_rotations(name: str, method: Any):
    known = np.ones(21, np.float32)
    known[list(rotations_of.PARTS["arms"])] = 0
    how = {"num_hypotheses": 2, "method": method}
    return {"poses": jaxpose.complete_rotations(KEY, model(name), body_poses(2), known, **how)}


@case("interpolate_rotations.prior21", "prior21")
@case("interpolate_rotations.prior21_fast", "prior21_fast")
def interpolated(name: str):
    first, second = body_poses(2)
    return {"poses": jaxpose.interpolate_rotations(model(name), first, second, 3, num_steps=3)}


def sight():
    given = clip(1)
    uv, sure = (jnp.asarray(given[name]) for name in ("keypoints", "confidence"))
    noise = observations.keypoint_noise_px(uv, sure)
    return observations.sight(uv, noise, sure, Camera(given["camera"].intrinsics[None]))


@case("posterior.pseudo_inverse", methods.pseudo_inverse(3))
@case("posterior.pseudo_inverse.smc", methods.pseudo_inverse(3, smc=True, robust=3.0))
@case("posterior.dposer", methods.dposer(3))
@case("posterior.focal", methods.pseudo_inverse(3), known_focal=False)
@case("posterior.fast", methods.pseudo_inverse(3), "pose17_fast")
def posterior(method: Any, name: str = "pose17", **options: Any):
    seen = observations.seen_by(sight(), **options)
    return jaxpose.posterior(KEY, jaxpose.prior_of(model(name)), seen, method=method, num_hypotheses=3)


@case("prior.covariance")
def covariance():
    return {"covariance": fitted(KEY, jaxpose.prior_of(model("pose17")), 8, 3).covariance}


for NAME, LENGTH in {
    "pose17": None,
    "pose17_fast": None,
    "diffpose17": None,
    "diffpose17_video": 1,
    "motion17": 2,
}.items():
    case(f"stream.{NAME}", NAME, LENGTH)(streamed)


@case("score")
def scores():
    given, joints, pose = clip(2), jnp.asarray(poses()), jnp.asarray(body_poses(2))
    seen = given["keypoints"], given["confidence"]
    samples = lifted("pose17").samples
    return {
        "density": jaxpose.log_density(model("pose17"), joints, num_steps=2),
        "density_fast": jaxpose.log_density(model("pose17_fast"), joints, num_steps=2),
        "density_rotations": jaxpose.log_density(model("prior21"), pose, num_steps=2),
        "lifted": lifted_log_density(
            KEY, model("pose17"), samples, *seen, intrinsics=given["camera"].intrinsics, num_steps=2
        ),
        "typicality": jaxpose.typicality(model("pose17"), joints),
        "typicality_fast": jaxpose.typicality(model("pose17_fast"), joints),
        "typicality_rotations": jaxpose.typicality(model("prior21_fast"), pose),
    }


@case("fuse")
def fused():
    from jaxpose.tasks.fuse import fuse_rows

    with np.load(ASSETS / "walker.npz") as z:
        lens = np.pad(z["dist"], ((0, 0), (0, 1)))
        cameras = [np.stack([z["K"][:, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))], -1), lens, z["R"], z["t"]]
        uv, sure = np.split(z["keypoints"][:1].astype(np.float32), [2], -1)
    uv, sure = jnp.asarray(uv), jnp.asarray(np.nan_to_num(sure[..., 0]))
    noise = observations.keypoint_noise_px(uv, sure)
    cameras = Camera(*(jnp.asarray(x, jnp.float32) for x in cameras))
    prior, method = jaxpose.prior_of(model("pose17")), methods.pseudo_inverse(3, robust=3.0)
    return fuse_rows(KEY, prior, uv, noise, sure, cameras, None, up="z", num_hypotheses=2, method=method)


def fields_of(result: Any) -> dict[str, np.ndarray]:
    """Numbers of a result by name, of many rows the first, the middle and the last."""
    fields = result if isinstance(result, dict) else result._asdict()
    if not isinstance(result, dict) and hasattr(result, "samples"):
        named = ("mean", "radius_90", "covariance", "weights", "typicality")
        fields = {k: v for k, v in fields.items() if k != "judge"} | {
            name: getattr(result, name, None) for name in named
        }
    numbers = {name: np.asarray(value, np.float32) for name, value in fields.items() if value is not None}
    return {name: thinned(value) for name, value in numbers.items() if value.size}


def thinned(value: np.ndarray) -> np.ndarray:
    """A value whose long axes of hypotheses and rows keep 3 of their places."""
    for axis in range(min(3, value.ndim)):
        if (size := value.shape[axis]) > 6 and size not in (17, 21, 51):
            value = value.take([0, size // 2, size - 1], axis)
    return value


def check(name: str) -> None:
    with np.load(RECORD) as record:
        expected = {k.removeprefix(f"{name}/"): record[k] for k in record.files if k.startswith(f"{name}/")}
    assert expected, f"{name} is not recorded"
    got = fields_of(CASES[name]())
    assert set(expected) <= set(got)
    for field, value in expected.items():
        size = np.abs(np.nan_to_num(value)).max(initial=0.0)
        np.testing.assert_allclose(
            got[field], value, rtol=0, atol=CLOSE_OF.get(name, CLOSE) * size, err_msg=f"{name}/{field}"
        )


@pytest.mark.parametrize("name", QUICK)
def test_draws_of_three_tasks_are_those_on_record(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_draws_are_those_on_record(name):
    check(name)


if __name__ == "__main__":
    drawn = {name: fields_of(make()) for name, make in CASES.items() if not sys.argv[1:] or name in sys.argv[1:]}
    old = dict(np.load(RECORD)) if sys.argv[1:] else {}
    np.savez_compressed(RECORD, **old | {f"{name}/{k}": v for name, fields in drawn.items() for k, v in fields.items()})
    print(f"{RECORD}: {len(drawn)} cases, {RECORD.stat().st_size} bytes")
