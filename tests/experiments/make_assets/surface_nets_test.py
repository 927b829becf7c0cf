"""Surface nets: an ellipsoid's surface, volume and normals come out as geometry says."""

import numpy as np
import pytest

from experiments.make_assets.surface_nets import surface_of
from jaxpose.geometry.body import vertex_normals

RADII = np.array([0.3, 0.2, 0.25])


def ellipsoid(x):
    return (np.sqrt(((x / RADII) ** 2).sum(-1)) - 1) * RADII.min()


def planes(end):
    """Uneven, and not symmetric."""
    return tuple(np.sort(np.r_[np.linspace(-end, 0.1, 30), np.linspace(0.12, end, 13)]) for _ in range(3))


def test_an_ellipsoid_comes_out():
    vertices, faces = surface_of(ellipsoid, planes(0.4))
    np.testing.assert_allclose(((vertices / RADII) ** 2).sum(-1), 1, atol=2e-4)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    volume = np.einsum("ni,ni->", a, np.cross(b, c)) / 6
    np.testing.assert_allclose(volume, 4 / 3 * np.pi * RADII.prod(), rtol=0.01)
    outward = vertices / RADII**2
    cosine = (vertex_normals(vertices, faces) * outward).sum(-1) / np.linalg.norm(outward, axis=-1)
    assert cosine.min() > 0.98


def test_a_surface_beyond_the_grid_is_an_error():
    with pytest.raises(ValueError, match="planes: the surface reaches the end of the grid"):
        surface_of(ellipsoid, planes(0.29))
