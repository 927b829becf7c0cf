"""A calibration file of `jaxpose calibrate`, and results that have its factors.

joints      factor on the distances of the samples from their mean, for each kind of joint (left and right alike)
quantities  factor on each interval's distances from its median, measured on samples that have the factors of joints
"""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose.geometry.skeleton import H36M_17, Skeleton
from jaxpose.io.results import Result
from jaxpose.reading import opened
from jaxpose.tasks import draw
from jaxpose.tasks.blocks import Drawn

KIND = "jaxpose calibration"
LEVEL = 0.9
LARGEST = 20.0  # factor


def read_calibration(path: Path) -> dict[str, dict[str, float]]:
    """Factors of "joints" and "quantities" by name; ValueError names what is wrong with the file."""
    with opened(path, "calibration") as file:
        return _factors(file.read().decode("utf-8", "replace"), path)


def applied(path: Path | None, drawn: Drawn, skeleton: Skeleton) -> dict[str, Any]:
    """Fields of a lifted result with the calibration of a file, and its text; none without a file."""
    if path is None:
        return {}
    if skeleton != H36M_17:
        raise ValueError(f"--calibrated: is for joints of {H36M_17.name}, and the model has those of {skeleton.name}")
    factors = read_calibration(path)
    samples = spread(drawn["samples"], factors["joints"]).astype(np.float32)
    _, covariance, radius, _ = map(np.asarray, draw.spread(jnp.asarray(samples)))
    named = {group: {n: {"factor": f} for n, f in of.items()} for group, of in factors.items()}
    fields = {"samples": samples, "covariance": covariance, "radius_90": radius}
    return fields | {"calibration": np.array(json.dumps({"kind": KIND} | named))}


def calibrated_result(result: Result, path: Path | None) -> tuple[Result, dict[str, float]]:
    """A result with the samples of the calibration in a file, and factors of quantities: of the file, or its own."""
    if result.calibration:
        if path is not None:
            raise ValueError("--calibrated: the result is calibrated already, and its factors are taken")
        return result, _factors(result.calibration, "calibration of the result")["quantities"]
    if path is None:
        return result, {}
    factors = read_calibration(path)
    return result._replace(samples=spread(result.samples, factors["joints"], hips=True)), factors["quantities"]


def _factors(text: str, where: Any) -> dict[str, dict[str, float]]:
    try:
        content = json.loads(text)
        factors = {g: {str(n): float(e["factor"]) for n, e in content[g].items()} for g in ("joints", "quantities")}
        if content["kind"] != KIND:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{where}: no calibration; needed a file of `jaxpose calibrate`") from None
    for name, factor in [pair for of in factors.values() for pair in of.items()]:
        if not 0 < factor <= LARGEST:
            raise ValueError(f"{where}: factor {factor:g} of {name[:40]}; must be above 0 and at most {LARGEST:g}")
    return factors


def spread(samples: np.ndarray, joints: dict[str, float], *, hips: bool = False) -> np.ndarray:
    """Samples [H, N, 17, 3], each kind of joint its factor times as far from its mean about the hips.

    hips: the samples have a place, which stays.
    """
    factors = np.array([joints.get(kind_of_joint(name), 1.0) for name in H36M_17.joints])
    root = samples[:, :, :1] if hips else np.zeros(3, samples.dtype)
    about = samples - root
    mean = about.mean(0)
    wide: np.ndarray = root + mean + factors[:, None] * (about - mean)
    return wide


def kind_of_joint(name: str) -> str:
    """The name of a joint or of a quantity without its side."""
    return name.removeprefix("left_").removeprefix("right_")
