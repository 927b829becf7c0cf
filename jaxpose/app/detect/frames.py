"""Frames of videos, folders of images, photos and cameras, upright and in time, decoded by FFmpeg (PyAV).

Times are those of presentation, from 0 at the first frame; frames of a variable rate keep theirs. A frame that is
stored turned (a phone's portrait video, a photo with orientation) is turned upright, and pixels that are not square are
made square. Nothing is fetched from a network, also where a file names other files.
"""

import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.detect.base import Frame
from jaxpose.reading import check_file, package

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_DATA = (".json", ".npz", ".npy", ".csv")  # keypoints, heatmaps
_FPS = 30.0  # of images in a folder
_SHORT = 0.5  # seconds by which a file may end before the length that it declares


class Clip(NamedTuple):
    """Which frames of a source are wanted: of `every` k-th, those with start <= time < stop, in seconds."""

    source: Path
    every: int = 1
    start: float = 0.0
    stop: float = float("inf")

    @property
    def camera(self) -> int | None:
        """The number of a camera, where the source is one."""
        name = str(self.source)
        return int(name) if re.fullmatch(r"\d{1,3}", name) and not self.source.exists() else None


def holds_frames(source: Path) -> bool:
    """Whether a source is a video, a camera, a photo or a folder of images; keypoints and heatmaps are not."""
    if source.is_dir():
        return bool(images(source)) and not any(source.glob("*.json"))
    return source.suffix.lower() not in _DATA


def check(clip: Clip) -> None:
    """ValueError where the source cannot be what it seems, before any work."""
    source = clip.source
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(source), re.IGNORECASE):
        raise ValueError(
            f"{str(source).replace(':/', '://', 1)}: an address on the network; frames are read from files, "
            "so that a run can be repeated and gone on with: download it first, for example with yt-dlp or curl -O"
        )
    if clip.camera is None and not source.exists():
        raise ValueError(f"{source}: no such file or folder; needed a video, a folder of images or a camera's number")
    if clip.camera is None and not source.is_dir():
        check_file(source)  # opening a pipe would wait for ever
    if source.is_file() and source.stat().st_size == 0:
        raise ValueError(f"{source}: the file is empty")
    if not source.is_dir():
        _opened(clip).close()


def expected(clip: Clip) -> int | None:
    """The number of frames, about; None where the source does not say."""
    if clip.camera is not None:
        return None
    if clip.source.is_dir():
        num, rate = len(images(clip.source)), _FPS
    else:
        with _opened(clip) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or _FPS)
            length = container.duration / 1e6 if container.duration else 0
            num = stream.frames or round(length * rate)
    if not num:
        return None
    last = min(num, clip.stop * rate)
    return max(0, int(np.ceil((last - clip.start * rate) / clip.every)))


def frames(clip: Clip, first: int = 0) -> Iterator[Frame]:
    """The wanted frames numbered from `first` on; numbers are those of the source, all of its frames counted.

    ValueError names source and frame where it is damaged, or ends before the length that it declares.
    """
    pictures = _of_stream(clip)
    if clip.source.is_dir():
        alone = (next(_of_stream(Clip(path)))[2:] for path in images(clip.source))
        pictures = ((number, number / _FPS, *picture) for number, picture in enumerate(alone))
    for number, seconds, picture, aspect in pictures:
        if seconds >= clip.stop:
            return
        if number >= first and number % clip.every == 0 and seconds >= clip.start:
            yield Frame(number, seconds, _upright(picture, aspect))


def _of_stream(clip: Clip) -> Iterator[tuple[int, float, Any, Fraction | None]]:
    """Number, seconds, picture and shape of a pixel, of every frame of a file or camera."""
    av, number, seconds = _av(), -1, 0.0
    with _opened(clip) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"err_detect": "explode"}  # else damage is painted over in silence
        rate, origin = float(stream.average_rate or _FPS), None
        try:
            for picture in container.decode(stream):
                number += 1
                time = picture.time if picture.time is not None else number / rate
                origin = time if origin is None else origin
                seconds = time - origin
                if picture.is_corrupt:
                    raise av.error.InvalidDataError(0, "damaged picture")
                yield number, seconds, picture, stream.sample_aspect_ratio
        except av.error.FFmpegError as error:
            raise _damaged(clip, number, seconds, error.strerror) from None
        length = float(stream.duration * stream.time_base) if stream.duration else 0.0
        num_declared = stream.frames or np.inf
    if number < 0:
        raise ValueError(f"{clip.source}: no picture in it")
    if clip.camera is None and seconds + _SHORT + 2 / rate < length and number + 1 < num_declared:
        raise _damaged(clip, number, seconds, f"it says that it has {length:.1f} s, and ends here")


def _damaged(clip: Clip, number: int, seconds: float, why: str) -> ValueError:
    if number < 0:
        return ValueError(f"{clip.source}: not a video or image that FFmpeg reads ({why})")
    use = f"; --end {seconds:.2f} takes what lies before" if seconds > 0 else ""
    return ValueError(f"{clip.source}: damaged or cut off after frame {number}, {seconds:.2f} s ({why}){use}")


def _opened(clip: Clip) -> Any:
    av, camera = _av(), clip.camera
    try:
        if camera is not None:
            container = av.open(*_CAMERAS.get(sys.platform, _CAMERAS["linux"])(camera))
        else:
            options = {"protocol_whitelist": "file"}
            # PyAV before 19 refuses titles in Latin-1 without this argument, which 19 has no longer
            titles = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
            container = av.open(str(clip.source), options=options, **titles)
    except av.error.FFmpegError as error:
        if camera is not None:
            raise ValueError(
                f"camera {camera}: {error.strerror}; is it there, free, and may this user use it?"
            ) from None
        raise _damaged(clip, -1, 0.0, error.strerror) from None
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None or container.format.name == "tty":  # FFmpeg draws text files
        container.close()
        why = "no pictures in it" if stream is None or stream.codec_context else "pictures of a codec that FFmpeg lacks"
        raise ValueError(f"{clip.source}: {why}; needed a video, an image or a folder of images")
    return container


# Arguments of av.open for the camera of a number; Windows' own numbering is that of its devices' list.
_CAMERAS = {
    "linux": lambda number: (f"/dev/video{number}", "r", "v4l2"),
    "darwin": lambda number: (f"{number}:none", "r", "avfoundation"),
    "win32": lambda number: (str(number), "r", "vfwcap"),
}


def _upright(picture: Any, aspect: Fraction | None) -> np.ndarray:
    width = picture.width if not aspect else max(1, round(picture.width * float(aspect)))
    if width == picture.width:
        rgb = picture.to_ndarray(format="rgb24")
    else:
        rgb = picture.reformat(width, picture.height, "rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, round(picture.rotation / 90)))


def images(folder: Path) -> list[Path]:
    """The images of a folder: numbers in their names count as numbers."""
    return sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGES), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name.lower())]


def _av() -> Any:
    av = package("av", "videos need the package av", "video")
    av.logging.set_level(None)
    return av
