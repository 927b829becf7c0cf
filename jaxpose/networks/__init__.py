"""Networks by their name in a model's file.

A new network of a model is a linen module with five members beside its own, under `register_network`, in any package
that is imported before the model's file is read:

    capabilities     some of "score" (of states, at every noise level), "condition" (on any joints, 2D or 3D, or none),
                     "motion" (its states are windows of frames), "encoder", "denoiser", "video", "context"
    window           frames that it sees together, or None for single frames
    raw              (x [..., J, D], t scalar, condition) -> what the training target is of, like x
    state_spread     standard deviation of states -> that of what the network is shown and puts out
    example_inputs   (shape of a state, width of keypoints, of the context or None for no condition) -> those of `init`

GraFormer, MixSTE and GraphDenoiser are entries as parts of DiffPose; they need no such members.
"""

from typing import TypeVar

import flax.linen as nn

from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.networks.score_mlp import ScoreMLP

_Kind = TypeVar("_Kind", bound=type[nn.Module])
NETWORKS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (ScoreMLP, DiffPose, GraFormer, MixSTE, GraphDenoiser)
}


def register_network(kind: _Kind) -> _Kind:
    """Decorator of a linen module that models in files may name; ValueError where another has its name."""
    if NETWORKS.setdefault(kind.__name__, kind) is not kind:
        raise ValueError(f"register_network: there is a network {kind.__name__!r} already; needed another name")
    return kind
