"""Networks by their name in a model's file.

A new network of a model is a linen module with the four members of `Network`, and an entry in NETWORKS. GraFormer,
MixSTE and GraphDenoiser are entries as parts of DiffPose; they need no such members.
"""

from typing import Any, Protocol

from jaxpose.base import Array, Condition
from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.networks.score_mlp import ScoreMLP


class Network(Protocol):
    """What a model asks of its network beyond being a linen module.

    capabilities: some of "score" (of states, at every noise level), "condition" (on any joints, 2D or 3D, or none),
                  "encoder", "denoiser", "video", "context".
    window:       frames that it sees together, or None for single frames.
    """

    @property
    def capabilities(self) -> frozenset[str]: ...

    @property
    def window(self) -> int | None: ...

    def raw(self, x: Array, t: Array, cond: Condition | None) -> Array:
        """What the training target is of, like x [..., J, D], at scalar t."""
        ...

    def example_inputs(self, shape: tuple[int, int], keypoint_width: int, context: int | None) -> tuple[Any, ...]:
        """Arguments of `init` for states of `shape`; context: width of the condition's, None for no condition."""
        ...


NETWORKS = {kind.__name__: kind for kind in (ScoreMLP, DiffPose, GraFormer, MixSTE, GraphDenoiser)}
