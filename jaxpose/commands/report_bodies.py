"""The files of bodies, as `report.py` writes those of joints.

NAME.npz           the numbers; `joints3d` of the best body stands with `joints`, `up` and `unit`, so that whatever
                   reads 3D joints reads it
NAME_motion.npz    the best body as a motion, y up, as `io.motion.read_motion` reads it
NAME.json          what was done
NAME.png, .html    pictures; with --bvh, --glb and --obj files for other programs
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.commands.option_groups import BodyFiles, Output
from jaxpose.commands.report import write_numbers
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.geometry.skeleton import SMPL_22, Skeleton
from jaxpose.io.motion import Motion, save_motion
from jaxpose.io.retarget import write_motion_bvh
from jaxpose.io.take import rotation_matrices, rotation_vectors

BODY_JOINTS = SMPL_22.joints[1:]
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


def joints_of(body: Body, body_pose: Any, global_orient: Any, pelvis: Any, betas: Any = None) -> np.ndarray:
    """The 22 joints [..., 22, 3] metres of bodies whose pelvis stands at pelvis [..., 3]."""
    rotations = full_rotations(body, jnp.asarray(body_pose), jnp.asarray(global_orient))
    joints = np.asarray(body.shape(_betas(betas)).pose(rotations).joints[..., :22, :])
    return joints - joints[..., :1, :] + np.asarray(pelvis)[..., None, :]


def turned(R: np.ndarray, global_orient: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root rotations [..., 3] and points [..., 3] in axes that R [3, 3] leads to."""
    vectors = rotation_vectors(R @ rotation_matrices(global_orient.astype(np.float64)))
    return vectors.astype(np.float32), (points @ R.T).astype(np.float32)


def write_bodies(
    output: Output,
    files: BodyFiles,
    name: str,
    arrays: dict[str, Any],
    summary: dict[str, Any],
    shown: Shown,
    body: Body,
) -> Iterator[str]:
    """Write the files that the module docstring names; each appears whole or not at all."""
    out = output.out
    yield from write_numbers(out, name, arrays, summary | {"body": str(files.body or "licence-free")})
    betas = None if shown.betas is None else np.asarray(shown.betas)
    one_shape = betas if betas is None or betas.ndim == 1 else betas[0] if (betas == betas[0]).all() else None
    motion = Motion(
        shown.body_pose[0], shown.global_orient[0], shown.pelvis[0], shown.fps or 30.0, one_shape, shown.source
    )
    save_motion(out / f"{name}_motion.npz", motion)
    yield f"wrote {out / name}_motion.npz"
    if files.bvh:
        rest = np.asarray(body.shape(_betas(one_shape)).joints)[:22] if shown.rest is None else shown.rest
        parents = np.maximum(np.array(SMPL_22.parents), 0)
        write_motion_bvh(out / f"{name}.bvh", motion, rest - rest[parents])
        yield f"wrote {out / name}.bvh"
    if files.glb:
        from jaxpose.viz.mesh_files import write_motion_glb

        yield f"wrote {write_motion_glb(out / f'{name}.glb', body, motion, betas=one_shape, name=name)}"
    if files.obj or not output.no_pictures:
        yield from _draw(out, name, shown, body, files, not output.no_pictures)


def _draw(out: Path, name: str, shown: Shown, body: Body, files: BodyFiles, pictures: bool) -> Iterator[str]:
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
    if files.obj:
        from jaxpose.viz.mesh_files import write_obj

        first = vertices[0]
        few = first[np.linspace(0, len(first) - 1, min(len(first), _MOST_OBJECTS)).astype(int)]
        yield f"wrote {write_obj(out / f'{name}.obj', few, faces)} of {len(few)} bodies"
    if not pictures:
        return
    from jaxpose.viz.mesh import mesh_html
    from jaxpose.viz.sheet import mesh_sheet

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
