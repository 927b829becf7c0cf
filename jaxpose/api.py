"""What `import jaxpose` offers by name: what is imported here, `as` itself so that type checkers take it as public.

`jaxpose/__init__.py` imports this module when a name is first asked for.
"""

from jaxpose.base import Bodies as Bodies
from jaxpose.base import Camera as Camera
from jaxpose.base import Condition as Condition
from jaxpose.base import Example as Example
from jaxpose.base import Hypotheses as Hypotheses
from jaxpose.base import Prediction as Prediction
from jaxpose.base import Problem as Problem
from jaxpose.fitting.engine import fit as fit
from jaxpose.fitting.ik import ik as ik
from jaxpose.fitting.keypoints import fit_keypoints as fit_keypoints
from jaxpose.fitting.motion import denoise_motion as denoise_motion
from jaxpose.fitting.priors import dposer_prior as dposer_prior
from jaxpose.model import Model as Model
from jaxpose.model import load as load
from jaxpose.model import save as save
from jaxpose.networks import register_network as register_network
from jaxpose.runtime.interactive import interactive as interactive
from jaxpose.runtime.program_bound import bound_programs as bound_programs
from jaxpose.tasks.complete import complete as complete
from jaxpose.tasks.complete_rotations import complete_rotations as complete_rotations
from jaxpose.tasks.denoise import denoise as denoise
from jaxpose.tasks.draw import draw as draw
from jaxpose.tasks.fuse import fuse as fuse
from jaxpose.tasks.generate import generate as generate
from jaxpose.tasks.lift import lift as lift
from jaxpose.tasks.lift_video import lift_video as lift_video
from jaxpose.tasks.lifter import Lifter as Lifter
from jaxpose.tasks.measure import measure as measure
from jaxpose.tasks.posterior import Observed as Observed
from jaxpose.tasks.posterior import Posterior as Posterior
from jaxpose.tasks.posterior import posterior as posterior
from jaxpose.tasks.priors import Prior as Prior
from jaxpose.tasks.priors import prior_of as prior_of
from jaxpose.tasks.rotations import generate_rotations as generate_rotations
from jaxpose.tasks.rotations import interpolate_rotations as interpolate_rotations
from jaxpose.tasks.samplers import mean_flow as mean_flow
from jaxpose.tasks.samplers import probability_flow as probability_flow
from jaxpose.tasks.samplers import stochastic as stochastic
from jaxpose.tasks.score import log_density as log_density
from jaxpose.tasks.stream import start_stream as start_stream
from jaxpose.tasks.stream import step_stream as step_stream
from jaxpose.tasks.typicality import out_of_distribution as out_of_distribution
from jaxpose.tasks.typicality import typicality as typicality
from jaxpose.tasks.verdict import Summary as Summary
from jaxpose.tasks.verdict import summary as summary
from jaxpose.tasks.world import World as World
from jaxpose.tasks.world import to_world as to_world
