"""Arrays of a page as one compressed block of text, and positions as 16-bit integers.

A position x is stored as the integer q nearest to (x - middle) / step, and read back as middle + step q: it is off by
at most step / 2 along each axis. The step is the given one, or larger where the range asks for it. What lies farther
from the median than `reach`, as a diverged sample, is a gap like what is not finite (q = -2^15).

Along an axis of time the integers are stored as differences modulo 2^16, and of all numbers the low bytes come before
the high ones: both make zlib's work smaller. `web/data.js` reads what is written here.
"""

import base64
import zlib
from typing import Any

import numpy as np

REACH = 60.0  # metres about the median
_LIMIT = 2**15 - 1
_MISSING = -(2**15)


class Packer:
    """Collects arrays; each `add` returns the description by which a page finds the array again."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}  # what is there already, such as a second body of one shape, is found again
        self._size = 0

    def add(self, array: np.ndarray, *, time: int | None = None) -> dict[str, Any]:
        """An array of integers of 1, 2 or 4 bytes; time: the axis along which differences are stored."""
        array = np.ascontiguousarray(array)
        size = array.dtype.itemsize
        shape: dict[str, Any] = {"shape": list(array.shape), "bytes": size, "signed": array.dtype.kind == "i"}
        if time is not None:
            first = np.take(array, [0], axis=time)
            array = np.concatenate([first, np.diff(array, axis=time)], axis=time)
            shape["time"] = time
        planes = array.reshape(-1, 1).view(np.uint8).reshape(-1, size).T
        return {"at": self._place(planes.tobytes()), **shape}

    def positions(
        self, points: np.ndarray, step: float, *, reach: float = REACH, time: int | None = None
    ) -> dict[str, Any]:
        """Points [..., D] of any unit, each axis with a middle of its own."""
        middle, step, whole = quantised(points, step, reach)
        return self.add(whole, time=time) | {"step": step, "middle": middle.tolist()}

    def content(self, content: bytes) -> dict[str, Any]:
        """The bytes of a file."""
        return {"at": self._place(content), "shape": [len(content)], "bytes": 1, "signed": False}

    def text(self) -> str:
        """All arrays, compressed (zlib), as base64."""
        return base64.b64encode(zlib.compress(b"".join(self._places), 9)).decode()

    def _place(self, content: bytes) -> int:
        if content not in self._places:
            self._places[content] = self._size
            self._size += len(content)
        return self._places[content]


def quantised(points: np.ndarray, step: float, reach: float = REACH) -> tuple[np.ndarray, float, np.ndarray]:
    """Middle [D], step and int16 of points [..., D]: x = middle + step q within step / 2; -2^15 where there is a gap.

    reach: how far from the median a point may lie along each axis.
    """
    points = np.asarray(points, np.float64)
    width = points.shape[-1]
    finite = np.isfinite(points).all(-1)
    if not finite.any():
        return np.zeros(width), step, np.full(points.shape, _MISSING, np.int16)
    centre = np.median(points[finite], axis=0)
    near = finite & (np.abs(np.where(finite[..., None], points, np.inf) - centre) <= reach).all(-1)
    low, high = points[near].min(0), points[near].max(0)
    middle = (low + high) / 2
    step = max(step, float((high - low).max()) / 2 / _LIMIT)
    whole = np.rint((np.where(near[..., None], points, middle) - middle) / step)
    return middle, step, np.where(near[..., None], whole, _MISSING).astype(np.int16)
