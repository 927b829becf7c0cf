"""jaxpose: probabilistic 3D human pose in functional JAX.

    import jax, jaxpose
    model = jaxpose.load()
    lifted = jaxpose.lift(jax.random.key(0), model, keypoints, confidence, intrinsics=intrinsics)
    lifted.samples        # [H, N, 17, 3] metres, root-relative, camera axes

and jaxpose.complete, jaxpose.denoise, jaxpose.generate, jaxpose.log_density with the same model; jaxpose.posterior
takes whatever else was observed. With a prior over joint rotations, jaxpose.load("prior21"): generate_rotations,
complete_rotations, denoise_motion, ik, fit_keypoints. The areas are packages of their own: geometry, diffusion,
networks, tasks, training, data, evaluation, viz.
"""

from jaxpose.base import Condition, Example, Prediction
from jaxpose.fitting.engine import fit
from jaxpose.fitting.ik import ik
from jaxpose.fitting.keypoints import fit_keypoints
from jaxpose.fitting.motion import denoise_motion
from jaxpose.fitting.priors import dposer_prior
from jaxpose.model import Model, load, save
from jaxpose.tasks.complete import complete
from jaxpose.tasks.complete_rotations import complete_rotations
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import Posed
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import Lifted, lift
from jaxpose.tasks.posterior import Posterior, Prior, posterior, prior_of
from jaxpose.tasks.rotations import generate_rotations, interpolate_rotations
from jaxpose.tasks.score import log_density, typicality
from jaxpose.tasks.stream import start_stream, step_stream

__all__ = [
    "Condition",
    "Example",
    "Lifted",
    "Model",
    "Posed",
    "Posterior",
    "Prediction",
    "Prior",
    "complete",
    "complete_rotations",
    "denoise",
    "denoise_motion",
    "dposer_prior",
    "fit",
    "fit_keypoints",
    "generate",
    "generate_rotations",
    "ik",
    "interpolate_rotations",
    "lift",
    "load",
    "log_density",
    "posterior",
    "prior_of",
    "save",
    "start_stream",
    "step_stream",
    "typicality",
]
