"""The originals' networks of `--against`: checkpoints or torch modules in a folder of the user's, or random ones.

    NAME.pth, .pt, .bin, .ckpt    a checkpoint of an original (docs/originals.md); nothing of it is executed
    NAME.py                       a Python file, which is EXECUTED, with a function of no arguments

        def network() -> torch.nn.Module: ...

which gives the original's module. Its state_dict has the names of the original's, by which one tells what it is; it is
called as those of `networks.py` are: GFPose (x, 999 t, condition, mask) [B, 17, 3], labels [B]; DPoser (x, 999 t)
[B, 21, 3]; DiffPose's denoiser (h [B, 17, 5], index [B]), its encoder (uv [B, 17, 2]); MixSTE (uv [B, 243, 17, 2]).
Our model has the same weights: it is what `jaxpose convert` makes of them.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from experiments.against import networks
from jaxpose import model as released
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.originals.convert.checkpoint import raw_weights
from jaxpose.originals.convert.diffpose import assemble, read_part
from jaxpose.originals.convert.dposer import read_dposer
from jaxpose.originals.convert.gfpose import read_gfpose
from jaxpose.reading import reader

RANDOM = "random"
_CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt")


class Original(NamedTuple):
    """A network in PyTorch, and the file that it came from ("random weights")."""

    network: nn.Module
    source: str


def originals(where: str) -> dict[str, Original]:
    """The networks in a folder by kind (`networks.OFFICIAL`), or with random weights; ValueError names the file."""
    if where == RANDOM:
        torch.manual_seed(0)
        return {kind: Original(make().eval(), "random weights") for kind, make in networks.OFFICIAL.items()}
    folder = Path(where)
    if not folder.is_dir():
        raise ValueError(f"--against: {where}: no such folder, must be a folder or {RANDOM!r}")
    by_kind: dict[str, Original] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in (*_CHECKPOINTS, ".py")):
        network = _of_module(path) if path.suffix == ".py" else of_checkpoint(path)
        kind = networks.kind_of(network.state_dict())
        if kind in by_kind:
            raise ValueError(f"--against: {path} and {by_kind[kind].source} are both of {kind}; one is needed")
        by_kind[kind] = Original(network.eval(), str(path))
    if not by_kind:
        kinds = ", ".join((*_CHECKPOINTS, ".py"))
        raise ValueError(f"--against: {where}: no file of {kinds}; {RANDOM!r} takes random weights")
    return by_kind


@reader("checkpoint of an original")
def of_checkpoint(path: Path) -> nn.Module:
    """The network in a checkpoint, with its averaged weights where its evaluation takes those (GFPose, DPoser)."""
    tree: Any = read_torch(path)
    try:
        named = {name.removeprefix("model."): value for name, value in raw_weights(tree).items()}
        named = {name: value for name, value in named.items() if isinstance(value, np.ndarray)}
        network = networks.network_for(named)
        averages: dict[str, Any] = next(
            (tree[k] for k in ("ema", "model_ema") if isinstance(tree, dict) and k in tree), {}
        )
        for weight, value in zip(network.parameters(), averages.get("shadow_params", ()), strict=False):
            weight.data = torch.from_numpy(np.array(value)).reshape(weight.shape)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    return network


def _of_module(path: Path) -> nn.Module:
    spec = importlib.util.spec_from_file_location(f"against_{path.stem}", path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        network = module.network()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network() gave a {type(network).__name__}, needed a torch.nn.Module")
        networks.kind_of(network.state_dict())
    except Exception as error:  # whatever the user's code raises is an error of that file
        raise ValueError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return network


def converted(*parts: Original) -> released.Model:
    """Our model of the same weights: a GFPose, a DPoser, a MixSTE, or DiffPose's denoiser and encoder."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, part in enumerate(parts):
            paths.append(Path(folder) / f"{number}.pth")
            torch.save({"model_state_dict": {k: v.cpu() for k, v in part.network.state_dict().items()}}, paths[-1])
        kind = networks.kind_of(parts[0].network.state_dict())
        if kind == "gfpose":
            return read_gfpose(paths[0], "raw")
        if kind == "dposer":
            return read_dposer(paths[0], weights="raw", identity=True)
        return assemble([read_part(path) for path in paths])
