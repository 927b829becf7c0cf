"""Networks as JSON values, for the header of a model's file."""

import dataclasses
from typing import Any

import flax.linen as nn

from jaxpose.networks import NETWORKS
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.reading import check_fields, shown

_DEEPEST = 64  # layers of one kind in a network
_DEPTHS = ("num_blocks", "encoder_blocks", "frame_layers", "depth")


def to_fields(network: Any) -> dict[str, Any] | None:
    """A network and those in it as JSON values."""
    if network is None:
        return None
    fields = {f.name: getattr(network, f.name) for f in dataclasses.fields(network)}
    values = {k: v for k, v in fields.items() if k not in ("parent", "name")}
    nested = {k: to_fields(v) if isinstance(v, nn.Module) else v for k, v in values.items()}
    return {"kind": type(network).__name__, **nested}


def from_fields(fields: dict[str, Any]) -> Any:
    """The network of JSON values; ValueError or KeyError for what is none, and for too many layers."""
    name = fields.pop("kind", ScoreMLP.__name__)
    if name not in NETWORKS:
        raise ValueError(
            f"network {shown(name)}; must be one of {', '.join(NETWORKS)}, or registered before it is read"
        )
    kind = NETWORKS[name]
    values = {k: from_fields(v) if isinstance(v, dict) else v for k, v in fields.items()}
    if deep := [k for k in _DEPTHS if k in values and not 0 <= values[k] <= _DEEPEST]:
        raise ValueError(f"{deep[0]} {shown(values[deep[0]])}; must be 0 to {_DEEPEST}")
    return kind(**check_fields(kind, values))
