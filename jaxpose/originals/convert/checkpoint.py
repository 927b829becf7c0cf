"""Shared by the converters of the original systems: weights of a checkpoint, checks of tensors, output file.

A PyTorch checkpoint is a tree of dicts and lists (io/untrusted/torch_file.py) with a state_dict in it: tensors by name.
Tensors are compared with those of our network of the same size; what does not fit is told in one error.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxpose.files import FilePath

WEIGHTS = ("ema", "raw")
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
    found: Mapping[str, Any],
    needed: Mapping[str, tuple[int, ...]],
    *,
    ignored: Collection[str] = (),
    hints: Mapping[str, str] | None = None,
) -> None:
    """ValueError, with the first tensors that are missing, unexpected, of another shape or not finite numbers.

    network: its name, for the message. needed: shapes by name. ignored: names that may be there. hints: what an
    unexpected name tells.
    """
    lines = [fault for name in needed if (fault := _fault(name, found, needed[name]))]
    for name in (n for n in found if n not in needed and n not in ignored):
        lines.append(f"{name}: {_kind(found[name])}, unexpected{(hints or {}).get(name, '')}")
    if lines:
        more = [f"... and {len(lines) - _MOST_LISTED} more"] if len(lines) > _MOST_LISTED else []
        listed = "; ".join(lines[:_MOST_LISTED] + more)
        raise ValueError(f"not the weights of {network}; {len(lines)} tensors do not fit: {listed}")


def check_weights(weights: str) -> None:
    """ValueError where it is not one of WEIGHTS."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights: got {weights!r}; legal are {', '.join(WEIGHTS)}")


def check_out(out: FilePath) -> Path:
    """The file to write, or a ValueError where it is not a .safetensors file in a folder that exists."""
    target = Path(out)
    if target.suffix != ".safetensors" or not target.parent.is_dir():
        raise ValueError(f"out: got {str(out)!r}; legal is a .safetensors file in a folder that exists")
    return target


def _fault(name: str, found: Mapping[str, Any], shape: tuple[int, ...]) -> str:
    if name not in found:
        return f"{name}: missing, needed {shape}"
    value = found[name]
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind != "f":
        return f"{name}: {_kind(value)}, needed {shape}"
    return "" if np.isfinite(value).all() else f"{name}: holds numbers that are not finite"


def _kind(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return f"a {type(value).__name__}"
    return f"{value.shape}" if value.dtype.kind == "f" else f"{value.shape} of {value.dtype}"
