"""A released model: one `.safetensors` file with weights, codec statistics and a specification in its header.

Weights may be stored in fewer bits (weights.py) and are loaded as float32. The header holds the format's version and
the specification as JSON; nothing in a file is executed.
"""

import contextlib
import dataclasses
import functools
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.flax import save as serialise

from jaxpose.base import Array, Camera, Condition, PredictFn
from jaxpose.compiled import check_call
from jaxpose.diffusion.prediction import bind, over_windows
from jaxpose.diffusion.sde import SPACINGS
from jaxpose.files import ASSETS, FilePath, atomic
from jaxpose.geometry.skeleton import Skeleton, get_skeleton
from jaxpose.networks.fields import from_fields, to_fields
from jaxpose.reading import check_fields, check_file, reader
from jaxpose.spaces import SPACES
from jaxpose.spaces.motions import FARTHEST
from jaxpose.spaces.person import Statistics
from jaxpose.spec import Recalibration, Spec, init_params
from jaxpose.weights import digest_of, flatten, from_tensors, to_tensors, type_of

FORMAT = "jaxpose-1"
DEFAULT_MODEL = "pose17"
DEFAULT_PRIOR = "prior21"
_MOST_STEPS, _WIDEST = 10_000, 1 << 16
# capability -> what a task that needs it asks for
_NEEDED = {
    "joints": "a model of joint positions in the person-centred space, such as 'pose17'",
    "poses": "a model of joint positions in the person-centred space or of rotations, such as 'pose17' or 'prior21'",
    "rotations": "a prior over joint rotations, such as 'prior21'",
    "few_steps": "a few-step model, such as 'pose17_fast' or 'prior21_fast'",
    "condition": "a model conditioned on any joints or none, such as 'pose17'",
    "score": "a model that knows the score of single poses at every noise level, such as 'pose17' or 'prior21'",
    "any_level": "a model that starts at any level of noise, such as 'pose17' (complete takes noise= too)",
    "context": "a DiffPose model with a context, such as 'diffpose17'",
    "screen": "a model of DiffPose's own checkpoints",
    "image_depth": "a model of GFPose's own checkpoints",
    "denoiser": "a model with a denoiser of poses",
    "encoder": "a model with an encoder of keypoints",
    "motion": "a model of motions, such as 'motion17'",
    "vertical": "a model that can be told the vertical, such as 'pose17'",
}


@flax.struct.dataclass
class Model:
    """A network with its weights, bound to a process and a codec; a pytree, so it passes through jit.

    recalibration: by the name of a task ("lift"); a task that is not named is taken as it is.
    typicality:    [Q] rising: quantiles 0 to 1 of the denoising error (nats, `tasks/typicality.py`) of training poses,
                   or [0] where not measured.
    base:          the model that `Spec.base` names, which `load` reads once; None where there is none.
    """

    params: Any
    statistics: Statistics
    spec: Spec = flax.struct.field(pytree_node=False)
    recalibration: dict[str, Recalibration] = flax.struct.field(default_factory=dict)
    typicality: Array = flax.struct.field(default_factory=lambda: _no_quantiles())
    base: "Model | None" = None

    def __repr__(self) -> str:
        return f"Model({self.spec.name!r}, {sum(x.size for x in jax.tree.leaves(self.params)):,} weights)"

    @property
    def skeleton(self) -> Skeleton:
        """The joint set of the model's poses."""
        return get_skeleton(self.spec.skeleton)

    def astype(self, dtype: Any) -> Self:
        """The same with weights of another type. bfloat16 makes sampling faster where a device has units for it; states
        stay float32 (`python -m experiments.benchmark --case=lifting` prints speed and error)."""
        base = None if self.base is None else self.base.astype(dtype)
        return dataclasses.replace(self, params=jax.tree.map(lambda w: w.astype(dtype), self.params), base=base)

    @property
    def capabilities(self) -> frozenset[str]:
        """Capabilities of the specification."""
        return self.spec.capabilities

    def encode(self, poses: Array) -> Array:
        """States [..., J, D] of poses [..., J, 3] in the axes of the model's space."""
        return self.spec.space.encode(self.statistics, poses)

    def decode(self, states: Array) -> Array:
        """Poses [..., J, 3] in the axes of the model's space, of states [..., J, D]."""
        return self.spec.space.decode(self.statistics, states)

    def predict_fn(self) -> PredictFn:
        """The network's output as x0, eps and score; a DiffPose denoiser's states are residuals of unit spread."""
        network = self.spec.network

        def raw(x: Array, t: Array, cond: Condition | None) -> Array:
            cond = self.spec.filled(cond)
            return network.apply(self.params, x, t, cond, method="raw")  # type: ignore[return-value]  # no mutable state

        return bind(raw, self.spec.sde(), self.spec.target, network.state_spread(jnp.asarray(self.statistics.spread)))

    def predict_rows(self, num: int) -> PredictFn:
        """Predictions of `num` rows: of a model of motions the frames of one, which overlapping windows share."""
        windows = self.spec.space.windows(num, self.spec.network.window)
        if windows is None:
            return self.predict_fn()
        return over_windows(self.predict_fn(), self.spec.sde(), *windows, most=FARTHEST)

    def rows_for(self, num: int, most: int | None = None) -> int:
        """Number of rows, one of few, that `num` observations are filled up to; at most `most` where it may be less."""
        return self.spec.space.rows(num, self.spec.network.window, most)


