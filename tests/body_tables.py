"""Random body models in the layout of the published files, and skinning as plain loops in float64: the oracle."""

import numpy as np

from jaxpose.geometry.body import PARENTS

NUM_JOINTS = {kind: len(parents) for kind, parents in PARENTS.items()}


def random_tables(kind, num_vertices=60, num_betas=10, num_expression=0, seed=0):
    """v_template, shapedirs (expression last), posedirs, J_regressor, weights and f of a body that obeys the rules."""
    rng = np.random.default_rng(seed)
    joints = NUM_JOINTS[kind]
    weights = rng.random((num_vertices, joints)) ** 8
    regressor = rng.random((joints, num_vertices)) ** 8
    triangles = np.array([rng.choice(num_vertices, 3, replace=False) for _ in range(2 * num_vertices)])
    return {
        "v_template": rng.normal(0, 0.4, (num_vertices, 3)),
        "shapedirs": rng.normal(0, 0.02, (num_vertices, 3, num_betas + num_expression)),
        "posedirs": rng.normal(0, 0.01, (num_vertices, 3, 9 * (joints - 1))),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "f": triangles.astype(np.uint32),
    }


def kintree(kind):
    """kintree_table as the files have it: parents and joints, uint32, the root's parent 2^32 - 1."""
    return np.array([PARENTS[kind], range(NUM_JOINTS[kind])], np.int64).astype(np.uint32)


def rodrigues(v):
    """The matrix of one axis-angle vector."""
    angle = np.linalg.norm(v)
    if angle == 0:
        return np.eye(3)
    x, y, z = v / angle
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


def skin_in_loops(tables, kind, coefficients, axis_angles, transl):
    """(joints [J, 3], vertices [V, 3]) of one body, one joint and one vertex after another."""
    parents = [-1 if p == 2**32 - 1 else int(p) for p in kintree(kind)[0]]
    shaped = tables["v_template"] + tables["shapedirs"] @ coefficients
    rest = tables["J_regressor"] @ shaped
    turns = [rodrigues(v) for v in axis_angles]
    feature = np.concatenate([(R - np.eye(3)).reshape(9) for R in turns[1:]])
    posed = shaped + tables["posedirs"] @ feature
    world: list[np.ndarray] = []
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        local[:3, 3] = rest[j] - (rest[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    vertices = np.zeros_like(shaped)
    for i, row in enumerate(tables["weights"]):
        for j, weight in enumerate(row):
            vertices[i] += weight * (world[j][:3, :3] @ (posed[i] - rest[j]) + world[j][:3, 3])
    return np.array([G[:3, 3] for G in world]) + transl, vertices + transl
