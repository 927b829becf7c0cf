"""The original DPoser's checkpoints of the body (v1, v2 and DPoser-X) as models of this library.

    v1          *.pth     {model_state_dict, ema: {shadow_params}}
    v2, X       *.ckpt    {state_dict, model_ema: {shadow_params}}, written by Lightning; names begin with `model.`

The network is that of checkpoint.py; v1 has a layer more, which it never calls (`pre_dense_cond`). Other content of a
`.ckpt`, such as the licensed body model, is not read.

The weights need the statistics that their training poses were normalised with, which are in another file of torch.save:
mean_poses and std_poses (z-score), or min_poses and max_poses, [D] each.

Source: spec/dposer.md, sections 1, 3 and 9 (moonbow721/DPoser and DPoser-X).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxpose import model
from jaxpose.files import FilePath
from jaxpose.io.arrays import load_arrays
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.originals.convert.checkpoint import PROCESS, Original, read_params, size, write_model
from jaxpose.reading import reader
from jaxpose.spaces.person import Statistics

_JOINTS = 21
_CODECS = {63: "axis_angle", 126: "rot6d"}
_OTHER_NETWORKS = {51: "GFPose", 45: "DPoser-X's hand", 103: "DPoser-X's face", 100: "DPoser-X's face shape"}
_NEEDS_NORMALISER = (
    "a normaliser is needed: DPoser's weights are useless without the statistics of its training poses. They are in "
    "{axis,rot6d}_normalize2.pt (z-score) or _normalize1.pt (min-max) of the original's data download, DPoser-X's in "
    "its body_data/body_normalizer, and not the same numbers; name the file by --normalizer, or give "
    "--identity-normalizer where states are to be the normalised numbers themselves"
)


def _width(named: Mapping[str, Any]) -> int:
    """D of named weights: 63 or 126 numbers of a pose."""
    if "cond_embed.0.weight" in named:
        raise ValueError("these are weights of GFPose; `jaxpose convert gfpose` reads them")
    width = size(named, "pre_dense.weight", 1, 63)
    if width not in _CODECS:
        of = f", as {_OTHER_NETWORKS[width]} network has" if width in _OTHER_NETWORKS else ""
        raise ValueError(f"poses of {width} numbers{of}; must be {' or '.join(map(str, _CODECS))}, of the body")
    return width


DPOSER = Original(
    "DPoser",
    {"dropout": 0.1, "ve_output_scale": True},
    _width,
    ema=("ema", "model_ema"),
    dead=("pre_dense_cond.weight", "pre_dense_cond.bias"),
)


@reader("file of statistics")
def read_normaliser(path: FilePath, codec: str) -> Statistics:
    """The statistics in a file of the original's (`.pt`) or in an `.npz` with the same names, or with `Statistics`'s.

    codec: "axis_angle" or "rot6d", the representation of their poses. A min-max file has no spread: it is 1 then.
    ValueError names the file.
    """
    width = next(w for w, c in _CODECS.items() if c == codec)
    statistics = load_arrays(path) if str(path).endswith(".npz") else read_torch(path)
    if not isinstance(statistics, Mapping):
        raise ValueError(f"needed a dict of statistics, got a {type(statistics).__name__}")
    offset, scale, spread = _normaliser(statistics, width)
    if not (scale > 0).all():
        raise ValueError("a deviation or a range that is not positive, which the original would divide by")
    return Statistics(*(a.reshape(_JOINTS, -1).astype(np.float32) for a in (offset, scale, spread)))


@reader("checkpoint of DPoser")
def read_dposer(
    path: FilePath, normaliser: FilePath | None = None, *, weights: str = "ema", identity: bool = False
) -> model.Model:
    """The model in a checkpoint of the original DPoser.

    normaliser: the file of its statistics. identity: take none, so that states are the normalised numbers themselves.
    weights: "ema", the averaged ones, which the original evaluates, or "raw". Raises ValueError, naming the file, where
    it is no such checkpoint, and where neither or both of `normaliser` and `identity` are given.
    """
    if (normaliser is None) != identity:
        raise ValueError(_NEEDS_NORMALISER if normaliser is None else "a normaliser or the identity, got both")
    network, params, width = read_params(DPOSER, path, weights, prefix="model.")
    spec = model.Spec(
        name="dposer",
        network=network,
        skeleton="smpl22",
        codec=_CODECS[width],
        context=0,
        scale="rotations, which have none",
        **PROCESS,
    )
    zeros, ones = np.zeros(spec.state_shape, np.float32), np.ones(spec.state_shape, np.float32)
    plain = Statistics(zeros, ones, ones)
    return model.Model(params, plain if normaliser is None else read_normaliser(normaliser, spec.space.name), spec)


def convert_dposer(
    path: FilePath, out: FilePath, *, normaliser: FilePath | None = None, weights: str = "ema", identity: bool = False
) -> Iterator[str]:
    """Write the checkpoint as the .safetensors file `out`, in float32; yields lines. Errors as of `read_dposer`."""
    title, ending = f"DPoser of {{codec}}, {weights} weights", f", normalised by {normaliser or 'nothing'}"
    return write_model(
        path, out, lambda: read_dposer(path, normaliser, weights=weights, identity=identity), title, ending
    )


def _normaliser(statistics: Mapping[str, Any], width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """offset, scale and spread [D] of statistics by any of their names."""
    for names in (("mean_poses", "std_poses"), ("min_poses", "max_poses"), Statistics._fields):
        if not all(isinstance(statistics.get(name), np.ndarray) for name in names):
            continue
        arrays = [np.asarray(statistics[name], np.float64).reshape(-1) for name in names]
        for name, array in zip(names, arrays, strict=True):
            if array.shape != (width,) or not np.isfinite(array).all():
                raise ValueError(f"{name}: needed {width} finite numbers for these weights, got {list(array.shape)}")
        first, second, *more = arrays
        if names[0] == "min_poses":
            return (first + second) / 2, (second - first) / 2, np.ones(width)
        return first, second, more[0] if more else np.ones(width)
    raise ValueError(
        "no statistics: needed mean_poses and std_poses, or min_poses and max_poses, found "
        + (", ".join(map(str, list(statistics)[:6])) or "nothing")
    )
