"""Lifting of whole clips: many people over many frames in, at any rate and with gaps; a pose for each detection out.

Models of single frames take blocks of detections. A model of video or of motions knows windows of F frames, 1/30 s
apart. The frames of a person are numbered by their step in the file, n = (frame - first) / step, step the largest that
divides all. A clip of about 30 k frames a second is k clips that interleave: n mod k says which, n div k is the frame's
number there. Where a number is missing (the person was not seen) windows end: nothing is seen across a gap.

A group is some windows of one person and the frames they need. All groups of a person share a key, and so the noise
that makes hypothesis h: it is the same motion from the first group to the last. So it is with a model of single frames:
the noise of hypothesis h is the same in all frames of a person, and it moves as smoothly as what is seen. Detections
jitter, so a low-pass filter follows where the rate is known.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import ROW_AXIS, Array, Camera, Hypotheses, Key, Numbers
from jaxpose.compiled import check_shape
from jaxpose.diffusion.mixture import Mixture
from jaxpose.geometry.windows import Windows, low_pass, rows_of_people, tile, timeline
from jaxpose.model import Model, needs
from jaxpose.tasks.blocks import Block, Drawn, Track, even, gather, result_of
from jaxpose.tasks.lift import check_detections, lift
from jaxpose.tasks.samplers import Sampler
from jaxpose.tasks.typicality import judged

TRAINED_FPS = 30
_MOST_FRAMES = 256  # of a motion drawn together
CUTOFF = 6.0  # Hz, usual for human movement: Pose2Sim and Sports2D have it in the files of options that they bring
_SLOWEST = 1e-3  # cutoff, of the rate of the frames: a slower filter needs seconds beyond each end by the thousand
_MOST_WINDOWS = 8  # in a group: of F = 81, 270 frames, of which the next group needs 54 again


@needs("lift", "joints")
def lift_video(
    key: Key,
    model: Model,
    keypoints: Numbers,
    confidence: Numbers | None = None,
    *,
    camera: Camera,
    frame: Numbers | None = None,
    person: Numbers | None = None,
    fps: float | None = None,
    num_hypotheses: int = 200,
    cutoff: float | None = None,
    **options: Any,
) -> Hypotheses:
    """Lift the detections of a clip: many people, any frame rate, with gaps; rows in any order.

    keypoints:  [N, J, 2] pixels, confidence [N, J], camera: as in `lift`.
    frame:      [N] numbers of the frames; None: 0 to N - 1. person: [N] numbers of the people; None: one person.
    fps:        frames per second of the numbers; None: 30, and rows that need not be a motion.
    cutoff:     Hz of a low-pass filter over the poses of each person (`geometry.windows.low_pass`), where the rate is
                known; 0: none; None: 6 for models of single frames, none for others.
    options:    `sampler`, `height`, `up`, `evidence`, `keypoint_mixture`, `num_components` and `depth` of `lift`.
    """
    check_detections(model, keypoints, confidence, camera)
    num = len(keypoints)
    sure = np.ones(keypoints.shape[:2], np.float32) if confidence is None else np.asarray(confidence, np.float32)
    frame = np.arange(num) if frame is None else np.asarray(frame)
    person = np.zeros(num, np.int64) if person is None else np.asarray(person)
    check_shape("frame", frame, (num,))
    check_shape("person", person, (num,))
    check_shape("cutoff", 0.0 if cutoff is None else cutoff, ())
    seen = Seen(np.asarray(keypoints, np.float32), sure, camera, frame, person, fps, options.pop("evidence", None))
    drawn = result_of(lifting(key, model, seen, num_hypotheses=num_hypotheses, cutoff=cutoff, **options))
    fields: dict[str, Any] = {name: jnp.asarray(value) for name, value in drawn.items()}
    return judged(model, Hypotheses(**fields))


class Seen(NamedTuple):
    """N detections: xy [N, J, 2] px, confidence [N, J], the camera [4] or [N, 4], frame and person [N]; evidence
    [N, J, E] as of `lift`."""

    xy: np.ndarray
    confidence: np.ndarray
    camera: Camera
    frame: np.ndarray
    person: np.ndarray
    fps: float | None = None
    evidence: Numbers | None = None

    def observed(self, rows: np.ndarray) -> tuple[Array, Array, Camera]:
        """Keypoints, confidence and camera of some rows, float32 on the device."""
        values = [jax.device_put(x[rows].astype(np.float32)) for x in (self.xy, self.confidence)]
        lens = self.camera.distortion
        intrinsics = np.broadcast_to(np.asarray(self.camera.intrinsics, np.float32), (len(self.xy), 4))[rows]
        lens = None if lens is None else jax.device_put(np.broadcast_to(lens, (len(self.xy), 5))[rows])
        return values[0], values[1], Camera(jax.device_put(intrinsics), lens)


def lifting(
    key: Key,
    model: Model,
    seen: Seen,
    *,
    up: np.ndarray | None = None,
    keypoint_mixture: Mixture | None = None,
    cutoff: float | None = None,
    path: bool = False,
    watch: Callable[[Block], None] = lambda _: None,
    **options: Any,
) -> Generator[int, None, Drawn]:
    """`lift_video` block by block; yields the number of rows that are done.

    path: return the path of the first block. watch: function that is called with each block before it is drawn.
    options: of `lift`, `num_hypotheses` among them.
    """

    def work(key: Key, block: Block, return_path: bool) -> Any:
        watch(block)
        track, how = block.track, options | {"return_path": return_path}
        xy, confidence, camera = seen.observed(rows := block.rows if track is None else track.rows)
        how["up"] = None if up is None else jnp.asarray(np.asarray(up)[rows] if np.ndim(up) == 2 else up)
        how["evidence"] = None if seen.evidence is None else np.asarray(seen.evidence)[rows]
        if track is not None:
            sure = confidence * track.seen[:, None]
            numbers = np.arange(track.first, track.first + len(rows), dtype=np.int32)
            return drawn_between(lift(key, model, xy, sure, camera=camera, numbers=numbers, **how), track)
        how["windows"] = None if block.windows is None else tuple(map(jnp.asarray, block.windows))
        if keypoint_mixture is not None:
            how["keypoint_mixture"] = Mixture(*(jnp.asarray(x[block.rows]) for x in keypoint_mixture))
        if model.spec.network.window is None:  # a hypothesis of a person has one noise in all frames, so of all blocks
            return lift(of_clip, model, xy, confidence, camera=camera, numbers=who[rows], **how)
        return lift(key, model, xy, confidence, camera=camera, **how)

    hertz = cutoff_of(model, seen.frame, seen.fps, cutoff)
    of_clip, who = key, np.unique(seen.person, return_inverse=True)[1].astype(np.int32)
    blocks = blocks_for(model, seen.frame, seen.person, seen.fps)
    drawn = yield from gather(work, blocks, len(seen.xy), key, path=path)
    return low_passed(drawn, seen, hertz, model, options.get("sampler"))


def cutoff_of(model: Model, frame: np.ndarray, fps: float | None, cutoff: float | None) -> float:
    """Cutoff in Hz of the low-pass filter of a clip, 0 for none; ValueError where its frames cannot have it."""
    rate = timeline(frame, fps).fps or 0.0
    if cutoff is None:
        return CUTOFF if _SLOWEST * rate <= CUTOFF < rate / 2 and model.spec.network.window is None else 0.0
    if cutoff and not _SLOWEST * rate <= cutoff < rate / 2:
        legal = f"0, or from {_SLOWEST * rate:g} Hz to less than {rate / 2:g} Hz, half the rate of the frames"
        raise ValueError(f"cutoff: must be {legal if rate else '0 where the frame rate is not known'}; got {cutoff:g}")
    return cutoff


def low_passed(drawn: Drawn, seen: Seen, cutoff: float, model: Model, sampler: Sampler | None) -> Drawn:
    """The samples of each person after the filter, and what `draw.spread` makes of them; roots stay as they are."""
    number, _, rate = timeline(seen.frame, seen.fps)
    if not cutoff or rate is None:
        return drawn
    samples = drawn["samples"].copy()
    for _, rows in rows_of_people(seen.person, number):
        if (np.diff(number[rows]) > 0).all():  # a frame that comes twice is no motion
            for motion in samples:
                motion[rows] = low_pass(motion[rows], number[rows], rate, cutoff)
    mean = samples.mean(0)  # in numpy: a program for each number of frames and of hypotheses would stay in memory
    away = samples - mean
    covariance = np.einsum("hnjk,hnjl->njkl", away, away) / max(len(samples) - 1, 1)
    radius = np.quantile(np.linalg.norm(away, axis=-1), 0.9, axis=0).astype(np.float32)
    recalibration = model.recalibration.get("lift")
    if recalibration is not None and (sampler is None or sampler.calibrated):
        covariance = covariance * np.asarray(recalibration.covariance)[:, None, None]
        radius = radius * np.asarray(recalibration.radius)
    return drawn | {"samples": samples, "mean": mean, "covariance": covariance, "radius_90": radius}


def blocks_for(
    model: Model, frame: np.ndarray, person: np.ndarray, fps: float | None, most: float | None = None
) -> Iterator[Block]:
    """Blocks of rows, windows of each person, or motions of at most `most` frames, as the model draws them together."""
    length = model.spec.network.window
    if "motion" in model.capabilities:
        most = _MOST_FRAMES if most is None else most
        return tracks(person, timing(frame, fps), length or 0, most)
    if length is not None:
        return groups(person, timing(frame, fps), length)
    return even(len(frame), doubling=True)


class Timing(NamedTuple):
    """Steps `number` [N] from the clip's first frame. every: k, each k-th is 1/30 s later. said: the rate in words."""

    number: np.ndarray
    every: int
    said: str


