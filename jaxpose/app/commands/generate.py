"""Unconditional poses, and poses between two.

`jaxpose generate --num N --out DIR`: unconditional poses; with a prior over joint rotations, bodies.
`jaxpose interpolate A B --out DIR`: two body poses in, a path of plausible poses between them out.
"""

from collections.abc import Generator
from typing import Any

import jax
import numpy as np

from jaxpose.app.commands import blocks, exports, models, report
from jaxpose.app.commands.blocks import Clock
from jaxpose.app.commands.bodies import BODY_JOINTS, joints_of
from jaxpose.app.commands.options import Generate, Interpolate
from jaxpose.app.commands.pictures import Bodies, Picture
from jaxpose.app.commands.report import Outcome
from jaxpose.geometry.axes import FRAME_TAGS
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.motion import Motion, read_rotations, resample
from jaxpose.model import Model
from jaxpose.tasks import generate as task
from jaxpose.tasks.lift_video import TRAINED_FPS
from jaxpose.tasks.refine import refined
from jaxpose.tasks.rotations import generate_rotations, interpolate_rotations
from jaxpose.tasks.samplers import Sampler, sampler_of


@report.command("generate", "generated")
def generate(options: Generate, _: str) -> Generator[str, None, Outcome]:
    """Draw poses, or bodies where the model is a prior over joint rotations."""
    model = refined(models.load_model(options, "generate"))
    exports.check(options.output.exports, of_bodies=models.is_prior(model))
    temperature = {} if options.temperature == 1 else {"temperature": options.temperature}  # some take none
    sampler = sampler_of(options.sampling.sampler, options.sampling.steps, **temperature)
    return (yield from (_bodies if models.is_prior(model) else _joints)(options, model, sampler))


def _joints(options: Generate, model: Model, sampler: Sampler) -> Generator[str, None, Outcome]:
    output, num, path, clock = options.output, options.num, options.sampling.path, Clock()
    sampler = sampler.with_usual_steps(task.NUM_STEPS)
    blocks.check("--num", num, num, num * (sampler.network_calls(model) + 1) if path else 0)
    drawn = np.asarray(task.generate(jax.random.key(output.seed), model, num, sampler=sampler, return_path=path))
    spent = clock.spent()
    yield f"drew {num} poses, {spent.rate(num):,.0f} poses/s"
    samples = drawn[-1] if path else drawn
    tag = "camera axes: x right, y down, z forward; metres relative to the root joint"
    arrays = {"samples": samples, "frame": np.arange(num), **report.axes(model.skeleton.joints, "-y", tag)}
    if model.spec.network.window is not None:
        arrays["fps"] = TRAINED_FPS
    summary = {
        **{"network_calls": sampler.network_calls(model), "sampler": sampler.name, "num_poses": num},
        **{"temperature": options.temperature, "frame_tag": tag, "scale": model.spec.scale},
    }
    picture = Picture(model.skeleton, "out of nothing", path=drawn[:, None] if path else None)
    return Outcome(model, spent, num, arrays, summary, picture)


def _bodies(options: Generate, model: Model, sampler: Sampler) -> Generator[str, None, Outcome]:
    output, num = options.output, options.num
    body, clock = models.load_body(options.output.exports.body), Clock()
    blocks.check("--num", num, 4 * num)  # bodies: 5.7 kB each of 60,000
    body_pose = np.asarray(generate_rotations(jax.random.key(output.seed), model, num, sampler=sampler))
    spent = clock.spent()
    yield f"drew {num} body poses, {spent.rate(num):,.0f} poses/s"
    still, tag = np.zeros((num, 3), np.float32), f"{FRAME_TAGS['y']}; pelvis at the origin, facing z"
    arrays = {
        **{"body_pose": body_pose, "samples": joints_of(body, body_pose, still, still), "frame": np.arange(num)},
        **{"body_joints": BODY_JOINTS, **report.axes(SMPL_22.joints, "y", tag)},
    }
    summary = {**{"sampler": sampler.name, "num_poses": num, "temperature": options.temperature, "frame_tag": tag}}
    words: dict[str, Any] = {"source": "poses out of nothing, not a motion", "note": "out of nothing"}
    shown = Bodies(body, body_pose[None], still[None], still[None], labels=[f"pose {i}" for i in range(num)], **words)
    return Outcome(model, spent, num, arrays, summary, shown)


@report.command("interpolate", "interpolated")
def interpolate(options: Interpolate, _: str) -> Generator[str, None, Outcome]:
    """Read two poses and draw the path between them."""
    output, num, paths = options.output, options.num, (options.first, options.second)
    body, model = (
        exports.body_of(output.exports),
        models.load_model(options, "interpolate", models.DEFAULT_PRIOR, needs=("rotations",)),
    )
    frames = (options.frame_a, options.frame_b)
    ends = []
    for path, flag, frame in zip(paths, ("--frame-a", "--frame-b"), frames, strict=True):
        motion = read_rotations(path)[0]
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
        **{"frame": np.arange(num), "fps": options.fps, **report.axes(SMPL_22.joints, "y", FRAME_TAGS["y"])},
    }
    summary = {
        **{"frames": list(frames), "num_poses": num},
        **{"ends_met_within_degrees": round(float(off), 4), "frame_tag": FRAME_TAGS["y"]},
    }
    moving = (body_pose[None], moved.global_orient[None], moved.transl[None])
    source = f"from {paths[0].name} to {paths[1].name}"
    shown = Bodies(body, *moving, fps=options.fps, source=source, note="latent path")
    return Outcome(model, spent, num, arrays, summary, shown)
