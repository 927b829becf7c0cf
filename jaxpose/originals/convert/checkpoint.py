"""Shared by the converters of the original systems: weights of a checkpoint, our parameters from them, output file.

A PyTorch checkpoint is a tree of dicts and lists (io/untrusted/torch_file.py) with a state_dict in it: tensors by name.
A Linear stores [out, in], the transpose of a flax kernel. Tensors are compared with those of our network of the same
size; one error lists what does not fit.

GFPose and DPoser have one score network, whose originals (PyTorch) name its layers as `_layers` does. The averaged
weights are a list `shadow_params` without names, in the order of the network's parameters.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FolderPath
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxpose import model
from jaxpose.files import FilePath
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.networks.score_mlp import ScoreMLP

Shape: TypeAlias = tuple[int, ...]
Path: TypeAlias = tuple[str, ...]  # of a parameter in our tree
# name of a layer in the original, path of ours, names of its tensors there and here
Layer: TypeAlias = tuple[str, Path, Mapping[str, str]]
WEIGHTS = ("ema", "raw")
LINEAR, NORM = {"weight": "kernel", "bias": "bias"}, {"weight": "scale", "bias": "bias"}
_MOST_LISTED = 4
# the raw weights in what training scripts save: GFPose and DPoser; Lightning and GraFormer; MixSTE
_RAW_KEYS = ("model_state_dict", "state_dict", "model_pos")


def raw_weights(tree: Any) -> dict[str, Any]:
    """The named weights in a checkpoint, without `module.` (DataParallel); ValueError where there are none."""
    if isinstance(tree, list | tuple) and tree:  # DiffPose: [model, optimiser, epoch, step, ema]
        tree = tree[0]
    if isinstance(tree, dict):
        tree = next((tree[key] for key in _RAW_KEYS if key in tree), tree)
    if not isinstance(tree, dict) or not all(isinstance(name, str) for name in tree):
        raise ValueError(f"no weights by name, as in {', '.join(_RAW_KEYS)}; found a {type(tree).__name__}")
    return {name.removeprefix("module."): value for name, value in tree.items()}


def check_fit(
    network: str,
    weights: Mapping[str, Any],
    needed: Mapping[str, Shape],
    ignored: Collection[str] = (),
    hints: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """ValueError, with the first tensors that are missing, unexpected, of another shape or not finite numbers.

    network: name for the message. needed: shapes by name. ignored: names that may be there. hints: addition to the
    message about an unexpected name.
    """
    faults = [fault for name in needed if (fault := _fault(name, weights, needed[name]))]
    unexpected = [name for name in weights if name not in needed and name not in ignored]
    faults += [f"{name}: {_kind(weights[name])}, unexpected{hints.get(name, '')}" for name in unexpected]
    if faults:
        more = [f"... and {len(faults) - _MOST_LISTED} more"] if len(faults) > _MOST_LISTED else []
        listed = "; ".join(faults[:_MOST_LISTED] + more)
        raise ValueError(f"not the weights of {network}; {len(faults)} tensors do not fit: {listed}")


def converted(
    name: str,
    module: Any,
    inputs: Sequence[Any],
    weights: Mapping[str, Any],
    layers: Iterable[Layer],
    stored: Callable[[Path, Shape], Shape] = lambda path, shape: shape[::-1] if path[-1] == "kernel" else shape,
    **legal: Any,
) -> dict[str, Any]:
    """Parameters of our `module` from tensors by the original's names; ValueError as of `check_fit(name, **legal)`.

    inputs: arguments of the module's `init`. stored: shape in the file of the parameter at a path.
    """
    shapes = flatten_dict(jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"])
    paths = {f"{layer}.{theirs}": (*path, ours) for layer, path, names in layers for theirs, ours in names.items()}
    check_fit(name, weights, {theirs: stored(path, shapes[path].shape) for theirs, path in paths.items()}, **legal)
    params = {}
    for theirs, path in paths.items():
        array = np.asarray(weights[theirs], np.float32)
        array = array.T if path[-1] == "kernel" else array
        params[path] = np.ascontiguousarray(array).reshape(shapes[path].shape)
    return unflatten_dict(params)


def check_weights(weights: str) -> None:
    """ValueError where it is not one of WEIGHTS."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights: got {weights!r}; must be one of {', '.join(WEIGHTS)}")


def check_out(out: FilePath) -> FolderPath:
    """The file to write, or a ValueError where it is not a .safetensors file in a folder that exists."""
    target = FolderPath(out)
    if target.suffix != ".safetensors" or not target.parent.is_dir():
        raise ValueError(f"out: got {str(out)!r}; must be a .safetensors file in a folder that exists")
    return target


def _fault(name: str, weights: Mapping[str, Any], shape: Shape) -> str:
    if name not in weights:
        return f"{name}: missing, needed {shape}"
    value = weights[name]
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind != "f":
        return f"{name}: {_kind(value)}, needed {shape}"
    return "" if np.isfinite(value).all() else f"{name}: holds numbers that are not finite"


