"""What `import jaxpose` offers by name: all that is imported here.

`jaxpose/__init__.py` imports this module when a name is first asked for.
"""

# ruff: noqa: F401 - the names are passed on

from jaxpose.base import Bodies, Camera, Condition, Example, Hypotheses, Prediction, Problem
from jaxpose.fitting.engine import fit
from jaxpose.fitting.ik import ik
from jaxpose.fitting.keypoints import fit_keypoints
from jaxpose.fitting.motion import denoise_motion
from jaxpose.fitting.priors import dposer_prior
from jaxpose.model import Model, load, save
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
from jaxpose.tasks.measure import measure
from jaxpose.tasks.posterior import Observed, Posterior, posterior
from jaxpose.tasks.priors import Prior, prior_of
from jaxpose.tasks.rotations import generate_rotations, interpolate_rotations
from jaxpose.tasks.samplers import mean_flow, probability_flow, stochastic
from jaxpose.tasks.score import log_density
from jaxpose.tasks.smooth import smooth
from jaxpose.tasks.stream import start_stream, step_stream
from jaxpose.tasks.typicality import out_of_distribution, typicality
from jaxpose.tasks.world import World, to_world

__all__ = sorted(name for name in globals() if not name.startswith("_"))
