"""The original DPoser's checkpoints of the body (v1, v2 and DPoser-X) as models of this library.

    v1          *.pth     {model_state_dict, ema: {shadow_params}}
    v2, X       *.ckpt    {state_dict, model_ema: {shadow_params}}, written by Lightning; names begin with `model.`

The network's names are `_layers`; a Linear stores [out, in], the transpose of a flax kernel. v1 has one more, which it
never calls (`pre_dense_cond`). `shadow_params` is a list without names, in the order of the network's parameters. Other
content of a `.ckpt`, such as the licensed body model, is not read.

The weights need the statistics that their training poses were normalised with, which are in another file of torch.save:
mean_poses and std_poses (z-score), or min_poses and max_poses, [D] each.

Source: spec/dposer.md, sections 1, 3 and 9 (moonbow721/DPoser and DPoser-X).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose import model
from jaxpose.convert.checkpoint import check_fit, check_out, check_weights, raw_weights
from jaxpose.io.arrays import load_arrays
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics

_JOINTS = 21
_GROUPS = 32
_CODECS = {63: "axis_angle", 126: "rot6d"}
_OTHER_NETWORKS = {51: "GFPose", 45: "DPoser-X's hand", 103: "DPoser-X's face", 100: "DPoser-X's face shape"}
_NOT_WEIGHTS = ("sigmas",)  # the table of output levels, which our network computes
_DEAD = ("pre_dense_cond.weight", "pre_dense_cond.bias")
_HINTS = {"gauss_proj.W": "; DPoser with Fourier time features is not supported"}
_NEEDS_NORMALISER = (
    "a normaliser is needed: DPoser's weights are useless without the statistics of its training poses. They are in "
    "{axis,rot6d}_normalize2.pt (z-score) or _normalize1.pt (min-max) of the original's data download, DPoser-X's in "
    "its body_data/body_normalizer, and not the same numbers; name the file by --normalizer, or give "
    "--identity-normalizer where states are to be the normalised numbers themselves"
)


def dposer_network(state_dict: Mapping[str, Any]) -> ScoreMLP:
    """The network that a DPoser state_dict is of; what cannot be seen in it is as released (1024, 512, 2 blocks)."""
    num_blocks = 0
    while f"b{num_blocks + 1}_dense1.weight" in state_dict:
        num_blocks += 1
    hidden = _size(state_dict, "pre_dense.weight", 0, 1024)
    time_width = _size(state_dict, "shared_time_embed.0.weight", 0, 512)
    if hidden < _GROUPS or hidden % _GROUPS or time_width < 4 or time_width % 2:
        raise ValueError(
            f"hidden {hidden} and time width {time_width}; legal are multiples of {_GROUPS} and of 2, from 4 on"
        )
    return ScoreMLP(
        hidden=hidden,
        time_width=time_width,
        num_blocks=num_blocks or 2,
        dropout=0.1,
        num_groups=_GROUPS,
        time_units=999.0,
        ve_output_scale=True,
    )


def dposer_params(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters, {"params": {layer: {name: float32 array}}}, of a DPoser state_dict, without `model.`.

    Raises ValueError, listing every tensor that is missing, unexpected, of another shape or not finite numbers.
    """
    if "cond_embed.0.weight" in state_dict:
        raise ValueError("these are weights of GFPose; `jaxpose convert gfpose` reads them")
    network, width = dposer_network(state_dict), _width(state_dict)
    ignored = (*_NOT_WEIGHTS, *_DEAD)
    check_fit("DPoser's network", state_dict, _shapes(network, width), ignored=ignored, hints=_HINTS)
    params: dict[str, dict[str, np.ndarray]] = {}
    for theirs, ours in _layers(network.num_blocks):
        weight, bias = (np.asarray(state_dict[f"{theirs}.{n}"], np.float32) for n in ("weight", "bias"))
        named = {"scale": weight} if weight.ndim == 1 else {"kernel": np.ascontiguousarray(weight.T)}
        params[ours] = named | {"bias": bias}
    return {"params": params}


def read_normaliser(path: str | os.PathLike[str], codec: str) -> Statistics:
    """The statistics in a file of the original's (`.pt`) or in an `.npz` with the same names, or with `Statistics`'s.

    codec: "axis_angle" or "rot6d", what they must be of. A min-max file does not tell the spread: 1 stands there.
    Raises ValueError, naming the file.
    """
    width = next(w for w, c in _CODECS.items() if c == codec)
    found = _arrays(path)
    try:
        offset, scale, spread = _normaliser(found, width)
        if not (scale > 0).all():
            raise ValueError("a deviation or a range that is not positive, which the original would divide by")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Statistics(*(a.reshape(_JOINTS, -1).astype(np.float32) for a in (offset, scale, spread)))


def read_dposer(
    path: str | os.PathLike[str],
    normaliser: str | os.PathLike[str] | None = None,
    *,
    weights: str = "ema",
    identity: bool = False,
) -> model.Model:
    """The model in a checkpoint of the original DPoser.

    normaliser: the file of its statistics. identity: take none, so that states are the normalised numbers themselves.
    weights: "ema", the averaged ones, which the original evaluates, or "raw". Raises ValueError, naming the file, where
    it is no such checkpoint, and where neither or both of `normaliser` and `identity` are given.
    """
    check_weights(weights)
    if (normaliser is None) != identity:
        raise ValueError(_NEEDS_NORMALISER if normaliser is None else "a normaliser or the identity, got both")
    tree = read_torch(path)
    try:
        state_dict = _without_prefix(raw_weights(tree))
        params = dposer_params(state_dict)
        if weights == "ema":
            params = dposer_params(_averaged(tree, state_dict))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    spec = model.Spec(
        name="dposer",
        network=dposer_network(state_dict),
        skeleton="smpl22",
        codec=_CODECS[_width(state_dict)],
        context=0,
        process="sub_vp",
        process_args=(0.1, 20.0),
        target="eps",
        scale="rotations, which have none",
    )
    zeros, ones = np.zeros(spec.state_shape, np.float32), np.ones(spec.state_shape, np.float32)
    plain = Statistics(zeros, ones, ones)
    return model.Model(params, plain if normaliser is None else read_normaliser(normaliser, spec.codec), spec)


