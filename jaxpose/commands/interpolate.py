"""`jaxpose interpolate A B --out DIR`: two body poses in, a path of plausible poses between them out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxpose.commands import models, report
from jaxpose.commands.blocks import Clock
from jaxpose.commands.bodies import Shown, joints_of, load_body, write_bodies
from jaxpose.commands.options import Interpolate
from jaxpose.geometry.axes import FRAME_TAGS
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.motion import Motion, read_rotations, resample
from jaxpose.tasks.rotations import interpolate_rotations


def interpolate(options: Interpolate) -> Iterator[str]:
    """Read, carry over and write."""
    output, num, paths = options.output, options.num, (options.first, options.second)
    if num < 2:
        raise ValueError(f"--num: needed 2 or more, for both ends, got {num}")
    report.check_out(output.out, *paths)
    model = models.load_prior(output.model, "interpolate")
    body = load_body(options.files.body)
    frames = (options.frame_a, options.frame_b)
    ends = []
    for path, flag, frame in zip(paths, ("--frame-a", "--frame-b"), frames, strict=True):
        motion, _ = read_rotations(path)
        count = len(motion.body_pose)
        if not -count <= frame < count:
            raise ValueError(f"{flag}: got {frame}; {path} has frames 0 to {count - 1}")
        ends.append((motion.body_pose[frame], motion.global_orient[frame], motion.transl[frame]))
        yield f"{path}: frame {frame % count} of {count}; {motion.source}"
    pose, root, pelvis = (np.stack(pair) for pair in zip(*ends, strict=True))
    clock = Clock()
    body_pose = np.array(interpolate_rotations(model, pose[0], pose[1], num))
    off = np.degrees(max(np.linalg.norm(body_pose[i] - pose[i], axis=-1).max() for i in (0, -1)))
    spent = clock.spent()
    yield f"{num} poses; the path meets its ends within {off:.2g} degrees"
    still = Motion(np.zeros((2, 21, 3), np.float32), root, pelvis, 1.0)
    moved = resample(still, num - 1.0)  # the two ends are one second apart: N - 1 steps
    arrays = {
        **{"body_pose": body_pose, "global_orient": moved.global_orient, "pelvis": moved.transl},
        "joints3d": joints_of(body, body_pose, moved.global_orient, moved.transl),
        **report.rows(np.arange(num), None, options.fps),
        **report.axes(SMPL_22.joints, "y", FRAME_TAGS["y"]),
    }
    summary = {
        **report.record("interpolate", None, model, spent, num, seed=output.seed),
        **{"inputs": [str(path) for path in paths], "frames": list(frames), "num_poses": num},
        **{"ends_met_within_degrees": round(float(off), 4), "frame_tag": FRAME_TAGS["y"]},
    }
    moving = (body_pose[None], moved.global_orient[None], moved.transl[None])
    source = f"from {paths[0].name} to {paths[1].name}"
    shown = Shown(*moving, fps=options.fps, source=source, note="latent path")
    yield from write_bodies(output, options.files, "interpolated", arrays, summary, shown, body)
