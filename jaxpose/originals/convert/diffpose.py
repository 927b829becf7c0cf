"""The original DiffPose's checkpoints as models of this library: a denoiser, an encoder, or both as one.

    GCNdiff   the denoiser of (u, v, x, y, z)      [model, optimiser, epoch, step, ema]     GraphDenoiser
    GCNpose   (u, v) -> (x, y, z) of frames        the same; its time branch is unused        GraFormer
    MixSTE    (u, v) -> (x, y, z) of video         {model_pos, random_state, ...}           MixSTE

Which one a file is follows from the names in it. A ChebConv stores [3, 1, in, out] and its bias [1, 1, out]. The
evaluation of the original takes the raw weights; the averaged ones, which its files have too, are an option here.

Source: spec/diffpose.md, sections 1, 2 and 7 (CVPR 2023; the repositories Diffpose and Diffpose_video of GONGJIA0208).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose import model
from jaxpose.files import FilePath
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE, params_from_original
from jaxpose.originals.convert import checkpoint
from jaxpose.originals.recipes.diffpose import NUM_INDICES, PROCESS_ARGS, SCHEDULES
from jaxpose.reading import reader
from jaxpose.spaces.person import Statistics

_JOINTS = len(H36M_17.joints)
_WIDTH, _DEPTH, _HEADS, _VIDEO_HEADS = 96, 5, 4, 8  # as released; weights do not show the heads
_A_HAT = "atten_layers.0.feed_forward.A_hat"
_NORM, _CHEB = {"a_2": "scale", "b_2": "bias"}, {"weight": "weight", "bias": "bias"}
_TITLES = {"denoiser": "denoiser", "frame": "encoder of frames", "video": "encoder of video"}

GraphNetwork: TypeAlias = GraphDenoiser | GraFormer


class Part(NamedTuple):
    """Content of one file: field of `DiffPose`, network and parameters, and the path and weights they came from."""

    kind: str
    network: Any
    params: dict[str, Any]
    path: str = ""
    weights: str = "raw"


def denoiser_part(weights: Mapping[str, Any], num_heads: int = _HEADS) -> Part:
    """The denoiser of GCNdiff's named weights; ValueError lists what does not fit."""
    width, depth = _size(weights, num_heads)
    # the schedule's index of the time that the process gives it
    network = GraphDenoiser(width, depth, num_heads, time_units=float(NUM_INDICES), time_shift=-1.0)
    inputs = np.zeros((_JOINTS, 5), np.float32), np.float32(0)
    return Part("denoiser", network, _params("DiffPose's denoiser", network, inputs, weights))


def frame_part(weights: Mapping[str, Any], num_heads: int = _HEADS) -> Part:
    """The encoder of frames of GCNpose's named weights; ValueError lists what does not fit."""
    if np.shape(weights.get(_A_HAT, ())) == (_JOINTS - 1, _JOINTS - 1):
        raise ValueError(
            f"a GraFormer of 16 joints, as its own authors trained it; DiffPose's encoder has {_JOINTS}, "
            "with Human3.6M's neck/nose"
        )
    width, depth = _size(weights, num_heads)
    network = GraFormer(width, depth, num_heads)
    inputs = (np.zeros((_JOINTS, 2), np.float32),)
    return Part("frame", network, _params("DiffPose's encoder of frames", network, inputs, weights))


def video_part(weights: Mapping[str, Any], num_heads: int = _VIDEO_HEADS) -> Part:
    """The encoder of video of MixSTE's named weights; ValueError lists what does not fit."""
    checkpoint.check_fit("MixSTE", weights, {name: np.shape(value) for name, value in weights.items()})
    params, fields = params_from_original(weights, num_heads)
    layout = (fields["num_joints"], weights["Spatial_patch_to_embedding.weight"].shape[1], fields["features_out"])
    if layout != (_JOINTS, 2, 3):
        raise ValueError(f"a MixSTE of {layout} joints, numbers in and numbers out; must be {(_JOINTS, 2, 3)}")
    return Part("video", MixSTE(**fields), params["params"])


@reader("checkpoint of DiffPose")
def read_part(path: FilePath, weights: str = "raw") -> Part:
    """The network in one checkpoint, "raw" or "ema" weights (a MixSTE has raw ones only); ValueError names the file."""
    checkpoint.check_weights(weights)
    tree = read_torch(path)
    named = checkpoint.raw_weights(tree)
    if "Spatial_pos_embed" in named:
        return video_part(named)._replace(path=str(path))
    if not any(name.startswith(("gconv_", "atten_layers.")) for name in named):
        raise ValueError(f"none of DiffPose's networks; its tensors are {', '.join(list(named)[:3])}, ...")
    make = denoiser_part if any("temb_proj" in name for name in named) else frame_part
    return make(_averaged(tree) if weights == "ema" else named)._replace(path=str(path), weights=weights)


