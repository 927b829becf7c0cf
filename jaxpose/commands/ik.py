"""`jaxpose ik INPUT --out DIR`: 3D points of bodies, some of them missing, in; whole bodies out."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.commands import blocks, fitted, models, points, report
from jaxpose.commands.blocks import Block
from jaxpose.commands.fitted import Rows
from jaxpose.commands.options import Ik
from jaxpose.fitting import ik as fitting
from jaxpose.fitting.body_fit import EVERYTHING, POSE_AND_PLACE
from jaxpose.geometry.body import Body
from jaxpose.model import Model


def ik(options: Ik) -> Iterator[str]:
    """Read, fit and write."""
    path, output, each = options.input, options.output, options.hypotheses
    report.check_out(output.out, path)
    model = models.load_fit_prior(options.prior, output.model, "ik")
    body = models.load_body(options.files.body)
    targets = points.read_targets(path, body, options.axes, options.skeleton, options.only)
    points.check_enough(path, targets)
    num = len(targets.xyz)
    yield f"{path}: {num} poses, {targets.said}; noise taken as {1000 * options.noise:g} mm"

    def work(key: Key, block: Block, return_path: bool) -> Rows:
        return _ik_rows(
            key,
            body,
            model,
            jnp.asarray(targets.xyz[block.rows])[:, None],
            jnp.float32(options.noise),
            points=targets.points,
            prior=options.prior,
            num_hypotheses=each,
            shape=options.shape,
        )

    rows, spent = yield from blocks.gather(work, blocks.even(num, doubling=True), num, seed=output.seed, each=each)
    rows = fitted.best_first(rows)
    rows["error"] = fitted.point_error(body, rows, targets.points, targets.xyz)
    said = {
        **report.record("ik", path, model, spent, num * each, seed=output.seed),
        **{"prior": options.prior, "shape_fitted": options.shape, "noise_m": options.noise},
        **{"only": None if options.only is None else ",".join(options.only), "num_hypotheses": each},
    }
    yield from fitted.write(output, options.files, path, body, targets, rows, said, many=True)


@functools.partial(jax.jit, static_argnames=("points", "prior", "num_hypotheses", "shape"))
def _ik_rows(
    key: Key,
    body: Body,
    model: Model | None,
    targets: Array,
    noise: Array,
    *,
    points: str,
    prior: str,
    num_hypotheses: int,
    shape: bool,
) -> Rows:
    """Targets [N, F, K, 3]; shape: fit betas too."""
    return fitted.as_rows(
        fitting.ik(
            key,
            body,
            targets,
            points,
            fitted.prior_of(prior, model),
            noise=noise,
            start_pose=fitted.start_pose(model),
            num_hypotheses=num_hypotheses,
            free=EVERYTHING if shape else POSE_AND_PLACE,
        )
    )
