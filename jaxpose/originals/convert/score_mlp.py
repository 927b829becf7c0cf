"""What the converters of GFPose and DPoser share: the tensors of their score network, and those of `ScoreMLP`.

Both originals (PyTorch) name their layers as `_layers` does; a Linear stores [out, in], the transpose of a flax kernel.
The averaged weights are a list `shadow_params` without names, in the order of the network's parameters.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose import model
from jaxpose.files import FilePath
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.originals.convert.checkpoint import check_fit, check_out, check_weights, raw_weights

PROCESS: dict[str, Any] = {
    "process": "sub_vp",
    "process_args": (0.1, 20.0),
    "target": "eps",
}  # of both originals' released models
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
    """The network that named weights are of; what cannot be seen in them is as released (1024, 512, 2 blocks)."""
    num_blocks = 0
    while f"b{num_blocks + 1}_dense1.weight" in named:
        num_blocks += 1
    hidden = size(named, "pre_dense.weight", 0, 1024)
    time_width = size(named, "shared_time_embed.0.weight", 0, 512)
    if hidden < _GROUPS or hidden % _GROUPS or time_width < 4 or time_width % 2:
        raise ValueError(
            f"hidden {hidden} and time width {time_width}; legal are multiples of {_GROUPS} and of 2, from 4 on"
        )
    sizes: dict[str, Any] = {
        "hidden": hidden,
        "time_width": time_width,
        "num_blocks": num_blocks or 2,
        "num_groups": _GROUPS,
    }
    return ScoreMLP(**sizes, time_units=999.0, **original.settings)


def params_of(original: Original, named: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters, {"params": {layer: {name: float32 array}}}; ValueError lists every tensor that does not fit."""
    hints = {"gauss_proj.W": f"; {original.name} with Fourier time features is not supported"}
    ignored = (*_NOT_WEIGHTS, *original.dead)
    check_fit(f"{original.name}'s network", named, _shapes(original, named), ignored=ignored, hints=hints)
    params: dict[str, dict[str, np.ndarray]] = {}
    for theirs, ours in _layers(original, named):
        weight, bias = (np.asarray(named[f"{theirs}.{n}"], np.float32) for n in ("weight", "bias"))
        kernel = {"scale": weight} if weight.ndim == 1 else {"kernel": np.ascontiguousarray(weight.T)}
        params[ours] = kernel | {"bias": bias}
    return {"params": params}


def read_params(
    original: Original, path: FilePath, weights: str, prefix: str = ""
) -> tuple[ScoreMLP, dict[str, Any], int]:
    """Network, parameters and width of "raw" or "ema" weights, of names with `prefix`; ValueError names the file."""
    check_weights(weights)
    tree = read_torch(path)
    try:
        named = raw_weights(tree)
        inner = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
        named = inner or named
        params = params_of(original, named)
        if weights == "ema":
            named = _averaged(original, tree, named)
            params = params_of(original, named)
        return network_of(original, named), params, original.width(named)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_model(
    path: FilePath, out: FilePath, read: Callable[[], model.Model], title: str, ending: str
) -> Iterator[str]:
    """Write what `read` gets from `path` as the .safetensors file `out`, float32; {codec} is filled in in `title`."""
    target, found = check_out(out), read()
    network, count = found.spec.network, model.describe(found)["parameters"]
    yield (
        f"{path}: {title.format(codec=found.spec.codec)}, {count:,} parameters "
        f"(hidden {network.hidden}, time width {network.time_width}, {network.num_blocks} blocks)"
    )
    model.save(target, found, dtype=jnp.float32)
    yield f"wrote {target}{ending}"


def _averaged(original: Original, tree: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The EMA list with names; as long as the raw weights, unused tensors included."""
    ema = next((tree[k] for k in original.ema if k in tree), None) if isinstance(tree, dict) else None
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list):
        raise ValueError(f"no EMA weights ({' or '.join(original.ema)}: shadow_params); legal is then weights='raw'")
    names = [name for name in raw if name not in _NOT_WEIGHTS]
    if [name for name in names if name not in original.dead] != list(_shapes(original, raw)):
        raise ValueError(
            f"the named weights stand in another order than {original.name}'s, so the EMA list has no names"
        )
    names += [f"shadow_params[{i}]" for i in range(len(names), len(shadow))]
    return dict(zip(names, shadow, strict=False))  # a short list's end is then missing by name


def _layers(original: Original, named: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The original's name and ours of every layer, in the original's order."""
    layers = [("pre_dense", "pre"), ("pre_dense_t", "pre_time"), ("pre_dense_cond", "pre_cond")]
    layers += [("pre_gnorm", "pre_norm"), ("shared_time_embed.0", "time"), ("cond_embed.0", "cond")]
    for block in range(network_of(original, named).num_blocks):
        for layer in range(2):
            theirs, ours = f"b{block + 1}_dense{layer + 1}", f"block{block}_{layer}"
            layers += [(theirs, ours), (f"{theirs}_t", f"{ours}_time"), (f"{theirs}_cond", f"{ours}_cond")]
            layers.append((f"b{block + 1}_gnorm{layer + 1}", f"{ours}_norm"))
    layers.append(("post_dense", "post"))
    return (pair for pair in layers if original.has_condition or not pair[1].endswith("cond"))


def _shapes(original: Original, named: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every used tensor of the original network by its name there, in its order, [out, in] for a Linear."""
    network, width = network_of(original, named), original.width(named)
    shapes: dict[str, tuple[int, ...]] = {}
    for theirs, ours in _layers(original, named):
        rows = {"time": network.time_width, "post": width}.get(ours, network.hidden)
        columns = network.time_width if ours.endswith("time") else network.hidden
        columns = width if ours in ("pre", "cond") else columns
        shapes[f"{theirs}.weight"] = (rows,) if ours.endswith("norm") else (rows, columns)
        shapes[f"{theirs}.bias"] = (rows,)
    return shapes
