"""The frames of a video as small pictures inside a page."""

import io
from collections.abc import Iterable

import numpy as np

from jaxpose.app.viz import scene as sc

_BYTES = 1_100_000  # of all pictures: with base64, half of a page of 3 MB
_HEIGHTS, _QUALITY = (360, 270, 216, 180, 144, 108, 72), 45  # px; of JPEG


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
    """The picture as JPEG, at most so high."""
    image, file = sc.need("PIL.Image"), io.BytesIO()
    height = min(height, picture.shape[0])
    size = (max(1, round(picture.shape[1] * height / picture.shape[0])), height)
    image.fromarray(picture).resize(size, image.Resampling.BOX).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
