"""How honest the spread of a model's joint angles is, and whether straight knees are straight.

    python -m experiments.evaluate angles --model=pose17 [--stride=4]
    python -m experiments.evaluate angles --model=FILE.safetensors --bench=../shared/bench/val_frames.npz

Rows: the validation frames (on straight limbs) and the frames of another database. 2D detected, camera known, root
depth not given. Coverage: share of true flexions of knee and elbow, and of true elevations of hip and shoulder, within
the 90 % interval of the hypotheses (jaxpose/evaluation/angles.py). Bias: of knees whose true flexion is below 15
degrees. Nothing may be chosen by the rows of the other database. One number was, which the command prints as "tuned".
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from experiments.evaluate import bench, harness, lifting
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.evaluation.angles import angle_row
from jaxpose.evaluation.protocols import lifting_row

_FILES = ("val_frames.npz", "out_frames.npz")
_JOINTS = ("knee", "elbow", "hip", "shoulder")
_COLUMNS: dict[str, harness.Column] = {
    "mean": "mean_mm:.1f",
    **{f"{joint} in 90 %": f"{joint}_coverage_90:.1%" for joint in _JOINTS},
    **{f"{joint} width": f"{joint}_width_90_deg:.1f" for joint in _JOINTS},
    "in 90 % radius": "radius_coverage_90:.1%",
    "ECE": "ece:.3f",
    "straight knees in 90 %": "straight_knee_coverage_90:.1%",
    "bias of straight knees": "straight_knee_bias_deg:+.1f",
    "of the mean pose": "straight_knee_mean_pose_bias_deg:+.1f",
    "such knees": "straight_knees:d",
}


@dataclasses.dataclass(frozen=True)
class Options(lifting.Options):
    """Of joint angles."""

    bench: str | None = option(None, "One benchmark file; by default val_frames.npz and out_frames.npz.")
    hypotheses: int = option(100, "3D poses per detection.", low=2)


def angles(model: released.Model, options: Options) -> Iterator[Item]:
    """A row for each file."""
    tuned = bench.tuned(model)
    privileges = f"intrinsics; {bench.NO_DEPTH}"
    yield Table(f"{model.spec.name}, {options.hypotheses} hypotheses; mm, degrees", privileges, tuned, _COLUMNS)
    for path in (options.bench,) if options.bench else tuple(str(bench.bench_file(name)) for name in _FILES):
        name = Path(path).stem
        if not options.wants(name):
            continue
        data = bench.load_frames(options.stride, path)
        lifted, _ = lifting.lift_all(model, options, data.keypoints, data.confidence, data.intrinsics)
        row = lifting_row(lifted.samples, data.joints_cam, data.category, radius_90=lifted.radius_90)
        row |= angle_row(lifted.samples, data.joints_cam)
        yield Row(name, row | {"poses": len(data.category), "file": path})
