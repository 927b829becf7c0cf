"""`jaxpose live INPUT`: frames in as they come, poses of each out as JSON lines.

Frames come as lines of JSON (stdin, or a file that grows), as files of a folder that grows, or as pictures of a camera
or video. A block of L frames is answered when the last of them is here, so a frame waits for L - 1 others: the latency,
which the first line tells. Everybody has a stream of their own (`tasks/motion_stream.py`, or `tasks/stream.py` for
models of DiffPose).
"""

import json
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import clips, detections, memory, models
from jaxpose.app.commands.lift import FRAME_TAG
from jaxpose.app.commands.option_groups import refuse
from jaxpose.app.commands.options import Live
from jaxpose.app.detect.base import Frame
from jaxpose.app.detect.frames import Clip, check, frames, holds_frames
from jaxpose.base import Array, Camera, Hypotheses
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import Skeleton, get_skeleton
from jaxpose.io.arrays import Source
from jaxpose.io.assumed import rescaled, settle_camera
from jaxpose.io.keypoints import Keypoints, read_frame
from jaxpose.io.tracking import Tracker
from jaxpose.model import Model, require
from jaxpose.reading import check_file, reading
from jaxpose.tasks.lift_video import TRAINED_FPS
from jaxpose.tasks.motion_stream import start_motions, step_motions
from jaxpose.tasks.motions import is_motion
from jaxpose.tasks.stream import start_stream, step_stream

_LATENCY = 4  # frames that one waits for, of a model of motions
_POLL = 0.01  # seconds between looks at a folder or file
_RECENT = 300  # frames that tell what this detector calls sure
_FORGET = 16  # frames after which a person who is not seen has left
_DIGITS = 4  # of metres in the result: 0.1 mm

Seen = tuple[int, Keypoints | None]  # a frame's number, and the people in it


def live(options: Live) -> Iterator[str]:
    """Lines of JSON: one of what holds for all frames, then one for each frame from the first with a person, in order.

    A frame that never came is answered too, unless more than half a second is missing. Ctrl-C ends the input.
    """
    model = models.load_model(options)
    require(model, "live", "joints")
    if not is_motion(model):
        require(model, "live, where a model is not one of motions,", "context")
    refuse(options.keypoints, "is for files that are whole", "calibration", "calibration_unit", "camera_name", "track")
    every = max(1, round((options.fps or TRAINED_FPS) / TRAINED_FPS))
    people: People | None = None
    first = newest = -1
    for number, kp in _until_interrupted(_seen(options)):
        if people is None:
            if kp is None:
                continue  # nothing is known of the camera before somebody is seen
            first, (drawer, said) = number, _drawer(options, model, kp)
            people = People(options, model.skeleton, drawer)
            yield json.dumps(said | {"every": every})
        place, rest = divmod(number - first, every)
        if rest:
            continue
        if place <= newest:
            raise ValueError(f"{options.input}: frame {number} after {first + every * newest}; needed them in order")
        if place - newest > _FORGET:
            yield from people.answers()  # nobody is followed over so long a time
        else:
            for missing in range(newest + 1, place):
                yield from people.take(missing, first + every * missing, None)
        yield from people.take(place, number, kp)
        newest = place
    if people is None:
        raise ValueError(f"{options.input}: nobody was seen")
    yield from people.answers()


class Drawer(NamedTuple):
    """How a model follows people: frames of a block, a stream for a key, and a stream's poses of its next block."""

    length: int
    start: Callable[[Array], Any]
    step: Callable[[Any, Array, Array], tuple[Hypotheses, Any]]


