"""How often a verdict is right: on input that is right, and on input that is wrong in known ways.

    python -m experiments.evaluate verdict [--stride=4]

Rows: the benchmark's frames (each a result of its own), its clips, the clip that comes with the package and the four
cameras of the walker (each clip a result). Right: as they are. Wrong: x and y exchanged, left and right exchanged,
upside down, all joints on one pixel, joints in the order of coco17 called h36m17. Keypoints over the image's size,
confidences of 100 and keypoints of bfloat16 are refused before anything is drawn. Sides can be told only where there
are eyes, or heels and toes: of the walker's joints (coco17), not of the benchmark's.
Poses: the share in doubt; results: the share of results that are called doubtful; why: doubts of a tenth of the poses.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Camera, Hypotheses
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.sides import mirrored_sides
from jaxpose.geometry.skeleton import COCO_17, H36M_17, Skeleton
from jaxpose.io.keypoints import read_keypoints, rescaled
from jaxpose.tasks.lift import lift
from jaxpose.tasks.verdict import summary

_COLUMNS: dict[str, harness.Column] = {"poses": "num:d", "in doubt": "in_doubt:.1%", "results": "doubtful:.0%"}
_COLUMNS |= {"why": lambda values: ", ".join(values["why"]) or "-"}
_BLOCK = 100


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    hypotheses: int = option(20, "3D poses per detection.", low=2)


class Source(NamedTuple):
    """Detections xy [N, K, 2] px of a joint set, confidence [N, K], intrinsics [N, 4]; clip [N]: which result."""

    name: str
    xy: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    clip: np.ndarray
    skeleton: Skeleton = H36M_17


def _wrong(source: Source) -> Iterator[tuple[str, Source]]:
    """The source as it is, and what is made of it."""
    xy, sure, name, skeleton = source.xy, source.confidence, source.name, source.skeleton
    rows = np.ones(len(xy), bool)
    yield f"{name}: right", source
    yield f"{name}: x and y exchanged", source._replace(xy=xy[..., ::-1])
    swapped = [mirrored_sides(x, skeleton, rows) for x in (xy, sure)]
    yield f"{name}: sides exchanged", source._replace(xy=swapped[0], confidence=swapped[1])
    down = 2 * source.intrinsics[:, None, 2:] - xy
    yield f"{name}: upside down", source._replace(xy=np.where(sure[..., None] > 0, down, 0))
    yield f"{name}: on one pixel", source._replace(xy=np.repeat(xy.max(1, keepdims=True), xy.shape[1], 1))
    if skeleton == COCO_17:
        yield f"{name}: called h36m17", source._replace(skeleton=H36M_17)


def verdict(model: released.Model, options: Options) -> Iterator[Item]:
    """A row for each source and what is wrong with it, and one for all that is right."""
    tuned = "the limits on val_frames, after a look at out_frames, the clips and the walker"
    yield Table(f"{model.spec.name}, {options.hypotheses} hypotheses", "intrinsics", tuned, _COLUMNS)
    right: list[tuple[np.ndarray, np.ndarray]] = []  # which poses are in doubt, and which results
    for source in _sources(options.stride):
        for name, given in _wrong(source):
            if not options.wants(name):
                continue
            values, *doubts = _judged(model, given, options)
            right += [(doubts[0], doubts[1])] if name.endswith("right") else []
            yield Row(name, values)
    if right and options.wants("all that is right"):
        poses, results = (np.concatenate(x) for x in zip(*right, strict=True))
        shares = {"in_doubt": float(poses.mean()), "doubtful": float(results.mean())}
        yield Row("all that is right", {"num": len(poses), **shares, "why": []})


def _judged(
    model: released.Model, source: Source, options: Options
) -> tuple[dict[str, object], np.ndarray, np.ndarray]:
    """The figures of a source, which of its poses are in doubt, and which of its results."""
    sure = rescaled(source.confidence) if source.skeleton == COCO_17 else source.confidence
    detected = [
        np.array(x) for x in convert_joints(jnp.asarray(source.xy), jnp.asarray(sure), source.skeleton, H36M_17)
    ]
    parts, clips = [], np.unique(source.clip)
    for rows in np.array_split(np.arange(len(source.xy)), -(-len(source.xy) // _BLOCK)):
        camera = Camera(source.intrinsics[rows].astype(np.float32))
        key = jax.random.key(options.seed)
        xy, trust = (x[rows].astype(np.float32) for x in detected)
        parts.append(lift(key, model, xy, trust, camera=camera, num_hypotheses=options.hypotheses))
    fields = {name: np.concatenate([getattr(p, name) for p in parts], axis) for name, axis in _AXES.items()}
    judge = parts[0].judge
    doubtful, results, why = np.zeros(len(source.xy), bool), [], set[str]()
    for clip in clips:
        rows = np.flatnonzero(source.clip == clip)
        part = Hypotheses(**{k: np.take(x, rows, _AXES[k]) for k, x in fields.items()}, judge=judge)  # type: ignore[arg-type]  # of many types
        given = {"keypoints": source.xy[rows], "confidence": source.confidence[rows]}
        judged = summary(part, **given, camera=Camera(source.intrinsics[rows]), skeleton=source.skeleton)
        doubtful[rows] = judged.doubtful
        results.append(not judged.reliable)
        why |= {name for name, x in judged.doubts.items() if x.mean() > 0.1}
    values = {"num": len(doubtful), "in_doubt": float(doubtful.mean()), "doubtful": float(np.mean(results))}
    return values | {"why": sorted(why) if len(clips) < 100 else []}, doubtful, np.array(results)


_AXES = {"samples": 1, "mean": 0, "covariance": 0, "radius_90": 0, "weights": 1, "root": 1}


def _sources(stride: int) -> Iterator[Source]:
    for name in ("val_frames", "out_frames"):
        data = bench.load_frames(stride, str(bench.bench_file(f"{name}.npz")))
        num = len(data.keypoints)
        intrinsics = np.broadcast_to(np.asarray(data.intrinsics), (num, 4))
        yield Source(name, np.asarray(data.keypoints), np.asarray(data.confidence), intrinsics, np.arange(num))
    with np.load(bench.bench_file("val_video.npz")) as z:
        xy, sure = z["keypoints"][:, :: 4 * stride], z["confidence"][:, :: 4 * stride]
        clip = np.repeat(np.arange(len(xy)), xy.shape[1])
        intrinsics = np.repeat(z["intrinsics"].reshape(len(xy), -1, 4)[:, 0], xy.shape[1], 0)
        yield Source("val_video", xy.reshape(-1, 17, 2), sure.reshape(-1, 17), intrinsics, clip)
    with np.load(released.ASSETS / "demo_clip.npz") as z:
        num = len(z["keypoints"])
        intrinsics = np.broadcast_to(z["intrinsics"], (num, 4))
        yield Source("demo_clip", z["keypoints"], z["confidence"], intrinsics, np.zeros(num, int))
    for camera in ("cam01", "cam02", "cam03", "cam04"):
        kp = read_keypoints(released.ASSETS / "walker.npz", camera=camera)
        intrinsics = np.broadcast_to(np.asarray(kp.intrinsics), (len(kp.xy), 4))
        yield Source(f"walker {camera}", kp.xy, kp.confidence, intrinsics, np.zeros(len(kp.xy), int), kp.skeleton)
