"""jaxpose: probabilistic 3D human pose in functional JAX.

    import jax, jaxpose
    model = jaxpose.load("lift17")
    lifted = jaxpose.lift(jax.random.key(0), model, keypoints, confidence, intrinsics=intrinsics)
    lifted.samples        # [H, N, 17, 3] metres, root-relative, camera axes

The areas are packages of their own: geometry, diffusion, networks, tasks, training, data, evaluation, viz.
"""

from jaxpose.base import Condition, Example, Prediction
from jaxpose.model import Model, load, save
from jaxpose.tasks.lift import Lifted, lift

__all__ = ["Condition", "Example", "Lifted", "Model", "Prediction", "lift", "load", "save"]
