"""What the tests of pictures share: random poses, and what a page holds, read back from its file."""

import base64
import json
import re
import zlib
from typing import Any

import numpy as np

H, N, J = 5, 4, 17


def random_pose_set(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Samples [H, N, J, 3], keypoints [N, J, 2], confidence [N, J] and a truth [N, J, 3]."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.5, (H, N, J, 3)).astype(np.float32)
    keypoints = rng.uniform(100, 900, (N, J, 2)).astype(np.float32)
    return samples, keypoints, rng.uniform(0, 1, (N, J)), samples.mean(0) + 0.1


class Read:
    """A page's content and arrays, as a browser finds them in the text of the file."""

    def __init__(self, page: str) -> None:
        def inside(kind: str) -> str:
            return re.search(f'<script type="{kind}" id="[a-z]+">(.*?)</script>', page, re.DOTALL)[1]  # type: ignore[index]

        self.content: dict[str, Any] = json.loads(inside("application/json"))
        self._bytes = np.frombuffer(zlib.decompress(base64.b64decode(inside("text/plain"))), np.uint8)

    def whole(self, array: dict[str, Any]) -> np.ndarray:
        """Integers: planes of bytes, the lowest first, and differences along time modulo the range."""
        count, width = int(np.prod(array["shape"])), array["bytes"]
        planes = self._bytes[array["at"] : array["at"] + count * width].reshape(width, count).astype(np.int64)
        values = sum(plane << (8 * place) for place, plane in enumerate(planes)).reshape(array["shape"])  # type: ignore[union-attr]
        if "time" in array:
            values = np.cumsum(values, axis=array["time"]) % (1 << 8 * width)
        return (
            np.where(values >= 1 << (8 * width - 1), values - (1 << 8 * width), values) if array["signed"] else values
        )

    def positions(self, array: dict[str, Any]) -> np.ndarray:
        """Points of any unit, NaN where there is a gap."""
        whole = self.whole(array)
        return np.where(whole == -32768, np.nan, np.array(array["middle"]) + array["step"] * whole)

    def camera(self, array: dict[str, Any]) -> np.ndarray:
        """Points in camera axes; the page has those of the display (x right, y up, z to the viewer)."""
        return self.positions(array) * [1, -1, -1]

    def layers(self, name: str) -> list[dict[str, Any]]:
        """The 3D layers whose name begins so."""
        return [layer for layer in self.content["layers"] if layer["name"].startswith(name)]

    def poses(self, name: str) -> np.ndarray:
        """The poses [L, F, J, 3] of the one layer of this name, in camera axes."""
        (layer,) = self.layers(name)
        return self.camera(layer["poses"])