def null_condition(model: Model, num_rows: int | None = None) -> Condition | None:
    """The null condition of `num_rows` poses, or of one that is encoded once for all; None where a model takes none."""
    if not model.spec.conditioned:
        return None
    lead = () if num_rows is None else (num_rows,)
    pose = jnp.zeros((*lead, *model.spec.state_shape))
    return Condition(pose, pose, jnp.zeros((*lead, model.spec.context)) if model.spec.context else None)


def able(model: Model, *needed: str) -> Model | None:
    """The model, or the base of a few-step model, that has all that is needed; None where neither has."""
    models = (model, scored(model))
    return next((one for one in models if set(needed) <= one.capabilities), None)


def require(model: Model, task: str, *needed: str) -> Model:
    """The model that does `task`, as by `able`; ValueError where a capability, a key of _NEEDED, is missing."""
    if not isinstance(model, Model):
        raise ValueError(f"model: {task} needs a model or the name of one, got {type(model).__name__}")
    if (one := able(model, *needed)) is not None:
        return one
    spec, offered = model.spec, model.capabilities & scored(model).capabilities
    kind = "a few-step model" if spec.times else f"a {type(spec.network).__name__} model"
    kind = "a model of motions" if "motion" in offered else kind
    need = next(_NEEDED[name] for name in needed if name not in offered)
    raise ValueError(f"{task} needs {need}; got {spec.name!r}, {kind} whose states are {spec.codec!r}")


_Task = TypeVar("_Task", bound=Callable[..., Any])


def needs(task: str, *needed: str) -> Callable[[_Task], _Task]:
    """Decorator of a function of a `model`: it is called with the model that `require` returns.

    What has one meaning may be given for what is meant: a seed for a key, a name for a model, intrinsics for a camera,
    lists for arrays.
    """

    def decorate(function: _Task) -> _Task:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            given = signature.bind(*args, **named)
            given.arguments.update({name: meant(name, value) for name, value in given.arguments.items()})
            check_call(given)
            given.arguments["model"] = require(given.arguments["model"], task, *needed)
            return function(*given.args, **given.kwargs)

        return call  # type: ignore[return-value]  # the same signature

    return decorate


def meant(name: str, value: Any) -> Any:
    """The value of an argument of a task, of a plain one that has one meaning."""
    if name == "key" and isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value < 2**32:
        return jax.random.key(value)
    if name == "model" and isinstance(value, str):
        return load(value) if value.endswith(".safetensors") else _bundled(value)  # a file may change
    with contextlib.suppress(TypeError, ValueError):  # lists of something else, which the checks name
        value = np.asarray(value, np.float32) if isinstance(value, list) else value
    return Camera(value) if name == "camera" and isinstance(value, jax.Array | np.ndarray) else value


