"""The same work by an original in PyTorch and by this library, with the same weights and network calls.

Each side draws its own random numbers. So the equality of the results is checked apart, on a shorter run in which
PyTorch is given the numbers that ours draws.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from experiments.against import recipes as torch_recipes
from experiments.against.draws import DENOISING, completed, denoised, draws_of
from experiments.against.folder import Original, converted
from experiments.benchmark.timing import Run, compiled, num_cores, over_devices, replicated
from jaxpose.base import Array, Condition, Key
from jaxpose.diffusion import prior_sample, sample_hypotheses
from jaxpose.diffusion.sampling import in_slices
from jaxpose.diffusion.solvers import fixed_euler, fixed_times
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.io.anny_body import anny_body
from jaxpose.model import Model
from jaxpose.originals.recipes.diffpose import NUM_INDICES, denoise_official
from jaxpose.tasks.complete_rotations import PARTS
from jaxpose.tasks.diffpose import rows_at_once
from jaxpose.tasks.draw import ROWS_IN_FLIGHT

RECIPE_CALLS = 1000
INDICES = (40, 30, 20, 10, 0)  # DiffPose's 5 steps
SAMPLES, STEPS = 5, 5
_HYPOTHESES, _COMPLETIONS = 200, 10
_CHECKED = 20  # steps of the run in which both sides have the same noise
_COMPLETION = 200


class Pair(NamedTuple):
    """Work of both sides.

    calls: network calls of what the row tells of; timed: of what `ours()` and `theirs` run. ours: compiles the
    program. difference: the largest of their results under the same noise, over the largest number in them.
    """

    setting: str
    poses: int
    hypotheses: int
    calls: int
    timed: int
    ours: Callable[[], Run]
    theirs: Run
    difference: Callable[[], float]


class Torch(NamedTuple):
    """Where PyTorch runs: the device, as numbers go there, and a run that ends when its result is there."""

    device: str

    def put(self, x: Any) -> Tensor:
        """An array as a tensor there."""
        return torch.from_numpy(np.array(x, np.float32)).to(self.device)

    def run(self, function: Callable[[], Any]) -> Run:
        """`function` until its result is there, without gradients but where it asks for them."""

        def whole() -> Any:
            with torch.no_grad():
                result = function()
            if self.device == "cuda":
                torch.cuda.synchronize()
            return result

        return whole


def start() -> Torch:
    """PyTorch on as many cores as JAX has, on a GPU where both have one, with the same type of products."""
    torch.set_num_threads(num_cores())
    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    torch.set_float32_matmul_precision("high" if on_gpu else "highest")  # TF32, as JAX multiplies on a GPU
    return Torch("cuda" if on_gpu else "cpu")


def pairs(found: dict[str, Original], persons: int, timed: int) -> Iterator[Pair]:
    """All pairs that the networks found allow, of one person and of `persons`; timed: calls of the long recipes."""
    at = start()
    for original in found.values():
        original.network.to(at.device)
    for number in dict.fromkeys((1, persons)):
        if "gfpose" in found:
            yield from gfpose(at, found["gfpose"], number, timed)
        if "denoiser" in found:
            yield denoiser_call(at, found["denoiser"], number)
        if {"denoiser", "encoder"} <= found.keys():
            yield five_by_five(at, found["denoiser"], found["encoder"], number)
        if "dposer" in found:
            yield from dposer(at, found["dposer"], number, timed)
    if "mixste" in found:
        yield window(at, found["mixste"])


def gfpose(at: Torch, original: Original, persons: int, timed: int) -> Iterator[Pair]:
    """200 hypotheses of each person: one call at one level, and its recipe."""
    model, net, key = converted(original), original.network, jax.random.key(0)
    keypoints = jax.random.normal(jax.random.key(1), (persons, 17, 3)) * jnp.array([1.0, 1.0, 0.0])
    cond = Condition(keypoints, jnp.ones_like(keypoints) * jnp.array([1.0, 1.0, 0.0]))
    value, mask = (at.put(x).repeat(_HYPOTHESES, 1, 1) for x in cond[:2])  # [H N, 17, 3]
    known = lambda x, label: net(x, label, value, mask)  # noqa: E731
    setting = f"{persons} x {_HYPOTHESES}"
    yield _call(at, f"GFPose, a call, {setting}", model, known, (persons, _HYPOTHESES), cond)
    yield _euler(at, f"GFPose, recipe, {setting}", model, known, (persons, _HYPOTHESES), timed, key, cond)


def dposer(at: Torch, original: Original, persons: int, timed: int) -> Iterator[Pair]:
    """A call, generation of 50 poses for each person, and 10 completions of each without a leg."""
    model, net, key = converted(original), original.network, jax.random.key(0)
    size = (persons, 50)
    yield _call(at, f"DPoser, a call, {persons * 50}", model, net, size, None)
    yield _euler(at, f"DPoser, generation, {persons * 50}", model, net, size, timed, key, None)
    yield completion(at, model, net, persons)
    if persons == 1 and model.spec.state_shape == (21, 3):
        yield denoising(at, model, net, persons, timed)


def denoiser_call(at: Torch, original: Original, persons: int) -> Pair:
    """DiffPose's denoiser on 5 samples of each person at one index."""
    model, net, index = converted(original), original.network, 12
    h = jax.random.normal(jax.random.key(0), (persons * SAMPLES, 17, 5))
    time = jnp.float32((index + 1) / NUM_INDICES)

    def call(model: Model, h: Array, time: Array) -> Array:
        raw = lambda rows: model.spec.network.apply(model.params, rows, time, None, method="raw")  # noqa: E731
        return in_slices(raw, h, rows_at_once())

    program = functools.cache(lambda: compiled(call, replicated(model), over_devices(h), time).run)
    x, indices = at.put(h), torch.full((len(h),), float(index), device=at.device)
    theirs = at.run(lambda: net(x, indices))
    setting = f"DiffPose, a call, {persons} x {SAMPLES}"
    return Pair(setting, persons, SAMPLES, 1, 1, program, theirs, lambda: apart(program()(), theirs()))


