"""Heatmaps of 2D joints: where a joint may be, as intensities on a grid.

A map [h, w] is read as a density over the plane (u right, v down) in cells: the cell of row r and column c is
[c, c + 1) x [r, r + 1), its middle (c + 0.5, r + 0.5), and the map covers [0, w] x [0, h] edge to edge. The density is
constant in a cell and proportional to its intensity, which is never negative; the scale does not matter to it.

    sample:  cell = inverse of the cumulated intensity at a uniform draw, point = corner + uniform in the unit square
    peak:    u <- sum_c p(c) k(c - u) c / sum_c p(c) k(c - u) over the middles c, from the middle of the largest cell

The second is mean shift (Comaniciu and Meer, 2002) with a Gaussian k of 2 cells. For a Gaussian blob that is its
middle; a window fixed on the largest cell is up to half a cell off.
"""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key

Missing: TypeAlias = Literal["error", "hide"]

_WINDOW = 2.0  # cells: the deviation with which detectors draw their training targets (HRNet: 2 or 3)
_SHIFTS = 20  # a blob as wide as the window halves its distance at each, one of 3 cells needs 0.69^20 < 0.001
_LARGEST = 1e30  # intensity: sums of it are finite
_RESOLUTION = 2.0**30  # of the cumulated intensity, in whole numbers that an int32 holds


def sample_heatmaps(key: Key, heatmaps: Array, num: int) -> Array:
    """`num` points [..., J, num, 2] = (u, v) in cells, drawn from each map of heatmaps [..., J, h, w].

    A map of zeros is taken as uniform. Intensities below 2^-31 of the map's sum count as 0.
    """
    *lead, height, width = heatmaps.shape
    flat = jnp.asarray(heatmaps, jnp.float32).reshape(-1, height * width)
    mass = flat.sum(-1, keepdims=True)
    share = jnp.where(mass > 0, flat / jnp.where(mass > 0, mass, 1), 1 / (height * width))
    # Whole numbers add up exactly: a cell of 0 is never drawn, which rounded sums would not promise.
    steps = jnp.cumsum(jnp.round(share * _RESOLUTION).astype(jnp.int32), -1)
    key_cell, key_point = jax.random.split(key)
    level = jax.random.randint(key_cell, (len(flat), num), 0, steps[:, -1:])
    cell = jax.vmap(lambda s, v: jnp.searchsorted(s, v, side="right"))(steps, level)
    corner = jnp.stack([cell % width, cell // width], -1).astype(jnp.float32)
    point = corner + jax.random.uniform(key_point, corner.shape)
    # rounding must not carry a point into the next cell
    return jnp.minimum(point, jnp.nextafter(corner + 1, corner)).reshape(*lead, num, 2)


def heatmap_peak(heatmaps: Array) -> tuple[Array, Array]:
    """Where each map of heatmaps [..., J, h, w] peaks: uv [..., J, 2] in cells, confidence [..., J] in [0, 1].

    The confidence is the largest intensity, clipped to [0, 1]: what detectors report. Where it is 0, so is uv.
    """
    height, width = heatmaps.shape[-2:]
    maps = jnp.asarray(heatmaps, jnp.float32)
    cell = maps.reshape(*maps.shape[:-2], -1).argmax(-1)
    u, v = jnp.arange(width) + 0.5, jnp.arange(height) + 0.5
    window = lambda middles, at: jnp.exp(-((middles - at[..., None]) ** 2) / (2 * _WINDOW**2))  # noqa: E731

    def shift(_: int, at: tuple[Array, Array]) -> tuple[Array, Array]:
        near = maps * window(v, at[1])[..., :, None] * window(u, at[0])[..., None, :]
        mass = near.sum((-1, -2))
        mass = jnp.where(mass > 0, mass, 1)
        return (near * u).sum((-1, -2)) / mass, (near * v[:, None]).sum((-1, -2)) / mass

    at = jax.lax.fori_loop(0, _SHIFTS, shift, (u[cell % width], v[cell // width]))
    confidence = jnp.clip(maps.max((-1, -2)), 0, 1)
    return jnp.stack(at, -1), confidence


def to_image(uv: Array, box: Array, heatmap_size: tuple[int, int]) -> Array:
    """Image pixels of points on the grid: uv [..., 2] in cells -> [..., 2].

    box: [B..., 4] x0, y0, width, height in pixels of the part of the image that a map covers edge to edge; its leading
    axes are the first of uv's. heatmap_size: (h, w), the last two axes of the maps. A detector that puts the *middle*
    of cell c at x0 + c s, s pixels a cell (HRNet's decoding), means a box half a cell further up and left: x0 - s / 2.
    """
    height, width = heatmap_size
    box = jnp.asarray(box)
    box = box.reshape(*box.shape[:-1], *(1,) * (uv.ndim - box.ndim), 4)
    return box[..., :2] + uv * (box[..., 2:] / jnp.array([width, height], jnp.float32))


def check_heatmaps(heatmaps: np.ndarray, name: str = "heatmaps", missing: Missing = "error") -> None:
    """ValueError naming frame and joint, for a map of heatmaps [N, J, h, w] that is no density.

    Legal intensities are finite and not negative. missing: "error" takes no map of zeros either; "hide" does, it is a
    joint that was not detected: `heatmap_peak` gives it confidence 0, `sample_heatmaps` draws from all of it.
    """
    if missing not in ("error", "hide"):
        raise ValueError(f"missing: {missing!r}; must be 'error' or 'hide'")
    if heatmaps.ndim != 4 or 0 in heatmaps.shape or heatmaps.dtype.kind not in "fiu":
        raise ValueError(f"{name}: needed numbers [N, J, h, w], got {heatmaps.dtype} of shape {list(heatmaps.shape)}")
    faults = {
        "not finite": lambda maps: ~(maps < _LARGEST).all((-1, -2)),
        "negative (cut a network's output off at 0)": lambda maps: (maps < 0).any((-1, -2)),
        "0 everywhere": lambda maps: (missing == "error") & ~maps.any((-1, -2)),
    }
    for first in range(0, len(heatmaps), 64):  # or the intermediate arrays of a long file fill the memory
        for what, is_bad in faults.items():
            bad = np.argwhere(is_bad(heatmaps[first : first + 64]))
            if len(bad):
                raise ValueError(f"{name}: frame {first + bad[0, 0]}, joint {bad[0, 1]} is {what}")
