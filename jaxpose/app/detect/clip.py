"""The people of a whole clip: detected part by part, linked over frames, kept as 2D keypoints and 3D landmarks.

A part is PART frames that the detector sees anew: it can be made without those before it, so that a run that was
interrupted goes on with the parts that are there and ends with the numbers of one that was not. Parts are files in a
hidden folder beside the result. They carry what they were made of, as the result does; others are not used. One part
and one frame are in memory at a time.
"""

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.detect import frames as reading
from jaxpose.app.detect.base import Detector, Found, Frame, detected
from jaxpose.app.detect.frames import Clip
from jaxpose.app.detect.people import background_shift
from jaxpose.files import write_npz
from jaxpose.io.arrays import load_arrays
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.tracking import link

PART = 256
_SAY = 5.0  # seconds between lines of progress
_APART, _SHIFT, _MOVES = 0.5, 0.008, 0.2  # seconds, share of the longer side, share of comparisons: a moving camera
_SOON = 0.1  # seconds: where images have nothing in common after _APART, as of a fast pan
_VARIES = 0.1  # share by which the times between frames may differ before it is said

Arrays = dict[str, np.ndarray]


class Files(NamedTuple):
    """2D keypoints of a clip, and the detector's landmarks in metres where it has them."""

    keypoints: Path
    landmarks: Path


def files_of(out: Path, name: str) -> Files:
    """The files that `detect_clip` writes."""
    return Files(out / f"{name}_keypoints.npz", out / f"{name}_landmarks3d.npz")


def detect_clip(
    clip: Clip, detector: Detector, out: Path, name: str, still: bool = True
) -> Generator[str, None, Files]:
    """Find the people of a clip and write the files; yields progress. Results of an earlier run on the same are used.

    still: the camera is taken to stand still, and a line says where it does not. ValueError where the source is none,
    is damaged, or nobody is in it; then nothing is left behind.
    """
    reading.check(clip)
    made_of, files, parts = _origin(clip, detector), files_of(out, name), out / f".{name}_parts"
    if _made_of(files.keypoints) == made_of:
        yield f"keypoints are those of an earlier run: {files.keypoints}"
        return files
    with _removed_on_error(out, parts):
        done = _parts(parts, made_of)
        yield from _detect(clip, detector, parts, done, made_of)
        if not done:
            raise ValueError(f"{clip.source}: no frame after --begin {clip.start:g} s; needed a time within it")
        loaded = [load_arrays(part) for part in done]
        shared = set.intersection(*map(set, loaded)) - {"made_of"}  # a part where nobody is has what is optional
        people = {name: np.concatenate([part[name] for part in loaded]) for name in shared}
        keypoints, line = linked(clip, detector, people)
        yield line
        yield from moving(people.get("shift", np.zeros(0)) if still else np.zeros(0))
        common = {"frame": keypoints.frame, "person": keypoints.person, "joints": np.array(detector.skeleton.joints)}
        common |= {"made_of": np.array(made_of), "confidence": keypoints.confidence}
        common |= {} if keypoints.fps is None else {"fps": np.array(keypoints.fps)}
        if "world" in people:
            axes = {"up": np.array("-y"), "unit": np.array("m")}
            write_npz(files.landmarks, common | {"joints3d": people["world"]} | axes)
        common |= {"keypoints": keypoints.xy, "seconds": np.repeat(people["seconds"], people["count"])}
        common |= {"image": np.array(keypoints.image)}
        common |= {} if keypoints.image_size is None else {"image_size": np.array(keypoints.image_size)}
        write_npz(files.keypoints, common | {name: people[name] for name in ("evidence",) if name in people})
    shutil.rmtree(parts, ignore_errors=True)
    yield f"wrote {files.keypoints}" + (f" and {files.landmarks}" if "world" in people else "")
    return files