def _drawer(options: Live, model: Model, kp: Keypoints) -> tuple[Drawer, dict[str, Any]]:
    """How the model follows people, and what is said of all frames, as the first person seen settles the camera."""
    given, num = options.keypoints, options.num_hypotheses
    if given.camera is None and (given.image_size or kp.image_size) is None:
        raise ValueError("--image-size: needed where frames come live and do not say it, or --camera FX,FY,CX,CY")
    at_once = num * (model.spec.network.window or 1)
    memory.check("--hypotheses", at_once, at_once)
    intrinsics, camera_said = settle_camera(kp, given.camera, given.fov, given.image_size)
    how: dict[str, Any] = {"camera": Camera(jnp.asarray(intrinsics, jnp.float32).reshape(-1, 4)[0])}
    how["height"] = options.height
    if is_motion(model):
        latency = _LATENCY if options.latency is None else options.latency
        longest = (model.spec.network.window or 0) - 2
        if not 0 <= latency <= longest:
            raise ValueError(f"--latency: needed 0 to {longest} frames with {model.spec.name!r}, got {latency}")
        if options.gravity is not None:
            how["up"] = -jnp.asarray(options.gravity, jnp.float32)
        drawer = Drawer(
            latency + 1,
            lambda key: start_motions(key, model, num_hypotheses=num),
            lambda stream, xy, sure: step_motions(model, stream, xy, sure, **how),
        )
    else:
        if options.latency:
            raise ValueError(f"--latency: {model.spec.name!r} answers each frame at once, got {options.latency}")
        if options.gravity is not None:
            require(model, "--gravity", "vertical")
        drawer = Drawer(
            1,
            lambda key: start_stream(key, model, num_hypotheses=num),
            lambda stream, xy, sure: step_stream(model, stream, xy[0], sure[0], **how),
        )
    return drawer, {
        "model": model.spec.name,
        "joints": list(model.skeleton.joints),
        "latency_frames": drawer.length - 1,
        "num_hypotheses": num,
        "seed": options.seed,
        "unit": "m",
        "frame_tag": FRAME_TAG,
        "camera": camera_said,
        "recalibrated": ("lift" if is_motion(model) else "stream") in model.recalibration,
    }


class _Person(NamedTuple):
    """Somebody's stream, keypoints [L, J, 2] and confidences [L, J] of the block, and places of frames that have them.

    first: the first frame, of which a result is given. last: the last one.
    """

    stream: Any
    xy: np.ndarray
    confidence: np.ndarray
    first: int
    last: int


class People:
    """The people of a stream of frames, block by block."""

    def __init__(self, options: Live, target: Skeleton, drawer: Drawer):
        self._options, self._target, self._drawer = options, target, drawer
        self._key, self._tracker = jax.random.key(options.seed), Tracker(_FORGET)
        self._recent = deque[np.ndarray](maxlen=_RECENT)
        self._people: dict[int, _Person] = {}
        self._block: list[tuple[int, int]] = []  # place and number of each frame

    def take(self, place: int, number: int, kp: Keypoints | None) -> Iterator[str]:
        """The next frame; lines of the frames that it completes."""
        self._block.append((place, number))
        if kp is not None:
            xy, confidence = self._trusted(kp)
            for who, *seen in zip(self._tracker.step(place, xy, confidence).tolist(), xy, confidence, strict=True):
                person = self._people.get(who) or self._new(who, place)
                person.xy[len(self._block) - 1], person.confidence[len(self._block) - 1] = seen
                self._people[who] = person._replace(last=place)
        if len(self._block) == self._drawer.length:
            yield from self.answers()

    def answers(self) -> Iterator[str]:
        """A line for each frame of the block, which may be shorter at the input's end; then the next block begins.

        Who has no finite pose, as of keypoints out of all proportion, is left out of the block.
        """
        lines: list[list[dict[str, Any]]] = [[] for _ in self._block]
        for who, person in list(self._people.items()):
            if not self._block or self._block[0][0] - person.last > _FORGET:
                del self._people[who]
                continue
            drawn = self._drawer.step(person.stream, jnp.asarray(person.xy), jnp.asarray(person.confidence))
            rows = list(self._rows(drawn[0]))
            if not all(np.isfinite(value).all() for row in rows for value in row.values()):
                del self._people[who]  # JSON has no NaN: who is seen again begins anew
                continue
            for (place, _), line, sure, row in zip(self._block, lines, person.confidence, rows, strict=False):
                if place >= person.first:
                    line.append({"person": who, "seen": bool(sure.any()), **row})
            nothing = np.zeros_like(person.xy), np.zeros_like(person.confidence)
            self._people[who] = _Person(drawn[1], *nothing, person.first, person.last)
        for (_, number), line in zip(self._block, lines, strict=True):
            yield json.dumps({"frame": number, "people": line}, allow_nan=False)
        self._block = []

    def _new(self, who: int, place: int) -> _Person:
        shape = self._drawer.length, len(self._target.joints)
        stream = self._drawer.start(jax.random.fold_in(self._key, who))
        return _Person(stream, np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32), place, place)

    def _trusted(self, kp: Keypoints) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [P, J, 2] and confidences [P, J] in the model's joints, of people with enough of them."""
        confidence = np.where(kp.confidence >= self._options.keypoints.min_confidence, kp.confidence, 0)
        self._recent.append(confidence.ravel())
        trust = rescaled(np.concatenate(self._recent))[-confidence.size :].reshape(confidence.shape)
        found = convert_joints(jnp.asarray(kp.xy), jnp.asarray(trust), kp.skeleton, self._target)
        xy, trust = (np.asarray(x) for x in jax.device_get(found))
        enough = np.flatnonzero((trust > 0).sum(-1) >= detections.MIN_VISIBLE)
        surest = enough[np.argsort(-trust[enough].sum(-1), kind="stable")]
        chosen = np.sort(surest[: self._options.video.people])
        return xy[chosen], trust[chosen]

    def _rows(self, found: Hypotheses) -> Iterator[dict[str, Any]]:
        """What is written of a person in each frame."""
        assert found.root is not None, "what is lifted has a place"
        fields = {"mean": found.mean, "radius_90": found.radius_90, "root": found.root.mean(0)}
        if self._options.samples:
            fields["samples"] = jnp.swapaxes(found.samples, 0, 1)
        values = {name: np.round(np.asarray(v, float), _DIGITS) for name, v in jax.device_get(fields).items()}
        for frame in range(len(values["mean"])):
            yield {name: v[frame].tolist() for name, v in values.items()}


