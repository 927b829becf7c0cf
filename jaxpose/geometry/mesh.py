"""Triangle meshes."""

import numpy as np


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3] of vertices [V, 3], outwards, means over triangles [F, 3] weighted by their areas."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(total, triangles[:, i], across)
    return total / np.linalg.norm(total, axis=-1, keepdims=True)
