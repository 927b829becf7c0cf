"""`jaxpose ik INPUT --out DIR`: 3D points of bodies, some of them missing, in; whole bodies out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.commands import blocks, bodies, report
from jaxpose.commands.detections import joint_set
from jaxpose.commands.options import Ik
from jaxpose.fitting import ik as task
from jaxpose.fitting.engine import EVERYTHING, POSE_AND_PLACE
from jaxpose.io.poses3d import check_enough, read_body_points


def ik(options: Ik) -> Iterator[str]:
    """Read, fit and write."""
    path, output, each = options.input, options.output, options.hypotheses
    report.check_out(output.out, path)
    fitting = bodies.load_fitting(options.prior, output.model, "ik")
    body = bodies.load_body(options.files.body)
    axes, skeleton = options.axes, joint_set(options.skeleton)
    targets = read_body_points(path, body, skeleton=skeleton, up=axes.up, unit=axes.unit, only=options.only)
    check_enough(path, targets)
    num, points = len(targets.xyz), bodies.say_points(targets)
    yield f"{path}: {num} poses, {points}; noise taken as {1000 * options.noise:g} mm"
    free = EVERYTHING if options.shape else POSE_AND_PLACE

    def work(key: Key, block: blocks.Block, _: bool) -> dict[str, Array]:
        seen = jnp.asarray(targets.xyz[block.rows])[:, None]
        given: dict[str, Any] = {"start_pose": fitting.start_pose, "num_hypotheses": each, "free": free}
        given["noise"] = jnp.float32(options.noise)
        return bodies.as_rows(task.ik(key, body, seen, targets.points, fitting.prior, **given))

    rows, spent = yield from blocks.gather(work, blocks.even(num, doubling=True), num, seed=output.seed, each=each)
    said = {
        **report.record("ik", path, fitting.model, spent, num * each, seed=output.seed),
        **{"prior": options.prior, "shape_fitted": options.shape, "noise_m": options.noise},
        **{"only": None if options.only is None else ",".join(options.only), "num_hypotheses": each},
        "points": points,
    }
    rows = bodies.best_first(rows)
    yield from bodies.write_point_fits(output, options.files, path, body, targets, rows, said, many=True)
