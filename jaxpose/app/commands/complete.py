"""`jaxpose complete INPUT --out DIR`: poses with missing joints in, many whole poses out.

3D joints go to tasks.complete, 2D keypoints to tasks.lift; with a prior over joint rotations, rotations to
tasks.complete_rotations. What --hide names are joints of the model, parts of the body, and random:K, K of the limbs'
joints, drawn for every pose: --hide=left_knee,right_arm,random:2
"""

from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, detections, exports, lift, models, poses, report
from jaxpose.app.commands import world as worlds
from jaxpose.app.commands.blocks import Spent
from jaxpose.app.commands.bodies import BODY_JOINTS, joints_of
from jaxpose.app.commands.options import Complete, Lift
from jaxpose.app.commands.pictures import Bodies
from jaxpose.app.commands.report import Outcome
from jaxpose.app.commands.values import refuse
from jaxpose.base import Key
from jaxpose.geometry.axes import FRAME_TAGS
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import SMPL_22, Skeleton
from jaxpose.io import kind_of
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.motion import Motion, read_rotations
from jaxpose.io.poses3d import Poses3D
from jaxpose.model import Model, scored
from jaxpose.originals.recipes.gfpose import hide_random_joints, hideable_joints
from jaxpose.tasks import complete as task
from jaxpose.tasks import complete_rotations as rotations_task
from jaxpose.tasks.blocks import Block, Drawn, even, result_of
from jaxpose.tasks.refine import refined

_HYPOTHESES, _HYPOTHESES_OF_ROTATIONS = 200, 10
_PARTS = ("right_leg", "left_leg", "left_arm", "right_arm", "trunk")  # the order of Skeleton.parts
_STREAM = 2**31  # folded into the seed's key: the blocks of poses take the small numbers


def hidden_joints(text: str | None, skeleton: Skeleton, seed: int) -> Callable[[int], np.ndarray]:
    """The function that --hide names for a joint set: number of poses -> [N, J] bool, True where hidden.

    Pose n's random joints do not depend on how many there are. ValueError for a name that is none of joints or parts.
    """
    parts = dict(zip(_PARTS, skeleton.parts, strict=True))
    always, num_random = _parse_hide(text, skeleton.joints, parts, len(hideable_joints(skeleton)))

    def mask(num: int) -> np.ndarray:
        hidden = np.zeros((num, len(skeleton.joints)), bool)
        hidden[:, always] = True
        if num_random:
            key = jax.random.fold_in(jax.random.key(seed), _STREAM)
            keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(num))
            visible = jax.vmap(lambda k: hide_random_joints(k, num_random, skeleton))(keys)
            hidden |= np.asarray(visible) == 0
        return hidden

    return mask


def _parse_hide(
    text: str | None, joints: tuple[str, ...], parts: Mapping[str, Collection[int]], most_random: int = 0
) -> tuple[list[int], int]:
    """Numbers of the joints that --hide names, and the K of random:K, which is legal where most_random is not 0."""
    always: set[int] = set()
    num_random = 0
    for given in text.split(",") if text is not None else ():
        name = given.strip()
        kind, _, count = name.partition(":")
        if most_random and kind == "random":
            if num_random or not count.isdecimal() or not 1 <= int(count) <= most_random:
                raise ValueError(f"--hide: needed random:K once, with K from 1 to {most_random}, got {given!r}")
            num_random = int(count)
        elif name in parts:
            always |= {*parts[name]}
        elif name in joints:
            always.add(joints.index(name))
        else:
            names = f"{'random:K, ' if most_random else ''}the parts {', '.join(parts)} and the joints"
            raise ValueError(f"--hide: must be one of {names} {', '.join(joints)}, got {given!r}")
    return sorted(always), num_random


