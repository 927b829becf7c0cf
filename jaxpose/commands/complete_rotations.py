"""`jaxpose complete` with a prior over joint rotations: body poses with rotations missing in, many whole ones out."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.commands import bodies, motions, results
from jaxpose.geometry.body import Body
from jaxpose.io.take import rotation_matrices, rotation_vectors
from jaxpose.model import Model
from jaxpose.tasks.complete_rotations import METHODS, PARTS, complete_rotations

_jitted_complete = functools.partial(jax.jit, static_argnames=("num_hypotheses", "method"))(complete_rotations)


class Completed(NamedTuple):
    """samples: [H, N, 21, 3] radians."""

    samples: Array


def parse_hide(text: str | None) -> np.ndarray:
    """[21] bool, True where --hide hides a body joint; ValueError for a name that is no joint or part."""
    hidden = np.zeros(len(bodies.BODY_JOINTS), bool)
    for name in (part.strip() for part in text.split(",")) if text is not None else ():
        if name in PARTS:
            hidden[list(PARTS[name])] = True
        elif name in bodies.BODY_JOINTS:
            hidden[bodies.BODY_JOINTS.index(name)] = True
        else:
            raise ValueError(
                f"--hide: got {name!r}; legal are the parts {', '.join(PARTS)} and the joints "
                f"{', '.join(bodies.BODY_JOINTS)}"
            )
    return hidden


def run(args: argparse.Namespace, path: Path, out: Path, model: Model) -> Iterator[str]:
    """Read, hide, complete and write."""
    method = args.method or next(iter(METHODS))
    if method not in METHODS:
        raise ValueError(f"--method: got {method!r}; legal are {', '.join(METHODS)}")
    if method == "dposer" and args.steps is not None:
        raise ValueError("--steps: is for --method replace, dps and mcg; dposer's are chosen")
    chosen = METHODS[method]() if args.steps is None else METHODS[method](num_steps=args.steps)
    hidden = parse_hide(args.hide)
    body = bodies.load_body_of(args)
    motion, known = motions.read_rotations(path, fps=args.fps, up=args.up, gaps=True)
    known = known & ~hidden
    if known.all():
        raise ValueError(f"{path}: nothing to complete, every rotation is there; --hide hides some")
    if not known.any():
        raise ValueError(f"{path}: no rotation is left; `jaxpose generate` draws poses out of nothing")
    num = len(known)
    yield f"{path}: {num} body poses at {motion.fps:g} frames/s; {motion.source}"
    missing = {name: int(count) for name, count in zip(bodies.BODY_JOINTS, (~known).sum(0), strict=True) if count}
    yield f"missing or hidden: {', '.join(f'{name} {count}' for name, count in missing.items())}"

    def draw(key: Key, rows: np.ndarray, return_path: bool) -> Completed:
        return Completed(
            _jitted_complete(
                key,
                model,
                jnp.asarray(motion.body_pose[rows]),
                jnp.asarray(known[rows], jnp.float32),
                num_hypotheses=args.hypotheses,
                method=chosen,
            )
        )

    drawn = yield from results.in_blocks(draw, num, args)
    samples, seconds = drawn["samples"], float(drawn["seconds"])
    mean, spread = mean_rotation(samples)
    tag = bodies.FRAME_TAGS["y"]
    betas = motion.betas if args.body and _fits(motion.betas, body) else None
    root = (motion.global_orient, motion.transl)
    arrays = {
        "samples": samples,
        "mean": mean,
        "spread_deg": np.degrees(spread),
        "observed": np.where(known[..., None], motion.body_pose, np.nan),
        "global_orient": motion.global_orient,
        "pelvis": motion.transl,
        "frame": np.arange(num),
        "joints3d": bodies.joints_of(body, samples[0], *root, betas),
        "joints": np.array(("pelvis", *bodies.BODY_JOINTS)),
        "body_joints": np.array(bodies.BODY_JOINTS),
        **{"fps": motion.fps, "up": "y", "unit": "m", "frame_tag": tag},
    }
    summary = {
        **bodies.record(path, model, args, seconds),
        **{"method": method, "hide": args.hide, "missing_joints": missing, "num_poses": num},
        **{"num_hypotheses": args.hypotheses, "source": motion.source, "frame_tag": tag},
        "poses_per_second": round(num * args.hypotheses / seconds, 1),
        "spread_deg": {
            name: round(float(np.degrees(np.mean(spread[:, j]))), 1)
            for j, name in enumerate(bodies.BODY_JOINTS)
            if name in missing
        },
    }
    said = ", ".join(f"{name} {degrees:g}" for name, degrees in summary["spread_deg"].items())
    yield f"spread of {args.hypotheses} hypotheses about their mean, degrees: {said}"
    lead = (args.hypotheses, num, 3)
    shown = bodies.Shown(
        samples,
        np.broadcast_to(root[0], lead),
        np.broadcast_to(root[1], lead),
        betas,
        [""] * num,
        motion.fps,
        f"hypothesis 0 of {args.hypotheses}, {method}",
        f"hidden: {args.hide or 'NaN'}",
        names=[f"hypothesis {h}" for h in range(args.hypotheses)],
    )
    yield from bodies.write(out, results.name_of(path), arrays, summary, shown, body, args)


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
