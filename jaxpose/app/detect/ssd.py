"""Boxes of a single-shot detector: anchors, decoding and weighted non-maximum suppression.

Liu et al., SSD, 2016; with one anchor size for all (the boxes are squares about a person's hips), and the suppression
of Bazarevsky et al., BlazeFace, 2019: boxes that overlap are averaged by their scores, not dropped.
"""

from collections.abc import Sequence

import numpy as np


def anchors(size: int, strides: Sequence[int], each: int) -> np.ndarray:
    """Centres [A, 2] in shares of the image, row by row, `each` of them in a cell; equal strides share their cells."""
    centres = []
    for stride in dict.fromkeys(strides):
        cells = (np.arange(size // stride) + 0.5) * stride / size
        grid = np.stack(np.meshgrid(cells, cells), -1).reshape(-1, 2)
        centres.append(np.repeat(grid, each * list(strides).count(stride), axis=0))
    return np.concatenate(centres)


def boxes(raw: np.ndarray, logits: np.ndarray, centres: np.ndarray, size: int, least: float) -> np.ndarray:
    """A network's output [A, 4 + 2 K] as rows [B, 5 + 2 K] of a score above `least`, a box and its K points.

    A row is score, then x, y, width, height of the box, x and y of each point; in shares of the image. raw is the
    offset from the anchor's centre in pixels of the network's input of `size`; logits [A] are of the score.
    """
    score = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))  # within float32
    kept = score >= least
    place = raw[kept] / size
    place[:, 0:2] += centres[kept]
    place[:, 4:] += np.tile(centres[kept], (raw.shape[1] - 4) // 2)
    return np.concatenate([score[kept, None], place], 1)


def suppress(rows: np.ndarray, overlap: float) -> np.ndarray:
    """One row for each group of `boxes` that overlap its best by more than this share of their union; best first.

    Box and points are the mean of the group, weighted by score; the score is the best one's.
    """
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    merged = []
    while len(rows):
        group = _shared(rows[0], rows) > overlap
        group[0] = True  # of a box without area too
        merged.append([rows[0, 0], *np.average(rows[group, 1:], axis=0, weights=rows[group, 0])])
        rows = rows[~group]
    return np.array(merged).reshape(-1, rows.shape[1])


def _shared(one: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Intersection over union [B] of the box of a row with those of `rows`."""
    low = np.maximum(one[1:3] - one[3:5] / 2, rows[:, 1:3] - rows[:, 3:5] / 2)
    high = np.minimum(one[1:3] + one[3:5] / 2, rows[:, 1:3] + rows[:, 3:5] / 2)
    common = np.prod(np.maximum(high - low, 0), axis=1)
    union = np.prod(one[3:5]) + np.prod(rows[:, 3:5], axis=1) - common
    return common / np.maximum(union, 1e-12)
