"""`jaxpose live INPUT`: frames in as they come, poses of each out as JSON lines.

Frames come as lines of JSON (of stdin or a file), as files of a folder, or as pictures of a camera or video. A block of
L frames is answered when the last of them is here, so a frame waits for L - 1 others: the latency, which the first line
tells. Everybody has a stream of their own (`tasks/motion_stream.py`, or `tasks/stream.py` for models of DiffPose).
"""

import json
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Hypotheses
from jaxpose.commands import clips, detections
from jaxpose.commands.lift import FRAME_TAG
from jaxpose.commands.option_groups import refuse
from jaxpose.commands.options import Live
from jaxpose.commands.video import TRAINED_FPS
from jaxpose.detect.base import Frame
from jaxpose.detect.frames import Clip, check, frames, holds_frames
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import SKELETONS, get_skeleton
from jaxpose.io.arrays import Source
from jaxpose.io.keypoints import Keypoints, read_frame
from jaxpose.io.tracking import Tracker
from jaxpose.model import Model, load, require
from jaxpose.tasks.motion_stream import start_motions, step_motions
from jaxpose.tasks.motions import is_motion
from jaxpose.tasks.stream import start_stream, step_stream

_POLL = 0.01  # seconds between looks at a folder or file
_IDLE = 10.0  # seconds without a frame after which a folder or file has ended
_CONFIDENCES = 300  # frames that tell what this detector calls sure
_FORGET = 16  # frames after which a person who is not seen has left
_DIGITS = 4  # of metres in the result: 0.1 mm

Seen = tuple[int, Keypoints | None]  # a frame's number, and the people in it


class Followed(NamedTuple):
    """A person: the stream, the frames of the block so far, and the number of the last frame that has them."""

    stream: Any
    xy: np.ndarray
    confidence: np.ndarray
    last: int


class Drawer(NamedTuple):
    """How a model follows people: frames of a block, a stream for a key, and a stream's next block."""

    length: int
    start: Callable[[Array], Any]
    step: Callable[[Any, np.ndarray, np.ndarray], tuple[Hypotheses, Any]]


def live(options: Live) -> Iterator[str]:
    """Lines of JSON: what holds for all frames, then a frame each, in order; Ctrl-C ends the input."""
    model = load(options.model)
    require(model, "live", "joints")
    if not is_motion(model):
        require(model, "live (of motions or DiffPose's)", "context")
    refuse(options.keypoints, "is for files that are whole", "calibration", "camera_name", "track")
    every = max(1, round((options.fps or TRAINED_FPS) / TRAINED_FPS))
    block: list[int] = []  # numbers of its frames
    people: dict[int, Followed] = {}
    drawer, sure, tracker = None, deque[np.ndarray](maxlen=_CONFIDENCES), Tracker()
    first = None
    for number, kp in _until_interrupted(_source(options)):
        if first is None:
            if kp is None:
                continue  # nothing is known of the camera before somebody is seen
            first, (drawer, line) = number, _begin(options, model, kp, every)
            yield line
        if (number - first) % every:
            continue
        assert drawer is not None
        step = (number - first) // every
        newest = block[-1] if block else None
        if newest is not None and step <= newest:
            raise ValueError(f"frame {number} came after frame {first + every * newest}; needed frames in order")
        missing = [] if newest is None else list(range(newest + 1, step))
        for each in [*missing[-_FORGET:], step]:
            if len(block) == drawer.length:
                block = []
            block.append(each)
            _take(options, model, drawer, tracker, people, sure, block, kp if each == step else None)
            if len(block) == drawer.length:
                yield from _answers(model, drawer, people, block, first, every, options.samples)
    if block and drawer is not None and len(block) < drawer.length:
        yield from _answers(model, drawer, people, block, first or 0, every, options.samples)


