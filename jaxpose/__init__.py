"""jaxpose: probabilistic 3D human pose in functional JAX.

    import jax, jaxpose
    model = jaxpose.load()
    lifted = jaxpose.lift(jax.random.key(0), model, keypoints, confidence, intrinsics=intrinsics)
    lifted.samples        # [H, N, 17, 3] metres, root-relative, camera axes

and jaxpose.complete, jaxpose.denoise, jaxpose.generate with the same model. The areas are packages of their own:
geometry, diffusion, networks, tasks, training, data, evaluation, viz.
"""

from jaxpose.base import Condition, Example, Prediction
from jaxpose.model import Model, load, save
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import Posed
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import Lifted, lift
from jaxpose.tasks.stream import start_stream, step_stream

__all__ = [
    "Condition",
    "Example",
    "Lifted",
    "Model",
    "Posed",
    "Prediction",
    "complete",
    "denoise",
    "generate",
    "lift",
    "load",
    "save",
    "start_stream",
    "step_stream",
]
