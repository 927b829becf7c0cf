"""Rows that are the successive frames of one person, for a model whose states are motions.

A network of F frames serves clips of any length: windows that overlap by half share one state and one prediction
(`draw.over_windows`), so one hypothesis is one motion from the first frame to the last. A frame in which nothing was
seen is a row that tells the network nothing, and gets its pose like the others.
"""

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import size_for
from jaxpose.model import Model


def is_motion(model: Model) -> bool:
    """Whether a hypothesis of the model is a motion: its network is a score network over windows of frames."""
    return "motion" in model.capabilities


def windows_of(model: Model, num: int) -> tuple[Array, Array] | None:
    """The `Problem.windows` of a motion of `num` frames; None for a model of single poses."""
    if not is_motion(model):
        return None
    length = model.spec.network.window
    assert length is not None, "a model of motions has windows"
    index, share = overlapping(num, length)
    return jnp.asarray(index), jnp.asarray(share)


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


def num_frames(model: Model, num: int) -> int:
    """How many frames a motion of `num` is filled up to, so that a few programs serve all; at least a window."""
    return max(size_for(num), model.spec.network.window or 0)


def unseen_beyond(confidence: Array | np.ndarray, num: int) -> np.ndarray:
    """Confidences [N, J] on the host, 0 in the rows from `num` on, which only fill up a size."""
    filled = np.array(confidence, np.float32)
    filled[num:] = 0
    return filled
