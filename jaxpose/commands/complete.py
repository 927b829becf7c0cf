"""`jaxpose complete INPUT --out DIR`: poses with missing joints in, many whole poses out.

3D joints go to tasks.complete, 2D keypoints to tasks.lift. Names of --hide are joints of the model.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Hypotheses, Key
from jaxpose.commands import blocks, complete_rotations, detections, lift, models, poses, report
from jaxpose.commands.blocks import Block
from jaxpose.commands.hiding import Hide, parse_hide
from jaxpose.commands.option_groups import refuse
from jaxpose.commands.options import Complete, Lift
from jaxpose.compiled import exact
from jaxpose.io import kind_of
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.poses3d import Poses3D
from jaxpose.model import DEFAULT_MODEL, Model, load
from jaxpose.tasks import complete as task
from jaxpose.tasks.samplers import sampler_of

_HYPOTHESES = 200


def complete(options: Complete) -> Iterator[str]:
    """Read, hide, complete and write; what was hidden or assumed is said and stands in the summary."""
    path = options.input
    model = load(options.output.model or DEFAULT_MODEL)
    if models.is_prior(model):
        yield from complete_rotations.complete_rotations(options, model)
        return
    why = "is for a prior over joint rotations, such as prior21"
    refuse(options, why, "method", "fps")
    refuse(options.files, why)
    in_3d = kind_of(path, (Poses3D, Keypoints)) is Poses3D
    found, needed = ("3D joints", "2D keypoints") if in_3d else ("2D keypoints", "3D joints")
    why = f"is for {needed}, and {path} holds {found}"
    if in_3d:
        refuse(options.keypoints, why)
        refuse(options, why, "height")
    else:
        refuse(options.axes, why)
        refuse(options, why, "noise")
    report.check_out(options.output.out, path)
    hide = parse_hide(options.hide, model.skeleton)
    yield from (_complete_3d if in_3d else _complete_2d)(options, model, hide)


def _complete_3d(options: Complete, model: Model, hide: Hide) -> Iterator[str]:
    path, output, sampling = options.input, options.output, options.sampling
    noise = options.noise or 0.0
    data = poses.read_observed(
        path, model.skeleton, options.axes, options.skeleton, lambda num: hide.mask(output.seed, num)
    )
    missing = poses.missing_per_joint(data.joints, model.skeleton)
    if not missing:
        raise ValueError(
            f"{path}: nothing to complete, every joint is there; --hide hides some, `jaxpose denoise` cleans noisy ones"
        )
    yield from poses.describe(path, data)
    yield f"missing or hidden: {', '.join(f'{name} {count}' for name, count in missing.items())}"

    sampler = sampler_of(sampling.sampler, sampling.steps)

    each, num = options.hypotheses or _HYPOTHESES, len(data.joints)
    run = exact(task.complete, "return_path", num_hypotheses=each, sampler=sampler)

    def work(key: Key, block: Block, return_path: bool) -> Hypotheses:
        found: Hypotheses = run(key, model, jnp.asarray(data.joints[block.rows]), noise=noise, return_path=return_path)
        return found

    posed, spent = yield from blocks.gather(
        work, blocks.even(num, doubling=True), num, seed=output.seed, each=each, path=sampling.path
    )
    source = f"noise of the observed joints taken as {1000 * noise:g} mm" if noise else "observed joints exact"
    said = {
        **report.record("complete", path, model, spent, num * each, seed=output.seed),
        **{**report.sampled(model, sampler), "hide": options.hide, "missing_joints": missing},
    }
    yield from poses.write(output, path, model, data, posed, source, said)


def _complete_2d(options: Complete, model: Model, hide: Hide) -> Iterator[str]:
    path, output = options.input, options.output
    data = detections.read_detections(
        path, model.skeleton, options.keypoints, options.skeleton, lambda num: hide.mask(output.seed, num)
    )
    yield from detections.describe(path, data)
    visible = np.where(data.confidence[..., None] > 0, data.xy, np.nan)
    missing = poses.missing_per_joint(visible, model.skeleton)
    told = ", ".join(f"{name} {count}" for name, count in missing.items())
    yield f"missing or hidden: {told or 'nothing, so this is what `jaxpose lift` does'}"
    lifting = Lift(
        path,
        height=options.height,
        hypotheses=options.hypotheses or _HYPOTHESES,
        output=output,
        sampling=options.sampling,
    )
    lifted, spent = yield from lift.lift_all(model, data, lifting)
    num = len(data.xy) * len(lifted["samples"])
    said = {
        **report.record("complete", path, model, spent, num, seed=output.seed),
        **{"hide": options.hide, "missing_joints": missing},
    }
    yield from lift.write(lifting, model, data, lifted, said, lift.completed_keypoints(data, lifted))