def _seen(options: Live) -> Iterator[Seen]:
    path, given = options.input, options.keypoints
    if str(path) == "-" or path.suffix.lower() == ".jsonl" or (path.is_dir() and not holds_frames(path)):
        refuse(
            options.video, f"means nothing to {path}, which holds no frames", "detector", "weights", "every", "begin"
        )
        skeleton = None if options.skeleton is None else get_skeleton(options.skeleton)
        for number, source in _texts(path, options.idle):
            yield number, read_frame(source, skeleton=skeleton, format=given.format)
    elif holds_frames(path):
        yield from _of_pictures(options)
    else:
        raise ValueError(f"{path}: needed -, a .jsonl file, a folder, a video or a camera's number; or `jaxpose lift`")


def _texts(path: Path, idle: float) -> Iterator[tuple[int, Source]]:
    """Numbers and JSON of frames: lines, numbered by "frame" where they say it, or files, by the last number there."""
    if path.is_dir():
        yield from _files(path, idle)
        return
    lines = _stdin() if str(path) == "-" else _lines(path, idle)
    for count, line in enumerate(lines):
        if line.strip():
            source = Source.of_text(f"{'stdin' if str(path) == '-' else path}, line {count + 1}", line)
            said = source.json.get("frame") if isinstance(source.json, dict) else None
            if said is not None and (not isinstance(said, int) or isinstance(said, bool)):
                raise ValueError(f"{source}: frame {said!r}; needed a whole number")
            yield count if said is None else said, source


def _stdin() -> Iterator[str]:
    with reading("stdin", "stream of lines"):
        yield from sys.stdin


def _lines(path: Path, idle: float) -> Iterator[str]:
    """Lines of a file, also those that it gets later, until none came for `idle` seconds."""
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
    if options.fps is not None:
        raise ValueError(f"--fps: {options.input} holds pictures, which have their times")
    clip = Clip(options.input, given.every, given.begin, float("inf") if given.end is None else given.end)
    check(clip)
    detector = _returned(clips.detector(given))
    sizes = deque[tuple[int, int, int]]()

    def noted() -> Iterator[Frame]:
        last = -1
        for frame in frames(clip):
            number, (height, width) = round(frame.seconds * TRAINED_FPS), frame.rgb.shape[:2]
            if number > last:
                last = number
                sizes.append((number, width, height))
                yield frame

    for found in detector.detect(noted()):
        number, width, height = sizes.popleft()
        num = len(found.xy_px)
        kp = Keypoints(
            *(found.xy_px, found.confidence, detector.skeleton, np.full(num, number), np.arange(num), ("",) * num),
            image_size=(width, height),
        )
        yield number, kp if num else None


def _returned(work: Generator[str, None, Any]) -> Any:
    """The result of a generator whose lines go to stderr: stdout has JSON alone."""
    while True:
        try:
            print(next(work), file=sys.stderr, flush=True)
        except StopIteration as finished:
            return finished.value


def _until_interrupted(seen: Iterator[Seen]) -> Iterator[Seen]:
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
            frame = next(seen, None)
            waiting = False
            if frame is None:
                return
            yield frame
    except KeyboardInterrupt:
        return
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
