"""Products outside of networks are exact on every device (design.md, section 7).

Public functions are traced: in their programs each product that is not of a network names a precision. Laws and closed
forms hold, with the bounds of their own tests, where products without one take the rounded operands of a TPU or an H100
(`rounded_products.py`).
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import diffpose_models
import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
import rotation_oracle
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from source_files import ROOT

import jaxpose
from experiments.models.pose17 import config as pose17
from jaxpose import api
from jaxpose.base import Camera
from jaxpose.conditioning import MaskRates
from jaxpose.evaluation import aggregate, calibration, metrics
from jaxpose.examples.bodies import Bodies, People
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import pose_example
from jaxpose.fitting.engine import start_parameters
from jaxpose.fitting.keypoints import FitSettings, observed
from jaxpose.fitting.terms import Settings
from jaxpose.fitting.uncertainty import gaussian_radius_90, joint_spread
from jaxpose.geometry import camera, measures, rotations
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.io.anny_body import anny_body
from jaxpose.spaces import person
from jaxpose.tasks import fuse, generate, observations, priors, systematic
from jaxpose.tasks.complete_rotations import METHODS as COMPLETIONS
from jaxpose.tasks.complete_rotations import rotation_spread
from jaxpose.tasks.methods import METHODS
from jaxpose.tasks.posterior import Observed, posterior
from jaxpose.tasks.score import log_density_all_round
from jaxpose.tasks.typicality import denoising_error

PRODUCTS = ("dot_general", "conv_general_dilated")
FREE = ("jaxpose/networks/", "tests/")  # whose products the device may round


def programs(parameters: object) -> Iterator[Jaxpr]:
    """The programs among the parameters of an equation."""
    is_program = lambda leaf: isinstance(leaf, Jaxpr | ClosedJaxpr)  # noqa: E731
    for leaf in jax.tree.leaves(parameters, is_leaf=is_program):
        if is_program(leaf):
            yield getattr(leaf, "jaxpr", leaf)


def place_of(eqn: JaxprEqn) -> str:
    """The innermost line of this checkout that an equation comes from."""
    for frame in eqn.source_info.traceback.frames if eqn.source_info.traceback else ():
        path = Path(frame.file_name)
        if path.is_relative_to(ROOT) and ".venv" not in frame.file_name:
            return f"{path.relative_to(ROOT)}:{frame.line_num}"
    return "nowhere"


def inexact(jaxpr: Jaxpr, caller: str = "") -> Iterator[str]:
    """Where the products without a precision come from.

    caller: the place that called JAX's own function with this program: JAX keeps the program for calls from elsewhere.
    """
    for eqn in jaxpr.eqns:
        place = caller or place_of(eqn)
        if eqn.primitive.name in PRODUCTS and eqn.params["precision"] is None and not place.startswith(FREE):
            yield place
        for program in programs(eqn.params):
            of_jax = re.search(r"site-packages.jax.", program.debug_info.func_src_info or "")
            yield from inexact(program, place if eqn.primitive.name == "jit" and of_jax else "")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.3, shape).astype(np.float32)


UV, X, TURNS, SIX = 500 + 100 * random(2, 17, 2), random(2, 17, 3), random(2, 21, 3), random(1, 6, 22, 3)
SURE, MANY = np.ones((2, 17), np.float32), random(3, 2, 17, 3)
INTRINSICS = np.array([1000.0, 1000, 500, 500], np.float32)
LENS, BODY = Camera(INTRINSICS, np.full(5, 0.01, np.float32)), anny_body()
RIG = Camera(np.tile(INTRINSICS, (3, 1)), None, np.stack([np.eye(3, dtype=np.float32)] * 3), random(3, 3) + 4)
ONE = Camera(INTRINSICS[None, None], None)
JOINTS, TURNED, LAW, FRAMES = pose_oracle.tiny(), rotation_oracle.tiny(), pose_oracle.make(), diffpose_models.tiny(5)
PRIOR, FEW, START = jaxpose.prior_of(JOINTS), jaxpose.stochastic(2), start_parameters(1, 6, 10)
VIEW = person.View(random(2, 3, 3), random(2, 2), np.ones(2))


def of_examples(key):
    people = People(random(2, 17, 3), random(2, 17, 3), np.ones(5), random(5, 17), random(5, 17, 8))
    bodies = Bodies(X, np.arange(1.0, 3), LAW.statistics, random(2, 17, 3, 3), np.arange(2), people, np.ones((10, 10)))
    config = pose17.get_config()
    bodies = jax.tree.map(jnp.asarray, bodies)
    return pose_example(key, bodies, ViewRates(**config.view), MaskRates(**config.masks))


def of_posteriors(key):
    seen = Observed(X[0], lambda x: x, 0.1)
    few = {name: partial(make, num_steps=2) for name, make in METHODS.items()}
    methods = [(few["dposer"](), seen), (few["pseudo_inverse"](smc=True), seen)]
    sparse = Observed(X[0, 0], lambda x: x[..., 0, :], 0.1)
    methods += [(few["pseudo_inverse"](robust=4.0), sparse)]
    return [posterior(key, PRIOR, given, method=method, num_hypotheses=2) for method, given in methods]


def of_fusion(key):
    shared = systematic.Drawn(random(2, 17, 3), random(2, 3, 2))
    given = (500 + random(2, 3, 17, 2), np.ones((2, 3, 17)), np.ones((2, 3, 17)), RIG, shared)
    return fuse.fuse_rows(key, PRIOR, *given, up="y", num_hypotheses=2, method=METHODS["pseudo_inverse"](2))


def of_fits(key):
    fitted = jaxpose.fit_keypoints(
        key, BODY, UV[:1, None, None], SURE[:1, None, None], ONE, "coco17", None, settings=FitSettings(num_steps=1)
    )
    evidence = observed(BODY, UV[:1, None, None], SURE[:1, None, None], ONE, "coco17", 5.0)
    spread = joint_spread(BODY, jax.tree.map(lambda x: x[0], fitted), evidence, np.ones((21, 3)))
    return spread, gaussian_radius_90(spread[0])


# what is traced for each function that jaxpose offers by name
API = {
    "complete": lambda key: jaxpose.complete(key, JOINTS, X, noise=0.1, num_hypotheses=2, sampler=FEW),
    "complete_rotations": lambda key: [
        jaxpose.complete_rotations(key, TURNED, TURNS, np.ones((2, 21)), num_hypotheses=2, method=COMPLETIONS[name](2))
        for name in COMPLETIONS
        if name != "few_steps"
    ],
    "denoise": lambda key: jaxpose.denoise(key, JOINTS, X, num_hypotheses=2, sampler=FEW),
    "denoise_motion": lambda key: jaxpose.denoise_motion(key, BODY, SIX, "smpl22", None),
    "dposer_prior": lambda key: jaxpose.dposer_prior(TURNED)(key, TURNS[None], jnp.asarray(0), 10),
    "draw": lambda key: jaxpose.draw(key, LAW, generate.problem(LAW, 2), 2, FEW),
    "fit": lambda key: jaxpose.fit(
        key, BODY, None, lambda posed, parameters, k: jnp.square(posed.joints).sum((1, 2, 3)), start=START, num_steps=1
    ),
    "fit_keypoints": of_fits,
    "fuse": of_fusion,
    "generate": lambda key: jaxpose.generate(key, JOINTS, 2, sampler=FEW),
    "generate_rotations": lambda key: jaxpose.generate_rotations(key, TURNED, 2, sampler=FEW),
    "ik": lambda key: jaxpose.ik(key, BODY, SIX, "smpl22", None, settings=Settings()),
    "interpolate_rotations": lambda key: jaxpose.interpolate_rotations(TURNED, TURNS[0], TURNS[1], 3, num_steps=2),
    "lift": lambda key: jaxpose.lift(key, JOINTS, UV, SURE, camera=LENS, num_hypotheses=2, sampler=FEW, height=1.7),
    "log_density": lambda key: (
        jaxpose.log_density(JOINTS, X, num_steps=2),
        log_density_all_round(JOINTS, X, num_views=2, num_steps=2),
    ),
    "measure": lambda key: measures.measured(X, np.array([0.0, -1, 0], np.float32)),
    "posterior": of_posteriors,
    "prior_of": lambda key: priors.fitted(key, PRIOR, 2, 2).covariance,
    "step_stream": lambda key: jaxpose.step_stream(
        FRAMES, jaxpose.start_stream(key, FRAMES, num_hypotheses=2), UV[0], camera=LENS
    ),
    "typicality": lambda key: denoising_error(JOINTS, X),
}
# what computes by the functions above, by numpy or not at all
OTHERS = {
    *("bound_programs", "interactive", "lift_video", "load", "mean_flow", "out_of_distribution"),
    *("probability_flow", "register_network", "save", "start_stream", "stochastic", "summary", "to_world"),
}
BENEATH = {
    "training examples": of_examples,
    "metrics": lambda key: (metrics.p_mpjpe(X, X), metrics.n_mpjpe(X, X), metrics.diversity(MANY)),
    "aggregates": lambda key: [
        way(MANY) for way in (aggregate.geometric_median, aggregate.medoid, aggregate.mode, aggregate.pose_mode)
    ],
    "calibration": lambda key: (
        calibration.ece(MANY, X),
        calibration.energy_score(MANY, X),
        calibration.fit_covariance(MANY, X),
    ),
    "cameras": lambda key: (
        camera.world_to_camera(RIG.R_cam_world, RIG.t_cam, random(3, 17, 3)),
        camera.look_at(X[0], X[1], X[0] + 1),
    ),
    "rotations": lambda key: (
        rotations.nearest_turn(X, X, SURE),
        rotations.matrix_from_rot6d(random(2, 6)),
        rotations.axis_angle_from_matrix(random(2, 3, 3)),
    ),
    "joint sets": lambda key: convert_joints(UV, SURE, COCO_17, H36M_17),
    "the person's space": lambda key: (
        person.encode_track(INTRINSICS, UV, SURE),
        person.encode_pose(JOINTS.statistics, VIEW, X),
        person.decode_pose(JOINTS.statistics, VIEW, X),
        person.place(INTRINSICS, UV, SURE, X),
        person.tell_vertical(person.encode_points(X, SURE, SURE), VIEW, X[:, 0]),
    ),
    "a camera of unknown focal length": lambda key: observations.fit_pinhole(
        observations.sight(UV[:1], SURE[:1], SURE[:1], Camera(INTRINSICS[None])), X
    ),
    "the spread of rotations": lambda key: rotation_spread(random(3, 2, 21, 3)),
}


def test_the_functions_of_the_api_are_all_traced():
    functions = {name for name in jaxpose.__all__ if not isinstance(getattr(api, name), type)}
    assert functions == API.keys() | OTHERS


@pytest.mark.parametrize("name", [*API, *BENEATH])
def test_products_outside_of_networks_name_a_precision(name):
    traced = jax.make_jaxpr((API | BENEATH)[name])(jax.random.key(0))
    assert sorted(set(inexact(traced.jaxpr))) == []


LAWS = (
    "geometry/camera_test.py",
    "spaces/person_test.py",
    "tasks/posterior_test.py::test_pseudo_inverse_is_exact_for_linear_gaussian_and_observations_add",
    "diffusion/likelihood_test.py::test_equals_the_closed_form",
    "fitting/least_squares_test.py::test_linear_problems_are_solved_as_in_closed_form",
)


@pytest.mark.parametrize(("products", "laws"), [("bfloat16", LAWS), ("tensorfloat32", LAWS[:1])])
def test_laws_hold_where_products_round_their_operands(products, laws):
    """In a process of its own, which has compiled nothing otherwise."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "rounded_products", *laws]
    environment = os.environ | {"PRODUCTS": products, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    done = subprocess.run(command, cwd=ROOT / "tests", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
