"""Rows that are the successive frames of one person, for a model whose states are motions.

A network of F frames serves clips of any length: windows that overlap by half share one state and one prediction
(`draw.over_windows`), so one hypothesis is one motion from the first frame to the last. A frame in which nothing was
seen is a row that tells the network nothing, and gets its pose like the others.
"""

import numpy as np

from jaxpose.base import Array
from jaxpose.model import Model


def is_motion(model: Model) -> bool:
    """Whether a hypothesis of the model is a motion: its network is a score network over windows of frames."""
    return "motion" in model.capabilities


def overlapping(num: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `length` that cover frames 0 .. num - 1: rows [W, F], and each row's share [W, F] in them.

    Neighbours overlap by half; the last ends with the clip. A frame counts less near an end of its window, where the
    network sees it from one side only. ValueError for fewer frames than `length`.
    """
    if num < length:
        raise ValueError(f"motions: needed at least {length} frames, the window of the model, got {num}")
    last = num - length
    first = np.append(np.arange(0, last, max(1, length // 2)), last)
    index = first[:, None] + np.arange(length)
    weight = np.broadcast_to(np.minimum(np.arange(length), np.arange(length)[::-1]) + 1.0, index.shape)
    total = np.bincount(index.ravel(), weight.ravel(), num)
    return index, (weight / total[index]).astype(np.float32)


def unseen_beyond(confidence: Array | np.ndarray, num: int) -> np.ndarray:
    """Confidences [N, J] on the host, 0 in the rows from `num` on, which only fill up a size."""
    filled = np.array(confidence, np.float32)
    filled[num:] = 0
    return filled
