"""`jaxpose generate --num N --out DIR`: poses out of nothing; with a prior over joint rotations, bodies."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np

from jaxpose.commands import models, report
from jaxpose.commands.blocks import Clock
from jaxpose.commands.option_groups import Sampling, refuse
from jaxpose.commands.options import Generate
from jaxpose.commands.report_bodies import BODY_JOINTS, FRAME_TAGS, Shown, joints_of, write_bodies
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.model import DEFAULT_MODEL, Model, load
from jaxpose.tasks.generate import NUM_STEPS, jitted_generate
from jaxpose.tasks.rotations import generate_rotations

_NAME = "generated"
_jitted_rotations = jax.jit(generate_rotations, static_argnames=("num", "num_steps", "sampler", "temperature", "chunk"))


def generate(options: Generate) -> Iterator[str]:
    """Draw and write."""
    report.check_out(options.output.out)
    model = load(options.output.model or DEFAULT_MODEL)
    if models.is_prior(model):
        refuse(options.sampling, "is for models of joint positions", "path")
        yield from _bodies(options, model)
    else:
        refuse(options.files, "is for a prior over joint rotations, such as prior21")
        yield from _joints(options, model)


def _joints(options: Generate, model: Model) -> Iterator[str]:
    output, num, given = options.output, options.num, options.sampling
    steps = given.steps if model.spec.times else given.steps or NUM_STEPS  # a few-step model has its own
    sampling, clock = Sampling(steps, given.sampler, given.path), Clock()
    drawn = np.asarray(
        jitted_generate(
            jax.random.key(output.seed),
            model,
            num,
            num_steps=steps,
            sampler=sampling.sampler,
            temperature=options.temperature,
            return_path=sampling.path,
        )
    )
    spent = clock.spent()
    yield f"drew {num} poses, {spent.rate(num):,.0f} poses/s"
    samples = drawn[-1] if sampling.path else drawn
    tag = "camera axes: x right, y down, z forward; metres relative to the root joint"
    frame = np.arange(num)
    arrays = {"samples": samples, **report.rows(frame, None, None), **report.axes(model.skeleton.joints, "-y", tag)}
    summary = {
        **report.record("generate", None, model, spent, num, seed=output.seed),
        **{**report.sampled(model, sampling), "num_poses": num, "temperature": options.temperature},
        **{"frame_tag": tag, "scale": model.spec.scale},
    }
    titles, states = [f"pose {i}" for i in frame], drawn[:, None] if sampling.path else None
    picture = report.Picture(samples[None], model.skeleton, titles, "out of nothing", {}, path=states, one_motion=False)
    yield from report.write(output, _NAME, arrays, summary, picture)


def _bodies(options: Generate, model: Model) -> Iterator[str]:
    output, num, sampling = options.output, options.num, options.sampling
    body, clock = models.load_body(options.files.body), Clock()
    drawn = _jitted_rotations(
        jax.random.key(output.seed),
        model,
        num,
        num_steps=sampling.steps,
        sampler=sampling.sampler,
        temperature=options.temperature,
    )
    body_pose = np.asarray(drawn)
    spent = clock.spent()
    yield f"drew {num} body poses, {spent.rate(num):,.0f} poses/s"
    still, tag = np.zeros((num, 3), np.float32), f"{FRAME_TAGS['y']}; pelvis at the origin, facing z"
    arrays = {
        **{"body_pose": body_pose, "samples": joints_of(body, body_pose, still, still)},
        **{"body_joints": np.array(BODY_JOINTS), **report.rows(np.arange(num), None, None)},
        **report.axes(SMPL_22.joints, "y", tag),
    }
    summary = {
        **report.record("generate", None, model, spent, num, seed=output.seed),
        **{"sampler": sampling.sampler, "num_poses": num, "temperature": options.temperature, "frame_tag": tag},
    }
    titles, source = [f"pose {i}" for i in range(num)], "poses out of nothing, not a motion"
    shown = Shown(body_pose[None], still[None], still[None], None, titles, source=source, note="out of nothing")
    yield from write_bodies(output, options.files, _NAME, arrays, summary, shown, body)
