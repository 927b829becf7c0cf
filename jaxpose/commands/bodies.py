"""What the commands share that give bodies: the prior over rotations, the body model, and the files of a result.

NAME.npz           the numbers; `joints3d` of the best body stands with `joints`, `up` and `unit`, so that whatever
                   reads 3D joints reads it
NAME_motion.npz    the best body as a motion, y up, as `data.motion.read_motion` reads it
NAME.json          what was done
NAME.png, .html    pictures; with --bvh, --glb and --obj files for other programs
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.files import write_json, write_npz
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.geometry.skeleton import SMPL_22, Skeleton
from jaxpose.io.motion import Motion, save_motion
from jaxpose.io.retarget import write_motion_bvh
from jaxpose.io.take import rotation_matrices, rotation_vectors
from jaxpose.model import Model, describe, load
from jaxpose.spaces.rotations import REPRESENTATIONS

DEFAULT_PRIOR = "prior21"
BODY_JOINTS = SMPL_22.joints[1:]
FRAME_TAGS = {
    "y": "world metres, y up",
    "z": "world metres, z up",
    "-y": "camera axes: x right, y down, z forward; metres",
}
R_Y_UP = {"y": np.eye(3), "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), "-y": np.diag([1.0, -1.0, -1.0])}
_MOST_BODIES, _MOST_FRAMES, _MOST_OBJECTS = 6, 120, 20  # of a page; of an .obj


class Shown(NamedTuple):
    """Bodies [H, F] in a world with y up; H = 0 is the best.

    body_pose [H, F, 21, 3], global_orient [H, F, 3] rad; pelvis [H, F, 3] m, the position of that joint; betas
    [F, S] or [S] of the best, or None for the template. labels: F. fps: None where frames are not of one motion.
    source: what is said in the motion's file. observed: [F, K, 3] m, NaN where missing. names: of the H bodies.
    rest: [22, 3] m, the joints at rest where they are not the body's.
    """

    body_pose: np.ndarray
    global_orient: np.ndarray
    pelvis: np.ndarray
    betas: np.ndarray | None
    labels: list[str]
    fps: float | None = None
    source: str = ""
    note: str = ""
    observed: np.ndarray | None = None
    observed_skeleton: Skeleton | None = None
    names: list[str] | None = None
    rest: np.ndarray | None = None


def is_prior(model: Model) -> bool:
    """Whether a model is of joint rotations, not of joint positions."""
    return model.spec.codec in REPRESENTATIONS


def load_prior(args: argparse.Namespace) -> Model:
    """The prior that --model names, or the bundled one; ValueError where it is no prior over rotations."""
    model = load(args.model or DEFAULT_PRIOR)
    if not is_prior(model):
        raise ValueError(
            f"--model: {model.spec.name!r} is a model of joint positions (codec {model.spec.codec!r}); "
            f"`jaxpose {args.command}` needs a prior over joint rotations, such as {DEFAULT_PRIOR!r}"
        )
    return model


def load_body_of(args: argparse.Namespace) -> Body:
    """The body of --body, or the licence-free one."""
    from jaxpose.io.body_files import load_body
    from jaxpose.io.capsule_body import capsule_body

    if args.body is None:
        return capsule_body()
    if not Path(args.body).is_file():
        raise ValueError(f"--body: {args.body}: no such file")
    return load_body(args.body)


def joints_of(body: Body, body_pose: Any, global_orient: Any, pelvis: Any, betas: Any = None) -> np.ndarray:
    """The 22 joints [..., 22, 3] metres of bodies whose pelvis stands at pelvis [..., 3]."""
    rotations = full_rotations(body, jnp.asarray(body_pose), jnp.asarray(global_orient))
    joints = np.asarray(body.shape(_betas(betas)).pose(rotations).joints[..., :22, :])
    return joints - joints[..., :1, :] + np.asarray(pelvis)[..., None, :]


def turned(R: np.ndarray, global_orient: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root rotations [..., 3] and points [..., 3] in axes that R [3, 3] leads to."""
    vectors = rotation_vectors(R @ rotation_matrices(global_orient.astype(np.float64)))
    return vectors.astype(np.float32), (points @ R.T).astype(np.float32)