def linked(clip: Clip, detector: Detector, people: Arrays) -> tuple[Keypoints, str]:
    """The detections as keypoints, each person with one id, and a line about people and time."""
    count, number, seconds = people["count"], people["number"], people["seconds"]
    if not count.sum():
        raise ValueError(f"{clip.source}: nobody was found in {_counted(len(number), 'frame', 'frames')}")
    sizes = np.unique(people["size"], axis=0)
    paths = reading.images(clip.source) if clip.source.is_dir() else []
    frame = np.repeat(number, count)
    fps, rate = _rate(number, seconds)
    keypoints = Keypoints(
        xy=people["xy_px"],
        confidence=people["confidence"],
        skeleton=detector.skeleton,
        frame=frame,
        person=np.concatenate([np.arange(num) for num in count]),
        image=tuple(paths[n].name if paths else "" for n in frame),
        image_size=(int(sizes[0, 0]), int(sizes[0, 1])) if len(sizes) == 1 else None,
        fps=fps,
    )
    keypoints = link(keypoints)
    empty = int((count == 0).sum())
    num_people = len(np.unique(keypoints.person))
    line = f"{_counted(len(number), 'frame', 'frames')}{rate}: {_counted(num_people, 'person', 'people')}"
    return keypoints, line + (f"; nobody in {_counted(empty, 'frame', 'frames')}" if empty else "")


def moving(shift: np.ndarray) -> Iterator[str]:
    """A line where the background's shifts [F], NaN of frames that were not compared, are those of a moving camera."""
    known = shift[np.isfinite(shift)]
    moved = int((known > _SHIFT).sum())
    if moved > max(1, _MOVES * len(known)):
        yield (
            f"the camera moves: the background shifts in {moved} of {len(known)} comparisons up to {_APART:g} s apart; "
            "paths, speeds and --axes world take a camera that stands still without --camera-path"
        )


def _detect(clip: Clip, detector: Detector, parts: Path, done: list[Path], made_of: str) -> Iterator[str]:
    """Make the parts that `done` lacks, and append them to it."""
    parts.mkdir(parents=True, exist_ok=True)
    before = [load_arrays(part)["number"] for part in done]
    first = int(before[-1][-1]) + 1 if done else 0
    if done:
        yield f"goes on after frame {first - 1}, where an earlier run was interrupted"
    num_before, total, num = sum(map(len, before)), reading.expected(clip), PART
    count, started, last_line = num_before, time.monotonic(), time.monotonic()
    source = reading.frames(clip, first)

    def line(people: Found) -> str:
        """Progress, and the people in the last frame."""
        rate = (count - num_before) / max(time.monotonic() - started, 1e-6)
        speed = f"detected {count}{f'/{total}' if total else ''} frames, {rate:.1f} frames/s"
        left = f", {max(0, total - count) / rate:.0f} s left" if total else ""
        return f"{speed}{left}, {_counted(len(people.xy_px), 'person', 'people')} in the last"

    while num == PART:
        noted: list[tuple[int, float, int, int, float]] = []
        detections: list[Found] = []
        last: tuple[Frame, np.ndarray, float] | None = None
        try:
            for frame, people in detected(detector, itertools.islice(source, PART)):
                shift, last = _compared(last, frame, people)
                noted.append((frame.number, frame.seconds, *frame.rgb.shape[1::-1], shift))
                detections.append(people)
                count += 1
                if time.monotonic() - last_line >= _SAY:
                    last_line = time.monotonic()
                    yield line(people)
        except KeyboardInterrupt:
            if clip.camera is None:
                raise
        num = len(detections)
        if num:
            done.append(parts / f"{len(done):06d}.npz")
            write_npz(done[-1], _as_arrays(noted, detections) | {"made_of": np.array(made_of)})
            if num < PART:
                yield line(detections[-1])


