"""Rows that are the successive frames of one person, for a model whose states are motions.

A network of F frames serves clips of any length: windows that overlap by half share one state and one prediction
(`diffusion.prediction.over_windows`), so one hypothesis is one motion from the first frame to the last. A frame in
which nothing was seen is a row that tells the network nothing, and gets its pose like the others.
"""

import numpy as np

from jaxpose.compiled import size_for

# Units of a state, 1.5 m from the middle of a person. Without a bound a network now and then multiplies an unlikely
# state from step to step: of UI-PRMD's clips and 20 hypotheses, one frame of 25,920 was thrown 85 km.
FARTHEST = 6.0


def num_frames(num: int, length: int | None, most: int | None = None) -> int:
    """Number of frames that a motion of `num` is filled up to, so that a few programs serve all; at least a window."""
    return max(size_for(num), length or 0)


def overlapping(num: int, length: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `length` that cover frames 0 .. num - 1: rows [W, F], and each row's share [W, F] in them.

    Neighbours overlap by half; the last ends with the clip. A frame counts less near an end of its window, where the
    network sees it from one side only. ValueError for fewer frames than `length`.
    """
    assert length is not None, "a model of motions has windows"
    if num < length:
        raise ValueError(f"motions: needed at least {length} frames, the window of the model, got {num}")
    last = num - length
    first = np.append(np.arange(0, last, max(1, length // 2)), last)
    index = first[:, None] + np.arange(length)
    weight = np.broadcast_to(np.minimum(np.arange(length), np.arange(length)[::-1]) + 1.0, index.shape)
    total = np.bincount(index.ravel(), weight.ravel(), num)
    return index, (weight / total[index]).astype(np.float32)