def five_by_five(at: Torch, denoiser: Original, encoder: Original, persons: int) -> Pair:
    """DiffPose's encoder, and 5 samples in 5 steps from its pose with noise."""
    model, key = converted(denoiser, encoder), jax.random.key(0)
    uv = 0.3 * jax.random.normal(key, (persons, 17, 2))
    noise = 0.1 * jax.random.normal(jax.random.key(1), (SAMPLES, persons, 17, 5))

    def run(model: Model, uv: Array, noise: Array) -> Array:
        encode = lambda rows: model.spec.network.apply(model.params, rows, method="encode")[0]  # noqa: E731
        xyz = in_slices(encode, uv, rows_at_once())
        h = jnp.concatenate([uv, xyz - xyz[:, :1]], -1) + noise
        down = lambda h: denoise_official(model, h[..., :2], h[..., 2:], indices=INDICES)  # noqa: E731
        return in_slices(down, h.reshape(-1, *h.shape[2:]), rows_at_once()).reshape(*h.shape[:-1], 3)

    program = functools.cache(lambda: compiled(run, replicated(model), over_devices(uv), replicated(noise)).run)
    given, drawn = at.put(uv), at.put(noise)
    lift = lambda: torch_recipes.lift(encoder.network, denoiser.network, given, drawn, INDICES)  # noqa: E731
    theirs, setting = at.run(lift), f"DiffPose, 5 x 5, {persons}"
    return Pair(setting, persons, SAMPLES, STEPS + 1, STEPS + 1, program, theirs, lambda: apart(program()(), theirs()))


