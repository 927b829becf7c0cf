"""Score one model on all tasks of the fixed benchmark (validation poses), in few network calls or in 1000.

    python -m experiments.evaluate tasks --model=pose17 --out=runs/tasks
    python -m experiments.evaluate tasks --model=pose17 --stride=40 --recipe=both --out=runs/recipe

Rows: lifting with 0 and 2 joints missing, and with one `mean_flow` and one `probability_flow` sample; completion of 3D
with parts missing; denoising with the noise level given and estimated; generation.
`--recipe=original` draws by GFPose's 1000 Euler-Maruyama steps instead (`recipes/gfpose.py`), on the same weights;
`both` prints the two under each other. Root depth is never given; every `best` is an oracle that reads the truth.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table, timed
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.conditioning import MaskRates
from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap
from jaxpose.evaluation.generation import generation_row
from jaxpose.evaluation.metrics import align_root
from jaxpose.evaluation.protocols import HIDDEN_PARTS, denoising_row, hidden_joints, hidden_row, lifting_row
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import make_bodies, pose_example
from jaxpose.originals.recipes.gfpose import hide_random_joints
from jaxpose.spaces.person import View, decode_pose
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise, estimate_calls
from jaxpose.tasks.generate import NUM_STEPS, generate
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import Sampler, sampler_of

TASKS = ("lift", "complete_3d", "denoise", "generate")
_RECIPES = {"ours": ("posterior",), "original": ("original",), "both": ("posterior", "original")}
_TEMPERATURES = (1.0, 0.9, 0.8)
_NUM_TRAIN = 20_000  # training poses that generated ones are compared with
_NOISE = (0.025, 0.05, 0.1)  # metres per coordinate


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    hypotheses: int = option(200, "Of lifting and 2D completion; 50 of denoising.", low=2)
    steps: int | None = option(None, "Solver steps; by default the model's own.", low=1)
    generated: int = option(10_000, "Poses to generate.", low=100)
    recipe: str = option("ours", "Which sampler; both: one after the other.", legal=tuple(_RECIPES))
    task: tuple[str, ...] = option(TASKS, "Which tasks.", legal=TASKS)

    def sampler(self, name: str, **how: float) -> Sampler:
        """The sampler of a name; --steps are of ours, the original's recipe keeps its 1000."""
        return sampler_of(name, None if name.startswith("original") else self.steps, **how)


class Bench:
    """The validation poses as arrays on the device, root-relative truth in metres, and one key."""

    def __init__(self, stride: int, seed: int):
        data = bench.load_frames(stride)
        self.key = jax.random.key(seed)
        self.category = data.category
        self.keypoints, self.confidence, self.intrinsics, joints = bench.on_device(data)
        self.truth = align_root(joints)
        self.num = len(joints)


def tasks(model: released.Model, options: Options) -> Iterator[Item]:
    """The tasks of --task, each by the samplers of --recipe."""
    data = Bench(options.stride, options.seed)
    title = f"{data.num} validation poses, {model.spec.name}; errors in mm, root-relative"
    yield Table(title, f"{bench.NO_DEPTH}; best_* choose by the truth", bench.tuned(model))
    makers: dict[str, Any] = dict(zip(TASKS, (lifting, complete_3d, denoising, generation), strict=True))
    for name in TASKS:
        for sampler in _RECIPES[options.recipe] if name in options.task else ():
            own = {"temperatures": _TEMPERATURES} if name == "generate" and sampler == "posterior" else {}
            yield from makers[name](model, data, options, sampler, **own)


def lifting(model: released.Model, data: Bench, options: Options, sampler: str, *, flows: bool = True) -> Iterator[Row]:
    """2D detected, camera known: all joints, two of knees, ankles, elbows and wrists missing, and one answer by flows.

    Errors over all 17 joints. The second row tells its best hypothesis over the first's.
    """
    best = None

    def drawn(used: str, num: int, seen: Array | float = 1.0) -> tuple[Array, dict[str, Any]]:
        sampler = options.sampler(used)

        def run(key: Array) -> Array:
            how: dict[str, Any] = {"camera": Camera(data.intrinsics), "num_hypotheses": num, "sampler": sampler}
            return lift(key, model, data.keypoints, data.confidence * seen, **how).samples

        return measured(model, data, sampler, num * data.num, run)

    for num_hidden in (0, 2):
        keys = jax.random.split(jax.random.fold_in(data.key, num_hidden), data.num)
        seen = jax.vmap(lambda k, n=num_hidden: hide_random_joints(k, n))(keys)
        samples, cost = drawn(sampler, options.hypotheses, seen)
        row = lifting_row(samples, data.truth, data.category)
        best_of = row[f"best_of_{options.hypotheses}_mm"]
        best = best or best_of
        row |= {"best_over_all_seen": best_of / best} if num_hidden else {}
        setting = f"{num_hidden} joints missing, {options.hypotheses} hypotheses"
        yield row_of("lift", setting, row, cost, "2D detected, intrinsics")
    for used in _flows(sampler) if flows else ():
        samples, cost = drawn(used, 1)
        row = hidden_row(samples, data.truth, jnp.ones(data.truth.shape[:2], bool))
        yield row_of("lift", "0 joints missing, 1 hypothesis", row, cost, "2D detected, intrinsics")


