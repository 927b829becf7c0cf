"""Export of a sampler as one file that JAX runs without this library.

A task of a model (seed and observations in, samples and their summary out) is traced once, for any number of
observations, and kept as jax.export keeps programs: StableHLO with a shape that is a variable. The file is an .npz
archive without pickles:

    header       JSON: the task, its inputs and outputs (names, shapes, units), joints, settings, versions
    program      bytes of jax.export (uint8)
    weights/000  and so on: the first argument of the program. They are arguments and not constants of it, since
                 XLA works on constants while it compiles

so that a few lines run it, with the packages jax and flatbuffers alone:

    import jax.export
    import numpy as np
    with np.load("lift.jaxexport") as file:
        program = jax.export.deserialize(bytearray(file["program"]))
        weights = [file[name] for name in sorted(file.files) if name.startswith("weights/")]
    lifted = jax.jit(program.call)(weights, np.uint32(0), keypoints, confidence, intrinsics)

Inputs are float32 and in the header's order; lifted["samples"] are those of `tasks.lift` under jax.random.key(0).
The first call of a number of observations compiles, which the flag jax_compilation_cache_dir keeps for later processes.
JAX promises that a file runs under releases up to 6 months newer and 3 weeks older than the one
that wrote it (https://docs.jax.dev/en/latest/export/export.html, "Compatibility guarantees").
"""

import json
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Hypotheses, Key
from jaxpose.files import FilePath, write_npz
from jaxpose.io.arrays import load_arrays
from jaxpose.model import Model, describe
from jaxpose.reading import package, reader
from jaxpose.tasks import generate as generation
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise, estimate_noise
from jaxpose.tasks.lift import lift
from jaxpose.tasks.rotations import generate_rotations
from jaxpose.tasks.samplers import Sampler as StateSampler
from jaxpose.tasks.samplers import stochastic

FORMAT = "jaxpose-export-1"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_AT_ONCE = 256  # hypotheses of all observations computed together, where their number is not known yet
_CAMERA_AXES = "camera axes: x right, y down, z forward"
_UNITS = {"covariance": "m^2", "body_pose": "rad", "weights": "1, their sum over hypotheses"}  # of others m


class Program(NamedTuple):
    """The content of a file: see above. weights: numpy arrays in the order of their names."""

    header: dict[str, Any]
    program: bytes
    weights: list[np.ndarray]


class Sampler(NamedTuple):
    """A loaded file: its header, and call(seed, *inputs) -> outputs by name, compiled at the first call of a shape."""

    header: dict[str, Any]
    call: Callable[..., dict[str, Array]]


class _Task(NamedTuple):
    """inputs: of each the shape of one observation ("J": the model's joints), its unit and its meaning.

    run: (key, model, *inputs, settings) -> hypotheses, or one array, whose name is `output`; frame: what they are in.
    """

    inputs: dict[str, tuple[tuple[int | str, ...], str, str]]
    run: Callable[..., Any]
    frame: str
    output: str = "samples"


def export_task(
    model: Model,
    task: str,
    *,
    num: int = 200,
    batch: int | None = None,
    sampler: StateSampler | None = None,
    platforms: tuple[str, ...] | None = None,
) -> Program:
    """A task of `model` ahead of time.

    task:      one of TASKS. num: hypotheses of each observation; of generation, poses.
    batch:     observations a call; None: any number, which denoising and models other than ScoreMLP do not offer.
    sampler:   of `tasks.samplers`. platforms: some of PLATFORMS; None: where this runs.
    ValueError for other values, for a model that does not serve the task, and without the package flatbuffers.
    """
    if task not in TASKS:
        raise ValueError(f"task: got {task!r}, must be one of {list(TASKS)}")
    if unknown := [p for p in platforms or () if p not in PLATFORMS]:
        raise ValueError(f"platforms: got {unknown}, must be one of {list(PLATFORMS)}")
    any_number = batch is None and not task.startswith("generate")
    if any_number and (task == "denoise" or {"encoder", "motion"} & model.capabilities):
        raise ValueError(f"batch: {task} by {model.spec.name} needs a number of observations, got none")
    used = (sampler or stochastic()).with_usual_steps(generation.NUM_STEPS) if task == "generate" else sampler
    used = used or stochastic()
    settings: dict[str, Any] = {"num" if task.startswith("generate") else "num_hypotheses": num, "sampler": used}
    settings |= {"chunk": _AT_ONCE} if any_number else {}
    weights, tree = [np.asarray(leaf) for leaf in jax.tree.leaves(model)], jax.tree.structure(model)

    def run(leaves: list[Array], seed: Array, *inputs: Array) -> dict[str, Array]:
        drawn = TASKS[task].run(jax.random.key(seed), jax.tree.unflatten(tree, leaves), *inputs, **settings)
        fields = drawn._asdict() if isinstance(drawn, Hypotheses) else {TASKS[task].output: drawn}
        return {name: value for name, value in fields.items() if value is not None}

    package("flatbuffers", "exporting needs the package flatbuffers", "export")
    shapes = _shapes_of(weights, TASKS[task], model, batch)
    exported = jax.export.export(jax.jit(run), platforms=platforms)(*shapes)
    about = {"task": task, "num": num, "sampler": used.name, "network_calls": used.network_calls(model)}
    return Program(about | _header(model, TASKS[task], exported), bytes(exported.serialize()), weights)