def _kind(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return f"a {type(value).__name__}"
    return f"{value.shape}" if value.dtype.kind == "f" else f"{value.shape} of {value.dtype}"


# of both originals' released models
PROCESS: dict[str, Any] = {"process": "sub_vp", "process_args": (0.1, 20.0), "target": "eps"}
_GROUPS = 32
_NOT_WEIGHTS = ("sigmas",)  # a table of noise levels


class Original(NamedTuple):
    """A system whose weights are read.

    settings: the network's fields that its weights do not show. width: the numbers of a pose, from the named weights.
    ema: the keys under which its files have the averaged weights. dead: tensors that are there and not used.
    """

    name: str
    settings: Mapping[str, Any]
    width: Callable[[Mapping[str, Any]], int]
    has_condition: bool = False
    ema: tuple[str, ...] = ("ema",)
    dead: tuple[str, ...] = ()


def size(named: Mapping[str, Any], name: str, axis: int, released: int) -> int:
    """The size of a matrix along an axis, as released where it is not there."""
    shape: tuple[int, ...] = getattr(named.get(name), "shape", ())
    return shape[axis] if len(shape) == 2 else released


def network_of(original: Original, named: Mapping[str, Any]) -> ScoreMLP:
    """The network of named weights; what they do not show is as released (1024, 512, 2 blocks)."""
    num_blocks = 0
    while f"b{num_blocks + 1}_dense1.weight" in named:
        num_blocks += 1
    hidden = size(named, "pre_dense.weight", 0, 1024)
    time_width = size(named, "shared_time_embed.0.weight", 0, 512)
    if hidden < _GROUPS or hidden % _GROUPS or time_width < 4 or time_width % 2:
        actual = f"hidden {hidden} and time width {time_width}"
        raise ValueError(f"{actual}; must be multiples of {_GROUPS} and of 2, from 4 on")
    return ScoreMLP(hidden, time_width, num_blocks or 2, num_groups=_GROUPS, time_units=999.0, **original.settings)


def params_of(original: Original, named: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters, {"params": {layer: {name: float32 array}}}; ValueError lists every tensor that does not fit."""
    network = network_of(original, named)
    inputs = network.example_inputs((original.width(named) // 3, 3), 0, 0 if original.has_condition else None)
    unused = {*_NOT_WEIGHTS, *original.dead}
    hints = {"gauss_proj.W": f"; {original.name} with Fourier time features is not supported"}
    title, layers = f"{original.name}'s network", _layers(original, network)
    return {"params": converted(title, network, inputs, named, layers, ignored=unused, hints=hints)}


def read_params(
    original: Original, path: FilePath, weights: str, prefix: str = ""
) -> tuple[ScoreMLP, dict[str, Any], int]:
    """Network, parameters and width of "raw" or "ema" weights, of names with `prefix`; ValueError for other content."""
    check_weights(weights)
    tree = read_torch(path)
    named = raw_weights(tree)
    inner = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    named = inner or named
    params = params_of(original, named)
    if weights == "ema":
        named = _averaged(original, tree, named)
        params = params_of(original, named)
    return network_of(original, named), params, original.width(named)


def write_model(
    path: FilePath, out: FilePath, read: Callable[[], model.Model], title: str, ending: str
) -> Iterator[str]:
    """Write the model that `read` gets from `path` as the .safetensors file `out`, float32.

    title: description of the model, in which {codec} is replaced. ending: addition to the last line.
    """
    target, result = check_out(out), read()
    network, count = result.spec.network, model.describe(result)["parameters"]
    yield (
        f"{path}: {title.format(codec=result.spec.space.name)}, {count:,} parameters "
        f"(hidden {network.hidden}, time width {network.time_width}, {network.num_blocks} blocks)"
    )
    model.save(target, result, dtype=jnp.float32)
    yield f"wrote {target}{ending}"


def _averaged(original: Original, tree: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The EMA list with names; as long as the raw weights, unused tensors included."""
    ema = next((tree[k] for k in original.ema if k in tree), None) if isinstance(tree, dict) else None
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list):
        raise ValueError(f"no EMA weights ({' or '.join(original.ema)}: shadow_params); must then be weights='raw'")
    names = [name for name in raw if name not in _NOT_WEIGHTS]
    layers = _layers(original, network_of(original, raw))
    if [name for name in names if name not in original.dead] != [f"{n}.{t}" for n, _, names in layers for t in names]:
        raise ValueError(
            f"the named weights stand in another order than {original.name}'s, so the EMA list has no names"
        )
    names += [f"shadow_params[{i}]" for i in range(len(names), len(shadow))]
    return dict(zip(names, shadow, strict=False))  # a short list's end is then missing by name


def _layers(original: Original, network: ScoreMLP) -> Iterator[Layer]:
    names = [("pre_dense", "pre"), ("pre_dense_t", "pre_time"), ("pre_dense_cond", "pre_cond")]
    names += [("pre_gnorm", "pre_norm"), ("shared_time_embed.0", "time"), ("cond_embed.0", "cond")]
    for block in range(network.num_blocks):
        for layer in range(2):
            theirs, ours = f"b{block + 1}_dense{layer + 1}", f"block{block}_{layer}"
            names += [(theirs, ours), (f"{theirs}_t", f"{ours}_time"), (f"{theirs}_cond", f"{ours}_cond")]
            names.append((f"b{block + 1}_gnorm{layer + 1}", f"{ours}_norm"))
    names.append(("post_dense", "post"))
    for theirs, ours in names:
        if original.has_condition or not ours.endswith("cond"):
            yield theirs, (ours,), NORM if ours.endswith("norm") else LINEAR
