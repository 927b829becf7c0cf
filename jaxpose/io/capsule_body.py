"""A body model that needs no licence: a mannequin of capsules with the structure of SMPL, SMPL-H or SMPL-X.

Its tables are in `assets/capsule_body.npz`, made and described by `experiments/make_assets/body.py`. The three kinds
share surface, shapes and the regressors of the joints that they share.

    shapedirs, exprdirs, faces, picks, hands_mean, landmarks_*   as in `Body`; of the first two, the last axis first
    vertices           [V, 3] float64, of the template
    joints [U]         names of the joints of all kinds, with rest [U, 3] float64 and the rows J_regressor [U, V],
                       joint_template [U, 3], joint_shapedirs [U, 3, 10]
    joint_exprdirs     [55, 3, 10], of SMPL-X's joints
    <kind>/weights     [J, V] float64

The correctives (posedirs) are computed from these, see `correctives`.
"""

import functools

import jax
import numpy as np

from jaxpose.files import ASSETS
from jaxpose.geometry.body import PARENTS, Body, Kind, Landmarks
from jaxpose.geometry.body_joints import MODEL_JOINTS
from jaxpose.io.arrays import load_arrays

ASSET = ASSETS / "capsule_body.npz"
HEIGHT = 1.72  # metres, of the template
# What a beta of 1 changes, about one standard deviation of adults each.
SHAPES = (
    *("height", "weight", "leg_length", "arm_length", "torso_length"),
    *("shoulder_width", "hip_width", "head_size", "belly", "hand_and_foot_size"),
)


LANDMARKS = tuple(Landmarks.__dataclass_fields__)


@functools.cache
def capsule_body(kind: Kind = "smpl") -> Body:
    """The mannequin as a body of a kind: 10 betas (`SHAPES`), and 10 expressions for "smplx".

    1.72 m tall at betas 0, arms out, facing +z, pelvis at the origin; read once in a process.
    """
    if kind not in PARENTS:
        raise ValueError(f"kind {kind!r} is unknown; legal are {', '.join(PARENTS)}")
    z, is_x = load_arrays(ASSET), kind == "smplx"
    names = z["joints"].tolist()
    rows, weights = [names.index(joint) for joint in MODEL_JOINTS[kind]], z[f"{kind}/weights"].T
    tables = {
        "v_template": z["vertices"],
        "shapedirs": np.moveaxis(z["shapedirs"], 0, -1),
        "exprdirs": np.moveaxis(z["exprdirs"], 0, -1)[..., : 10 * is_x],
        "posedirs": correctives(z["vertices"], z["rest"][rows], weights, PARENTS[kind]),
        "J_regressor": z["J_regressor"][rows],
        "weights": weights,
        "joint_template": z["joint_template"][rows],
        "joint_shapedirs": z["joint_shapedirs"][rows],
        "joint_exprdirs": z["joint_exprdirs"][: len(rows), :, : 10 * is_x],
        "hands_mean": np.zeros((30, 3)) if kind == "smpl" else z["hands_mean"],
        "hands_components": np.stack([np.eye(45)] * 2),
    }
    landmarks = Landmarks(*(jax.device_put(z[f"landmarks_{field}"]) for field in LANDMARKS)) if is_x else None
    return Body(
        **{name: jax.device_put(np.ascontiguousarray(table, np.float32)) for name, table in tables.items()},
        faces=jax.device_put(z["faces"].astype(np.int32)),
        picks=jax.device_put(z["picks"].astype(np.int32)),
        landmarks=landmarks,
        kind=kind,
        parents=PARENTS[kind],
    )


def correctives(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """posedirs [9(J-1), 3, V] that give back what linear skinning takes from the thickness of limbs.

    Of a vertex v with share s beyond joint j, which turns by R, they are -s (1 - s) sym(R - I) (v - J_j): linear in R.
    vertices [V, 3], joints [J, 3] and weights [V, J] of the rest pose, float64.
    """
    beyond = weights.copy()
    for j in range(len(parents) - 1, 0, -1):
        beyond[:, parents[j]] += beyond[:, j]
    result = np.zeros((len(parents) - 1, 3, 3, 3, len(vertices)))
    for j in range(1, len(parents)):
        v = (beyond[:, j] * (1 - beyond[:, j])) * (vertices - joints[j]).T
        for row in range(3):
            for column in range(3):
                result[j - 1, row, column, row] -= v[column] / 2
                result[j - 1, row, column, column] -= v[row] / 2
    return result.reshape(-1, 3, len(vertices))
