"""The 2D part of a page: keypoints on their film, and the hypotheses as the camera sees them."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxpose.app.viz import scene as sc
from jaxpose.app.viz.packing import Packer
from jaxpose.app.viz.page import layer_part

_MARGIN = 0.08  # of the larger extent of what is seen
_BYTES = 1_100_000  # of all pictures of a film: with base64, half of a page of 3 MB
_HEIGHTS, _QUALITY = (360, 270, 216, 180, 144, 108, 72), 45  # px; of JPEG


def flat_part(
    packer: Packer, scene: sc.Scene, image_size: tuple[int, int] | None, film: Sequence[bytes | None] | None
) -> dict[str, Any] | None:
    """The 2D layers of a scene and what lies behind them; None without any.

    image_size: width and height of the picture in pixels, where the layers lie in one. film: a JPEG for each row.
    """
    if not scene.flat:
        return None
    low, high = sc.pixel_bounds(scene.flat)
    margin = max(_MARGIN * float(np.max(high - low)), 1.0)
    box = np.array([low - margin, high + margin])
    if image_size is not None:
        box = np.array([[0, 0], image_size], float)
    part: dict[str, Any] = {"layers": [layer_part(packer, layer) for layer in scene.flat]}
    if film is not None and any(film) and image_size is not None:
        part["film"] = [None if picture is None else packer.content(picture) for picture in film]
    return part | {"low": box[0].round(2).tolist(), "high": box[1].round(2).tolist()}


def film_of(pictures: Iterable[tuple[int, np.ndarray]], frame: np.ndarray, most: int = 300) -> list[bytes | None]:
    """A JPEG for each row of frames [N], None where no picture has its number.

    pictures: number and RGB [h, w, 3] uint8 of frames in rising order, read once and not kept. At most `most` frames
    have one, those that a page shows; they are as high as all fit into 1.1 MB if they compress like the first.
    """
    numbers = np.unique(frame)
    wanted = {int(number) for number in numbers[sc.strided(len(numbers), most)]}
    jpegs: dict[int, bytes] = {}
    height = 0
    for number, picture in pictures:
        if number in wanted:
            fits = (h for h in _HEIGHTS if len(wanted) * len(_jpeg(picture, h)) < _BYTES)
            height = height or next(fits, _HEIGHTS[-1])
            jpegs[number] = _jpeg(picture, height)
        if number >= max(wanted):
            break
    return [jpegs.get(int(number)) for number in frame]


def _jpeg(picture: np.ndarray, height: int) -> bytes:
    image, file = sc.need("PIL.Image"), io.BytesIO()
    height = min(height, picture.shape[0])
    size = (max(1, round(picture.shape[1] * height / picture.shape[0])), height)
    image.fromarray(picture).resize(size, image.Resampling.BOX).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