def assemble(parts: Sequence[Part], schedule: str | None = None) -> model.Model:
    """One model of a denoiser, an encoder, or both.

    schedule: "cpn", "gt" or "video", the released evaluation whose indices the sampler takes; None: that of detected
    keypoints, "video" with an encoder of video. ValueError for two parts of one kind, naming their files.
    """
    if schedule is not None and schedule not in SCHEDULES:
        raise ValueError(f"schedule: got {schedule!r}; must be one of {', '.join(SCHEDULES)}")
    kinds = sorted(part.kind == "denoiser" for part in parts)
    if kinds not in ([False], [True], [False, True]):
        actual = "; ".join(f"{part.path} is the {_TITLES[part.kind]}" for part in parts) or "none"
        raise ValueError(f"needed a denoiser, an encoder, or one of each, got {actual}")
    networks = {part.kind: part.network for part in parts}
    spec = model.Spec(
        name="diffpose",
        network=DiffPose(**networks),
        codec="screen",
        context=0,
        process="linear_betas",
        process_args=PROCESS_ARGS,
        target="eps",
        eta=0.0,
        indices=SCHEDULES[schedule or ("video" if "video" in networks else "cpn")],
        scale="metres as in DiffPose's training poses, Human3.6M's",
    )
    zeros, ones = jnp.zeros((_JOINTS, 3)), jnp.ones((_JOINTS, 3))
    return model.Model({"params": {p.kind: p.params for p in parts}}, Statistics(zeros, ones, ones), spec)


def convert_diffpose(
    paths: Sequence[FilePath], out: FilePath, *, weights: str = "raw", schedule: str | None = None
) -> Iterator[str]:
    """Write the checkpoints `paths`, a denoiser, an encoder or both, as one model file `out`, float32; yields lines."""
    target = checkpoint.check_out(out)
    parts = [read_part(path, weights) for path in paths]
    whole = assemble(parts, schedule)
    for part in parts:
        count = sum(leaf.size for leaf in jax.tree.leaves(part.params))
        yield (
            f"{part.path}: DiffPose's {_TITLES[part.kind]}, {part.weights} weights, {count:,} parameters "
            f"(width {part.network.width}, {part.network.depth} blocks)"
        )
    model.save(target, whole, dtype=jnp.float32)
    yield f"wrote {target}: network calls at the indices {', '.join(map(str, whole.spec.indices))}"


def _averaged(tree: Any) -> dict[str, Any]:
    """EMA weights, the fifth entry of the list."""
    if not isinstance(tree, list | tuple) or len(tree) < 5 or not isinstance(tree[4], dict):
        raise ValueError("no EMA weights (fifth in a list); must then be weights='raw'")
    return checkpoint.raw_weights(tree[4])


def _size(weights: Mapping[str, Any], num_heads: int) -> tuple[int, int]:
    """Width and depth; as released where the weights do not show them."""
    depth = 0
    while any(name.startswith(f"atten_layers.{depth}.") for name in weights):
        depth += 1
    shape = np.shape(weights.get("gconv_input.weight", ()))
    width = shape[-1] if len(shape) == 4 else _WIDTH
    if width < 4 or width % 2 or width % num_heads:
        raise ValueError(f"width {width}; must be an even multiple of {num_heads} heads, from 4 on")
    return width, depth or _DEPTH


def _params(title: str, network: GraphNetwork, inputs: tuple[Any, ...], weights: Mapping[str, Any]) -> dict[str, Any]:
    is_denoiser = isinstance(network, GraphDenoiser)
    unused = [] if is_denoiser else [name for name in weights if name.startswith("temb.")]
    layers = _layers(network.depth, is_denoiser)
    return checkpoint.converted(title, network, inputs, weights, layers, stored=_stored, ignored=unused)


def _layers(depth: int, is_denoiser: bool) -> Iterator[checkpoint.Layer]:
    yield "gconv_input", ("trunk", "input"), _CHEB
    yield "gconv_output", ("output",), _CHEB
    for n in range(depth):
        for i, part in enumerate(("query", "key", "value", "out")):
            yield f"atten_layers.{n}.self_attn.linears.{i}", ("trunk", f"attention{n}", part), checkpoint.LINEAR
        yield f"atten_layers.{n}.feed_forward", ("trunk", f"graph{n}"), {"A_hat": "adjacency"}
        for i, part in enumerate(("hidden", "out")):
            yield f"atten_layers.{n}.feed_forward.gconv{i + 1}.fc", ("trunk", f"graph{n}", part), checkpoint.LINEAR
        for i, part in enumerate(("attention", "graph")):
            yield f"atten_layers.{n}.sublayer.{i}.norm", ("trunk", f"{part}{n}_norm"), _NORM
        for i in range(2):
            yield f"gconv_layers.{n}.gconv{i + 1}.gconv", ("trunk", f"conv{n}_{i}"), _CHEB
        if is_denoiser:
            yield f"gconv_layers.{n}.temb_proj", ("trunk", f"time{n}"), checkpoint.LINEAR
    for i in range(2 if is_denoiser else 0):
        yield f"temb.dense.{i}", (f"time_{i}",), checkpoint.LINEAR


def _stored(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a tensor of ours has in the original's file."""
    if path[-1] == "kernel":
        return shape[::-1]
    if not path[-2].startswith(("input", "output", "conv")):
        return shape
    return (shape[0], 1, *shape[1:]) if path[-1] == "weight" else (1, 1, *shape)
