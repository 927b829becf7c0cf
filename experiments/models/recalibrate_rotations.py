"""Recalibration of completed rotations, for `recalibrate.py`: how far people are from the mean rotation.

A part of the body, drawn for each pose, is hidden in poses of the validation people and completed by every method. A
joint's factor makes the 90 % radius of its hypotheses (`rotation_spread`) hold the truth in 90 % of the cases in which
it is hidden. Fitted on half of the people and scored on the other, both ways; what is written is fitted on all.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap
from jaxpose.evaluation import calibration
from jaxpose.geometry.products import product
from jaxpose.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from jaxpose.tasks.complete_rotations import METHODS, PARTS, complete_rotations, methods_of, rotation_spread

_HYPOTHESES = 10  # as many as `jaxpose complete` draws
_BLOCK = 100


def of_rotations(
    model: released.Model, files: Iterable[str], halves: tuple[tuple[str, ...], ...], num: int, seed: int
) -> tuple[dict[str, released.Recalibration], list[dict[str, Any]]]:
    """Recalibration by the name of a task, "complete_METHOD", and the printed lines; num: of poses."""
    mocap = load_mocap(data_root(), "val+val_more", tuple(files), rotations=True)
    assert mocap.rotations is not None
    weights = balanced_weights(mocap, 0.5, 0.5)
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(weights), num, replace=False, p=weights / weights.sum())
    truth, subject = mocap.rotations[rows, 1:], mocap.subject[mocap.sequence[rows]]
    parts = list(PARTS.values())
    hidden = np.zeros((num, truth.shape[1]), bool)
    for row, part in enumerate(rng.integers(0, len(parts), num)):
        hidden[row, list(parts[part])] = True
    recalibration: dict[str, released.Recalibration] = {}
    lines: list[dict[str, Any]] = []
    print("method | fitted on | scored on | 90 % radius holds | before")
    for name in methods_of(dataclasses.replace(model, base=None)):  # a base has its own
        key = jax.random.key(seed)
        drawn = [
            complete_rotations(
                jax.random.fold_in(key, start),
                model,
                jnp.asarray(truth[start : start + _BLOCK]),
                jnp.asarray(~hidden[start : start + _BLOCK], jnp.float32),
                num_hypotheses=_HYPOTHESES,
                method=METHODS[name](),
            )
            for start in range(0, num, _BLOCK)
        ]
        error, radius = errors(jnp.concatenate(drawn, 1), jnp.asarray(truth))
        for fitted_on, scored_on in (*zip(halves, halves[::-1], strict=True), ((), ())):
            fitted, scored = (np.isin(subject, who) if who else np.ones(num, bool) for who in (fitted_on, scored_on))
            factor = fit(error, radius, hidden & fitted[:, None])
            counted = hidden & scored[:, None] & (np.asarray(radius) > 1e-6)
            held = [float((error <= f * radius)[counted].mean()) for f in (factor, jnp.ones_like(factor))]
            people = ("+".join(who) or "all" for who in (fitted_on, scored_on))
            line = dict(zip(("method", "fitted_on", "scored_on"), (name, *people), strict=True))
            lines.append(line | {"radius_coverage_90": held[0], "before": held[1]})
            print(" | ".join([*line.values(), *(f"{x:.3f}" for x in held)]), flush=True)
        recalibration[f"complete_{name}"] = released.Recalibration(jnp.ones_like(factor), factor)
    return recalibration, lines


@jax.jit
def errors(samples: Array, truth: Array) -> tuple[Array, Array]:
    """Angle [N, J] from the mean of samples [H, N, J, 3] to the truth [N, J, 3], and their own 90 % radius; radians."""
    spread = rotation_spread(samples)
    between = product(jnp.swapaxes(matrix_from_axis_angle(spread.mean), -1, -2), matrix_from_axis_angle(truth))
    return jnp.linalg.norm(axis_angle_from_matrix(between), axis=-1), spread.radius_90


def fit(error: Array, radius: Array, counted: np.ndarray) -> Array:
    """Factor [J] on the radius [N, J], from the cases that are counted [N, J]."""
    return calibration.fit_radius(radius, error, jnp.asarray(counted, jnp.float32))
