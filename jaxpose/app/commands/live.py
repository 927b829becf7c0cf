"""`jaxpose live INPUT`: frames in as they come, poses of each out as JSON lines.

Frames come as lines of JSON (stdin, or a file that grows), as files of a folder that grows, or as pictures of a camera
or video. A block of L frames is answered when the last of them is here, so a frame waits for L - 1 others: the latency,
which is in the first line. Each person has a stream (`tasks/stream.py`).
"""

import functools
import itertools
import json
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, clips, models
from jaxpose.app.commands.lift import FRAME_TAG
from jaxpose.app.commands.options import Live
from jaxpose.app.commands.values import refuse
from jaxpose.app.detect.base import Frame, detected
from jaxpose.app.detect.frames import frames, holds_frames
from jaxpose.base import Camera
from jaxpose.geometry.skeleton import get_skeleton
from jaxpose.io.arrays import Source
from jaxpose.io.keypoints import Keypoints, read_frame, settle_camera
from jaxpose.model import Model
from jaxpose.reading import check_file, reading
from jaxpose.tasks.blocks import result_of
from jaxpose.tasks.lift_video import TRAINED_FPS
from jaxpose.tasks.people import FORGET, Answer, Drawer, People, make_drawer

_POLL = 0.01  # seconds between looks at a folder or file
_WRITTEN = ("mean", "radius_90", "root", "samples")  # of a person in a frame; the last with --samples
_DIGITS = 4  # of metres in the result: 0.1 mm

Seen = tuple[int, Keypoints | None]  # a frame's number, and the people in it


def live(options: Live) -> Iterator[str]:
    """Lines of JSON: one of what holds for all frames, then one for each frame from the first with a person, in order.

    A frame that never came is answered too, unless more than half a second is missing. Ctrl-C ends the input.
    """
    model = models.load_model(options, "live", needs=("joints", *["vertical"] * bool(options.gravity)))
    refuse(options.keypoints, "is for files that are whole", "calibration", "calibration_unit", "camera_name", "track")
    every = max(1, round((options.fps or TRAINED_FPS) / TRAINED_FPS))
    following: dict[str, Any] = {"min_confidence": options.keypoints.min_confidence, "most": options.video.people}
    lines = functools.partial(map, functools.partial(_line, options))
    people: People | None = None
    first = newest = -1
    for number, kp in _until_interrupted(_seen(options)):
        if people is None:
            if kp is None:
                continue  # nothing is known of the camera before somebody is seen
            first, (drawer, header) = number, _drawer(options, model, kp)
            people = People(jax.random.key(options.seed), model.skeleton, drawer, **following)
            yield json.dumps(header | {"every": every})
        place, rest = divmod(number - first, every)
        if rest:
            continue
        if place <= newest:
            raise ValueError(f"{options.input}: frame {number} after {first + every * newest}; needed them in order")
        if place - newest > FORGET:
            yield from lines(people.answers())  # nobody is followed over so long a time
        else:
            for missing in range(newest + 1, place):
                yield from lines(people.take(missing, first + every * missing, None))
        yield from lines(people.take(place, number, kp))
        newest = place
    if people is None:
        raise ValueError(f"{options.input}: nobody was seen")
    yield from lines(people.answers())


def _drawer(options: Live, model: Model, kp: Keypoints) -> tuple[Drawer, dict[str, Any]]:
    """The model's way to follow people, and the first line, as the first person seen settles the camera."""
    given, num = options.keypoints, options.num_hypotheses
    if given.camera is None and (given.image_size or kp.image_size) is None:
        raise ValueError("--image-size: needed where frames come live and do not say it, or --camera FX,FY,CX,CY")
    at_once = num * (model.spec.network.window or 1)
    blocks.check("--hypotheses", at_once, at_once)
    intrinsics, camera_said = settle_camera(kp, given.camera, given.fov, given.image_size)
    camera = Camera(jnp.asarray(intrinsics, jnp.float32).reshape(-1, 4)[0])
    up = None if options.gravity is None else -jnp.asarray(options.gravity, jnp.float32)
    how: dict[str, Any] = {"num_hypotheses": num, "latency": options.latency, "height": options.height, "up": up}
    drawer = make_drawer(model, camera=camera, **how)
    return drawer, {
        "model": model.spec.name,
        "joints": list(model.skeleton.joints),
        "latency_frames": drawer.length - 1,
        "num_hypotheses": num,
        "seed": options.seed,
        "unit": "m",
        "frame_tag": FRAME_TAG,
        "camera": camera_said,
        "recalibrated": "lift" in model.recalibration,
    }


