"""Self-intersection of meshes: the share of faces that cross another face of the same mesh (spec/dposer.md 7.1).

    SI = 100 * mean over meshes of (faces that cross a face) / (faces)

Which pairs count is as in PyMeshLab, whose figure the papers print:

    no vertex in common    they count where an edge of one passes through the other
    one in common          they count where the edge opposite to it, of one or the other, passes through the other
    two                    neighbours along an edge: never
    three                  one face twice: always

An edge passes through a triangle where its ends lie on different sides of the plane, and the line within the triangle
or on its border, by determinants in float64; nearer to the plane than rounding can tell is on neither side. So what
touches without getting to the other side does not count, nor what overlaps within one plane (PyMeshLab counts that;
it does not happen by chance).

Pairs are found by a sweep along the longest axis over the faces' boxes, some million pairs at a time.
"""

from collections.abc import Iterator

import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import check_shape
from jaxpose.io.meshes import checked_faces

_PAIRS_AT_ONCE = 1_000_000
_ROUNDING = 1e-13  # of the mesh's size, some hundred times what float64 rounds


def self_intersections(vertices: Array | np.ndarray, faces: Array | np.ndarray) -> np.ndarray:
    """Which faces cross another one: [F] bool, of a mesh with vertices [V, 3] and faces [F, 3].

    ValueError for other shapes, vertices that are not finite, and faces of vertices that are not there.
    """
    vertices = np.asarray(vertices, np.float64)
    check_shape("vertices", vertices, ("V", 3), low=-np.inf)
    faces = checked_faces("faces", faces, len(vertices))
    vertices = vertices - vertices.mean(0)
    corners = (vertices / np.abs(vertices).max(initial=1e-300))[faces]
    found = np.zeros(len(faces), bool)
    for first, second in _near_pairs(corners.min(1), corners.max(1)):
        crossing = _cross(corners, faces, first, second)
        found[first[crossing]] = found[second[crossing]] = True
    return found


def self_intersection_row(vertices: Array | np.ndarray, faces: Array | np.ndarray) -> dict[str, float]:
    """`self_intersection_percent` of meshes [N, V, 3] with common faces [F, 3]: the mean over them, 0 to 100."""
    vertices = np.asarray(vertices, np.float64)
    check_shape("vertices", vertices, ("N", "V", 3), low=-np.inf)
    shares = [self_intersections(mesh, faces).mean() for mesh in vertices]
    return {"self_intersection_percent": 100 * float(np.mean(shares))}


def _near_pairs(low: np.ndarray, high: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of boxes [F, 3] that overlap or touch, each once, in portions."""
    axis = int(np.argmax(high.max(0) - low.min(0)))
    order = np.argsort(low[:, axis], kind="stable")
    low, high = low[order], high[order]
    ends = np.searchsorted(low[:, axis], high[:, axis], side="right")  # the boxes that begin before this one ends
    counts = ends - np.arange(len(ends)) - 1
    portions = np.cumsum(counts) // _PAIRS_AT_ONCE
    others = [k for k in range(3) if k != axis]
    for rows in np.split(np.arange(len(ends)), np.flatnonzero(np.diff(portions)) + 1):
        num = counts[rows]
        first = np.repeat(rows, num)
        second = first + 1 + np.arange(num.sum()) - np.repeat(np.cumsum(num) - num, num)
        for k in others:
            near = (low[first, k] <= high[second, k]) & (low[second, k] <= high[first, k])
            first, second = first[near], second[near]
        yield order[first], order[second]


def _cross(corners: np.ndarray, faces: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which of the pairs [P] of faces count as crossing: [P] bool."""
    same = faces[first][:, :, None] == faces[second][:, None, :]
    num_shared = same.sum((1, 2))
    result = num_shared >= 3
    candidates = np.flatnonzero(num_shared <= 1)
    a, b, same = corners[first[candidates]], corners[second[candidates]], same[candidates]
    for one, other, shared in ((a, b, same.any(2)), (b, a, same.any(1))):
        for start in range(3):
            end = (start + 1) % 3
            free = ~(shared[:, start] | shared[:, end])
            passing = _passes(one[free, start], one[free, end], other[free])
            result[candidates[np.flatnonzero(free)[passing]]] = True
    return result


def _passes(p: np.ndarray, q: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Whether segments p q [P, 3] go through triangles [P, 3, 3]: [P] bool."""
    a, b, c = np.moveaxis(triangle, 1, 0)
    normal = np.cross(b - a, c - a)
    least = _ROUNDING * np.sqrt(_dot(normal, normal))
    start, end = _dot(normal, p - a), _dot(normal, q - a)
    split = np.flatnonzero((np.minimum(start, end) < -least) & (np.maximum(start, end) > least))
    p, along, triangle = p[split], (q - p)[split], triangle[split] - p[split, None]
    # the line turns about all three sides the same way: determinants of it and two corners, seen from p
    turns = np.sign([_dot(along, np.cross(triangle[:, k], triangle[:, (k + 1) % 3])) for k in range(3)])
    result = np.zeros(len(q), bool)
    result[split] = (turns >= 0).all(0) | (turns <= 0).all(0)
    return result


def _dot(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.einsum("pk,pk->p", u, v)