def convert_dposer(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    normaliser: str | os.PathLike[str] | None = None,
    weights: str = "ema",
    identity: bool = False,
) -> Iterator[str]:
    """Write the checkpoint `path` of the original DPoser as the model file `out`, in float32; yields what it did.

    Raises ValueError where `out` is not a .safetensors file in a folder that exists, or as `read_dposer` does.
    """
    target = check_out(out)
    read = read_dposer(path, normaliser, weights=weights, identity=identity)
    network, count = read.spec.network, model.describe(read)["parameters"]
    yield (
        f"{path}: DPoser of {read.spec.codec}, {weights} weights, {count:,} parameters "
        f"(hidden {network.hidden}, time width {network.time_width}, {network.num_blocks} blocks)"
    )
    model.save(target, read, dtype=jnp.float32)
    yield f"wrote {target}, normalised by {'nothing' if normaliser is None else normaliser}"


def _without_prefix(named: Mapping[str, Any]) -> dict[str, Any]:
    """Lightning's names without `model.`, of the network alone."""
    inner = {n.removeprefix("model."): value for n, value in named.items() if n.startswith("model.")}
    return inner or dict(named)


def _averaged(tree: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The EMA list with names; as long as the raw weights, unused layer included."""
    ema = next((tree[k] for k in ("ema", "model_ema") if k in tree), None) if isinstance(tree, dict) else None
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list):
        raise ValueError("no EMA weights (ema or model_ema: shadow_params); legal is then weights='raw'")
    names = [name for name in raw if name not in _NOT_WEIGHTS]
    if [name for name in names if name not in _DEAD] != list(_shapes(dposer_network(raw), _width(raw))):
        raise ValueError("the named weights stand in another order than DPoser's, so the EMA list has no names")
    names += [f"shadow_params[{i}]" for i in range(len(names), len(shadow))]
    return dict(zip(names, shadow, strict=False))  # a short list's end is then missing by name


def _layers(num_blocks: int) -> Iterator[tuple[str, str]]:
    """The original's name and ours of every layer, in the original's order."""
    yield from (("pre_dense", "pre"), ("pre_dense_t", "pre_time"), ("pre_gnorm", "pre_norm"))
    yield "shared_time_embed.0", "time"
    for block in range(num_blocks):
        for layer in range(2):
            name, ours = f"b{block + 1}_dense{layer + 1}", f"block{block}_{layer}"
            yield from ((name, ours), (f"{name}_t", f"{ours}_time"))
            yield f"b{block + 1}_gnorm{layer + 1}", f"{ours}_norm"
    yield "post_dense", "post"


def _shapes(network: ScoreMLP, width: int) -> dict[str, tuple[int, ...]]:
    """Every used tensor of the original network by its name there, in its order, [out, in] for a Linear."""
    shapes: dict[str, tuple[int, ...]] = {}
    for theirs, ours in _layers(network.num_blocks):
        rows = {"time": network.time_width, "post": width}.get(ours, network.hidden)
        columns = {"pre": width}.get(ours, network.time_width if ours.endswith("time") else network.hidden)
        shapes[f"{theirs}.weight"] = (rows,) if ours.endswith("norm") else (rows, columns)
        shapes[f"{theirs}.bias"] = (rows,)
    return shapes


def _width(state_dict: Mapping[str, Any]) -> int:
    """D of a state_dict: 63 or 126 numbers of a pose."""
    width = _size(state_dict, "pre_dense.weight", 1, 63)
    if width not in _CODECS:
        of = f", as {_OTHER_NETWORKS[width]} network has" if width in _OTHER_NETWORKS else ""
        raise ValueError(f"poses of {width} numbers{of}; legal are {' and '.join(map(str, _CODECS))}, of the body")
    return width


def _size(state_dict: Mapping[str, Any], name: str, axis: int, released: int) -> int:
    shape: tuple[int, ...] = getattr(state_dict.get(name), "shape", ())
    return shape[axis] if len(shape) == 2 else released


def _arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a `.npz`, or else a file of torch.save, holds by name; ValueError naming the file."""
    if str(path).endswith(".npz"):
        return dict(load_arrays(path))
    found = read_torch(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: needed a dict of statistics, got a {type(found).__name__}")
    return found


def _normaliser(found: Mapping[str, Any], width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """offset, scale and spread [D] of statistics by any of the legal names."""
    for names in (("mean_poses", "std_poses"), ("min_poses", "max_poses"), Statistics._fields):
        if not all(isinstance(found.get(name), np.ndarray) for name in names):
            continue
        arrays = [np.asarray(found[name], np.float64).reshape(-1) for name in names]
        for name, array in zip(names, arrays, strict=True):
            if array.shape != (width,) or not np.isfinite(array).all():
                raise ValueError(f"{name}: needed {width} finite numbers for these weights, got {list(array.shape)}")
        first, second, *more = arrays
        if names[0] == "min_poses":
            return (first + second) / 2, (second - first) / 2, np.ones(width)
        return first, second, more[0] if more else np.ones(width)
    raise ValueError(
        "no statistics: needed mean_poses and std_poses, or min_poses and max_poses, found "
        + (", ".join(map(str, list(found)[:6])) or "nothing")
    )