def _shapes_of(weights: list[np.ndarray], task: _Task, model: Model, batch: int | None) -> list[Any]:
    """Shapes of a program's weights, seed and inputs."""
    rows, joints = jax.export.symbolic_shape("b")[0] if batch is None else batch, len(model.skeleton.joints)
    sizes = [[joints if size == "J" else size for size in shape] for shape, _, _ in task.inputs.values()]
    inputs = [jax.ShapeDtypeStruct((rows, *size), jnp.float32) for size in sizes]
    of_weights = [jax.ShapeDtypeStruct(w.shape, w.dtype) for w in weights]
    return [of_weights, jax.ShapeDtypeStruct((), jnp.uint32), *inputs]


def write(path: str | os.PathLike[str], program: Program) -> None:
    """Write one file, whole or not at all; ValueError where its folder is not there."""
    arrays = {f"weights/{i:03d}": w for i, w in enumerate(program.weights)}
    arrays |= {"header": np.array(json.dumps(program.header)), "program": np.frombuffer(program.program, np.uint8)}
    write_npz(path, arrays, compress=True)  # released weights are bfloat16 numbers: half of the bytes are 0


@reader("sampler that jaxpose exported")
def load(path: FilePath) -> Sampler:
    """Read a file of `write`; ValueError, naming it, where it is none."""
    file = load_arrays(path, "header", "program")
    header = json.loads(str(file["header"]))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path}: not of the format {FORMAT!r} that this version of jaxpose reads")
    weights = [jnp.asarray(file[name]) for name in sorted(file) if name.startswith("weights/")]
    blob = bytearray(np.asarray(file["program"], np.uint8).tobytes())
    package("flatbuffers", f"{path}: reading it needs the package flatbuffers", "export")
    run = jax.jit(jax.export.deserialize(blob).call)
    names = [i["name"] for i in header["inputs"]]

    def call(seed: int, *inputs: Array | np.ndarray) -> dict[str, Array]:
        if len(inputs) != len(names):
            raise ValueError(f"inputs: needed {names}, got {len(inputs)}")
        result: dict[str, Array] = run(weights, np.uint32(seed), *(jnp.asarray(x, jnp.float32) for x in inputs))
        return result

    return Sampler(header, call)


def _denoise(key: Key, model: Model, joints: Array, noise: Array, **how: Any) -> Hypotheses:
    unknown = jnp.isnan(noise)
    level = jax.lax.cond(
        unknown.any(),
        lambda: jnp.where(unknown, estimate_noise(jax.random.split(key)[0], model, joints), noise),
        lambda: noise,
    )
    return denoise(key, model, joints, noise=level, **how)


_ROOT, _ORIGIN = "; relative to the root joint", "; about the origin of the joints given"
_TURNS = "axis-angle of each joint but the root, relative to its parent"
TASKS = {
    "lift": _Task(
        {
            "keypoints": (("J", 2), "px", "detected joints"),
            "confidence": (("J",), "1", "0 (missing) to 1"),
            "intrinsics": ((4,), "px", "fx, fy, cx, cy"),
        },
        lambda key, model, xy, sure, K, **how: lift(key, model, xy, sure, camera=Camera(K), **how),
        _CAMERA_AXES + _ROOT,
    ),
    "complete": _Task(
        {
            "joints": (("J", 3), "m", "NaN where missing; about any origin"),
            "noise": (("J",), "m", "standard deviation per coordinate, 0: exact"),
        },
        lambda key, model, joints, noise, **how: complete(key, model, joints, noise=noise, **how),
        _CAMERA_AXES + _ORIGIN,
    ),
    "denoise": _Task(
        {
            "joints": (("J", 3), "m", "all finite; about any origin"),
            "noise": ((), "m", "standard deviation per coordinate, NaN: to be estimated"),
        },
        _denoise,
        _CAMERA_AXES + _ORIGIN,
    ),
    "generate": _Task({}, generation.generate, _CAMERA_AXES + _ROOT),
    "generate_rotations": _Task({}, generate_rotations, _TURNS, "body_pose"),
}


def _header(model: Model, task: _Task, exported: jax.export.Exported) -> dict[str, Any]:
    names = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    num_weights = len(exported.in_avals) - 1 - len(task.inputs)
    given = zip(task.inputs.items(), exported.in_avals[num_weights + 1 :], strict=True)
    return {
        "format": FORMAT,
        "model": describe(model),
        "joints": list(model.skeleton.joints[-model.spec.state_shape[0] :]),
        "frame": task.frame,
        "seed": "uint32, the argument after the weights",
        "inputs": [
            {"name": name, "shape": _shape(aval), "unit": unit, "meaning": meaning}
            for (name, (_, unit, meaning)), aval in given
        ],
        "outputs": [{"name": n, "shape": _shape(aval), "unit": _UNITS.get(n, "m")} for n, aval in names.items()],
        "platforms": list(exported.platforms),
        "jaxpose": version("jaxpose"),
        "jax": jax.__version__,
    }


def _shape(aval: Any) -> list[int | str]:
    return [d if isinstance(d, int) else str(d) for d in aval.shape]