@report.command("complete")
def complete(options: Complete, _: str) -> Generator[str, None, Outcome]:
    """Read, hide and complete; lines and the summary name what was hidden or assumed."""
    path = options.input
    model = models.load_model(options, "complete")
    if models.is_prior(model):
        return (yield from _complete_rotations(options, model))
    in_3d = kind_of(path, (Poses3D, Keypoints)) is Poses3D
    holds, needed = ("3D joints", "2D keypoints") if in_3d else ("2D keypoints", "3D joints")
    why = f"is for {needed}, and {path} holds {holds}"
    refuse(options.keypoints if in_3d else options.axes, why)
    refuse(options, why, "height" if in_3d else "noise")
    exports.check(options.output.exports, options.num_hypotheses or _HYPOTHESES)
    hidden = hidden_joints(options.hide, model.skeleton, options.output.seed)
    return (yield from (_complete_3d if in_3d else _complete_2d)(options, model, hidden))


def _complete_3d(options: Complete, model: Model, hidden: Callable[[int], np.ndarray]) -> Generator[str, None, Outcome]:
    path, noise = options.input, options.noise or 0.0
    data = poses.read_observed(path, model.skeleton, options.axes, options.skeleton, hidden, options.fps)
    missing = poses.missing_per_joint(data.joints, model.skeleton)
    if not missing:
        raise ValueError(
            f"{path}: nothing to complete, every joint is there; --hide hides some, `jaxpose denoise` cleans noisy ones"
        )
    yield from data.lines
    yield f"missing or hidden: {_counted(missing)}"
    num_hypotheses = options.num_hypotheses or _HYPOTHESES
    posed, spent = yield from poses.draw(task.complete, options, model, data, noise, num_hypotheses)
    source = f"noise of the observed joints taken as {1000 * noise:g} mm" if noise else "observed joints exact"
    more = {"hide": options.hide, "missing_joints": missing}
    return poses.outcome(options, model, spent, data, posed, source, **more)


def _complete_2d(options: Complete, model: Model, hidden: Callable[[int], np.ndarray]) -> Generator[str, None, Outcome]:
    path, given = options.input, (options.keypoints, options.skeleton, hidden)
    data = detections.read_detections(path, model.skeleton, *given, fps=options.fps)
    yield from data.lines
    missing = poses.missing_per_joint(data.visible, model.skeleton)
    yield f"missing or hidden: {_counted(missing) or 'nothing, so this is what `jaxpose lift` does'}"
    shared: dict[str, Any] = {"height": options.height, "output": options.output, "sampling": options.sampling}
    lifting = Lift(path, num_hypotheses=options.num_hypotheses or _HYPOTHESES, **shared)
    lifted, spent = yield from lift.lift_all(model, data, lifting)
    more = {"hide": options.hide, "missing_joints": missing}
    world = result_of(worlds.followed(data, lifted, model.skeleton, lifting.world, options.output.seed))
    completed = lift.completed_keypoints(data, lifted)
    return lift.outcome(lifting, model, spent, data, lifted, more, completed, world=world)


def _counted(missing: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in missing.items())


def _method(options: Complete, model: Model) -> tuple[str, rotations_task.Method]:
    """The method that --method and --steps name, and its name."""
    legal, steps = rotations_task.methods_of(model), options.sampling.steps
    name = options.method or legal[0]
    if name not in legal:
        raise ValueError(f"--method: must be one of {', '.join(legal)} for {model.spec.name!r}, got {name!r}")
    if name in ("few_steps", "dposer") and steps is not None:
        raise ValueError(f"--steps: is for --method replace, dps and mcg; {name}'s are chosen")
    return name, rotations_task.METHODS[name](**({} if steps is None else {"num_steps": steps}))


