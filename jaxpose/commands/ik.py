"""`jaxpose ik INPUT --out DIR`: 3D points of bodies, some of them missing, in; whole bodies out."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp

from jaxpose.base import Key
from jaxpose.commands import blocks, fitted, models, report
from jaxpose.commands.blocks import Block
from jaxpose.commands.fitted import Rows
from jaxpose.commands.options import Ik
from jaxpose.commands.views import joint_set
from jaxpose.fitting import ik as task
from jaxpose.fitting.engine import EVERYTHING, POSE_AND_PLACE
from jaxpose.io.poses3d import check_enough, read_body_points


def ik(options: Ik) -> Iterator[str]:
    """Read, fit and write."""
    path, output, each = options.input, options.output, options.hypotheses
    report.check_out(output.out, path)
    model = models.load_fit_prior(options.prior, output.model, "ik")
    body = models.load_body(options.files.body)
    axes, skeleton = options.axes, joint_set(options.skeleton)
    targets = read_body_points(path, body, skeleton=skeleton, up=axes.up, unit=axes.unit, only=options.only)
    check_enough(path, targets)
    num, points = len(targets.xyz), fitted.say_points(targets)
    yield f"{path}: {num} poses, {points}; noise taken as {1000 * options.noise:g} mm"

    prior, start_pose = fitted.prior_of(options.prior, model), fitted.start_pose(model)

    def work(key: Key, block: Block, return_path: bool) -> Rows:
        found = task.ik(
            key,
            body,
            jnp.asarray(targets.xyz[block.rows])[:, None],
            targets.points,
            prior,
            noise=jnp.float32(options.noise),
            start_pose=start_pose,
            num_hypotheses=each,
            free=EVERYTHING if options.shape else POSE_AND_PLACE,
        )
        return fitted.as_rows(found)

    rows, spent = yield from blocks.gather(work, blocks.even(num, doubling=True), num, seed=output.seed, each=each)
    rows = fitted.best_first(rows)
    fits = Rows(**{name: rows[name] for name in Rows._fields if name in rows})  # type: ignore[arg-type]  # numpy
    rows["error"] = fitted.point_error(body, fits, targets.points, targets.xyz)
    said = {
        **report.record("ik", path, model, spent, num * each, seed=output.seed),
        **{"prior": options.prior, "shape_fitted": options.shape, "noise_m": options.noise},
        **{"only": None if options.only is None else ",".join(options.only), "num_hypotheses": each},
        "points": points,
    }
    yield from fitted.write(output, options.files, path, body, targets, rows, said, many=True)
