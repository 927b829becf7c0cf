"""Small videos that tests write with PyAV, and a detector whose answers are known."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from jaxpose.app.detect.base import Detector, Found, Frame
from jaxpose.geometry.skeleton import COCO_17


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """An image whose brightness says its number, with a white corner at the upper left."""
    rgb = np.full((height, width, 3), 20 + 4 * (number % 50), np.uint8)
    rgb[: height // 3, : width // 3] = 255
    return rgb


def write_video(
    path: Path, pictures: Iterable[np.ndarray], times: Sequence[float] | None = None, fps: int = 30
) -> Path:
    """An .mp4 (MPEG-4 part 2) of pictures, at the rate or at times in seconds."""
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.bit_rate, stream.time_base, stream.pix_fmt = 4_000_000, Fraction(1, 1000), "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, rgb in enumerate(pictures):
            if not number:
                stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (number / fps if times is None else times[number]))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """The file with this matrix in its track header (ISO 14496-12, 8.3.2): x' = a x + c y, y' = b x + d y."""
    content = bytearray(path.read_bytes())
    place = (
        content.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 8
    )  # version and flags, times and id, reserved, layer and volume
    matrix = np.array([[a, b, 0], [c, d, 0], [0, 0, 1 << 14]]) * np.array([1 << 16, 1 << 16, 1 << 16])
    content[place : place + 36] = matrix.astype(">i4").tobytes()
    path.write_bytes(content)
    return path


def seen_number(rgb: np.ndarray) -> int:
    """The number of a picture, modulo 50."""
    return round((float(np.median(rgb)) - 20) / 4)


def by_brightness(calls: list[int], crowd: int = 2) -> Detector:
    """A detector with memory: joint j of person p in a frame of brightness n is at (100 p + n, j + frames seen so far).

    Nobody is in frames whose number ends in 9. `calls` gets the numbers of all frames that it was asked about.
    """

    def detect(frames: Iterable[Frame]) -> Iterator[Found]:
        for seen, frame in enumerate(frames):
            calls.append(frame.number)
            num = 0 if frame.number % 10 == 9 else crowd
            xy = np.zeros((num, 17, 2), np.float32)
            xy[..., 0] = 100 * np.arange(num)[:, None] + seen_number(frame.rgb) + 5 * (np.arange(17) % 4)
            xy[..., 1] = 3 * np.arange(17) + seen / 1000
            world = np.zeros((num, 17, 3), np.float32) + 0.1 * np.arange(17)[:, None]
            yield Found(xy, np.ones((num, 17), np.float32), world)

    return Detector("by brightness", COCO_17, detect)