def _complete_rotations(options: Complete, model: Model) -> Generator[str, None, Outcome]:
    num_hypotheses = options.num_hypotheses or _HYPOTHESES_OF_ROTATIONS
    body = exports.body_of(options.output.exports, num_hypotheses)
    name, method = _method(options, model)
    answering = refined(model) if name == "few_steps" else scored(model)
    motion, known = _read_rotations(options)
    num = len(known)
    yield f"{options.input}: {num} body poses at {motion.fps:g} frames/s; {motion.source}"
    missing = {name: int(count) for name, count in zip(BODY_JOINTS, (~known).sum(0), strict=True) if count}
    yield f"missing or hidden: {_counted(missing)}"

    def work(key: Key, block: Block, _: bool) -> dict[str, jax.Array]:
        given = jnp.asarray(motion.body_pose[block.rows]), jnp.asarray(known[block.rows], jnp.float32)
        how: dict[str, Any] = {"num_hypotheses": num_hypotheses, "method": method}
        samples = rotations_task.complete_rotations(key, answering, *given, **how)
        spread = rotations_task.rotation_spread(samples, answering.recalibration.get(f"complete_{name}"))
        return {"samples": samples, **spread._asdict()}

    how: dict[str, Any] = {"seed": options.output.seed, "num_hypotheses": num_hypotheses}
    drawn, spent = yield from blocks.gather(work, even(num, doubling=True), num, **how)
    degrees, radius = (
        {name: round(float(x.mean()), 1) for name, x in zip(BODY_JOINTS, angle.T, strict=True) if name in missing}
        for angle in (np.degrees(drawn["std"]), np.degrees(drawn["radius_90"]))
    )
    spread = ", ".join(f"{name} {angle:g} ({radius[name]:g})" for name, angle in degrees.items())
    yield f"spread of {num_hypotheses} hypotheses about their mean (90 % radius), degrees: {spread}"
    summary = {
        **{"method": name, "hide": options.hide, "missing_joints": missing, "num_poses": num},
        **{"num_hypotheses": num_hypotheses, "source": motion.source, "frame_tag": FRAME_TAGS["y"]},
        **{"spread_deg": degrees, "radius_90_deg": radius},
    }
    fits = options.output.exports.body and motion.betas is not None and len(motion.betas) <= body.shapedirs.shape[-1]
    motion = motion if fits else motion._replace(betas=None)
    return _completed(model, spent, body, motion, known, drawn, summary)


def _read_rotations(options: Complete) -> tuple[Motion, np.ndarray]:
    """The motion of the file, and which of its rotations [F, 21] are known."""
    path, (hidden, _) = options.input, _parse_hide(options.hide, BODY_JOINTS, rotations_task.PARTS)
    motion, known = read_rotations(path, fps=options.fps, up=options.axes.up, gaps=True)
    known[:, hidden] = False
    if known.all():
        raise ValueError(f"{path}: nothing to complete, every rotation is there; --hide hides some")
    if not known.any():
        raise ValueError(f"{path}: no rotation is left; `jaxpose generate` draws unconditional poses")
    return motion, known


def _completed(
    model: Model, spent: Spent, body: Body, motion: Motion, known: np.ndarray, drawn: Drawn, summary: dict[str, Any]
) -> Outcome:
    """Arrays and bodies of completed rotations; those of the shape of the motion where it has one."""
    samples, root = drawn["samples"], (motion.global_orient, motion.transl)
    num_hypotheses, num = samples.shape[:2]
    arrays = {
        **{"samples": samples, "mean": drawn["mean"], "spread_deg": np.degrees(drawn["std"])},
        "radius_90_deg": np.degrees(drawn["radius_90"]),
        "observed": np.where(known[..., None], motion.body_pose, np.nan),
        **{"global_orient": motion.global_orient, "pelvis": motion.transl, "body_joints": BODY_JOINTS},
        "joints3d": joints_of(body, samples[0], *root, motion.betas),
        **{"frame": np.arange(num), "fps": motion.fps, **report.axes(SMPL_22.joints, "y", FRAME_TAGS["y"])},
    }
    orient, pelvis = (np.broadcast_to(value, (num_hypotheses, num, 3)) for value in root)
    shown = Bodies(
        *(body, samples, orient, pelvis),
        betas=motion.betas,
        fps=motion.fps,
        source=f"hypothesis 0 of {num_hypotheses}, {summary['method']}",
        note=f"hidden: {summary['hide'] or 'NaN'}",
        names=[f"hypothesis {h}" for h in range(num_hypotheses)],
    )
    return Outcome(model, spent, num * num_hypotheses, arrays, summary, shown)
