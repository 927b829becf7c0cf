"""`jaxpose generate --num N --out DIR`: unconditional poses; with a prior over joint rotations, bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxpose.commands import models, report
from jaxpose.commands.blocks import Clock
from jaxpose.commands.bodies import BODY_JOINTS, Shown, joints_of, load_body, write_bodies
from jaxpose.commands.option_groups import refuse
from jaxpose.commands.options import Generate
from jaxpose.compiled import exact
from jaxpose.geometry.axes import FRAME_TAGS
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.model import DEFAULT_MODEL, Model, load
from jaxpose.tasks import generate as task
from jaxpose.tasks.rotations import generate_rotations
from jaxpose.tasks.samplers import sampler_of

_NAME = "generated"


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
    output, num, path, clock = options.output, options.num, options.sampling.path, Clock()
    sampler = sampler_of(options.sampling.sampler, options.sampling.steps, **_temperature(options))
    sampler = sampler.with_usual_steps(task.NUM_STEPS, model)
    run = exact(task.generate, num=num, sampler=sampler, return_path=path)
    drawn = np.asarray(run(jax.random.key(output.seed), model))
    spent = clock.spent()
    yield f"drew {num} poses, {spent.rate(num):,.0f} poses/s"
    samples = drawn[-1] if path else drawn
    tag = "camera axes: x right, y down, z forward; metres relative to the root joint"
    arrays = {"samples": samples, "frame": np.arange(num), **report.axes(model.skeleton.joints, "-y", tag)}
    summary = {
        **report.record("generate", None, model, spent, num, seed=output.seed),
        **{**report.sampled(model, sampler), "num_poses": num, "temperature": options.temperature},
        **{"frame_tag": tag, "scale": model.spec.scale},
    }
    titles, states = [f"pose {i}" for i in range(num)], drawn[:, None] if path else None
    picture = report.Picture(samples[None], model.skeleton, titles, "out of nothing", {}, path=states, one_motion=False)
    yield from report.write(output, _NAME, arrays, summary, picture)


def _bodies(options: Generate, model: Model) -> Iterator[str]:
    output, num = options.output, options.num
    body, clock = load_body(options.files.body), Clock()
    sampler = sampler_of(options.sampling.sampler, options.sampling.steps, **_temperature(options))
    body_pose = np.asarray(exact(generate_rotations, num=num, sampler=sampler)(jax.random.key(output.seed), model))
    spent = clock.spent()
    yield f"drew {num} body poses, {spent.rate(num):,.0f} poses/s"
    still, tag = np.zeros((num, 3), np.float32), f"{FRAME_TAGS['y']}; pelvis at the origin, facing z"
    arrays = {
        **{"body_pose": body_pose, "samples": joints_of(body, body_pose, still, still), "frame": np.arange(num)},
        **{"body_joints": BODY_JOINTS, **report.axes(SMPL_22.joints, "y", tag)},
    }
    summary = {
        **report.record("generate", None, model, spent, num, seed=output.seed),
        **{"sampler": sampler.name, "num_poses": num, "temperature": options.temperature, "frame_tag": tag},
    }
    said: dict[str, Any] = {"source": "poses out of nothing, not a motion", "note": "out of nothing"}
    shown = Shown(body_pose[None], still[None], still[None], labels=[f"pose {i}" for i in range(num)], **said)
    yield from write_bodies(output, options.files, _NAME, arrays, summary, shown, body)


def _temperature(options: Generate) -> dict[str, float]:
    """What samplers take, where another one than 1 is asked for; some take none."""
    return {} if options.temperature == 1 else {"temperature": options.temperature}
