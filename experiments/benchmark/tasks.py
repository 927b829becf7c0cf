"""Cases of `experiments.benchmark` on tasks: each of them, likelihood, skinning, live video."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import timing
from experiments.benchmark.sampling import lift_program
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.diffusion import time_grid
from jaxpose.diffusion.flow import log_likelihood
from jaxpose.fitting.engine import posed_body, start_parameters
from jaxpose.fitting.ik import IKSettings, ik
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints, one_camera
from jaxpose.fitting.motion import MotionSettings, denoise_motion
from jaxpose.fitting.priors import dposer_prior
from jaxpose.fitting.terms import Settings, project
from jaxpose.geometry.body import Body, Kind, full_rotations
from jaxpose.geometry.body_joints import body_points
from jaxpose.io.anny_body import anny_body
from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.spaces.person import encode_keypoints, encode_pose
from jaxpose.tasks import score
from jaxpose.tasks.complete import complete
from jaxpose.tasks.complete_rotations import Descent, complete_rotations
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.generate import NUM_STEPS, generate
from jaxpose.tasks.rotations import generate_rotations
from jaxpose.tasks.samplers import stochastic
from jaxpose.tasks.stream import start_stream, step_stream

_PRIOR = "prior21"
_LIKELIHOOD_STEPS = score.NUM_STEPS  # intervals, as `jaxpose score` has them


class Task(NamedTuple):
    """A task as it is timed: its program, what it makes (in a unit), the network's operations, and the network."""

    program: timing.Program
    num: int
    unit: str
    operations: float
    model: released.Model


class Bodies(NamedTuple):
    """A mesh, poses of the prior [N, 21, 3] before a camera, their joints [N, 22, 3] m and keypoints [N, 25, 2] px."""

    body: Body
    poses: Array
    joints: Array
    keypoints: Array
    intrinsics: Array


def tasks(setup: timing.Setup) -> Iterator[timing.Row]:
    """Every task once: what it makes a second, and the network's share of the ceiling, at the sizes that stand by it.

    Fits count their prior's network calls alone: the rest of their time is the body, its gradient and Adam. Denoising
    is of a known level; estimating it takes `estimate_calls` calls of 8 hypotheses more.
    """
    prior = released.load(_PRIOR)
    bodies = some_bodies(prior, 32)

    def makers(of: Callable[[released.Model], released.Model]) -> dict[str, Callable[[], Task]]:
        fast = None if setup.fast is None else of(setup.fast)
        return {**joint_tasks(of(setup.model), fast), **rotation_tasks(of(prior), bodies)}

    exact, narrow = makers(lambda model: model), makers(lambda model: model.astype(jnp.bfloat16))
    for setting, make in exact.items():
        task, other = make(), narrow[setting]()
        row = _task_row(setup, setting, task)
        yield row._replace(figures=row.figures | bfloat16_figures(setup, task.program, other.program))


def bfloat16_figures(setup: timing.Setup, exact: timing.Program, narrow: timing.Program) -> dict[str, float]:
    """Speed of a program with bfloat16 weights over float32, and the distance of their results with the same key.

    The mean over what is drawn: mm of joints, or of rotations the milliradians between their vectors.
    """
    times = timing.interleaved(setup.sizes.repeats, exact.run, narrow.run)
    results = (narrow.run(), exact.run())
    narrow_result, wanted = (jnp.asarray(getattr(x, "samples", getattr(x, "joints", x))) for x in results)
    unit = "mrad" if wanted.shape[-2] == 21 else "mm"  # 21 joints turn; sets of joint positions have the root too
    apart = jnp.linalg.norm(narrow_result - wanted, axis=-1).mean()
    speed = float(np.median(times[0] / times[1]))
    return {"bfloat16_speedup": speed, f"bfloat16_error_{unit}": 1000 * float(apart)}


