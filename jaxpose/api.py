"""What `import jaxpose` offers by name: what is imported here, in a list that type checkers read.

`jaxpose/__init__.py` imports this module when a name is first asked for.
"""

from jaxpose.base import Bodies, Camera, Condition, Example, Hypotheses, Prediction, Problem
from jaxpose.fitting.engine import fit
from jaxpose.fitting.ik import ik
from jaxpose.fitting.keypoints import fit_keypoints
from jaxpose.fitting.motion import denoise_motion
from jaxpose.fitting.priors import dposer_prior
from jaxpose.model import Model, load, save
from jaxpose.networks import register_network
from jaxpose.runtime.interactive import interactive
from jaxpose.runtime.program_bound import bound_programs
from jaxpose.tasks.complete import complete
from jaxpose.tasks.complete_rotations import complete_rotations
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import draw
from jaxpose.tasks.fuse import fuse
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import lift
from jaxpose.tasks.lift_video import lift_video
from jaxpose.tasks.lifter import Lifter
from jaxpose.tasks.measure import measure
from jaxpose.tasks.posterior import Observed, Posterior, posterior
from jaxpose.tasks.priors import Prior, prior_of
from jaxpose.tasks.rotations import generate_rotations, interpolate_rotations
from jaxpose.tasks.samplers import mean_flow, probability_flow, stochastic
from jaxpose.tasks.score import log_density
from jaxpose.tasks.smooth import smooth
from jaxpose.tasks.stream import start_stream, step_stream
from jaxpose.tasks.typicality import out_of_distribution, typicality
from jaxpose.tasks.verdict import Summary, summary
from jaxpose.tasks.world import World, to_world

__all__ = [
    "Bodies",
    "Camera",
    "Condition",
    "Example",
    "Hypotheses",
    "Lifter",
    "Model",
    "Observed",
    "Posterior",
    "Prediction",
    "Prior",
    "Problem",
    "Summary",
    "World",
    "bound_programs",
    "complete",
    "complete_rotations",
    "denoise",
    "denoise_motion",
    "dposer_prior",
    "draw",
    "fit",
    "fit_keypoints",
    "fuse",
    "generate",
    "generate_rotations",
    "ik",
    "interactive",
    "interpolate_rotations",
    "lift",
    "lift_video",
    "load",
    "log_density",
    "mean_flow",
    "measure",
    "out_of_distribution",
    "posterior",
    "prior_of",
    "probability_flow",
    "register_network",
    "save",
    "smooth",
    "start_stream",
    "step_stream",
    "stochastic",
    "summary",
    "to_world",
    "typicality",
]
