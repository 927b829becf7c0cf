"""The figures of EHF: distances of fitted SMPL-X meshes from the true ones (spec/dposer.md 7.3).

Joints of both meshes are the first 22 of the model's regressor times the vertices, so that only the surface counts.

    MPJPE      mean joint error, pelvis on pelvis
    PA-MPJPE   mean joint error after the best similarity of the 22 joints
    PA-MPVPE   mean vertex error after the best similarity of all vertices

In millimetres. Both meshes stand in the camera's frame (datasets/ehf.py `to_camera`); translation does not enter.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from jaxpose.base import Array
from jaxpose.compiled import check_shape
from jaxpose.evaluation import metrics

NUM_JOINTS = 22


def ehf_errors(vertices: Array, truth: Array, regressor: Array) -> dict[str, Array]:
    """All figures of each mesh [...], mm.

    vertices: [..., N, V, 3] fitted, metres; hypotheses lead. truth: [N, V, 3]. regressor: [J, V], J >= 22,
    pelvis first. ValueError where they do not go together.
    """
    vertices, truth, regressor = jnp.asarray(vertices), jnp.asarray(truth), jnp.asarray(regressor)
    check_shape("truth", truth, ("N", "V", 3))
    check_shape("vertices", vertices[(0,) * (vertices.ndim - 3)], truth.shape)
    check_shape("regressor", regressor[:NUM_JOINTS], (NUM_JOINTS, truth.shape[1]))
    return _figures(vertices, truth, regressor[:NUM_JOINTS])


def ehf_row(vertices: Array, truth: Array, regressor: Array) -> dict[str, float]:
    """The mean over the N meshes of each figure, mm; of hypotheses [H, N, V, 3] the best for each mesh and figure."""
    errors = ehf_errors(vertices, truth, regressor)
    best = {name: metrics.best_of(e) if e.ndim == 2 else e for name, e in errors.items()}
    return {name: float(np.asarray(value, np.float64).mean()) for name, value in best.items()}


@jax.jit
def _figures(vertices: Array, truth: Array, regressor: Array) -> dict[str, Array]:
    joints, true_joints = (jnp.matmul(regressor, v, precision=Precision.HIGHEST) for v in (vertices, truth))
    metres = {
        "mpjpe": metrics.mpjpe(metrics.align_root(joints), metrics.align_root(true_joints)),
        "pa_mpjpe": metrics.p_mpjpe(joints, true_joints),
        "pa_mpvpe": metrics.p_mpjpe(vertices, truth),
    }
    return {f"{name}_mm": 1000 * value for name, value in metres.items()}