def _begin(options: Live, model: Model, kp: Keypoints, every: int) -> tuple[Drawer, str]:
    """How people are followed, and the line that says what holds for all frames."""
    if options.keypoints.camera is None and (options.keypoints.image_size or kp.image_size) is None:
        raise ValueError(
            "--image-size: needed with keypoints that come live, or --camera FX,FY,CX,CY: no later frame may change it"
        )
    intrinsics, said = detections.settle_camera(kp, options.keypoints)
    camera = Camera(jnp.asarray(np.reshape(intrinsics, (-1, 4))[0], jnp.float32))
    if is_motion(model):
        latency = 4 if options.latency is None else options.latency
        longest = (model.spec.network.window or 2) - 2
        if not 0 <= latency <= longest:
            raise ValueError(f"--latency: needed 0 to {longest} frames with {model.spec.name!r}, got {latency}")
        up = None if options.gravity is None else -jnp.asarray(options.gravity, jnp.float32)
        drawer = Drawer(
            latency + 1,
            lambda key: start_motions(key, model, num_hypotheses=options.hypotheses),
            lambda stream, xy, sure: step_motions(
                model, stream, jnp.asarray(xy), jnp.asarray(sure), camera=camera, height=options.height, up=up
            ),
        )
    else:
        if options.latency:
            raise ValueError(f"--latency: {model.spec.name!r} answers each frame at once, got {options.latency}")
        if options.gravity is not None:
            require(model, "--gravity", "vertical")
        drawer = Drawer(
            1,
            lambda key: start_stream(key, model, num_hypotheses=options.hypotheses),
            lambda stream, xy, sure: step_stream(
                model, stream, jnp.asarray(xy[0]), jnp.asarray(sure[0]), camera=camera, height=options.height
            ),
        )
    line = {
        "model": model.spec.name,
        "joints": list(model.skeleton.joints),
        "latency_frames": drawer.length - 1,
        "every": every,
        "hypotheses": options.hypotheses,
        "seed": options.seed,
        "unit": "m",
        "axes": FRAME_TAG,
        "camera": said,
        "recalibrated": ("lift" if is_motion(model) else "stream") in model.recalibration,
    }
    return drawer, json.dumps(line)


def _take(
    options: Live,
    model: Model,
    drawer: Drawer,
    tracker: Tracker,
    people: dict[int, Followed],
    sure: deque[np.ndarray],
    block: list[int],
    kp: Keypoints | None,
) -> None:
    """Put a frame's people, in the model's joints, at their places in the block; who is new gets a stream."""
    step, place, num_joints = block[-1], len(block) - 1, len(model.skeleton.joints)
    if place == 0:
        for who, person in list(people.items()):
            if step - person.last > _FORGET:
                del people[who]
            else:
                people[who] = person._replace(xy=0 * person.xy, confidence=0 * person.confidence)
    if kp is None:
        return
    least = options.keypoints.min_confidence
    confidence = np.where(kp.confidence >= least, kp.confidence, 0)
    sure.append(confidence[confidence > 0])
    level = np.concatenate(sure)
    trust = detections.rescaled(np.append(level, confidence.ravel()))[len(level) :].reshape(confidence.shape)
    xy, trust = jax.device_get(convert_joints(jnp.asarray(kp.xy), jnp.asarray(trust), kp.skeleton, model.skeleton))
    enough = np.flatnonzero((trust > 0).sum(-1) >= detections.MIN_VISIBLE)
    most = options.video.people
    if most is not None:
        enough = np.sort(enough[np.argsort(-trust[enough].sum(-1), kind="stable")[:most]])
    for who, row in zip(tracker.step(step, xy[enough], trust[enough]).tolist(), enough, strict=True):
        if who not in people:
            stream = drawer.start(jax.random.fold_in(jax.random.key(options.seed), who))
            empty = np.zeros((drawer.length, num_joints, 2), np.float32)
            people[who] = Followed(stream, empty, empty[..., 0], step)
        person = people[who]
        frame_xy, frame_sure = person.xy.copy(), person.confidence.copy()
        frame_xy[place], frame_sure[place] = xy[row], trust[row]
        people[who] = person._replace(xy=frame_xy, confidence=frame_sure, last=step)


def _answers(
    model: Model, drawer: Drawer, people: dict[int, Followed], block: list[int], first: int, every: int, samples: bool
) -> Iterator[str]:
    """The lines of a block's frames; everybody's stream goes on."""
    lines: list[list[dict[str, Any]]] = [[] for _ in block]
    for who, person in people.items():
        known = person.stream
        begun = _begun(known)
        found, stream = drawer.step(known, person.xy, person.confidence)
        people[who] = person._replace(stream=stream)
        seen = (person.confidence > 0).any(-1)
        start = 0 if begun else int(np.argmax(seen))
        values = jax.device_get(
            {"mean": found.mean, "radius_90": found.radius_90, "root": found.root.mean(0) if found.root is not None else 0}
            | ({"samples": jnp.swapaxes(found.samples, 0, 1)} if samples else {})
        )
        for place in range(start, len(block)):
            row = {name: np.round(np.asarray(v[place], float), _DIGITS).tolist() for name, v in values.items()}
            lines[place].append({"person": who, "seen": bool(seen[place]), **row})
    for step, line in zip(block, lines, strict=True):
        yield json.dumps({"frame": first + every * step, "people": line})