def timing(frame: np.ndarray, fps: float | None) -> Timing:
    """Meaning of the numbers [N] of frames."""
    number, _, rate = timeline(frame, fps)
    if rate is None:
        return Timing(number, 1, f"frame rate not known, taken as {TRAINED_FPS} frames/s")
    every = max(1, round(rate / TRAINED_FPS))
    words = f"{rate:g} frames/s"
    if every > 1:
        words += f", of which a window takes 1 in {every}"
    if not 0.75 < rate / every / TRAINED_FPS < 1.4:
        words += f"; the model was trained at {TRAINED_FPS}, so speeds mislead it"
    return Timing(number, every, words)


def groups(person: np.ndarray, clock: Timing, length: int) -> Iterator[Block]:
    """Windows of `length` frames that answer each row once, person by person, filled up to a few sizes.

    The index of a block is the person's place among the people.
    """
    stride = max(1, length // 3)
    for place, who in enumerate(np.unique(person)):
        rows = np.flatnonzero(person == who)
        number = clock.number[rows]
        tiled = tile(number % clock.every, number // clock.every, length, stride=stride)
        most = min(_MOST_WINDOWS, 1 << (len(tiled.index) - 1).bit_length())
        size = length + (most - 1) * stride
        for first, last in _cuts(tiled.index, most, size):
            windows = Windows(*(np.take(x, np.arange(first, last), 0) for x in tiled))
            needed = np.unique(windows.index)
            index = np.searchsorted(needed, windows.index)
            filled = rows[needed[np.minimum(np.arange(size), len(needed) - 1)]]
            spare = most - len(index)
            index = np.concatenate([index, np.repeat(index[-1:], spare, 0)])
            counted = np.concatenate([windows.counted, np.zeros((spare, length), bool)])
            yield Block(place, filled, np.unique(index[counted]), Windows(index, counted))


def tracks(person: np.ndarray, clock: Timing, length: int, most: float = _MOST_FRAMES) -> Iterator[Block]:
    """Frames that a model of motions draws together, which answer each row once, person by person.

    A frame without an observation is drawn like the others; where more than half a window is missing, a new motion
    begins. Of k times 30 frames a second every k-th is drawn, and the rows between lie between the two. A motion of
    more than `most` frames is drawn in pieces with one key, which overlap by a window; a frame is answered by the piece
    whose end is farther.
    """
    half, index = length // 2, 0
    for _, rows in rows_of_people(person, clock.number):
        time = clock.number[rows] / clock.every
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(time) > half) + 1):
            at = time[part] - np.floor(time[part[0]])
            num = int(np.ceil(at[-1])) + 1
            row_of = np.full(num, -1)
            whole = at == np.floor(at)
            row_of[at[whole].astype(int)] = rows[part[whole]]
            first, done = 0, -1
            while True:
                last = int(min(num, first + most))
                size = length
                while size < last - first:
                    size *= 2
                until = last - 1 if last == num else last - 1 - half
                mine = (at > done) & (at <= until)
                frames = np.append(row_of[first:last], np.full(size - (last - first), -1))
                track = Track(np.maximum(frames, 0), frames >= 0, first, last - first, at[mine] - first)
                answered = rows[part[mine]]
                yield Block(index, answered, np.arange(len(answered)), track=track)
                if last == num:
                    break
                first, done = last - length, until
            index += 1


def drawn_between(result: Any, track: Track) -> dict[str, Any]:
    """Fields of a result of frames, at the times of the rows that the track answers: linear between two frames."""
    low = np.minimum(np.floor(track.time).astype(int), track.count - 1)
    high, part = np.minimum(low + 1, track.count - 1), track.time - low

    def at(name: str, array: Array) -> np.ndarray:
        axis, value = ROW_AXIS.get(name, 0), np.asarray(array)
        share = part.reshape(-1, *[1] * (value.ndim - axis - 1)).astype(np.float32)
        return (1 - share) * np.take(value, low, axis) + share * np.take(value, high, axis)

    return {name: at(name, value) for name, value in result._asdict().items() if value is not None}


def _cuts(index: np.ndarray, most: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive windows, at most `most` that need at most `size` rows together."""
    first = 0
    for last in range(1, len(index) + 1):
        if last == len(index) or last - first == most or len(np.unique(index[first : last + 1])) > size:
            yield first, last
            first = last