def window(at: Torch, original: Original) -> Pair:
    """MixSTE on one window of frames."""
    model, net = converted(original), original.network
    frames = model.spec.network.video.num_frames  # type: ignore[union-attr]  # of MixSTE's weights
    uv = 0.3 * jax.random.normal(jax.random.key(0), (1, frames, 17, 2))
    encode = lambda model, uv: model.spec.network.apply(model.params, uv, method="encode")[0]  # noqa: E731
    program = functools.cache(lambda: compiled(encode, replicated(model), replicated(uv)).run)
    given = at.put(uv)
    theirs = at.run(lambda: net(given))
    return Pair(f"MixSTE, {frames} frames", 1, 1, 1, 1, program, theirs, lambda: apart(program()(), theirs()))


def completion(at: Torch, model: Model, net: torch_recipes.NoiseNet, persons: int) -> Pair:
    """DPoser's completion of the left leg, 10 of each person."""
    rows, shape = persons * _COMPLETIONS, model.spec.state_shape
    mask = jnp.ones((rows, *shape)).at[:, jnp.array(PARTS["left_leg"])].set(0)
    value = mask * jax.random.normal(jax.random.key(1), (persons, *shape)).repeat(_COMPLETIONS, 0)
    begin = jnp.where(mask > 0, value, jax.random.normal(jax.random.key(2), value.shape))
    key = jax.random.key(3)

    def program(num_steps: int) -> Run:
        run = lambda model, key, x, known: completed(model, key, x, known, num_steps)  # noqa: E731
        return compiled(run, replicated(model), replicated(key), *over_devices((begin, Condition(value, mask)))).run

    x, y, seen = (at.put(a) for a in (begin, value, mask))

    def theirs(num_steps: int, noise: torch_recipes.Noise = torch.randn_like) -> Tensor:
        with torch.enable_grad():
            return torch_recipes.complete(net, x, y, seen, num_steps=num_steps, noise=noise)

    def difference() -> float:
        drawn = iter(at.put(jax.random.normal(jax.random.fold_in(key, k), begin.shape)) for k in range(_CHECKED))
        return apart(program(_CHECKED)(), theirs(_CHECKED, lambda like: next(drawn)))

    setting = f"DPoser, completion, {persons} x {_COMPLETIONS}"
    run = at.run(lambda: theirs(_COMPLETION))
    return Pair(setting, persons, _COMPLETIONS, _COMPLETION, _COMPLETION, lambda: program(_COMPLETION), run, difference)


def denoising(at: Torch, model: Model, net: torch_recipes.NoiseNet, clips: int, timed: int) -> Pair:
    """DPoser's denoising of clips of 60 frames with 40 mm of noise, on the bundled body with SMPL's joints."""
    body, shape = anny_body("smpl"), (clips, 60, 21, 3)
    scale = 0.3 * jnp.ones((21, 3))  # radians: of the states, which random weights do not have
    start = 0.01 * jax.random.normal(jax.random.key(0), shape)
    truth = 0.3 * jax.random.normal(jax.random.key(1), (clips, 1, 21, 3)).repeat(60, 1)
    seen = body.shape().pose(full_rotations(body, truth)).joints[..., :22, :]
    seen = seen + 0.04 * jax.random.normal(jax.random.key(2), seen.shape)
    key, zero = jax.random.key(3), jnp.zeros((21, 3))

    def program(steps: int) -> Run:
        run = lambda m, body, key, x, y: denoised(m, body, key, x, y, zero, scale, steps)  # noqa: E731
        return compiled(run, *replicated((model, body, key)), *over_devices((start, seen))).run

    rig = rig_of(at, body)
    x, y, mean, std = (at.put(a) for a in (start, seen, zero, scale))

    def theirs(steps: int, noise: torch_recipes.Noise = torch.randn_like) -> Tensor:
        with torch.enable_grad():
            return torch_recipes.denoise(net, rig, x, y, mean, std, steps=steps, noise=noise)

    def difference() -> float:
        flat = (clips * 60, 21, 3)
        drawn = iter(at.put(jax.random.normal(jax.random.fold_in(key, k), flat)) for k in range(_CHECKED))
        return apart(program(_CHECKED)(), theirs(_CHECKED, lambda like: next(drawn)))

    steps = min(timed, DENOISING)
    setting = f"DPoser, denoising, {clips} x 60 frames"
    run = at.run(lambda: theirs(steps))
    return Pair(setting, clips, 1, DENOISING, steps, lambda: program(steps), run, difference)


