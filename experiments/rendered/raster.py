"""A z-buffer for many small triangles, in numpy.

All pixels of all triangles' bounding boxes are one array: a pixel is inside where its barycentric coordinates are not
negative, and of the triangles that cover it the one with the largest inverse depth (linear in the image) is seen. A
body of 14,000 triangles that is 300 px tall has 60,000 such pixels.
"""

from typing import NamedTuple

import numpy as np

_NEAREST = 0.05  # metres; triangles that reach nearer are left out


class Mesh(NamedTuple):
    """Surfaces before a camera: points [V, 3] metres, faces [F, 3]
    whose corners turn anticlockwise seen from outside, colour [V, 3] in [0, 1], layer [F] (uint8, not 0)."""

    points: np.ndarray
    faces: np.ndarray
    colour: np.ndarray
    layer: np.ndarray


class Picture(NamedTuple):
    """rgb [H, W, 3] float32, depth [H, W] metres (inf: nothing), layer [H, W] (0: nothing)."""

    rgb: np.ndarray
    depth: np.ndarray
    layer: np.ndarray


def joined(meshes: list[Mesh]) -> Mesh:
    """All surfaces as one mesh."""
    first = np.cumsum([0, *(len(mesh.points) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, first, strict=False)])
    points, colour, layer = (
        np.concatenate(x) for x in zip(*((m.points, m.colour, m.layer) for m in meshes), strict=True)
    )
    return Mesh(points, faces, colour, layer)


def render(mesh: Mesh, intrinsics: np.ndarray, width: int, height: int) -> Picture:
    """What a camera sees of a mesh; intrinsics: fx, fy, cx, cy in pixels, pixel (i, j) being at (j, i)."""
    z = np.maximum(mesh.points[:, 2], 1e-3)
    uv = (mesh.points[:, :2] / z[:, None] * intrinsics[:2] + intrinsics[2:]).astype(np.float32)
    p, inverse = uv[mesh.faces], (1 / z).astype(np.float32)[mesh.faces]
    lowest, highest = (at(at(p[:, 0], p[:, 1]), p[:, 2]) for at in (np.minimum, np.maximum))
    low = np.maximum(np.ceil(lowest), 0)
    size = np.minimum(np.floor(highest), np.array([width - 1, height - 1], np.float32)) - low + 1
    e0, e1 = p[:, 0] - p[:, 2], p[:, 1] - p[:, 2]
    area = e0[:, 0] * e1[:, 1] - e0[:, 1] * e1[:, 0]
    kept = (size > 0).all(1) & (area < -1e-6) & (inverse.max(1) < 1 / _NEAREST)  # from in front
    rows = np.flatnonzero(kept)
    e0, e1, area, inverse = (x[rows] for x in (e0, e1, area, inverse))
    low, size = low[rows], size[rows].astype(np.int32)
    count = size[:, 0] * size[:, 1]
    tri = np.repeat(np.arange(len(rows), dtype=np.int32), count)
    place = np.arange(len(tri), dtype=np.int32) - np.repeat((np.cumsum(count) - count).astype(np.int32), count)
    down, across = np.divmod(place, size[tri, 0])
    start = low - p[rows, 2]
    b0, b1 = (
        first[tri] + dx[tri] * across + dy[tri] * down
        for first, dx, dy in (_gradient(start, e1, area), _gradient(start, -e0, area))
    )
    inside = np.flatnonzero((b0 >= 0) & (b1 >= 0) & (b0 + b1 <= 1))
    tri, b0, b1 = tri[inside], b0[inside], b1[inside]
    corner = low[tri].astype(np.int32)
    pixel = (corner[:, 1] + down[inside]) * width + corner[:, 0] + across[inside]
    steps = inverse[:, :2] - inverse[:, 2:]
    near = inverse[tri, 2] + b0 * steps[tri, 0] + b1 * steps[tri, 1]
    winner = np.full(width * height, -1, np.int64)
    order = np.argsort(near)
    winner[pixel[order]] = order  # the last, which is the nearest, stays
    seen = np.flatnonzero(winner >= 0)
    of = winner[seen]
    rgb, depth = np.zeros((width * height, 3), np.float32), np.full(width * height, np.inf, np.float32)
    layer = np.zeros(width * height, np.uint8)
    face, b = rows[tri[of]], np.stack([b0[of], b1[of], 1 - b0[of] - b1[of]], -1)
    rgb[seen] = np.einsum("pk,pkc->pc", b, mesh.colour[mesh.faces[face]])
    depth[seen], layer[seen] = 1 / near[of], mesh.layer[face]
    return Picture(rgb.reshape(height, width, 3), depth.reshape(height, width), layer.reshape(height, width))


def _gradient(start: np.ndarray, edge: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A barycentric coordinate at `start` and its change along x and y: cross(. - p2, edge) / area."""
    dx, dy = edge[:, 1] / area, -edge[:, 0] / area
    return start[:, 0] * dx + start[:, 1] * dy, dx, dy


def normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3] of vertices, of the triangles around them by area."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(cross[:, k], 3), len(points)) for k in range(3)], -1)
    return (total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
