"""Hypotheses that are motions, on the benchmark's clips, beside a model of single frames.

    python -m experiments.evaluate motions [--model=motion17] [--against=pose17] [--out=DIR]

2D detected, intrinsics known (a privilege), root depth never given; mm, root-relative, in camera axes. "ratio" is the
error of the mean pose over that of `against`, frame by frame, with the 95 % interval of a paired bootstrap over clips.
best_of_* choose by the truth, for each frame; best_motion_mm chooses one hypothesis for a whole clip.

frame by frame, filtered    hypotheses of `against`, with one noise in all frames, without and with the low-pass filter
gap    15 frames of every 60 are hidden: error there, and of the same frames when they are seen
live   blocks of 5 frames, each drawn once, with three steps

"holds" is the share of truths, but for the root's, in the 90 % radius.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.diffpose import Clips, figures, joint_errors, video_clips
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera, Hypotheses
from jaxpose.evaluation import metrics
from jaxpose.tasks.lift_video import TRAINED_FPS, lift_video
from jaxpose.tasks.stream import Stream, start_stream, step_stream

_BLOCK = 5  # frames that a stream waits for
_HIDDEN, _EVERY = 15, 60


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option("motion17", "A model of motions, or a .safetensors file.")
    against: str = option("pose17", "The model of single frames to compare with.")
    bench: str | None = option(None, "Benchmark file; by default the one beside JAXPOSE_DATA.")
    hypotheses: int = option(20, "Motions of a clip.", low=2)


@released.needs("evaluate motions", "motion")
def motions(model: released.Model, options: Options) -> Iterator[Item]:
    """Frame by frame, as motions, with a gap, live."""
    clips, other = video_clips(options.bench, options.stride), released.load(options.against)
    single = drawn(other, clips, options, functools.partial(of_clip, cutoff=0))
    base = joint_errors(single.samples.mean(0), clips)
    privileges = f"2D detected, intrinsics; {bench.NO_DEPTH}; best_of_* and best_motion choose by the truth"
    yield Table(f"{base.size} frames of {len(clips.truth)} clips; mm", privileges, bench.tuned(model))
    yield Row(f"{options.against}, frame by frame", row_of(single, clips, base, options.seed))
    yield Row(f"{options.against}, filtered", row_of(drawn(other, clips, options), clips, base, options.seed))
    whole = drawn(model, clips, options)
    yield Row("motions", row_of(whole, clips, base, options.seed))
    yield Row("live", row_of(drawn(model, clips, options, live), clips, base, options.seed))
    hidden = np.arange(clips.truth.shape[1]) % _EVERY >= _EVERY - _HIDDEN
    gaps = drawn(model, clips._replace(confidence=clips.confidence * ~hidden[:, None]), options)
    found, seen = (
        joint_errors(x.samples.mean(0), clips).reshape(len(clips.truth), -1)[:, hidden].mean() for x in (gaps, whole)
    )
    yield Row("gap", {"hidden_mm": float(found), "seen_mm": float(seen), "ratio": float(found / seen)})


def of_clip(
    num: int, key: Array, model: released.Model, keypoints: Array, sure: Array, K: Array, cutoff: float | None = None
) -> Hypotheses:
    """Hypotheses of a clip, as `lift_video` draws them."""
    how: dict[str, Any] = {"camera": Camera(K), "fps": TRAINED_FPS, "num_hypotheses": num, "cutoff": cutoff}
    return lift_video(key, model, keypoints, sure, **how)


class Drawn(NamedTuple):
    """Samples [H, C, F, J, 3] and 90 % radius [C, F, J], metres; of one clip without C."""

    samples: Array
    radius_90: Array


def drawn(
    model: released.Model, clips: Clips, options: Options, how: Callable[..., Hypotheses | Drawn] | None = None
) -> Drawn:
    """What a model draws of all clips."""
    run = functools.partial(how or of_clip, options.hypotheses)
    key = jax.random.key(options.seed)
    inputs = zip(*(map(jnp.asarray, x) for x in clips[:3]), strict=True)
    return together([run(key, model, *x) for x in inputs])


def together(of_clips: Sequence[Hypotheses | Drawn]) -> Drawn:
    """The results of clips as one."""
    return Drawn(jnp.stack([x.samples for x in of_clips], 1), jnp.stack([x.radius_90 for x in of_clips]))


@functools.partial(jax.jit, static_argnums=0)
def live(num: int, key: Array, model: released.Model, keypoints: Array, sure: Array, K: Array) -> Drawn:
    """Blocks of frames, one after the other; the last is filled up with the last frame."""
    frames, joints = sure.shape
    count = -(-frames // _BLOCK)
    rows = jnp.minimum(jnp.arange(count * _BLOCK), frames - 1)

    def step(stream: Stream, seen: tuple[Array, Array]) -> tuple[Stream, Drawn]:
        lifted, stream = step_stream(model, stream, *seen, camera=Camera(K[0]))
        return stream, Drawn(lifted.samples, lifted.radius_90)

    stream = start_stream(key, model, num_hypotheses=num)
    blocks = keypoints[rows].reshape(count, _BLOCK, joints, 2), sure[rows].reshape(count, _BLOCK, joints)
    samples, radius = jax.lax.scan(step, stream, blocks)[1]
    samples = jnp.swapaxes(samples, 0, 1).reshape(num, -1, joints, 3)
    return Drawn(samples[:, :frames], radius.reshape(-1, joints)[:frames])


def row_of(whole: Drawn, clips: Clips, base: np.ndarray, seed: int) -> dict[str, Any]:
    """Figures of clips, the error of the best hypothesis of each clip, and what the radius holds."""
    truth = metrics.align_root(jnp.asarray(clips.truth))
    each = metrics.mpjpe(whole.samples, truth).mean(-1)
    inside = jnp.linalg.norm(whole.samples.mean(0) - truth, axis=-1) <= whole.radius_90
    more = {"best_motion_mm": 1000 * float(each.min(0).mean()), "holds": float(inside[..., 1:].mean())}
    return figures(whole.samples, clips, base, seed) | more
