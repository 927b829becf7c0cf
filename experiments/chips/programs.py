"""The programs that are compiled: the training step of each released recipe, and the public tasks.

Only shapes matter to a compiler. A recipe is made on `_FEW` random frames, whose number is then replaced by `_FRAMES`,
about that of the released recipes. Of several chips each has as many examples, or rows, as one.
"""

import functools
import importlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

import jaxpose
from experiments.chips.program import product_operations
from experiments.train import make_job
from jaxpose.base import Camera
from jaxpose.io.anny_body import anny_body
from jaxpose.training.parallel import AXIS, divided, make_runner
from jaxpose.training.step import init_state, make_optimizer, make_schedule, make_step

_FEW, _FRAMES = 97, 200_000
_LARGE = {"hidden": 4096, "time_width": 512, "num_blocks": 8, "encoder_blocks": 4}  # 725 M weights


class Program(NamedTuple):
    """A lowered program, the operations of its products on a chip, and how many examples or rows a chip has."""

    lowered: Any
    operations: float
    number: int


class Recipe(NamedTuple):
    """A config of experiments/models, its stage, and examples a chip."""

    config: str
    number: int
    stage: tuple[str, ...] = ()


RECIPES = {
    "pose17": Recipe("pose17", 4096),
    "pose17_fast": Recipe("pose17_fast", 1024),
    "motion17": Recipe("motion17", 256),
    "prior21": Recipe("prior21", 1024),
    "prior21_fast": Recipe("prior21_fast", 1024),
    "diffpose17": Recipe("diffpose17", 1024, ("diffusion",)),
    "diffpose17 encoder": Recipe("diffpose17", 1024, ("encoder",)),
    "large": Recipe("pose17", 4096),
}


def recipe(name: str, devices: list[Any]) -> Program:
    """The training step of a recipe in bfloat16; the state of `large` is divided over the chips."""
    config_name, number, stage = RECIPES[name]
    config = importlib.import_module(f"experiments.models.{config_name}.config").get_config(*stage)
    if name == "large":
        config.network.update(_LARGE)
    if stage == ("diffusion",):
        config.loss.start_poses, config.train.init = 320, config_name
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(_on_few_frames(config, Path(folder)))
    tx = make_optimizer(make_schedule(1e-3, warmup_steps=1, total_steps=10))
    how: Any = {"batch_size": number * len(devices), "ema_decay": 0.999, "compute_dtype": jnp.bfloat16}
    build = functools.partial(make_step, job.example, job.loss, tx, **how)
    mesh = Mesh(np.array(devices), (AXIS,))
    state = jax.eval_shape(lambda params: init_state(jax.random.key(0), params, tx), job.params)
    state = jax.tree.map(lambda x: _shape(x, divided(x, mesh) if name == "large" else _whole(mesh)), state)
    data = jax.tree.map(lambda x: _shape(_many(x), _whole(mesh)), job.data)
    step = build(num_shards=len(devices))
    traced = jax.make_jaxpr(step.gradient)(state.params, state.key, jnp.int32(0), data)
    lowered = make_runner(build, devices=devices).lower(state, data)
    return Program(lowered, product_operations(traced), number)


