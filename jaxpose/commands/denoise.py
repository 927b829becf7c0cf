"""`jaxpose denoise INPUT --out DIR`: noisy 3D joints in, clean poses out."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Hypotheses, Key
from jaxpose.commands import blocks, denoise_motion, models, poses, report
from jaxpose.commands.blocks import Block
from jaxpose.commands.option_groups import refuse
from jaxpose.commands.options import Denoise
from jaxpose.compiled import exact
from jaxpose.model import DEFAULT_MODEL, load
from jaxpose.tasks import denoise as task
from jaxpose.tasks.samplers import sampler_of

_HYPOTHESES = 50


def denoise(options: Denoise) -> Iterator[str]:
    """Read, denoise and write; the noise that was given or found is said and stands in the summary."""
    path, output, sampling, noise = options.input, options.output, options.sampling, options.noise
    report.check_out(output.out, path)
    model = load(output.model or DEFAULT_MODEL)
    if models.is_prior(model):
        yield from denoise_motion.denoise_motion(options, model)
        return
    why = "is for a prior over joint rotations, such as prior21"
    refuse(options, why, "fps", "shape")
    refuse(options.files, why)
    data = poses.read_observed(path, model.skeleton, options.axes, options.skeleton)
    poses.check_whole(
        path, data, model.skeleton, "denoise needs all joints, `jaxpose complete --noise METRES` takes what is there"
    )
    yield from poses.describe(path, data)

    sampler = sampler_of(sampling.sampler, sampling.steps)

    each, num = options.hypotheses or _HYPOTHESES, len(data.joints)
    run = exact(task.denoise, "return_path", num_hypotheses=each, sampler=sampler)

    def work(key: Key, block: Block, return_path: bool) -> Hypotheses:
        found: Hypotheses = run(key, model, jnp.asarray(data.joints[block.rows]), noise=noise, return_path=return_path)
        return found

    posed, spent = yield from blocks.gather(
        work, blocks.even(num, doubling=True), num, seed=output.seed, each=each, path=sampling.path
    )
    found = 1000 * posed["noise"][:, 0].astype(np.float64)
    source = (
        f"noise {'estimated' if noise is None else 'given'}: {np.median(found):.0f} mm per coordinate"
        f"{f' in the median, {found.min():.0f} to {found.max():.0f}' if noise is None else ''}"
    )
    yield source
    said = {
        **report.record("denoise", path, model, spent, num * each, seed=output.seed),
        **{**report.sampled(model, sampler), "noise_mm": found.round(1).tolist()},
    }
    said["network_calls"] += task.estimate_calls(model) if noise is None else 0
    yield from poses.write(output, path, model, data, posed, source, said)