def rig_of(at: Torch, body: Body) -> torch_recipes.Rig:
    """The tables of a body in PyTorch, as the originals' loader lays them out."""
    posedirs = body.posedirs.swapaxes(1, 2).reshape(len(body.posedirs), -1)
    vertices, joints, posedirs, weights = map(at.put, (body.v_template, body.joint_template, posedirs, body.weights))
    return torch_recipes.Rig(vertices, joints, posedirs, weights, body.parents)


def _call(
    at: Torch, setting: str, model: Model, net: torch_recipes.NoiseNet, size: tuple[int, int], cond: Condition | None
) -> Pair:
    persons, num = size
    x = jax.random.normal(jax.random.key(2), (num, persons, *model.spec.state_shape))
    time = jnp.float32(0.5)
    apply = lambda model, x, t, cond: model.spec.network.apply(model.params, x, t, cond)  # noqa: E731

    def call(model: Model, x: Array, t: Array, cond: Condition | None) -> Array:
        return in_slices(lambda rows: apply(model, rows, t, cond), x, max(1, ROWS_IN_FLIGHT // persons))

    program = functools.cache(lambda: compiled(call, replicated(model), over_devices(x), time, replicated(cond)).run)
    flat, labels = at.put(x).flatten(0, 1), torch.full((num * persons,), torch_recipes.LABEL * 0.5, device=at.device)
    theirs = at.run(lambda: net(flat, labels).reshape(x.shape))
    return Pair(setting, persons, num, 1, 1, program, theirs, lambda: apart(program()(), theirs()))


def _euler(
    at: Torch,
    setting: str,
    model: Model,
    net: torch_recipes.NoiseNet,
    size: tuple[int, int],
    timed: int,
    key: Key,
    cond: Condition | None,
) -> Pair:
    persons, num = size
    shape = (persons, *model.spec.state_shape)

    def program(num_steps: int, steps: int) -> Run:
        def run(key: Key, model: Model, cond: Condition | None) -> Array:
            sde = model.spec.sde()
            times = fixed_times(sde, num_steps)[: None if steps == num_steps else steps + 1]
            begin = lambda k: prior_sample(k, sde, shape)  # noqa: E731
            solver, chunk = fixed_euler(sde, num_steps), max(1, ROWS_IN_FLIGHT // persons)
            return sample_hypotheses(
                key, num, begin, model.predict_fn(), solver, times, cond, chunk=chunk, finish=False
            )

        return compiled(run, *replicated((key, model)), over_devices(cond)).run

    flat = torch.zeros((num * persons, *shape[1:]), device=at.device)

    def difference() -> float:
        begin, noise = draws_of(key, num, _CHECKED, shape)
        sigma = float(model.spec.sde().sigma(jnp.float32(1)))
        drawn = iter(at.put(x).flatten(0, 1) for x in noise)
        x = sigma * at.put(begin).flatten(0, 1)
        theirs = torch_recipes.euler_maruyama(net, x, _CHECKED, noise=lambda like: next(drawn))
        return apart(program(_CHECKED, _CHECKED)(), theirs.reshape(num, *shape))

    theirs = at.run(lambda: torch_recipes.euler_maruyama(net, torch.randn_like(flat), RECIPE_CALLS, steps=timed))
    ours = lambda: program(RECIPE_CALLS, timed)  # noqa: E731
    return Pair(setting, persons, num, RECIPE_CALLS, timed, ours, theirs, difference)


def apart(found: Any, wanted: Tensor) -> float:
    """The largest difference of a result from PyTorch's, over the largest number of that."""
    theirs = wanted.detach().cpu().numpy()
    return float(np.abs(np.asarray(found) - theirs).max() / np.abs(theirs).max())