def joint_tasks(model: released.Model, fast: released.Model | None) -> dict[str, Callable[[], Task]]:
    """Tasks on joint positions, by their sizes."""

    def lifted(model: released.Model) -> Task:
        return _task(model, lift_program(model, timing.example_inputs(64), 50), 64 * 50, poses=64)

    def completed() -> Task:
        joints = _some_joints(model, 16).at[:, 11:14].set(jnp.nan)  # the left arm is not seen
        run = lambda key, m, x: complete(key, m, x, noise=0.01, num_hypotheses=200)  # noqa: E731
        return _task(model, _program(run, model, joints), 16 * 200, poses=16)

    def denoised() -> Task:
        joints = _some_joints(model, 64)
        joints = joints + 0.03 * jax.random.normal(jax.random.key(2), joints.shape)
        run = lambda key, m, x: denoise(key, m, x, noise=0.03, num_hypotheses=50)  # noqa: E731
        return _task(model, _program(run, model, joints), 64 * 50)

    def generated() -> Task:
        calls = stochastic().with_usual_steps(NUM_STEPS).network_calls(model)
        return _task(model, _program(lambda key, m: generate(key, m, 1024), model), 1024, calls=calls)

    few = {} if fast is None else {"lift 64 x 50, few steps": lambda: lifted(fast)}
    whole = {"complete 16 x 200": completed, "denoise 64 x 50": denoised, "generate 1024": generated}
    return {"lift 64 x 50": lambda: lifted(model), **few, **whole}


def rotation_tasks(prior: released.Model, bodies: Bodies) -> dict[str, Callable[[], Task]]:
    """Tasks on joint rotations, and fits with their prior, by their sizes."""
    both, num = (prior, bodies.body), len(bodies.poses)

    def completed() -> Task:
        known = jnp.ones(21).at[jnp.array([12, 15, 17, 19])].set(0)
        run = lambda key, m, poses: complete_rotations(key, m, poses, known, num_hypotheses=10)  # noqa: E731
        return _task(prior, _program(run, prior, bodies.poses), 10 * num, calls=Descent().num_steps)

    def generated() -> Task:
        return _task(prior, _program(lambda key, m: generate_rotations(key, m, 512), prior), 512)

    def placed() -> Task:
        run = lambda key, m, y: ik(key, m[1], y, "smpl22", dposer_prior(m[0]), noise=0.01)  # noqa: E731
        program = _program(run, both, bodies.joints[:, None])
        return _task(prior, program, num, "poses", calls=_steps_of(IKSettings()))

    def cleaned() -> Task:
        clips = jnp.stack([bodies.joints] * 2)
        clips = clips + 0.03 * jax.random.normal(jax.random.key(2), clips.shape)
        run = lambda key, m, y: denoise_motion(key, m[1], y, "smpl22", dposer_prior(m[0]), noise=0.03)  # noqa: E731
        return _task(prior, _program(run, both, clips), 2 * num, "frames", calls=_steps_of(MotionSettings()))

    def fitted() -> Task:
        settings, uv = FitSettings(), bodies.keypoints[:8, None, None]

        def run(key: Array, m: tuple[released.Model, Body], uv: Array, intrinsics: Array) -> Any:
            seen, cameras = jnp.ones(uv.shape[:-1]), one_camera(intrinsics)
            return fit_keypoints(key, m[1], uv, seen, cameras, "openpose25", dposer_prior(m[0]))

        program, rows = _program(run, both, uv, bodies.intrinsics[:8]), 8 * settings.starts
        return _task(prior, program, 8, "frames", calls=settings.num_steps, rows=rows)

    sizes = {"complete_rotations 32 x 10": completed, "generate_rotations 512": generated, "ik 32": placed}
    return {**sizes, "denoise_motion 2 x 32 frames": cleaned, "fit 8, 4 starts": fitted}


