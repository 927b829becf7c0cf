"""The closed surface of a signed distance, as triangles: naive surface nets on a rectilinear grid.

Every cell with corners inside and outside gets one vertex, first the mean of the points where the cell's edges cross
the surface; every grid edge that crosses the surface gets one quad, of the vertices of the four cells about it.
The vertices are then evened out and moved onto the surface, x <- x - f(x) grad f / |grad f|^2.

Source: S. F. Gibson, Constrained elastic surface nets (1998), without the constraint.
"""

from collections.abc import Callable

import numpy as np

_CORNERS = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if abs(_CORNERS[a] - _CORNERS[b]).sum() == 1]
_STEP = 1e-4  # metres, for the gradient


def surface_of(
    distance: Callable[[np.ndarray], np.ndarray], planes: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and triangles [F, 3], seen from outside counter-clockwise, of distance([N, 3]) -> [N] = 0.

    planes: the grid's coordinates along each axis, rising; the surface must lie within them, and be smooth and thick
    beside its cells, or edges of more than two triangles may come out.
    """
    grid = np.stack(np.meshgrid(*planes, indexing="ij"), -1)
    values = distance(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    if (values[[0, -1]] < 0).any() or (values[:, [0, -1]] < 0).any() or (values[:, :, [0, -1]] < 0).any():
        raise ValueError("planes: the surface reaches the end of the grid; needed a grid around it")
    vertices, number = _cell_vertices(grid, values)
    quads = np.concatenate([_quads(values, number, axis) for axis in range(3)])
    for _ in range(3):
        vertices = _even(vertices, quads)
        for _ in range(2):
            vertices = _onto_surface(distance, vertices)
    return vertices, _triangles(vertices, quads)


def _cell_vertices(grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A vertex for each cell that the surface crosses, and the number of each cell's vertex (-1: none)."""
    shape = np.array(values.shape) - 1
    corners = [tuple(slice(o, o + n) for o, n in zip(c, shape, strict=True)) for c in _CORNERS]
    inside = np.stack([values[c] < 0 for c in corners])
    crossed = inside.any(0) & ~inside.all(0)
    number = np.where(crossed, np.cumsum(crossed).reshape(crossed.shape) - 1, -1)
    f = np.stack([values[c][crossed] for c in corners])
    x = np.stack([grid[c][crossed] for c in corners])
    total, count = np.zeros(x.shape[1:]), np.zeros(x.shape[1])
    for a, b in _EDGES:
        cuts = (f[a] < 0) != (f[b] < 0)
        share = np.where(cuts, f[a] / np.where(cuts, f[a] - f[b], 1), 0)
        total += np.where(cuts[:, None], x[a] + share[:, None] * (x[b] - x[a]), 0)
        count += cuts
    return total / count[:, None], number


def _quads(values: np.ndarray, number: np.ndarray, axis: int) -> np.ndarray:
    """Vertices [Q, 4] around the grid edges along `axis` that cross the surface, counter-clockwise from outside."""
    f, cells = np.moveaxis(values, axis, 0), np.moveaxis(number, axis, 0)
    if axis == 1:  # moving y to the front leaves (y, x, z), which is left-handed
        f, cells = f.swapaxes(1, 2), cells.swapaxes(1, 2)
    lower, upper = f[:-1, 1:-1, 1:-1] < 0, f[1:, 1:-1, 1:-1] < 0
    around = [cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, 1:, 1:], cells[:, :-1, 1:]]
    leaving, entering = lower & ~upper, ~lower & upper
    out = np.stack([a[leaving] for a in around], -1)
    back = np.stack([a[entering] for a in around[::-1]], -1)
    return np.concatenate([out, back])


def _even(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Each vertex half way to the mean of its neighbours."""
    total, count = np.zeros_like(vertices), np.zeros(len(vertices))
    for i in range(4):
        for j in (i - 1, (i + 1) % 4):
            np.add.at(total, quads[:, i], vertices[quads[:, j]])
            np.add.at(count, quads[:, i], 1)
    return (vertices + total / count[:, None]) / 2


def _onto_surface(distance: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    sides = [(distance(x + s) - distance(x - s)) / (2 * _STEP) for s in np.eye(3) * _STEP]
    gradient = np.stack(sides, -1)
    square = np.maximum((gradient**2).sum(-1, keepdims=True), 0.1)
    return x - distance(x)[:, None] * gradient / square


def _triangles(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Two triangles for each quad, along its shorter diagonal."""
    a, b, c, d = (vertices[quads[:, i]] for i in range(4))
    is_short = np.linalg.norm(a - c, axis=-1) <= np.linalg.norm(b - d, axis=-1)
    first = np.where(is_short[:, None], quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    second = np.where(is_short[:, None], quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])
    return np.concatenate([first, second])