def record(source: Path | None, model: Model | None, args: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What every summary says."""
    return {
        **({} if source is None else {"input": str(source)}),
        "command": args.command,
        "model": None if model is None else describe(model),
        "body": args.body or "licence-free",
        "seed": args.seed,
        "jaxpose": version("jaxpose"),
        "seconds": round(seconds, 3),
    }


def write(
    out: Path,
    name: str,
    arrays: dict[str, Any],
    summary: dict[str, Any],
    shown: Shown,
    body: Body,
    args: argparse.Namespace,
) -> Iterator[str]:
    """Write the files that the module docstring names; each appears whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / f"{name}.npz", {key: np.asarray(value) for key, value in arrays.items()})
    yield f"wrote {out / name}.npz"
    write_json(out / f"{name}.json", summary)
    yield f"wrote {out / name}.json"
    betas = None if shown.betas is None else np.asarray(shown.betas)
    one_shape = betas if betas is None or betas.ndim == 1 else betas[0] if (betas == betas[0]).all() else None
    motion = Motion(
        shown.body_pose[0], shown.global_orient[0], shown.pelvis[0], shown.fps or 30.0, one_shape, shown.source
    )
    save_motion(out / f"{name}_motion.npz", motion)
    yield f"wrote {out / name}_motion.npz"
    if args.bvh:
        rest = np.asarray(body.shape(_betas(one_shape)).joints)[:22] if shown.rest is None else shown.rest
        parents = np.maximum(np.array(SMPL_22.parents), 0)
        write_motion_bvh(out / f"{name}.bvh", motion, rest - rest[parents])
        yield f"wrote {out / name}.bvh"
    if args.glb:
        from jaxpose.viz.mesh_files import write_motion_glb

        yield f"wrote {write_motion_glb(out / f'{name}.glb', body, motion, betas=one_shape, name=name)}"
    if args.obj or not args.no_pictures:
        yield from _draw(out, name, shown, body, args)


def _draw(out: Path, name: str, shown: Shown, body: Body, args: argparse.Namespace) -> Iterator[str]:
    """The meshes of at most so many bodies and frames, evenly spaced."""
    num, frames = shown.body_pose.shape[:2]
    rows = np.arange(0, frames, -(-frames // _MOST_FRAMES))
    pick = (slice(min(num, _MOST_BODIES)), rows)
    betas = shown.betas if shown.betas is None or np.ndim(shown.betas) == 1 else shown.betas[rows]
    rotations = full_rotations(body, jnp.asarray(shown.body_pose[pick]), jnp.asarray(shown.global_orient[pick]))
    posed = body.shape(_betas(betas)).pose(rotations)
    move = shown.pelvis[pick] - np.asarray(posed.joints[..., 0, :])
    vertices, faces = np.asarray(posed.skin()) + move[..., None, :], np.asarray(body.faces)
    labels = [shown.labels[row] for row in rows]
    if args.obj:
        from jaxpose.viz.mesh_files import write_obj

        first = vertices[0]
        few = first[np.linspace(0, len(first) - 1, min(len(first), _MOST_OBJECTS)).astype(int)]
        yield f"wrote {write_obj(out / f'{name}.obj', few, faces)} of {len(few)} bodies"
    if args.no_pictures:
        return
    from jaxpose.viz.mesh import mesh_html
    from jaxpose.viz.mesh_sheet import mesh_sheet

    titles = [label or f"frame {row}" for label, row in zip(labels, rows, strict=True)]
    yield f"wrote {mesh_sheet(out / f'{name}.png', vertices[0], faces, titles=titles)}"
    options: dict[str, Any] = {} if shown.names is None else {"names": shown.names[: len(vertices)]}
    if shown.observed is not None:
        options |= {"observed": shown.observed[rows], "observed_skeleton": shown.observed_skeleton}
    stride = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    page = mesh_html(
        out / f"{name}.html",
        vertices,
        faces,
        title=name,
        note=shown.note,
        labels=labels,
        fps=shown.fps / stride if shown.fps else None,
        **options,
    )
    yield f"wrote {page}"


def _betas(betas: Any) -> Any:
    return None if betas is None else jnp.asarray(betas)
