"""`jaxpose complete` with a prior over joint rotations: body poses with rotations missing in, many whole ones out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.commands import blocks, models, report
from jaxpose.commands.blocks import Block
from jaxpose.commands.option_groups import refuse
from jaxpose.commands.options import Complete
from jaxpose.commands.report_bodies import BODY_JOINTS, Shown, joints_of, write_bodies
from jaxpose.compiled import exact
from jaxpose.geometry.axes import FRAME_TAGS
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.motion import read_rotations
from jaxpose.io.take import rotation_matrices, rotation_vectors
from jaxpose.model import Model
from jaxpose.tasks import complete_rotations as task
from jaxpose.tasks.complete_rotations import METHODS, PARTS

_HYPOTHESES = 10


class Completed(NamedTuple):
    """samples: [H, N, 21, 3] radians."""

    samples: Array


def parse_hide(text: str | None) -> np.ndarray:
    """[21] bool, True where --hide hides a body joint; ValueError for a name that is no joint or part."""
    hidden = np.zeros(len(BODY_JOINTS), bool)
    for name in (part.strip() for part in text.split(",")) if text is not None else ():
        if name in PARTS:
            hidden[list(PARTS[name])] = True
        elif name in BODY_JOINTS:
            hidden[BODY_JOINTS.index(name)] = True
        else:
            raise ValueError(
                f"--hide: got {name!r}; legal are the parts {', '.join(PARTS)} and the joints {', '.join(BODY_JOINTS)}"
            )
    return hidden


def complete_rotations(options: Complete, model: Model) -> Iterator[str]:
    """Read, hide, complete and write."""
    path, output, each = options.input, options.output, options.hypotheses or _HYPOTHESES
    why = "is for models of joint positions"
    refuse(options.keypoints, why)
    refuse(options, why, "height", "noise", "skeleton")
    refuse(options.axes, why, "unit")
    refuse(options.sampling, why, "path", "sampler")
    report.check_out(output.out, path)
    method = options.method or next(iter(METHODS))
    if method not in METHODS:
        raise ValueError(f"--method: got {method!r}; legal are {', '.join(METHODS)}")
    if method == "dposer" and options.sampling.steps is not None:
        raise ValueError("--steps: is for --method replace, dps and mcg; dposer's are chosen")
    steps = {} if options.sampling.steps is None else {"num_steps": options.sampling.steps}
    chosen = METHODS[method](**steps)
    hidden = parse_hide(options.hide)
    body = models.load_body(options.files.body)
    motion, known = read_rotations(path, fps=options.fps, up=options.axes.up, gaps=True)
    known = known & ~hidden
    if known.all():
        raise ValueError(f"{path}: nothing to complete, every rotation is there; --hide hides some")
    if not known.any():
        raise ValueError(f"{path}: no rotation is left; `jaxpose generate` draws unconditional poses")
    num = len(known)
    yield f"{path}: {num} body poses at {motion.fps:g} frames/s; {motion.source}"
    missing = {name: int(count) for name, count in zip(BODY_JOINTS, (~known).sum(0), strict=True) if count}
    yield f"missing or hidden: {', '.join(f'{name} {count}' for name, count in missing.items())}"

    run = exact(task.complete_rotations, num_hypotheses=each, method=chosen)

    def work(key: Key, block: Block, return_path: bool) -> Completed:
        pose, seen = jnp.asarray(motion.body_pose[block.rows]), jnp.asarray(known[block.rows], jnp.float32)
        return Completed(run(key, model, pose, seen))

    drawn, spent = yield from blocks.gather(work, blocks.even(num, doubling=True), num, seed=output.seed, each=each)
    samples = drawn["samples"]
    mean, spread = mean_rotation(samples)
    betas = motion.betas if options.files.body and _fits(motion.betas, body) else None
    root = (motion.global_orient, motion.transl)
    arrays = {
        **{"samples": samples, "mean": mean, "spread_deg": np.degrees(spread)},
        "observed": np.where(known[..., None], motion.body_pose, np.nan),
        **{"global_orient": motion.global_orient, "pelvis": motion.transl},
        "joints3d": joints_of(body, samples[0], *root, betas),
        "body_joints": np.array(BODY_JOINTS),
        **report.rows(np.arange(num), None, motion.fps),
        **report.axes(SMPL_22.joints, "y", FRAME_TAGS["y"]),
    }
    degrees = {
        name: round(float(np.degrees(np.mean(spread[:, j]))), 1)
        for j, name in enumerate(BODY_JOINTS)
        if name in missing
    }
    summary = {
        **report.record("complete", path, model, spent, num * each, seed=output.seed),
        **{"method": method, "hide": options.hide, "missing_joints": missing, "num_poses": num},
        **{"num_hypotheses": each, "source": motion.source, "frame_tag": FRAME_TAGS["y"], "spread_deg": degrees},
    }
    said = ", ".join(f"{name} {angle:g}" for name, angle in degrees.items())
    yield f"spread of {each} hypotheses about their mean, degrees: {said}"
    lead = (each, num, 3)
    shown = Shown(
        samples,
        np.broadcast_to(root[0], lead),
        np.broadcast_to(root[1], lead),
        betas,
        [""] * num,
        motion.fps,
        f"hypothesis 0 of {each}, {method}",
        f"hidden: {options.hide or 'NaN'}",
        names=[f"hypothesis {h}" for h in range(each)],
    )
    yield from write_bodies(output, options.files, report.name_of(path), arrays, summary, shown, body)


def mean_rotation(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean [N, J, 3] of rotations [H, N, J, 3], nearest in the mean of matrices, and the rms angle from it [N, J].

    All in radians. The rotation nearest to a mean M = U S V^T is U diag(1, 1, det U V^T) V^T.
    """
    R = rotation_matrices(samples.astype(np.float64))
    U, _, Vt = np.linalg.svd(R.mean(0))
    U[..., 2] *= np.linalg.det(U @ Vt)[..., None]
    mean = U @ Vt
    away = np.linalg.norm(rotation_vectors(np.swapaxes(mean, -1, -2) @ R), axis=-1)
    return rotation_vectors(mean).astype(np.float32), np.sqrt((away**2).mean(0))


def _fits(betas: np.ndarray | None, body: Body) -> bool:
    return betas is not None and len(betas) <= body.shapedirs.shape[-1]