def _compared(
    last: tuple[Frame, np.ndarray, float] | None, frame: Frame, people: Found
) -> tuple[float, tuple[Frame, np.ndarray, float]]:
    """The background's shift in _APART, by the last frame that was compared; and that frame, its people and a time.

    The next frame is compared that time later.
    """
    past = 0.0 if last is None else frame.seconds - last[0].seconds
    if last is not None and past < last[2]:
        return float("nan"), last
    seen = people.xy_px
    boxes = np.concatenate([seen.min(1), seen.max(1)], -1) if len(seen) else np.zeros((0, 4))
    if last is None or last[0].rgb.shape != frame.rgb.shape:
        return float("nan"), (frame, boxes, _APART)
    shift = background_shift(last[0].rgb, frame.rgb, np.concatenate([last[1], boxes])) * _APART / min(past, _APART)
    return shift, (frame, boxes, _SOON if np.isnan(shift) and last[2] == _APART else _APART)


def _as_arrays(noted: list[tuple[int, float, int, int, float]], detections: list[Found]) -> Arrays:
    """A part: number, seconds, size, shift and count of its F frames; xy_px, confidence, world of all its people."""
    number, seconds, width, height, shift = (np.array(column) for column in zip(*noted, strict=True))
    arrays = {"number": number, "seconds": seconds, "size": np.stack([width, height], -1), "shift": shift}
    arrays["count"] = np.array([len(people.xy_px) for people in detections])
    names = [name for name in Found._fields if all(getattr(people, name) is not None for people in detections)]
    return arrays | {name: np.concatenate([getattr(people, name) for people in detections]) for name in names}


def _parts(folder: Path, made_of: str) -> list[Path]:
    """The first parts of a folder, as far as none lacks and all are made of this."""
    kept: list[Path] = []
    while _made_of(part := folder / f"{len(kept):06d}.npz") == made_of:
        kept.append(part)
    return kept


def _made_of(path: Path) -> str | None:
    """The origin that a file of ours names; None where it is none."""
    try:
        return str(load_arrays(path, "made_of")["made_of"])
    except ValueError:
        return None


def _origin(clip: Clip, detector: Detector) -> str:
    """The origin of a result: the source's files with sizes and times of change, the frames, the detector."""
    if clip.camera is not None:
        files: Any = [clip.camera, time.time()]  # never the same twice
    else:
        paths = reading.images(clip.source) if clip.source.is_dir() else [clip.source]
        files = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
        files = files if len(files) == 1 else hashlib.sha256(json.dumps(files).encode()).hexdigest()
    wanted = [clip.every, clip.start, clip.stop]
    return json.dumps([files, wanted, detector.name, PART, version("jaxpose")])


def _rate(number: np.ndarray, seconds: np.ndarray) -> tuple[float | None, str]:
    """Frames a second of the source, the median where they vary, and the rate in words."""
    if len(number) < 2:
        return None, ""
    step = np.diff(seconds) / np.diff(number)
    slow, fast = 1 / np.maximum(np.quantile(step, (0.95, 0.05)), 1e-3)
    median = 1 / max(float(np.median(step)), 1e-3)
    if fast - slow > _VARIES * median:
        fps = round(median, 3)
        return fps, f", {fps:g} frames/s (varies from {slow:.3g} to {fast:.3g}; speeds take the median)"
    whole = float((number[-1] - number[0]) / max(seconds[-1] - seconds[0], 1e-3))  # files may count milliseconds
    fps = round(whole, 3)
    return fps, f", {fps:g} frames/s"


@contextmanager
def _removed_on_error(out: Path, parts: Path) -> Iterator[None]:
    """Removes the parts, and the folder of results if it was made here, where the input is at fault."""
    made = not out.exists()
    try:
        yield
    except ValueError:
        shutil.rmtree(parts, ignore_errors=True)
        if made and out.exists() and not any(out.iterdir()):
            out.rmdir()
        raise


def _counted(num: int, one: str, many: str) -> str:
    return f"{num} {one if num == 1 else many}"
