"""For `evaluate score`: poses that are wrong in known ways, plain scores beside it, the area under the curve."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.geometry.skeleton import H36M_17, SMPL_22, mirror_rotations


class Baselines(NamedTuple):
    """What scores poses [N, n] without a diffusion model: a Gaussian, its mean and precision; training poses [M, n]."""

    mean: np.ndarray
    precision: np.ndarray
    reference: np.ndarray


def corrupted_joints(x: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Poses [N, 17, 3] metres in camera axes, and what is made of them, by name; the clean ones first."""
    x = x - x.mean(1, keepdims=True)
    sets = {"clean": x}
    for mm in (25, 50, 100):
        sets[f"noise {mm} mm"] = x + rng.normal(0, mm / 1000, x.shape)
    left, right = list(H36M_17.left), list(H36M_17.right)
    names = H36M_17.joints
    sets["mirrored left-right, relabelled (legal)"] = swapped(x, left, right) * [-1, 1, 1]
    sets["mirrored in depth"] = x * [1, 1, -1]
    sets["scaled 0.8"], sets["scaled 1.25"] = 0.8 * x, 1.25 * x
    for limb, parts in (("arms", ("shoulder", "elbow", "wrist")), ("legs", ("hip", "knee", "ankle"))):
        sides = [[names.index(f"{side}_{part}") for part in parts] for side in ("left", "right")]
        sets[f"{limb} exchanged"] = swapped(x, *sides)
    return {name: value.astype(np.float32) for name, value in sets.items()}


def corrupted_rotations(x: np.ndarray, std: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Body poses [N, 21, 3] radians, and what is made of them, by name; std [21, 3] in training, 0 where none moves."""
    sets = {"clean": x}
    for share in (0.1, 0.25, 0.5):
        sets[f"noise {share:g} of a deviation"] = x + share * std * rng.normal(size=x.shape)
    sets["mirrored left-right (legal)"] = np.asarray(mirror_rotations(jnp.asarray(x), SMPL_22))
    for factor in (1.5, 2.0):
        sets[f"turned {factor:g} times as far"] = factor * x
    names = SMPL_22.joints[1:]
    for pair in ("knee", "elbow"):
        rows = [names.index(f"{side}_{pair}") for side in ("left", "right")]
        bent = x.copy()
        bent[:, rows] *= -1
        sets[f"{pair}s bent the other way"] = bent
    return {name: value.astype(np.float32) for name, value in sets.items()}


def swapped(x: np.ndarray, first: list[int], second: list[int]) -> np.ndarray:
    """x [N, J, 3] with the joints `first` and `second` in each other's place."""
    exchanged = x.copy()
    exchanged[:, first], exchanged[:, second] = x[:, second], x[:, first]
    return exchanged


def fit_baselines(poses: np.ndarray) -> Baselines:
    """Of training poses [M, J, 3]; the covariance gets a millionth of its mean variance on the diagonal."""
    flat = _flat(poses)
    cov = np.cov(flat, rowvar=False)
    return Baselines(flat.mean(0), np.linalg.inv(cov + 1e-6 * np.trace(cov) / len(cov) * np.eye(len(cov))), flat)


def baseline_scores(baselines: Baselines, poses: np.ndarray) -> dict[str, np.ndarray]:
    """Log density up to a constant, and the negative distance to the nearest training pose, [N] each."""
    flat = _flat(poses)
    away = flat - baselines.mean
    reference = baselines.reference
    square = (flat**2).sum(1)[:, None] - 2 * flat @ reference.T + (reference**2).sum(1)
    return {
        "gaussian": -0.5 * np.einsum("ni,ij,nj->n", away, baselines.precision, away),
        "nearest": -np.sqrt(np.maximum(square.min(1), 0)),
    }


def auroc(clean: np.ndarray, other: np.ndarray) -> float:
    """The chance that one of `other` [M] scores below one of `clean` [N], ties by half: Mann and Whitney's U."""
    order = np.sort(clean)
    below, up_to = (np.searchsorted(order, other, side) for side in ("left", "right"))
    return float(1 - (below + up_to).mean() / (2 * len(clean)))


def _flat(poses: np.ndarray) -> np.ndarray:
    return poses.reshape(len(poses), -1).astype(np.float64)