def likelihood(setup: timing.Setup) -> list[timing.Row]:
    """Exact log density of 16 poses, with the intervals of `jaxpose score`: given their keypoints, and given nothing.

    An interval has two traces, a linearisation with a derivative for each number, and before each a step of four calls.
    """
    model, num = setup.model, 16
    keypoints, confidence, intrinsics = timing.example_inputs(num)
    cond, view = encode_keypoints(intrinsics, keypoints, confidence)
    x = encode_pose(model.statistics, view, _some_joints(model, num))
    times = time_grid(model.spec.sde(), _LIKELIHOOD_STEPS, model.spec.spacing)
    numbers, cost = int(np.prod(model.spec.state_shape)), timing.operations_of(model.params)

    def run(model: released.Model, x: Array, cond: Any) -> Array:
        return log_likelihood(model.spec.sde(), model.predict_fn(), x, times, cond)

    rows = []
    for setting, condition in (("given keypoints", cond), ("given nothing", None)):
        traces = 2 * _LIKELIHOOD_STEPS
        calls = 4 * (traces + 1) + traces
        work = calls * cost.step + num * (calls + traces * numbers) * cost.hypothesis
        work += num * cost.pose * (condition is not None)
        program = timing.compiled(run, timing.replicated(model), timing.over_devices(x), timing.over_devices(condition))
        rows.append(_task_row(setup, setting, Task(program, num, "poses", work, model), "likelihood"))
    return rows


def skinning(setup: timing.Setup) -> list[timing.Row]:
    """Vertices of 128 bodies of the default mesh, SMPL's and SMPL-X's tables, with shapes.

    Beside the products: bytes that must be read and written (tables and vertices) against the copy rate. What is left
    out of both is the blend of 12 numbers for each vertex, which the products leave and the last step reads.
    """
    num, rows = 128, []
    kinds: tuple[Kind, ...] = ("smpl", "smplx")
    for kind in kinds:
        body = anny_body(kind)
        key = jax.random.key(0)
        pose = 0.3 * jax.random.normal(key, (num, 21, 3))
        betas = jax.random.normal(key, (num, body.shapedirs.shape[-1]))

        def run(body: Body, pose: Array, betas: Array) -> Array:
            return body.shape(betas).pose(full_rotations(body, pose)).skin()

        vertices, joints = body.v_template.shape[0], len(body.parents)
        work = 2.0 * num * vertices * (3 * 9 * (joints - 1) + 12 * joints + 3 * body.shapedirs.shape[-1])
        tables = sum(t.nbytes for t in (body.posedirs, body.weights, body.shapedirs, body.v_template))
        program = timing.compiled(run, timing.replicated(body), timing.over_devices(pose), timing.over_devices(betas))
        timed = timing.measured(setup, program, width=512, operations=work, traffic=tables + 12.0 * num * vertices)
        figures = {"bodies": num, "vertices": vertices, **timed, "bodies_per_second": num / timed["seconds"]}
        rows.append(timing.Row("skinning", kind, figures, higher=("share_of_product_rate", "share_of_copy_rate")))
    return rows


def stream(setup: timing.Setup) -> list[timing.Row]:
    """Milliseconds of a frame of `step_stream`, network as in diffpose17_video with random weights; 30 fps leave 33.

    And frames a second of a stream of motions.
    """
    video = MixSTE(num_frames=81, width=64, depth=3, num_heads=4)
    network = DiffPose(GraFormer(64, 4), video, GraphDenoiser(64, 4), context_width=64 + 13)
    spec = released.Spec("stream", network, target="edm", eta=0.0)
    live = released.Model(released.init_params(jax.random.key(0), spec), setup.model.statistics, spec)
    keypoints, confidence, intrinsics = timing.example_inputs(1)
    figures: dict[str, float] = {}
    for num in (10, 20):
        state = start_stream(jax.random.key(0), live, num_hypotheses=num)
        times, busy = [], []
        for frame in range(20 * setup.sizes.repeats + 2):
            started, used = time.perf_counter(), time.process_time()
            seen = keypoints[0], confidence[0]
            _, state = jax.block_until_ready(step_stream(live, state, *seen, camera=Camera(intrinsics)))
            if frame == 0:
                figures[f"first_and_compile_seconds_{num}"] = time.perf_counter() - started
            elif frame > 1:
                times.append(time.perf_counter() - started)
                busy.append(time.process_time() - used)
        figures |= {f"ms_{num}": 1e3 * float(np.median(times)), f"cpu_ms_{num}": 1e3 * float(np.median(busy))}
        figures[f"fastest_ms_{num}"] = 1e3 * min(times)
    return [
        timing.Row("stream", "", figures),
        timing.Row("stream", "motions", _stream_of_motions(setup, keypoints, confidence, intrinsics)),
    ]