def _line(options: Live, answer: Answer) -> str:
    number, people = answer
    names = _WRITTEN if options.samples else _WRITTEN[:-1]
    rows = [
        {"person": who, "seen": visible}
        | {name: np.round(np.asarray(pose[name], float), _DIGITS).tolist() for name in names}
        for who, visible, pose in people
    ]
    return json.dumps({"frame": number, "people": rows}, allow_nan=False)


def _seen(options: Live) -> Iterator[Seen]:
    path, given = options.input, options.keypoints
    if str(path) == "-" or path.suffix.lower() == ".jsonl" or (path.is_dir() and not holds_frames(path)):
        refuse(options.video, f"means nothing to {path}, which holds no frames")
        skeleton = None if options.skeleton is None else get_skeleton(options.skeleton)
        for number, source in _files(path, options.idle) if path.is_dir() else _texts(path, options.idle):
            yield number, read_frame(source, skeleton=skeleton, format=given.format)
    elif holds_frames(path):
        yield from _of_pictures(options)
    else:
        raise ValueError(f"{path}: needed -, a .jsonl file, a folder, a video or a camera's number; or `jaxpose lift`")


def _texts(path: Path, idle: float) -> Iterator[tuple[int, Source]]:
    """Numbers and JSON of frames: lines, numbered by "frame" where they say it."""
    for count, line in enumerate(_lines(path, idle)):
        if line.strip():
            source = Source.of_text(f"{'stdin' if str(path) == '-' else path}, line {count + 1}", line)
            number = source.json.get("frame") if isinstance(source.json, dict) else None
            if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
                raise ValueError(f"{source}: frame {number!r}; needed a whole number")
            yield count if number is None else number, source


def _lines(path: Path, idle: float) -> Iterator[str]:
    """Lines of stdin or a file, also those that it gets later, until none came for `idle` seconds."""
    if str(path) == "-":
        with reading("stdin", "stream of lines"):
            yield from sys.stdin
        return
    check_file(path)
    with reading(path, "file of lines"), path.open(encoding="utf-8") as file:
        text, since = "", time.monotonic()
        while time.monotonic() - since < idle:
            more = file.readline()
            if not more:
                time.sleep(_POLL)
                continue
            text += more
            if text.endswith("\n"):
                yield text
                text = ""
            since = time.monotonic()  # what is waited for is the input: drawing takes time too
        yield text


def _files(folder: Path, idle: float) -> Iterator[tuple[int, Source]]:
    """Files of a folder in the order of their names, also those that it gets later; the newest may still be written."""
    done, since = "", time.monotonic()
    while time.monotonic() - since < idle:
        for path in sorted(path for path in folder.glob("*.json") if path.name > done):
            source = Source(path)
            try:
                source.json  # noqa: B018  # is it whole?
            except ValueError:
                if time.monotonic() - since + _POLL < idle:
                    break
                raise
            digits = re.findall(r"\d+", path.stem)
            if not digits:
                raise ValueError(f"{path}: needed the frame's number in the name")
            done = path.name
            yield int(digits[-1]), source
            since = time.monotonic()
        time.sleep(_POLL)


def _of_pictures(options: Live) -> Iterator[Seen]:
    """Frames of a camera or video in which people are found, numbered by their times in 1/30 s; one for each number."""
    given = options.video
    refuse(options, f"{options.input} holds pictures, which have their times", "fps")
    clip = clips.clip_of(options.input, given)
    # stdout has JSON alone
    detector = result_of(clips.detector(given), lambda line: print(line, file=sys.stderr, flush=True))
    one_each = (next(same) for _, same in itertools.groupby(frames(clip), _number))
    for frame, people in detected(detector, one_each):
        num, size = len(people.xy_px), (frame.rgb.shape[1], frame.rgb.shape[0])
        rows = (np.full(num, _number(frame)), np.arange(num), ("",) * num)
        kp = Keypoints(people.xy_px, people.confidence, detector.skeleton, *rows, image_size=size)
        yield _number(frame), kp if num else None


def _number(frame: Frame) -> int:
    return round(frame.seconds * TRAINED_FPS)


def _until_interrupted(source: Iterator[Seen]) -> Iterator[Seen]:
    """Ctrl-C is the input's end, not that of the answers, also where it comes while poses are drawn."""
    waiting = stopped = False

    def stop(*_: Any) -> None:
        nonlocal stopped
        stopped = True
        if waiting:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, stop) if main else None
    try:
        while not stopped:
            waiting = True
            frame = next(source, None)
            waiting = False
            if frame is None:
                return
            yield frame
    except KeyboardInterrupt:
        return
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