def scored(model: Model) -> Model:
    """The model that knows the score in place of `model`: the base of a few-step model, or itself."""
    return model if model.base is None or not model.spec.times else model.base


def base_of(spec: Spec) -> Model | None:
    """The bundled model that a model of this specification was made from; None where there is none."""
    return load(spec.base) if spec.base else None


def save(path: str | os.PathLike[str], model: Model, *, dtype: Any = jnp.bfloat16) -> None:
    """Write `model` with weights as `dtype`; to a temporary name first, so that no half-written file is left.

    dtype: of `weights.TYPES`; None: the smallest that keeps the weights as they are, that of the file they came from.
    """
    path = Path(path)
    base = model.base or base_of(model.spec)
    shared = {} if base is None else flatten(base.params)
    changed = {k: v for k, v in flatten(model.params).items() if k not in shared or not jnp.array_equal(v, shared[k])}
    dtype = type_of(changed, shared) if dtype is None else dtype
    tensors = {f"params/{k}": v for k, v in to_tensors(changed, dtype, shared).items()}
    others = {
        "statistics": model.statistics._asdict(),
        "recalibration": {f"{task}/{k}": v for task, r in model.recalibration.items() for k, v in r._asdict().items()},
        "typicality": {"denoising_error": model.typicality} if model.typicality.size else {},
    }
    for group, values in others.items():
        tensors |= {f"{group}/{k}": jnp.asarray(v, jnp.float32) for k, v in values.items()}
    spec = {f.name: getattr(model.spec, f.name) for f in dataclasses.fields(model.spec)}
    spec["network"] = to_fields(model.spec.network)
    about = {"format": FORMAT, "spec": json.dumps(spec)} | ({"base": digest_of(shared)} if shared else {})
    with atomic(path) as file:
        file.write(serialise(tensors, metadata=about))


def load(name_or_path: str | os.PathLike[str] = DEFAULT_MODEL) -> Model:
    """A model by the name of a bundled one ("pose17") or by the path of a `.safetensors` file.

    Raises ValueError, naming the file, where there is none, where it is no such file, is of another format version,
    or does not fit the network that it specifies.
    """
    path = Path(name_or_path)
    if path.suffix != ".safetensors":
        path = ASSETS / f"{name_or_path}.safetensors"
        if not path.is_file():
            bundled = sorted(p.stem for p in ASSETS.glob("*.safetensors"))
            raise ValueError(
                f"model: got {str(name_or_path)!r}; must be a path to a .safetensors file or one of {bundled}"
            )
    return _load(path)


_bundled = functools.cache(load)


