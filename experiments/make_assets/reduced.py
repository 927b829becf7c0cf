"""The surface of the body with fewer triangles: cavities closed, the left half simplified by quadrics and mirrored.

Its vertices are fixed points of triangles of MakeHuman's base mesh, so that whatever is linear there is linear here.
Source: Garland and Heckbert, Surface Simplification Using Quadric Error Metrics (1997), by pyfqmr.
"""

from typing import NamedTuple

import numpy as np

from experiments.make_assets.makehuman import MakeHuman

_HALF_TRIANGLES = 7_000  # of the left half, after simplification


class Mesh(NamedTuple):
    """A closed triangle mesh [F, 3], symmetric: vertex i lies opposite of mirror[i]; places [V, 3] of vertices of the
    base mesh and bary [V, 3] of these."""

    faces: np.ndarray
    mirror: np.ndarray
    places: np.ndarray
    bary: np.ndarray

    def take(self, values: np.ndarray) -> np.ndarray:
        """Values [..., V, D] of these vertices from values [..., base, D] of the base mesh."""
        return np.einsum("...vkd,vk->...vd", values[..., self.places, :], self.bary)


def closed_left_half(data: MakeHuman, person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of the left half of the body without cavities and nipples, closed but for the middle plane.

    They count in points: places [P, 3] of vertices of the base mesh and bary [P, 3], of which the first are the base's
    own. A hole is closed by a fan about the front of the eyeball, or about the middle of two opposite vertices.
    """
    inside = np.zeros(len(person), bool)
    inside[data.cavities] = True
    nipple = np.zeros(len(person), bool)
    nipple[[*range(1778, 1794), *range(8450, 8466)]] = True
    quads = data.quads[~inside[data.quads].all(1) & ~nipple[data.quads].any(1)]
    places = np.repeat(np.arange(len(person))[:, None], 3, 1)
    bary = np.tile([1.0, 0, 0], (len(person), 1))
    front = [eye[person[eye, 2].argmax()] for eye in data.eyes]
    triangles = [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
    for loop in _holes(quads):
        near = [np.linalg.norm(person[loop].mean(0) - person[eye]) for eye in front]
        if min(near) < 0.02:
            centre = front[int(np.argmin(near))]
        else:
            start = int(np.abs(person[loop, 0]).argmin())
            loop = loop[start:] + loop[:start]
            centre = len(places)
            places = np.vstack([places, [loop[0], loop[len(loop) // 2], loop[0]]])
            bary = np.vstack([bary, [0.5, 0.5, 0]])
        triangles.append(np.array([[b, a, centre] for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]))
    faces = np.concatenate(triangles)
    x = np.einsum("pk,pk->p", person[places, 0], bary)
    return faces[(x[faces] > -1e-4).all(1)], places, bary


def _holes(quads: np.ndarray) -> list[list[int]]:
    """Vertices of each hole, in the sense of its quads' edges."""
    edges = {(int(a), int(b)) for quad in quads for a, b in zip(quad, np.roll(quad, -1), strict=True)}
    follow = {a: b for a, b in edges if (b, a) not in edges}
    loops = []
    while follow:
        start, a = next(iter(follow.items()))
        loop = [start]
        follow.pop(start)
        while a != start:
            loop.append(a)
            a = follow.pop(a)
        loops.append(loop)
    return loops


def simplified(data: MakeHuman, person: np.ndarray) -> Mesh:
    """The body's mesh with fewer triangles, made on the surface of a person in T-pose."""
    import pyfqmr

    faces, places, bary = closed_left_half(data, person)
    points = np.einsum("pkd,pk->pd", person[places], bary)
    used, faces = np.unique(faces, return_inverse=True)
    faces, points, places, bary = faces.reshape(-1, 3), points[used], places[used], bary[used]
    simplify = pyfqmr.Simplify()
    simplify.setMesh(points, faces)
    simplify.simplify_mesh(target_count=_HALF_TRIANGLES, aggressiveness=3, preserve_border=True, verbose=False)
    vertices, left, _ = simplify.getMesh()
    triangle, share = _nearest(points, faces, vertices)
    # of a point of a triangle, whose corners are points of the base mesh: at most three of these
    at, of = places[faces[triangle]], bary[faces[triangle]] * share[:, :, None]
    order = np.argsort(-of.reshape(len(of), 9), axis=1)[:, :3]
    at, of = np.take_along_axis(at.reshape(-1, 9), order, 1), np.take_along_axis(of.reshape(-1, 9), order, 1)
    of = of / of.sum(1, keepdims=True)
    middle = np.abs(vertices[:, 0]) < 1e-4
    num = len(vertices)
    mirrored = np.where(middle, np.arange(num), num + np.cumsum(~middle) - 1)
    opposite = np.concatenate([mirrored, np.arange(num)[~middle]])
    return Mesh(np.concatenate([left, mirrored[left][:, ::-1]]), opposite, at, of)


def _nearest(points: np.ndarray, faces: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The triangle [Q] nearest to each query and the barycentric coordinates [Q, 3] of the nearest point on it."""
    from scipy.spatial import cKDTree

    corners = points[faces]
    _, near = cKDTree(corners.mean(1)).query(queries, 24)
    a, b, c = (corners[near][:, :, i] for i in range(3))
    sides = np.stack([b - a, c - a], -1)
    share = np.clip((np.linalg.pinv(sides) @ (queries[:, None] - a)[..., None])[..., 0], 0, 1)
    share = share / np.maximum(share.sum(-1, keepdims=True), 1)
    bary = np.concatenate([1 - share.sum(-1, keepdims=True), share], -1)
    away = np.linalg.norm(np.einsum("qtk,qtkd->qtd", bary, corners[near]) - queries[:, None], axis=-1)
    best = away.argmin(1)
    row = np.arange(len(queries))
    return near[row, best], bary[row, best]


def whole(mesh: Mesh, left: np.ndarray) -> np.ndarray:
    """Points [..., V, 3] of both halves from those of the left half and the middle plane."""
    num = left.shape[-2]
    both = left[..., np.where(np.arange(len(mesh.mirror)) < num, np.arange(len(mesh.mirror)), mesh.mirror), :].copy()
    both[..., num:, 0] *= -1
    both[..., mesh.mirror == np.arange(len(mesh.mirror)), 0] = 0
    return both
