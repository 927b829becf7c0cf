"""Shared by the converters of the original systems: weights of a checkpoint, our parameters from them, output file.

A PyTorch checkpoint is a tree of dicts and lists (io/untrusted/torch_file.py) with a state_dict in it: tensors by name.
A Linear stores [out, in], the transpose of a flax kernel. Tensors are compared with those of our network of the same
size; one error lists what does not fit.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path as FolderPath
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxpose.files import FilePath

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
