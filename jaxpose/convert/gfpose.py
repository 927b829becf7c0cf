"""The original GFPose's checkpoints as models of this library.

The original (PyTorch) names its layers as `_layers` does; a Linear stores [out, in], the transpose of a flax kernel.
Its raw output is eps, the noise: score = -out / std(t). A checkpoint is a dict with `model_state_dict`, named, and
`ema` with `shadow_params`, a list without names in the order of the model's parameters.

Source: spec/gfpose.md, sections 1, 2 and 8 (CVPR 2023; Embracing/GFPose).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose import model
from jaxpose.convert.checkpoint import check_fit, check_out, check_weights, raw_weights
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.image_depth import STATISTICS

_COORDINATES = 17 * 3
_GROUPS = 32
# of dpmpp_2m, evenly in log-SNR: our choice, for speed; the original takes 1000 Euler-Maruyama steps
_NUM_STEPS = 20
_NOT_WEIGHTS = ("sigmas",)  # a noise schedule that the original stores and does not use
_FOURIER = {"gauss_proj.W": "; GFPose with Fourier time features is not supported"}


def gfpose_network(state_dict: Mapping[str, np.ndarray]) -> ScoreMLP:
    """The network that a GFPose state_dict is of; what cannot be seen in it is as released (1024, 512, 2 blocks)."""
    num_blocks = 0
    while f"b{num_blocks + 1}_dense1.weight" in state_dict:
        num_blocks += 1
    hidden = _rows(state_dict, "pre_dense.weight", 1024)
    time_width = _rows(state_dict, "shared_time_embed.0.weight", 512)
    if hidden < _GROUPS or hidden % _GROUPS or time_width < 4 or time_width % 2:
        raise ValueError(
            f"hidden {hidden} and time width {time_width}; legal are multiples of {_GROUPS} and of 2, from 4 on"
        )
    return ScoreMLP(
        hidden=hidden,
        time_width=time_width,
        num_blocks=num_blocks or 2,
        dropout=0.25,
        num_groups=_GROUPS,
        difference=True,
        explicit=False,
        time_units=999.0,
    )


def gfpose_params(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Our parameters, {"params": {layer: {name: float32 array}}}, of a GFPose state_dict.

    Raises ValueError, listing every tensor that is missing, unexpected, of another shape or not finite numbers.
    """
    network = gfpose_network(state_dict)
    check_fit("GFPose's network", state_dict, _shapes(network), ignored=_NOT_WEIGHTS, hints=_FOURIER)
    params: dict[str, dict[str, np.ndarray]] = {}
    for theirs, ours in _layers(network.num_blocks):
        weight, bias = (np.asarray(state_dict[f"{theirs}.{n}"], np.float32) for n in ("weight", "bias"))
        named = {"scale": weight} if weight.ndim == 1 else {"kernel": np.ascontiguousarray(weight.T)}
        params[ours] = named | {"bias": bias}
    return {"params": params}


def read_gfpose(path: str | os.PathLike[str], weights: str = "ema") -> model.Model:
    """The model in a checkpoint of the original GFPose.

    weights: "ema", the averaged ones, which the original evaluates, or "raw". Raises ValueError, naming the file,
    where it is no such checkpoint.
    """
    check_weights(weights)
    tree = read_torch(path)
    try:
        state_dict = raw_weights(tree)
        params = gfpose_params(state_dict)
        if weights == "ema":
            state_dict = _averaged(tree, state_dict)
            params = gfpose_params(state_dict)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    spec = model.Spec(
        name="gfpose",
        network=gfpose_network(state_dict),
        codec="image_depth",
        context=0,
        process="sub_vp",
        process_args=(0.1, 20.0),
        target="eps",
        num_steps=_NUM_STEPS,
        scale="the root's true depth, which GFPose is given",
    )
    return model.Model(params, STATISTICS, spec)


def convert_gfpose(path: str | os.PathLike[str], out: str | os.PathLike[str], *, weights: str = "ema") -> Iterator[str]:
    """Write the checkpoint `path` of the original GFPose as the model file `out`, in float32; yields what it did.

    Raises ValueError where `out` is not a .safetensors file in a folder that exists, or as `read_gfpose` does.
    """
    target = check_out(out)
    read = read_gfpose(path, weights)
    network, count = read.spec.network, model.describe(read)["parameters"]
    yield (
        f"{path}: GFPose, {weights} weights, {count:,} parameters "
        f"(hidden {network.hidden}, time width {network.time_width}, {network.num_blocks} blocks)"
    )
    model.save(target, read, dtype=jnp.float32)
    yield f"wrote {target}"


def _averaged(tree: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The EMA list with the names that it lacks."""
    ema = tree.get("ema") if isinstance(tree, dict) else None
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list):
        raise ValueError("no EMA weights (ema: shadow_params); legal is then weights='raw'")
    names = list(_shapes(gfpose_network(raw)))
    if [name for name in raw if name not in _NOT_WEIGHTS] != names:
        raise ValueError("the named weights stand in another order than GFPose's, so the EMA list has no names")
    names += [f"shadow_params[{i}]" for i in range(len(names), len(shadow))]
    return dict(zip(names, shadow, strict=False))  # a short list's end is then missing by name


def _layers(num_blocks: int) -> Iterator[tuple[str, str]]:
    """The original's name and ours of every layer, in the original's order."""
    yield from (("pre_dense", "pre"), ("pre_dense_t", "pre_time"), ("pre_dense_cond", "pre_cond"))
    yield from (("pre_gnorm", "pre_norm"), ("shared_time_embed.0", "time"), ("cond_embed.0", "cond"))
    for block in range(num_blocks):
        for layer in range(2):
            theirs, ours = f"b{block + 1}_dense{layer + 1}", f"block{block}_{layer}"
            yield from ((theirs, ours), (f"{theirs}_t", f"{ours}_time"), (f"{theirs}_cond", f"{ours}_cond"))
            yield f"b{block + 1}_gnorm{layer + 1}", f"{ours}_norm"
    yield "post_dense", "post"


def _shapes(network: ScoreMLP) -> dict[str, tuple[int, ...]]:
    """Every tensor of the original network by its name there, in its order, [out, in] for a Linear."""
    shapes: dict[str, tuple[int, ...]] = {}
    for theirs, ours in _layers(network.num_blocks):
        wide = {"time": network.time_width, "post": _COORDINATES}.get(ours, network.hidden)
        if ours.endswith("norm"):
            weight: tuple[int, ...] = (wide,)
        elif ours in ("pre", "cond"):
            weight = (wide, _COORDINATES)
        else:
            weight = (wide, network.time_width if ours.endswith("time") else network.hidden)
        shapes |= {f"{theirs}.weight": weight, f"{theirs}.bias": (wide,)}
    return shapes


def _rows(state_dict: Mapping[str, Any], name: str, released: int) -> int:
    shape: tuple[int, ...] = getattr(state_dict.get(name), "shape", ())
    return shape[0] if len(shape) == 2 else released
