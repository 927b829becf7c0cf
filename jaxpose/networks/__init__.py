"""Networks by their name in a model's file.

A new network of a model is a linen module with five members beside its own, and an entry in NETWORKS:

    capabilities     some of "score" (of states, at every noise level), "condition" (on any joints, 2D or 3D, or none),
                     "motion" (its states are windows of frames), "encoder", "denoiser", "video", "context"
    window           frames that it sees together, or None for single frames
    raw              (x [..., J, D], t scalar, condition) -> what the training target is of, like x
    state_spread     standard deviation of states -> that of what the network is shown and puts out
    example_inputs   (shape of a state, width of keypoints, of the context or None for no condition) -> those of `init`

GraFormer, MixSTE and GraphDenoiser are entries as parts of DiffPose; they need no such members.
"""

from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.networks.score_mlp import ScoreMLP

NETWORKS = {kind.__name__: kind for kind in (ScoreMLP, DiffPose, GraFormer, MixSTE, GraphDenoiser)}