@reader("model")
def _load(path: FilePath) -> Model:
    check_file(path)
    try:
        with safe_open(path, framework="numpy") as f:
            metadata = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: format {metadata.get('format')!r}, this version of jaxpose reads {FORMAT!r}")
    spec = _parse_spec(path, metadata.get("spec", ""))
    read = _grouped(path, tensors)
    try:
        base = _base_of(path, spec.base, metadata.get("base", ""))
        shared = {} if base is None else flatten(base.params)
        groups = {group: from_tensors(values, shared if group == "params" else {}) for group, values in read.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    statistics = {name: value.shape for name, value in groups["statistics"].items()}
    shape = spec.state_shape
    if set(statistics) != set(Statistics._fields) or np.broadcast_shapes(shape, *statistics.values()) != shape:
        raise ValueError(f"{path}: statistics {statistics}; needed {', '.join(Statistics._fields)} of shape {shape}")
    groups["params"] = shared | groups["params"]
    if Path(path).parent != ASSETS:  # the tests check those of the package
        _check_fit(path, spec, groups["params"])
    params = flax.traverse_util.unflatten_dict(groups["params"], sep="/")
    return Model(
        params,
        Statistics(**groups["statistics"]),
        spec,
        _parse_recalibration(path, spec, groups["recalibration"]),
        groups["typicality"].get("denoising_error", _no_quantiles()),
        base,
    )


def _grouped(path: FilePath, tensors: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The tensors of a file by group, without its name; ValueError for an unknown group, and for NaN."""
    read: dict[str, dict[str, np.ndarray]] = {"params": {}, "statistics": {}, "recalibration": {}, "typicality": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        if group not in read:
            raise ValueError(f"{path}: unknown tensor {name!r}; groups must be of {sorted(read)}")
        if not np.isfinite(tensor.astype(np.float32)).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity; needed finite numbers")
        read[group][rest] = tensor.ravel() if group == "typicality" else tensor
    return read


def _no_quantiles() -> Array:
    return jax.device_put(np.zeros(0, np.float32))  # of JAX's own zeros each process would compile a program


def describe(model: Model) -> dict[str, Any]:
    """Name, size, type of the weights and process of a model, for a result's record."""
    spec, weights = model.spec, jax.tree.leaves(model.params)
    about = {"name": spec.name, "parameters": int(sum(map(np.size, weights))), "dtype": str(weights[0].dtype)}
    return {**about, "process": spec.process, "scale": spec.scale}


def _base_of(path: FilePath, name: str, digest: str) -> Model | None:
    """The bundled model that a file builds on; ValueError where it is not the one that the file was saved with."""
    if not name:
        return None
    bundled = ASSETS / f"{name}.safetensors"
    if "/" in name or not bundled.is_file():
        raise ValueError(f"{path}: it builds on {name!r}, which is no bundled model")
    base = load(name)
    if digest != digest_of(flatten(base.params)):
        raise ValueError(f"{path}: it builds on another version of {name!r} than the bundled one; train it again")
    return base


def _parse_spec(path: FilePath, text: str) -> Spec:
    try:
        fields = json.loads(text)
        network = from_fields(fields.pop("network"))
        fields |= {name: tuple(fields.get(name, ())) for name in ("process_args", "indices", "times")}
        spec = Spec(network=network, **check_fields(Spec, fields))
        get_skeleton(spec.skeleton)
        bind(lambda *_: jnp.zeros(()), spec.sde(), spec.target)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: its specification cannot be read ({error})") from error
    for what, value, legal in (("codec", spec.codec, SPACES), ("spacing", spec.spacing, SPACINGS)):
        if value not in legal:
            raise ValueError(f"{path}: {what} {value!r}; must be one of {', '.join(legal)}")
    if not 1 <= spec.num_steps <= _MOST_STEPS or not 0 <= spec.context <= _WIDEST or not 0 <= spec.refine <= 1:
        raise ValueError(
            f"{path}: {spec.num_steps} steps, a context of {spec.context} and refine {spec.refine}; must be "
            f"{_MOST_STEPS} at most, 0 to {_WIDEST} and 0 to 1"
        )
    return spec


def _parse_recalibration(path: FilePath, spec: Spec, tensors: dict[str, Array]) -> dict[str, Recalibration]:
    """Factors of each task; without those of tasks whose samples 0.8 moved, since they hold for moved samples alone."""
    fields: dict[str, dict[str, Array]] = {}
    shape = spec.state_shape[:1]
    for name, tensor in tensors.items():
        task, _, field = name.partition("/")
        fields.setdefault(task, {})[field] = tensor
        if field in Recalibration._fields and tensor.shape != shape:
            raise ValueError(f"{path}: recalibration/{name} of shape {tensor.shape}; must be {shape}")
    for task, values in fields.items():
        if missing := [f for f in Recalibration._fields if f not in values]:
            raise ValueError(f"{path}: recalibration/{task} lacks {missing}")
    kept = {task: values for task, values in fields.items() if not np.any(values.get("offset", 0))}
    return {task: Recalibration(*(v[f] for f in Recalibration._fields)) for task, v in kept.items()}


def _check_fit(path: FilePath, spec: Spec, weights: dict[str, Array]) -> None:
    needed = flatten(jax.eval_shape(lambda: init_params(jax.random.key(0), spec)))
    for name in sorted(needed.keys() | weights.keys()):
        there, here = (tuple(d[name].shape) if name in d else "absent" for d in (weights, needed))
        if there != here:
            raise ValueError(f"{path}: does not fit the network it specifies: {name} is {there}, needed {here}")