def _stream_of_motions(setup: timing.Setup, keypoints: Array, confidence: Array, intrinsics: Array) -> dict[str, float]:
    """`jaxpose live` of one person with `motion17`: 20 hypotheses, blocks of 5 frames, so a latency of 4."""
    model, block, seen = released.load("motion17"), 5, (keypoints[0], confidence[0])
    blocks = tuple(jnp.repeat(x[None], block, 0) for x in seen)
    state = start_stream(jax.random.key(0), model, num_hypotheses=20)
    times = []
    for step in range(8 * setup.sizes.repeats + 2):
        started = time.perf_counter()
        _, state = jax.block_until_ready(step_stream(model, state, *blocks, camera=Camera(intrinsics)))
        if step > 1:
            times.append(time.perf_counter() - started)
    return {"frames": block, "ms": 1e3 * float(np.median(times)), "frames_per_second": block / float(np.median(times))}


def some_bodies(prior: released.Model, num: int) -> Bodies:
    """Poses drawn from the prior, four metres before a camera of 1000 pixels."""
    body = anny_body()
    poses = jax.jit(lambda m: generate_rotations(jax.random.key(0), m, num, sampler=stochastic(20)))(prior)
    parameters = start_parameters(num, 1, body.shapedirs.shape[-1], poses[:, None])
    parameters = parameters._replace(transl=parameters.transl + jnp.array([0.0, 0.0, 4.0]))
    intrinsics = jnp.tile(jnp.array([1100.0, 1100.0, 500.0, 500.0]), (num, 1))
    posed = posed_body(body, parameters)
    uv = project(one_camera(intrinsics), body_points(posed, "openpose25"))
    return Bodies(body, poses, posed.joints[:, 0, :22], uv[:, 0, 0], intrinsics)


def _task_row(setup: timing.Setup, setting: str, task: Task, case: str = "tasks") -> timing.Row:
    timed = timing.measured(setup, task.program, width=task.model.spec.network.hidden, operations=task.operations)
    figures = {task.unit: task.num, "per_second": task.num / timed["seconds"], **timed}
    return timing.Row(case, setting, figures, higher=("share_of_product_rate",))


def _steps_of(settings: Settings) -> int:
    """Steps of a fit, each with one call of the prior's network."""
    return settings.num_steps if settings.method is None else settings.method.num_steps


def _program(run: Callable[..., Any], model: Any, *args: Any) -> timing.Program:
    """The program of run(key, model, *args), args cut over all devices, key and model whole on each."""
    return timing.compiled(run, *timing.replicated((jax.random.key(0), model)), *timing.over_devices(args))


def _task(
    model: released.Model,
    program: timing.Program,
    num: int,
    unit: str = "samples",
    *,
    calls: int | None = None,
    poses: int = 0,
    rows: int | None = None,
) -> Task:
    """A task that makes `num`, in `calls` network calls for `rows` (None: num), a share of them for each of `poses`."""
    calls = stochastic().network_calls(model) if calls is None else calls
    hypotheses = (num if rows is None else rows) // max(poses, 1)
    return Task(
        program, num, unit, timing.sampling_operations(model, calls=calls, poses=poses, hypotheses=hypotheses), model
    )


def _some_joints(model: released.Model, num: int) -> Array:
    return generate(jax.random.key(1), model, num, sampler=stochastic(8))
