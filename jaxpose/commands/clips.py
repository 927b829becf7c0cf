"""Videos as the commands take them: detected once, as a file of 2D keypoints that every command reads."""

from collections.abc import Generator, Iterator
from pathlib import Path

from jaxpose.commands.file_options import PrepareDetector
from jaxpose.commands.option_groups import VideoFile, refuse
from jaxpose.detect import weights
from jaxpose.detect.base import Detector
from jaxpose.detect.blazepose import blazepose, finder
from jaxpose.detect.clip import detect_clip
from jaxpose.detect.frames import Clip, check, holds_frames
from jaxpose.detect.rtmpose import rtmpose

_BLAZEPOSE = tuple(f"blazepose-{size}" for size in weights.SIZES)


def keypoints_of(path: Path, given: VideoFile, out: Path, name: str) -> Generator[str, None, Path]:
    """The file of keypoints of a video, folder of images or camera, made below `out`; other paths as they are."""
    if not holds_frames(path):
        refuse(given, f"means nothing to {path}, which holds no frames")
        return path
    clip = Clip(path, given.every, given.start, float("inf") if given.stop is None else given.stop)
    if clip.stop <= clip.start:
        raise ValueError(f"--stop: {clip.stop:g} s is not after --start {clip.start:g} s")
    check(clip)
    detector = yield from _detector(given)
    if clip.camera is not None and given.stop is None:
        yield f"camera {clip.camera}: Ctrl-C ends the recording"
    return (yield from detect_clip(clip, detector, out, name)).keypoints


def _detector(given: VideoFile) -> Generator[str, None, Detector]:
    name = given.detector
    if name == "rtmpose":
        if given.weights is None:
            raise ValueError("--weights: rtmpose needs its network, a .onnx file of MMPose's or RTMLib's")
        found = weights.cached("full")
        if found is None:
            yield "no detector of people is here (jaxpose prepare detector): the whole image is one person"
        return rtmpose(given.weights, None if found is None else finder(found.detector), people=given.people)
    if name not in _BLAZEPOSE:
        raise ValueError(f"--detector: {name!r}; legal are {', '.join(_BLAZEPOSE)}, rtmpose")
    if given.weights is not None:
        raise ValueError(f"--weights: means nothing to {name}, whose networks are known; it is for rtmpose")
    size = name.removeprefix("blazepose-")
    found = weights.cached(size)
    if found is None:
        yield f"fetches the networks of BlazePose once, 41 MB from {weights.registry()}"
        weights.fetch()
        found = weights.cached(size)
        assert found is not None
    return blazepose(found, people=given.people)


def prepare(options: PrepareDetector) -> Iterator[str]:
    """Fetch the networks of BlazePose, or take them from a file."""
    kept = weights.fetch() if options.file is None else weights.keep_file(options.file)
    for name in kept:
        yield f"{weights.folder() / name}"
