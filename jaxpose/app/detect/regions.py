"""Turned squares of an image, which networks see as crops.

    image = centre + side R(angle) (crop - 1/2)        crop in [0, 1]^2, x right, y down

A crop's pixel (i, j) is the image's value at crop = (j, i) / size, pixel k of the image being at k, bilinear in steps
of 1/32 pixel and rounded: OpenCV's `warpPerspective` of 8 bits, which MediaPipe's networks see. Half a pixel more or
less moves what they find by several pixels.
"""

from typing import NamedTuple

import numpy as np


class Region(NamedTuple):
    """A square: centre [2] pixels, side pixels, angle in radians from the image's x axis towards its y axis."""

    centre: np.ndarray
    side: float
    angle: float


def whole(rgb: np.ndarray) -> Region:
    """The square about an image [H, W, 3], as wide as its longer side."""
    height, width = rgb.shape[:2]
    return Region(np.array([width, height]) / 2, float(max(width, height)), 0.0)


def tiles(rgb: np.ndarray) -> list[Region]:
    """Squares of 0.6 of the longer side, three along each side that is longer than that: they overlap by a half."""
    height, width = rgb.shape[:2]
    side = 0.6 * max(width, height)
    x, y = (np.linspace(side / 2, size - side / 2, 3) if size > side else [size / 2] for size in (width, height))
    return [Region(np.array([u, v]), side, 0.0) for v in y for u in x]


def to_image(region: Region, points: np.ndarray) -> np.ndarray:
    """Pixels of points [..., 2] given in shares of the region's side."""
    return region.centre + region.side * (points - 0.5) @ turn(region.angle).T


def turn(angle: float) -> np.ndarray:
    """The rotation matrix [2, 2] from x towards y."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def crop(rgb: np.ndarray, region: Region, size: int, *, extend: bool) -> np.ndarray:
    """The region as an image [size, size, 3] float32 of whole numbers from 0 to 255.

    Outside the image are its border pixels (extend) or zeros.
    """
    height, width = rgb.shape[:2]
    steps, (along, across) = np.arange(size) / size - 0.5, 32 * region.side * turn(region.angle)[:, 0]
    x = np.rint(32 * region.centre[0] + along * steps - across * steps[:, None]).astype(np.int64)
    y = np.rint(32 * region.centre[1] + across * steps + along * steps[:, None]).astype(np.int64)
    pixels = rgb.reshape(-1, 3)

    def at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        place = np.clip(y, 0, height - 1) * width + np.clip(x, 0, width - 1)
        values = np.take(pixels, place, axis=0).astype(np.float32)
        return values if extend else values * ((x >= 0) & (x < width) & (y >= 0) & (y < height))[..., None]

    share_x, share_y = ((value[..., None] & 31).astype(np.float32) / 32 for value in (x, y))
    x, y = x >> 5, y >> 5
    above, below = at(x, y), at(x, y + 1)
    above += share_x * (at(x + 1, y) - above)
    below += share_x * (at(x + 1, y + 1) - below)
    return np.floor(above + share_y * (below - above) + 0.5)