def complete_3d(model: released.Model, data: Bench, options: Options, sampler: str) -> Iterator[Row]:
    """A part missing, the rest exact, 10 hypotheses; errors over the hidden joints."""
    for part in HIDDEN_PARTS:
        hidden = jnp.asarray(hidden_joints(part, data.num))
        given = jnp.where(hidden[..., None], jnp.nan, data.truth)

        def run(key: Array, given: Array = given) -> Array:
            return complete(key, model, given, num_hypotheses=10, sampler=options.sampler(sampler)).samples

        samples, cost = measured(model, data, options.sampler(sampler), 10 * data.num, run)
        figures = hidden_row(samples, data.truth, hidden)
        yield row_of("complete 3D", f"{part} missing", figures, cost, "the other 3D joints, exact")


def denoising(model: released.Model, data: Bench, options: Options, sampler: str) -> Iterator[Row]:
    """Gaussian noise on every joint, the root too: mean of 50 samples, then one mean-seeking sample."""
    for level in _NOISE:
        noisy = data.truth + level * jax.random.normal(jax.random.fold_in(data.key, 7), data.truth.shape)
        settings: list[tuple[str, int, float | None]] = [(_flows(sampler)[0], 1, level), (sampler, 50, level)]
        settings += [(sampler, 50, None)] if sampler == "posterior" else []
        for used, num, noise in settings:
            how: dict[str, Any] = {"num_hypotheses": num, "noise": noise, "sampler": options.sampler(used)}

            def run(key: Array, how: Any = how, noisy: Array = noisy) -> Any:
                return denoise(key, model, noisy, **how)

            posed, cost = measured(model, data, how["sampler"], num * data.num, run)
            row: dict[str, Any] = denoising_row(noisy, posed.samples, data.truth)
            row["noise_used_mm"] = 1000 * float(posed.noise.mean())
            how_known = "given" if noise is not None else "estimated"
            cost["network_calls"] += 0 if noise is not None else estimate_calls(model)
            privileges = f"noisy 3D joints; noise level {how_known}"
            yield row_of("denoise", f"{1000 * level:g} mm, {how_known}, {num} samples", row, cost, privileges)


def generation(
    model: released.Model,
    data: Bench,
    options: Options,
    sampler: str,
    *,
    yardstick: bool = True,
    temperatures: tuple[float, ...] = (1.0,),
) -> Iterator[Row]:
    """Poses from nothing against the validation poses; beside them, as the yardstick, poses of the training data."""
    num, train = options.generated, training_views(data.key, _NUM_TRAIN)
    for temperature in temperatures:
        heat = {"temperature": temperature} if temperature != 1 else {}
        used = options.sampler(sampler, **heat).with_usual_steps(NUM_STEPS)

        def run(key: Array, used: Sampler = used) -> Array:
            return generate(key, model, num, sampler=used)

        samples, cost = measured(model, data, used, num, run)
        setting = f"{num} poses, temperature {temperature:g}"
        yield row_of("generate", setting, generation_row(samples, data.truth, train), cost, "none")
    if yardstick and sampler == "posterior":
        real = training_views(jax.random.fold_in(data.key, 11), num)
        free = {"sampler": "real training poses", "network_calls": 0, "seconds": 0.0, "poses_per_s": None}
        yield row_of("yardstick", f"{num} poses", generation_row(real, data.truth, train), free, "real poses")


def training_views(key: Array, num: int) -> Array:
    """Poses [num, 17, 3] metres of the training data as cameras see them, categories balanced as in training."""
    mocap = load_mocap(data_root(), "train")
    view = ViewRates()
    bodies = make_bodies(mocap.joints, balanced_weights(mocap), view)
    in_camera_axes = MaskRates(pose=0, part=0, joint=0, depth=1)
    states = jax.jit(jax.vmap(lambda k: pose_example(k, bodies, view, in_camera_axes).x0))(jax.random.split(key, num))
    return decode_pose(bodies.statistics, View(jnp.eye(3)), states)


def measured(
    model: released.Model, data: Bench, sampler: Sampler, num_poses: int, run: Callable[[Array], Any]
) -> tuple[Any, dict[str, Any]]:
    """The result of run(key), and what it cost: network calls and seconds, compilation apart."""
    result, seconds = timed(run, data.key)
    cost: dict[str, Any] = {"sampler": sampler.name, "network_calls": sampler.network_calls(model), "seconds": seconds}
    return result, cost | {"poses_per_s": num_poses / seconds}


def row_of(task: str, setting: str, figures: dict[str, Any], cost: dict[str, Any], privileges: str) -> Row:
    """A row whose name tells what it cost."""
    name = f"{task}, {setting} [{cost['sampler']}, {cost['network_calls']} calls, {cost['seconds']:.1f} s]"
    return Row(name, {"task": task, "setting": setting, **figures, **cost}, privileges)


def _flows(sampler: str) -> tuple[str, ...]:
    """What gives one answer beside a sampler of many."""
    return ("original_mean_flow",) if sampler == "original" else ("mean_flow", "probability_flow")
