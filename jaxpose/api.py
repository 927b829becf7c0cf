"""What `import jaxpose` offers by name; `jaxpose/__init__.py` imports it when a name is first asked for."""

from jaxpose.base import Condition, Example, Prediction
from jaxpose.fitting.body_fit import dposer_prior
from jaxpose.fitting.fit import fit
from jaxpose.fitting.ik import ik
from jaxpose.fitting.motion import denoise_motion
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
