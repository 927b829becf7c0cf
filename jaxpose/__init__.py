"""jaxpose: probabilistic 3D human pose in functional JAX.

    import jax, jaxpose
    model = jaxpose.load()
    found = jaxpose.lift(jax.random.key(0), model, keypoints, confidence, camera=jaxpose.Camera(intrinsics))
    found.samples         # [H, N, 17, 3] metres, root-relative, camera axes
    found.radius_90       # [N, 17] metres about found.mean

and jaxpose.complete, jaxpose.denoise, jaxpose.generate, jaxpose.log_density with the same model; jaxpose.posterior
takes any other observation. With a prior over joint rotations, jaxpose.load("prior21"): generate_rotations,
complete_rotations, denoise_motion, ik, fit_keypoints, fit. Every function is compiled once for a shape and found again
on the next call. The areas are packages of their own: geometry, diffusion, spaces, networks, tasks, fitting, io,
datasets, examples, training, evaluation, viz.
"""

from jaxpose.base import Bodies, Camera, Condition, Example, Hypotheses, Prediction, Problem
from jaxpose.fitting.engine import fit
from jaxpose.fitting.ik import ik
from jaxpose.fitting.keypoints import fit_keypoints
from jaxpose.fitting.motion import denoise_motion
from jaxpose.fitting.priors import dposer_prior
from jaxpose.model import Model, load, save
from jaxpose.tasks.complete import complete
from jaxpose.tasks.complete_rotations import complete_rotations
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import draw
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import lift
from jaxpose.tasks.posterior import Observed, Posterior, posterior
from jaxpose.tasks.priors import Prior, prior_of
from jaxpose.tasks.rotations import generate_rotations, interpolate_rotations
from jaxpose.tasks.samplers import mean_flow, probability_flow, stochastic
from jaxpose.tasks.score import log_density, typicality
from jaxpose.tasks.stream import start_stream, step_stream

__all__ = [
    "Bodies",
    "Camera",
    "Condition",
    "Example",
    "Hypotheses",
    "Model",
    "Observed",
    "Posterior",
    "Prediction",
    "Prior",
    "Problem",
    "complete",
    "complete_rotations",
    "denoise",
    "denoise_motion",
    "dposer_prior",
    "draw",
    "fit",
    "fit_keypoints",
    "generate",
    "generate_rotations",
    "ik",
    "interpolate_rotations",
    "lift",
    "load",
    "log_density",
    "mean_flow",
    "posterior",
    "prior_of",
    "probability_flow",
    "save",
    "start_stream",
    "step_stream",
    "stochastic",
    "typicality",
]