def _on_few_frames(config: ConfigDict, folder: Path) -> ConfigDict:
    """The config on random motion capture in `folder`, in the form that `jaxpose prepare mocap` writes."""
    rng, mocap = np.random.default_rng(0), folder / "mocap"
    mocap.mkdir()
    splits = {"train": ["a"], "val": [], "files": ["random"]}
    (mocap / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    places = rng.normal((0, 1, 0), 0.3, (_FEW, 17, 3))
    turns = rng.normal(0, 0.3, (_FEW, 66))
    arrays = {"joints17": places, "global_orient": turns[:, :3], "body_pose": turns[:, 3:]}
    labels = {"subject": ["a"], "category": ["walk"], "name": ["a_1"], "start": [0], "length": [_FEW]}
    entries: dict[str, Any] = {"pos_scale": 0.001, "rot_scale": 0.001}
    entries |= {name: np.round(values / 0.001).astype(np.int16) for name, values in arrays.items()}
    entries |= {f"seq_{name}": values for name, values in labels.items()}
    np.savez(mocap / "random.npz", **entries)
    config.data.folder = str(folder)
    return config


def _many(x: Any) -> Any:
    """The shape of an array of the data, with as many frames as a released recipe has."""
    return jax.ShapeDtypeStruct(tuple(_FRAMES if size == _FEW else size for size in x.shape), x.dtype)


def _shape(x: Any, sharding: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


class Task(NamedTuple):
    """A public task: run(key, model, *arrays), its model, poses a chip, and the shapes of its arrays for one of them.

    whole: for one chip only, as nothing that it is given has rows.
    """

    run: Callable[..., Any]
    model: str
    number: int
    arrays: tuple[tuple[int, ...], ...] = ()
    whole: bool = False


def _lift(key: Any, model: Any, keypoints: Any, confidence: Any, intrinsics: Any) -> Any:
    return jaxpose.lift(key, model, keypoints, confidence, camera=Camera(intrinsics), num_hypotheses=50)


def _complete(key: Any, model: Any, joints: Any) -> Any:
    return jaxpose.complete(key, model, joints, noise=0.01, num_hypotheses=50)


def _denoise(key: Any, model: Any, joints: Any) -> Any:
    return jaxpose.denoise(key, model, joints, noise=0.03, num_hypotheses=50)


def _complete_rotations(key: Any, model: Any, poses: Any) -> Any:
    known = jnp.ones(21).at[jnp.array([12, 15, 17, 19])].set(0)
    return jaxpose.complete_rotations(key, model, poses, known, num_hypotheses=10)


def _ik(key: Any, model: Any, joints: Any) -> Any:
    return jaxpose.ik(key, anny_body(), joints, "smpl22", jaxpose.dposer_prior(model), noise=0.01)


_SEEN, _POSE = ((17, 2), (17,), (4,)), ((17, 3),)
TASKS = {
    "lift pose17": Task(_lift, "pose17", 256, _SEEN),
    "lift pose17_fast": Task(_lift, "pose17_fast", 256, _SEEN),
    "lift diffpose17": Task(_lift, "diffpose17", 256, _SEEN),
    "lift motion17": Task(_lift, "motion17", 256, _SEEN),
    "complete": Task(_complete, "pose17", 256, _POSE),
    "denoise": Task(_denoise, "pose17", 256, _POSE),
    "generate": Task(lambda key, model: jaxpose.generate(key, model, 1024), "pose17", 1024, whole=True),
    # in a jit it needs the numbers of the model
    "log_density": Task(lambda key, _, x: jaxpose.log_density(jaxpose.load("pose17"), x), "pose17", 16, _POSE),
    "typicality": Task(lambda key, model, x: jaxpose.typicality(model, x), "pose17", 1024, _POSE),
    "generate_rotations": Task(lambda k, m: jaxpose.generate_rotations(k, m, 512), "prior21", 512, whole=True),
    "complete_rotations": Task(_complete_rotations, "prior21", 32, ((21, 3),)),
    "ik": Task(_ik, "prior21", 32, ((1, 22, 3),)),
}


def task(name: str, devices: list[Any]) -> Program:
    """A task whose rows are cut over the chips, with float32 weights."""
    run, model_name, number, arrays, whole = TASKS[name]
    mesh = Mesh(np.array(devices), (AXIS,))
    rows = NamedSharding(mesh, PartitionSpec(AXIS))
    given = [jax.ShapeDtypeStruct((number * len(devices), *shape), jnp.float32, sharding=rows) for shape in arrays]
    if whole and len(devices) > 1:
        raise ValueError(f"{name}: for one chip only, since nothing that it is given has rows")
    model, key = jaxpose.load(model_name), jax.eval_shape(lambda: jax.random.key(0))
    shapes = jax.tree.map(lambda x: _shape(x, _whole(mesh)), (key, model))
    traced = jax.jit(run).trace(*shapes, *given)
    return Program(traced.lower(), product_operations(traced.jaxpr.jaxpr) / len(devices), number)


def _whole(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())
